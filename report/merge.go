package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Merge makes one report of several, of runs over other hosts or of the same
// hosts again: where a host is in more than one, the later in the list has the
// word. Hosts stay in the order in which they first appear. The merged run has
// the ids of all, began with the first and ended with the last.
//
// Reports of different controls, or of rollbacks and other runs, ask for
// different things, so that no verdict could be given on both; that is an
// error. So is a list without reports.
func Merge(reports []Report) (Report, error) {
	if len(reports) == 0 {
		return Report{}, errors.New("there is no report to merge")
	}
	first := reports[0]
	for _, r := range reports[1:] {
		if err := alike(first, r); err != nil {
			return Report{}, fmt.Errorf("cannot merge the reports of run %s and run %s: %w", first.Run.ID, r.Run.ID, err)
		}
	}
	merged := reports[len(reports)-1]
	merged.Run = mergeRuns(reports)
	merged.Hosts = mergeHosts(reports)
	merged.Summary = Summarise(merged.Hosts)
	return merged, nil
}

// alike refuses two reports that were not held against the same.
func alike(a, b Report) error {
	x, y := a.Control, b.Control
	switch {
	case x.ID != y.ID || x.Key != y.Key || x.Flag != y.Flag || x.Expected != y.Expected:
		return fmt.Errorf("one is of %s = %v, the other of %s = %v", x.ID, x.Expected, y.ID, y.Expected)
	case (a.Run.Command == commandRollback) != (b.Run.Command == commandRollback):
		return errors.New("one is of a rollback and the other is not")
	}
	return nil
}

func mergeHosts(reports []Report) []Host {
	hosts := []Host{}
	place := map[string]int{}
	for _, r := range reports {
		for _, h := range r.Hosts {
			i, ok := place[h.Name]
			if !ok {
				place[h.Name] = len(hosts)
				hosts = append(hosts, h)
				continue
			}
			hosts[i] = h
		}
	}
	return hosts
}

func mergeRuns(reports []Report) Run {
	merged := reports[len(reports)-1].Run
	var ids, commands, inventories []string
	for _, r := range reports {
		ids = appendNew(ids, r.Run.ID)
		commands = appendNew(commands, r.Run.Command)
		inventories = appendNew(inventories, r.Run.Inventory)
		merged.Interrupted = merged.Interrupted || r.Run.Interrupted
		if r.Run.Started.Before(merged.Started) {
			merged.Started = r.Run.Started
		}
		if r.Run.Finished.After(merged.Finished) {
			merged.Finished = r.Run.Finished
		}
	}
	merged.ID, merged.Command, merged.Inventory = strings.Join(ids, "+"), strings.Join(commands, "+"), strings.Join(inventories, "+")
	return merged
}

func appendNew(words []string, word string) []string {
	if slices.Contains(words, word) {
		return words
	}
	return append(words, word)
}
