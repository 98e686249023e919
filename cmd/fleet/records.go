package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fleet/report"
)

// keptRuns is how many records of audits, and how many of changes, are kept;
// older ones are removed.
const keptRuns = 100

// runID names a run: its start, so that names sort by time, and some random
// letters, so that two runs of one second differ.
func runID(started time.Time) string {
	return started.UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:4])
}

func runsDir(env environment) (string, error) {
	state, err := env.stateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(state, "runs"), nil
}

// saveRun records a report below the state directory, readable by the user
// alone.
func saveRun(env environment, rep report.Report) error {
	runs, err := runsDir(env)
	if err != nil {
		return err
	}
	dir := filepath.Join(runs, rep.Run.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	target, err := report.ParseTarget("json=" + filepath.Join(dir, "report.json"))
	if err != nil {
		return err
	}
	if err := target.Save(rep); err != nil {
		return err
	}
	return prune(runs)
}

// prune removes the oldest records beyond keptRuns. Runs that change hosts are
// counted apart, so that audits on a schedule do not push out what a rollback
// goes by.
func prune(runs string) error {
	ids, err := recordedRuns(runs)
	if err != nil {
		return err
	}
	var looks, changes []string
	for _, id := range ids {
		if _, err := os.Stat(filepath.Join(runs, id, eventsFile)); err == nil {
			changes = append(changes, id)
		} else {
			looks = append(looks, id)
		}
	}
	var failed error
	for _, kind := range [][]string{looks, changes} {
		for _, id := range kind[:max(len(kind)-keptRuns, 0)] {
			failed = errors.Join(failed, os.RemoveAll(filepath.Join(runs, id)))
		}
	}
	return failed
}

// recordedRuns lists the runs, oldest first.
func recordedRuns(runs string) ([]string, error) {
	entries, err := os.ReadDir(runs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return ids, err
}

// lastRun is the word for the newest run that has its report.
const lastRun = "last"

// findRun turns what a person types for a run, its id, the beginning of it or
// "last", into the id.
func findRun(env environment, word string) (string, error) {
	runs, err := runsDir(env)
	if err != nil {
		return "", err
	}
	ids, err := recordedRuns(runs)
	if err != nil {
		return "", err
	}
	if id := newestReport(runs, ids); word == lastRun && id != "" {
		return id, nil
	}
	if slices.Contains(ids, word) {
		return word, nil
	}
	found := slices.DeleteFunc(ids, func(id string) bool { return word == "" || !strings.HasPrefix(id, word) })
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no run %q is recorded in %s", word, runs)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s begin with %q; say more of the one you mean: %s", plural(len(found), "run"), word, strings.Join(found, ", "))
}

// newestReport is the newest of the runs that has its report, "" for none. Names
// tell the second in which a run began; of those of one second the run that was
// reported last is the newest.
func newestReport(runs string, ids []string) string {
	second := func(id string) string { return id[:min(len(id), len("20261101-030000"))] }
	newest, reported := "", time.Time{}
	for _, id := range slices.Backward(ids) {
		if newest != "" && second(id) != second(newest) {
			break
		}
		info, err := os.Stat(reportPath(runs, id))
		if err == nil && (newest == "" || info.ModTime().After(reported)) {
			newest, reported = id, info.ModTime()
		}
	}
	return newest
}

func reportPath(runs, id string) string { return filepath.Join(runs, id, "report.json") }

// recordedReport reads the report of a recorded run, named in any way that
// findRun knows.
func recordedReport(env environment, word string) (report.Report, error) {
	id, err := findRun(env, word)
	if err != nil {
		return report.Report{}, err
	}
	runs, err := runsDir(env)
	if err != nil {
		return report.Report{}, err
	}
	f, err := os.Open(reportPath(runs, id))
	if errors.Is(err, fs.ErrNotExist) {
		return report.Report{}, fmt.Errorf("run %s has no report: it is under way, or it was killed; what is known of it is in %s", id, filepath.Join(runs, id))
	}
	if err != nil {
		return report.Report{}, err
	}
	defer f.Close()
	rep, err := report.Decode(f)
	if err != nil {
		return report.Report{}, fmt.Errorf("read the record of run %s: %w", id, err)
	}
	return rep, nil
}

// recordedHosts answers --limit run:ID:STATUS, where ID is anything that
// findRun knows. STATUS is a status or a reason of the report, an outcome or a
// reason of its changes, or "failed" for every host that was not as wanted
// when the run ended.
func recordedHosts(env environment, word, status string) ([]string, error) {
	rep, err := recordedReport(env, word)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range rep.Hosts {
		if matches(rep, h, status) {
			names = append(names, h.Name)
		}
	}
	return names, nil
}

func matches(rep report.Report, h report.Host, status string) bool {
	if c := h.Change; c != nil && (string(c.Outcome) == status || c.Reason != "" && c.Reason == status) {
		return true
	}
	if status == "failed" {
		alone := report.Report{Run: report.Run{Command: rep.Run.Command}, Hosts: []report.Host{h}}
		return report.ExitCode(alone) != report.ExitOK
	}
	return string(h.Status) == status || h.Reason == status
}
