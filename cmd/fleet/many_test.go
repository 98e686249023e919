package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet/audit"
	"fleet/lab"
	"fleet/report"
)

// started is a fleet of simulated nodes with its inventory.
type started struct {
	*lab.Fleet
	dir string
}

func start(t testing.TB, specs []lab.NodeSpec) started {
	t.Helper()
	dir := t.TempDir()
	fleet, err := lab.Start(t.Context(), lab.Options{Dir: dir, Nodes: specs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	if err := fleet.WriteInventory(dir); err != nil {
		t.Fatal(err)
	}
	return started{fleet, dir}
}

// audit runs the command in this process and returns its exit code and report.
func (s started) audit(t testing.TB, args ...string) (int, report.Report) {
	t.Helper()
	var out, errs bytes.Buffer
	env := environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(name string) string {
		return map[string]string{"HOME": s.dir, "XDG_STATE_HOME": filepath.Join(s.dir, "state")}[name]
	}}
	code := run(append([]string{
		"audit", "-i", filepath.Join(s.dir, "nodes.yaml"), "--known-hosts", filepath.Join(s.dir, "known_hosts"),
		"--ssh-config", "none", "-o", "json",
	}, args...), env)
	rep, err := report.Decode(&out)
	if err != nil {
		t.Fatalf("exit code %d, report: %v\n%s", code, err, errs.String())
	}
	return code, rep
}

// TestManyHosts audits a thousand nodes at the default parallelism, one of
// them mute. The limits are generous, because nodes and client share this
// machine's cores; the mute node must not take the run down with it.
func TestManyHosts(t *testing.T) {
	specs := append(lab.ManyNodes(manyHosts), lab.NodeSpec{Name: "mute", Fault: lab.FaultMute})
	fleet := start(t, specs)
	code, rep := fleet.audit(t, "--connect-timeout", "60s", "--timeout", "3m")
	if code != report.ExitIncomplete || rep.Summary.Total != manyHosts+1 || rep.Summary.Unknown != 1 {
		t.Errorf("exit code %d, summary %+v", code, rep.Summary)
	}
	if rep.Summary.Fail == 0 || rep.Summary.Pass == 0 {
		t.Errorf("summary %+v, want both passes and failures", rep.Summary)
	}
	for i, h := range rep.Hosts {
		if h.Name != specs[i].Name {
			t.Fatalf("host %d is %s, want %s", i, h.Name, specs[i].Name)
		}
		if unknown := h.Status == audit.StatusUnknown; unknown != (h.Name == "mute") {
			t.Errorf("%s: %s %s: %s", h.Name, h.Status, h.Reason, h.Message)
		}
	}
	stats := fleet.Stats()
	for name, n := range stats.Nodes {
		if name != "mute" && len(n.Sessions) != 1 {
			t.Errorf("%s saw %d sessions, want one", name, len(n.Sessions))
		}
	}
}

// TestBadHostsDoNotDisturb gives each kind of bad host its reason within its
// deadline, beside a good one.
func TestBadHostsDoNotDisturb(t *testing.T) {
	want := map[string]string{}
	var specs []lab.NodeSpec
	add := func(reason string, s lab.NodeSpec) {
		s.Name = reason
		for want[s.Name] != "" {
			s.Name += "-again"
		}
		want[s.Name] = reason
		specs = append(specs, s)
	}
	add("default", lab.NodeSpec{})
	add("unreachable-refused", lab.NodeSpec{Fault: lab.FaultRefuse})
	add("timeout-handshake", lab.NodeSpec{Fault: lab.FaultMute})
	add("timeout-auth", lab.NodeSpec{Fault: lab.FaultMuteAuth})
	add("timeout", lab.NodeSpec{Fault: lab.FaultMuteCommand})
	add("connection-lost", lab.NodeSpec{Fault: lab.FaultReset})
	add("host-key-changed", lab.NodeSpec{Fault: lab.FaultHostKey})
	add("auth-refused", lab.NodeSpec{Fault: lab.FaultRejectKey})
	add("output-too-large", lab.NodeSpec{Fault: lab.FaultEndless})
	add("ssh-busy", lab.NodeSpec{Fault: lab.FaultBusy})
	add("no-shell", lab.NodeSpec{Fault: lab.FaultExecRefused})
	add("no-shell", lab.NodeSpec{Fault: lab.FaultNoLogin})
	add("not-ssh", lab.NodeSpec{Fault: lab.FaultNotSSH})
	add("timeout-handshake", lab.NodeSpec{Fault: lab.FaultMuteKex})
	add("os-windows", lab.NodeSpec{Fault: lab.FaultWindows})
	add("probe-failed", lab.NodeSpec{Fault: lab.FaultTruncate})
	add("default", lab.NodeSpec{Fault: lab.FaultLinger})
	add("sudo-password", lab.NodeSpec{Sudo: lab.SudoPassword, Password: "x"})
	add("sudo-not-allowed", lab.NodeSpec{Sudo: lab.SudoNotAllowed})
	add("sudo-missing", lab.NodeSpec{Sudo: lab.SudoMissing})
	add("sudo-tty", lab.NodeSpec{Sudo: lab.SudoRequireTTY})
	add("no-unit", lab.NodeSpec{Shape: lab.ShapeBare})
	add("several-kubelets", lab.NodeSpec{State: lab.StateTwo})
	add("no-kubelet", lab.NodeSpec{State: lab.StateStopped})
	add("unit-masked", lab.NodeSpec{State: lab.StateMasked})
	add("crash-loop", lab.NodeSpec{State: lab.StateCrashLoop})
	add("k3s", lab.NodeSpec{Shape: lab.ShapeK3s})
	add("default", lab.NodeSpec{State: lab.StateReplaced})
	add("default", lab.NodeSpec{Preamble: "Welcome!\n"})
	add("default", lab.NodeSpec{User: "root", Become: "none"})
	fleet := start(t, specs)
	code, rep := fleet.audit(t, "--connect-timeout", "3s", "--timeout", "10s")
	if code != report.ExitIncomplete {
		t.Errorf("exit code %d", code)
	}
	for _, h := range rep.Hosts {
		reason := h.Reason
		if reason == "timeout-command" {
			reason = "timeout" // whichever limit came first
		}
		if reason != want[h.Name] {
			t.Errorf("%s: got %s %s: %s", h.Name, h.Status, h.Reason, h.Message)
		}
		if h.DurationMS > (20 * time.Second).Milliseconds() {
			t.Errorf("%s took %d ms", h.Name, h.DurationMS)
		}
	}
}

// BenchmarkAudit1000 is the whole command on a thousand simulated nodes, which
// share the machine with it.
func BenchmarkAudit1000(b *testing.B) {
	fleet := start(b, lab.ManyNodes(1000))
	fleet.audit(b, "--connect-timeout", "60s") // the first visit writes the nodes' files
	for b.Loop() {
		if code, _ := fleet.audit(b, "--connect-timeout", "60s"); code != report.ExitFail {
			b.Fatalf("exit code %d", code)
		}
	}
}
