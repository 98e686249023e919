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

	"fleet/audit"
	"fleet/report"
)

// keptRuns is how many records of audits are kept; older ones are removed.
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

// prune removes the oldest records beyond keptRuns.
func prune(runs string) error {
	ids, err := recordedRuns(runs)
	if err != nil || len(ids) <= keptRuns {
		return err
	}
	var failed error
	for _, id := range ids[:len(ids)-keptRuns] {
		failed = errors.Join(failed, os.RemoveAll(filepath.Join(runs, id)))
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

// recordedHosts answers --limit run:ID:STATUS. ID may be "last". STATUS is a
// status or a reason of the report, or "failed" for every host that neither
// passed nor was exempt.
func recordedHosts(env environment, id, status string) ([]string, error) {
	runs, err := runsDir(env)
	if err != nil {
		return nil, err
	}
	ids, err := recordedRuns(runs)
	if err != nil {
		return nil, err
	}
	if id == "last" && len(ids) > 0 {
		id = ids[len(ids)-1]
	}
	if !slices.Contains(ids, id) {
		return nil, fmt.Errorf("no run %q is recorded in %s", id, runs)
	}
	f, err := os.Open(filepath.Join(runs, id, "report.json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rep, err := report.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("read the record of run %s: %w", id, err)
	}
	var names []string
	for _, h := range rep.Hosts {
		bad := h.Status != audit.StatusPass && h.Status != audit.StatusNotApplicable
		if string(h.Status) == status || h.Reason == status || status == "failed" && bad {
			names = append(names, h.Name)
		}
	}
	return names, nil
}
