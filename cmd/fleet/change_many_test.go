package main

import (
	"fmt"
	"testing"

	"fleet/lab"
	"fleet/report"
)

// TestManyChanges changes a whole fleet in one wave.
func TestManyChanges(t *testing.T) { changeMany(t, manyChanges) }

// BenchmarkRemediate200 is the whole command on two hundred simulated nodes in
// one wave; they share the machine with it.
func BenchmarkRemediate200(b *testing.B) {
	for b.Loop() {
		changeMany(b, 200)
	}
}

// changeMany changes so many nodes at once. The limits are generous, because
// nodes and client share this machine's cores.
func changeMany(t testing.TB, n int) {
	t.Helper()
	specs := make([]lab.NodeSpec, n)
	for i := range specs {
		specs[i] = wrongNode(fmt.Sprintf("n%03d", i))
	}
	fleet := start(t, specs)
	r := fleet.change(t, nil, "remediate", "--method", "file", "--yes", "--batch", "100%", "--connect-timeout", "2m", "--timeout", "5m",
		"--health-timeout", "10m", "--confirm-timeout", "10m")
	if r.code != report.ExitOK || r.report.Summary.Pass != n {
		t.Errorf("exit code %d, %+v", r.code, r.report.Summary)
	}
	for i, h := range r.report.Hosts {
		if h.Name != specs[i].Name || h.Change.Outcome != report.OutcomeChanged || h.Change.Wave != 1 {
			t.Errorf("%d: %s %s %s: %s", i, h.Name, h.Change.Outcome, h.Change.Reason, h.Change.Message)
		}
	}
}
