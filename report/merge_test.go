package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet/audit"
)

func runOf(id, command string, minute int, hosts ...Host) Report {
	at := time.Date(2026, 11, 22, 3, minute, 0, 0, time.UTC)
	return New(Run{ID: id, Command: command, Started: at, Finished: at.Add(time.Minute), Inventory: "nodes.yaml"}, audit.MakeIPTablesUtilChains, hosts)
}

func TestMerge(t *testing.T) {
	old := runOf("a", "audit", 1, ran("n1", "fail", ""), ran("n2", "unknown", ""), ran("n3", "pass", ""))
	newer := runOf("b", "remediate", 5, ran("n4", "pass", OutcomeUnchanged), ran("n1", "pass", OutcomeChanged))
	got, err := Merge([]Report{old, newer})
	if err != nil {
		t.Fatal(err)
	}
	want := runOf("a+b", "audit+remediate", 1,
		ran("n1", "pass", OutcomeChanged), ran("n2", "unknown", ""), ran("n3", "pass", ""), ran("n4", "pass", OutcomeUnchanged))
	want.Run.Finished = newer.Run.Finished
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if code := ExitCode(got); code != ExitIncomplete {
		t.Errorf("exit code %d", code)
	}
	if old.Hosts[0].Status != "fail" {
		t.Error("a report that was merged has changed")
	}
}

func TestMergeOfOneIsItself(t *testing.T) {
	got, err := Merge([]Report{full()})
	if diff := cmp.Diff(full(), got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// TestMergeTheLaterInTheListHasTheWord, not the one that ran later: the order
// is the user's to choose.
func TestMergeTheLaterInTheListHasTheWord(t *testing.T) {
	got, err := Merge([]Report{runOf("b", "audit", 9, ran("n", "pass", "")), runOf("a", "audit", 1, ran("n", "fail", ""))})
	if err != nil || got.Hosts[0].Status != "fail" || got.Run.Command != "audit" || got.Run.Started.Minute() != 1 || got.Run.Finished.Minute() != 10 {
		t.Errorf("got %+v, %v", got.Run, err)
	}
}

func TestMergeRefuses(t *testing.T) {
	other := runOf("b", "audit", 1)
	other.Control.Expected = false
	for name, c := range map[string]struct {
		reports []Report
		want    string
	}{
		"nothing":               {nil, "no report"},
		"another control":       {[]Report{runOf("a", "audit", 1), other}, "run a and run b: one is of make-iptables-util-chains = true"},
		"a rollback and others": {[]Report{runOf("a", "audit", 1), runOf("c", "audit", 1), runOf("b", "rollback", 1)}, "one is of a rollback"},
	} {
		if _, err := Merge(c.reports); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}
