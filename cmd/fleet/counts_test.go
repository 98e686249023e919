package main

import (
	"errors"
	"testing"

	"fleet/audit"
	"fleet/remediate"
)

// TestCounts: what counts for and against a run.
func TestCounts(t *testing.T) {
	ended := func(o remediate.Outcome) *remediate.Result { return &remediate.Result{Outcome: o} }
	refused := remediate.Plan{Refused: &remediate.Refusal{Code: "no-config-file"}}
	for _, c := range []struct {
		name string
		host target
		want remediate.Counts
	}{
		{"not reached while planning", target{err: errors.New("no route")}, remediate.Counts{Unreachable: 1}},
		{"not judged", target{found: proposal{finding: audit.Finding{Status: audit.StatusUnknown}, plan: refused}}, remediate.Counts{Unknown: 1}},
		{"as wanted", target{found: proposal{finding: audit.Finding{Status: audit.StatusPass}, plan: remediate.Plan{Nothing: true}}}, remediate.Counts{}},
		{"refused by its plan", target{found: proposal{finding: audit.Finding{Status: audit.StatusFail}, plan: refused}}, remediate.Counts{}},
		{"waits for its turn", target{found: proposal{finding: audit.Finding{Status: audit.StatusFail}}}, remediate.Counts{Left: 1}},
		{"had no turn", target{stopped: "the gate is closed"}, remediate.Counts{Left: 1}},
		{"changed", target{result: ended(remediate.OutcomeChanged)}, remediate.Counts{Good: 1}},
		{"rolled back", target{result: ended(remediate.OutcomeRolledBack)}, remediate.Counts{Failed: 1}},
		{"failed before", target{result: ended(remediate.OutcomeFailedBeforeChange)}, remediate.Counts{Failed: 1}},
		{"failed after", target{result: ended(remediate.OutcomeFailedAfterChange)}, remediate.Counts{Failed: 1}},
		{"lost", target{result: ended(remediate.OutcomeUnknown)}, remediate.Counts{Unknown: 1}},
		{"an interrupted run was rolled back", target{found: proposal{leftover: "x"}, result: ended(remediate.OutcomeRolledBack)}, remediate.Counts{Good: 1}},
		{"an interrupted run could not be ended", target{found: proposal{leftover: "x"}, result: ended(remediate.OutcomeFailedAfterChange)}, remediate.Counts{Failed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := work{hosts: []*target{&c.host}}
			if got := w.counts(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
