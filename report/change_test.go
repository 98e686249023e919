package report

import (
	"fmt"
	"strings"
	"testing"

	"fleet/audit"
	"fleet/kubelet"
)

// ran is a host with its verdict and the outcome of its change, "" for none.
func ran(name string, s audit.Status, o Outcome) Host {
	h := Host{Name: name, Finding: audit.Finding{Status: s}}
	if o != "" {
		h.Change = &Change{Outcome: o}
	}
	return h
}

// times repeats a host under other names.
func times(n int, h Host) []Host {
	out := make([]Host, n)
	for i := range out {
		out[i] = h
		out[i].Name = fmt.Sprintf("%s%s%d", h.Status, h.Name, i)
	}
	return out
}

func join(hosts ...[]Host) []Host {
	var out []Host
	for _, h := range hosts {
		out = append(out, h...)
	}
	return out
}

func TestChangeVerdict(t *testing.T) {
	for _, c := range []struct {
		command string
		hosts   []Host
		want    string
	}{
		{"remediate", join(
			times(5, ran("c", "pass", OutcomeChanged)), times(1, ran("r", "fail", OutcomeRolledBack)), times(2, ran("f", "fail", OutcomeRefused)),
			times(1, ran("n", "unknown", OutcomeNotReached)), times(7, ran("u", "pass", OutcomeUnchanged)),
		), "Of 16 hosts, 5 were changed, 1 was rolled back, 2 were refused, 1 was not reached, 7 were compliant already."},
		{"remediate", times(1, ran("c", "pass", OutcomeChanged)), "1 host was changed."},
		{"remediate", times(3, ran("c", "pass", OutcomeUnchanged)), "All 3 hosts were compliant already."},
		{"remediate", times(2, ran("c", "fail", OutcomePlanned)), "All 2 hosts would be changed."},
		{"remediate", times(2, ran("c", "fail", OutcomeFailedAfterChange)), "All 2 hosts FAILED after their change."},
		{"remediate", join(
			times(1, ran("c", "fail", OutcomeChanged)), times(1, ran("c", "unknown", OutcomeChanged)), times(1, ran("b", "pass", OutcomeFailedBeforeChange)),
			times(1, ran("u", "fail", OutcomeUnchanged)), times(1, ran("u", "unknown", OutcomeUnchanged)), times(1, ran("u", "pass", OutcomeUnknown)),
			times(1, ran("u", "not-applicable", OutcomeUnchanged)), times(1, ran("-", "pass", "")), times(1, ran("-", "fail", "")),
		), "Of 9 hosts, 2 are UNKNOWN, 1 was changed and is UNKNOWN since, 1 was changed and still FAILS, 1 FAILED before its change, " +
			"2 were left as they are and FAIL, 1 is not applicable, 1 was compliant already."},
		{"rollback", join(
			times(2, ran("r", "fail", OutcomeRolledBack)), times(1, ran("u", "pass", OutcomeUnchanged)), times(1, ran("-", "pass", "")), times(1, ran("f", "pass", OutcomeRefused)),
		), "Of 5 hosts, 2 were rolled back, 1 was refused, 1 was not reached, 1 had nothing to roll back."},
		{"rollback", times(2, ran("r", "pass", OutcomePlanned)), "All 2 hosts would be rolled back."},
		{"remediate", times(2, ran("x", "pass", "of no version")), "All 2 hosts are UNKNOWN."},
		{"remediate", nil, "No hosts: nothing was changed."},
	} {
		r := Report{Run: Run{Command: c.command}, Hosts: c.hosts}
		if got := r.ChangeVerdict(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestVerdictOfARunThatOnlyLooks keeps the sentence of an audit.
func TestVerdictOfARunThatOnlyLooks(t *testing.T) {
	if got := (Report{Run: Run{Command: "audit"}, Hosts: hosts("pass", "fail")}).verdict(); got != "Of 2 hosts, 1 FAILS, 1 passes." {
		t.Errorf("got %s", got)
	}
}

// rollout is a fleet of which some hosts were changed.
func rollout(n int) Report {
	r := big(n)
	r.Run.Command = "remediate"
	for i := range r.Hosts {
		h := &r.Hosts[i]
		c := &Change{Method: "args", Outcome: OutcomeUnchanged, Wave: 1 + i/50}
		switch {
		case h.Status == audit.StatusUnknown:
			c = &Change{Outcome: OutcomeFailedBeforeChange, Reason: h.Reason, Message: h.Message, Hint: h.Hint}
		case i >= 50 && i < 60:
			c.Outcome = OutcomeNotReached
		case h.Reason == "file-false":
			c.Outcome, c.Reason, c.Message, c.Hint = OutcomeRefused, "masked", "a flag on "+h.Name+" masks the file", "fleet remediate --method args --limit "+h.Name
		case h.Status == audit.StatusFail:
			h.Status, h.Reason, h.Message, h.Hint = audit.StatusPass, "explicit", "a flag says true", ""
			w := &audit.Witness{Value: true, Source: kubelet.Source{Kind: kubelet.SourceFlag, Path: "/etc/default/kubelet", Line: 3}}
			h.Running, h.Next = w, w
			c.Outcome, c.Restarted, c.Message = OutcomeChanged, true, "added --make-iptables-util-chains=true to KUBELET_FLAGS of "+h.Name
			c.Diff = envDiff
		}
		h.Change = c
	}
	r.Summary = Summarise(r.Hosts)
	return r
}

const envDiff = "--- /etc/default/kubelet\n+++ /etc/default/kubelet\n@@ -3 +3 @@\n-KUBELET_FLAGS=--a=b \n+KUBELET_FLAGS=--a=b --make-iptables-util-chains=true\n"

// TestDiffsKeepTheirLayout: a diff is shown line by line, its blanks as they
// are, its control characters visible, and it is bounded.
func TestDiffsKeepTheirLayout(t *testing.T) {
	r := rollout(45)
	r.Hosts[41].Change.Diff = "@@ -1 +1 @@\n-a:\t  1  \r\n+\x1b[2Ja:  2\n \n" + strings.Repeat(" x\n", 300)
	text := render(t, "wide", r, TextOptions{})
	for _, want := range []string{
		"\n    -KUBELET_FLAGS=--a=b \n    +KUBELET_FLAGS=--a=b --make-iptables-util-chains=true\n",
		"\n    -a:\\t  1  \\r\n    +\\x1b[2Ja:  2\n     \n     x\n",
		"\n    (104 more lines; -o json has them)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(render(t, "table", r, TextOptions{}), "KUBELET_FLAGS=--a") {
		t.Error("the table shows a diff")
	}
}
