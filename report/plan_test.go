package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"fleet/audit"
)

// planned is the plan of a small fleet.
func planned() Report {
	r := big(16)
	r.Run.Command = "remediate"
	for i := range r.Hosts {
		h := &r.Hosts[i]
		switch {
		case i < 4:
			h.Status, h.Reason, h.Message = audit.StatusFail, "flag-false", "the kubelet was started with --make-iptables-util-chains=false"
			h.Change = &Change{Method: "args", Outcome: OutcomePlanned, Diff: envDiff, Restarted: true, Message: "set the flag to true in /etc/default/kubelet:3"}
		case i == 4 || i == 9:
			h.Status, h.Reason = audit.StatusFail, "file-false"
			diff := "--- /etc/k.yaml\n+++ /etc/k.yaml\n@@ -7,2 +7,2 @@\n-makeIPTablesUtilChains: false\n+makeIPTablesUtilChains: true\n providerID: " + h.Name + "\n"
			h.Change = &Change{Method: "file", Outcome: OutcomePlanned, Diff: diff, Message: "set the key to true in /etc/k.yaml:7 on " + h.Name}
		case i == 7:
			h.Status, h.Reason = audit.StatusFail, "flag-false"
			h.Change = &Change{Method: "file", Outcome: OutcomeRefused, Reason: "masked", Message: "a flag would mask the file", Hint: "--method args changes the flag"}
		case h.Status == audit.StatusUnknown:
			h.Change = &Change{Outcome: OutcomeFailedBeforeChange}
		default:
			h.Change = &Change{Outcome: OutcomeUnchanged}
		}
	}
	r.Summary = Summarise(r.Hosts)
	return r
}

func writePlan(t *testing.T, r Report, o TextOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := WritePlan(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGoldenPlan(t *testing.T) {
	for _, width := range []int{0, 80} {
		golden(t, fmt.Sprintf("testdata/plan-%d.golden", width), writePlan(t, planned(), TextOptions{Width: width}))
	}
	rollback := planned()
	rollback.Run.Command = "rollback"
	golden(t, "testdata/plan-rollback.golden", writePlan(t, rollback, TextOptions{}))
	golden(t, "testdata/plan-color.golden", writePlan(t, planned(), TextOptions{Color: true}))
}

func TestPlanPassesErrorsOn(t *testing.T) {
	if err := WritePlan(brokenPipe{}, planned(), TextOptions{}); err != errPipe {
		t.Errorf("got %v", err)
	}
}

// TestPlanFoldsNothingElse: entries that differ in one thing are told apart.
func TestPlanFoldsNothingElse(t *testing.T) {
	host := func(name string, c Change) Host {
		return Host{Name: name, Finding: audit.Finding{Status: audit.StatusFail, Reason: "file-false", Message: "m"}, Change: &c}
	}
	base := Change{Method: "file", Outcome: OutcomePlanned, Message: "m", Diff: "-a\n+b\n", Restarted: true}
	for name, edit := range map[string]func(*Change){
		"the method": func(c *Change) { c.Method = "args" }, "the outcome": func(c *Change) { c.Outcome = OutcomeRefused },
		"the reason": func(c *Change) { c.Reason = "r" }, "the message": func(c *Change) { c.Message = "n" },
		"the hint": func(c *Change) { c.Hint = "h" }, "the diff": func(c *Change) { c.Diff = "-a\n+c\n" },
		"the restart": func(c *Change) { c.Restarted = false },
	} {
		other := base
		edit(&other)
		if n := len(planGroups(Report{Hosts: []Host{host("a", base), host("b", other), host("c", base)}})); n != 2 {
			t.Errorf("%s: %d entries, want 2", name, n)
		}
	}
}

// FuzzPlan puts a hostile text everywhere at once.
func FuzzPlan(f *testing.F) {
	for _, s := range []string{"", "plain", "change  9  args", "-a\n+b\n", "\x1b[2J\r\n\t\u202e\u0301", strings.Repeat("世 ", 90), "\n\n\n", "+" + strings.Repeat("x", 500)} {
		f.Add(s, 80, 3)
		f.Add(s, 0, 40)
	}
	f.Fuzz(func(t *testing.T, s string, width, n int) {
		if n < 0 || n > 40 || width < 0 || width > 500 || len(s) > 1000 {
			return
		}
		r := poisoned(s, n)
		for i := range r.Hosts {
			r.Hosts[i].Change.Outcome = []Outcome{OutcomePlanned, OutcomeRefused, OutcomeUnchanged, Outcome(s)}[i%4]
		}
		text := writePlan(t, r, TextOptions{Width: width})
		for c := range runes(t, text) {
			if c != '\n' && !printable(c) {
				t.Fatalf("%U gets through", c)
			}
		}
		rows := 0
		for _, line := range strings.Split(text, "\n\n")[min(1, n):] {
			rows += strings.Count("\n"+line, "\n") - strings.Count("\n"+line, "\n ") - 1 // the heads
			break
		}
		if n > 0 && rows != len(planGroups(r)) {
			t.Fatalf("%d rows, want %d:\n%s", rows, len(planGroups(r)), text)
		}
	})
}
