package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleet/lab"
	"fleet/report"
)

// exec runs the command in this process and returns its exit code and result.
func (s started) exec(t *testing.T, args ...string) (int, report.Exec) {
	t.Helper()
	var out, errs bytes.Buffer
	env := environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(name string) string {
		return map[string]string{"HOME": s.dir, "XDG_STATE_HOME": filepath.Join(s.dir, "state")}[name]
	}}
	code := run(append([]string{
		"exec", "-i", filepath.Join(s.dir, "nodes.yaml"), "--known-hosts", filepath.Join(s.dir, "known_hosts"),
		"--ssh-config", "none", "-o", "json",
	}, args...), env)
	var x report.Exec
	if err := json.Unmarshal(out.Bytes(), &x); err != nil {
		t.Fatalf("exit code %d, output: %v\n%s%s", code, err, out.String(), errs.String())
	}
	return code, x
}

func of(t *testing.T, x report.Exec, name string) report.ExecHost {
	t.Helper()
	for _, h := range x.Hosts {
		if h.Name == name {
			return h
		}
	}
	t.Fatalf("%s is missing", name)
	return report.ExecHost{}
}

// TestExecScript holds the script against a real sh: the command arrives as it
// was typed, its input is empty, and nothing of the script leaks into it.
func TestExecScript(t *testing.T) {
	for _, c := range []struct {
		command, stdout string
		exit            int
	}{
		{"echo 'a  b' \"c\" $((1+1))", "a  b c 2\n", 0},
		{`printf %s\\n "it's" '\n'`, "it's\n\\n\n", 0},
		{"cat; echo done", "done\n", 0},
		{"read x; echo $?", "1\n", 0},
		{"echo a # comment", "a\n", 0},
		{"echo a\necho b", "a\nb\n", 0},
		{"cat <<E\nx$((2*3))\nE", "x6\n", 0},
		{"exit 7", "", 7},
		{"false; true", "", 0},
		{"exec sh -c 'exit 9'", "", 9},
		{"-nosuch", "", 127},
		{"echo $#", "0\n", 0},
	} {
		cmd := exec.Command("sh", "-s")
		cmd.Stdin = bytes.NewReader(execScript(c.command))
		out, err := cmd.Output()
		var failed *exec.ExitError
		if err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); string(out) != c.stdout || got != c.exit {
			t.Errorf("%q: got %q and exit status %d, want %q and %d", c.command, out, got, c.stdout, c.exit)
		}
	}
}

// TestExecIsBoundedPerHost: a host that hangs, floods or cannot be reached
// costs no other host its result.
func TestExecIsBoundedPerHost(t *testing.T) {
	fleet := start(t, []lab.NodeSpec{
		{Name: "good"}, {Name: "flood"}, {Name: "hang"}, {Name: "mute", Fault: lab.FaultMute}, {Name: "reset", Fault: lab.FaultReset},
		{Name: "endless", Fault: lab.FaultEndless}, {Name: "root", User: "root"},
	})
	code, x := fleet.exec(t, "--timeout", "3s", "--connect-timeout", "1s", "--output-limit", "1000", "--",
		`case $(hostname) in flood) seq 1 9999;; reset) seq 1 99;; hang) echo begun; sleep 600;; *) echo fine;; esac; echo aside >&2`)
	if code != report.ExitIncomplete {
		t.Errorf("exit code %d", code)
	}
	for name, reason := range map[string]string{
		"good": "", "root": "", "flood": "output-too-large", "hang": "timeout", "mute": "timeout-handshake", "reset": "connection-lost", "endless": "output-too-large",
	} {
		h := of(t, x, name)
		if reason == "timeout" {
			h.Reason = strings.TrimSuffix(h.Reason, "-command") // whichever limit came first
		}
		if h.Reason != reason {
			t.Errorf("%s: got %q: %s, want %q", name, h.Reason, h.Message, reason)
		}
		if reason != "" && (h.Hint == "" || h.Message == "" || h.Exit != nil) {
			t.Errorf("%s: message %q, hint %q, exit %v", name, h.Message, h.Hint, h.Exit)
		}
		if h.DurationMS > (20 * time.Second).Milliseconds() {
			t.Errorf("%s took %d ms", name, h.DurationMS)
		}
	}
	if h := of(t, x, "good"); h.Stdout != "fine\n" || h.Stderr != "aside\n" || *h.Exit != 0 {
		t.Errorf("good: %+v", h)
	}
	if h := of(t, x, "flood"); len(h.Stdout) > 1000 || !strings.HasPrefix(h.Stdout, "1\n2\n") || !strings.Contains(h.Hint, "--output-limit") {
		t.Errorf("flood: %d bytes, hint %q", len(h.Stdout), h.Hint)
	}
	if h := of(t, x, "hang"); h.Stdout != "begun\n" || !strings.Contains(h.Hint, "run still") {
		t.Errorf("hang: %q, hint %q", h.Stdout, h.Hint)
	}
}

// TestExecBigStderr: standard error is cut, and says so.
func TestExecBigStderr(t *testing.T) {
	fleet := start(t, []lab.NodeSpec{{Name: "n"}})
	code, x := fleet.exec(t, "--", "seq 1 99999 >&2")
	if h := x.Hosts[0]; code != report.ExitOK || !h.StderrCut || len(h.Stderr) != 64<<10 {
		t.Errorf("exit code %d, %d bytes, cut %v", code, len(h.Stderr), h.StderrCut)
	}
}

// TestExecBecome: without a word of it nobody becomes root; the inventory and
// the command line may ask for it, and the command line wins.
func TestExecBecome(t *testing.T) {
	fleet := start(t, []lab.NodeSpec{{Name: "silent"}, {Name: "asks", Become: "sudo"}, {Name: "root", User: "root"}})
	for _, c := range []struct {
		flag string
		want map[string]string
	}{
		{"", map[string]string{"silent": "1000", "asks": "0", "root": "0"}},
		{"--become", map[string]string{"silent": "0", "asks": "0", "root": "0"}},
		{"--no-become", map[string]string{"silent": "1000", "asks": "1000", "root": "0"}},
	} {
		args := append(strings.Fields(c.flag), "--", "id", "-u")
		code, x := fleet.exec(t, args...)
		for name, uid := range c.want {
			if h := of(t, x, name); code != report.ExitOK || h.Stdout != uid+"\n" {
				t.Errorf("%q: %s: exit code %d, %+v", c.flag, name, code, h)
			}
		}
	}
}

// TestExecInterrupt: what is known is reported, and who had no turn.
func TestExecInterrupt(t *testing.T) {
	fleet := start(t, []lab.NodeSpec{{Name: "first"}, {Name: "second"}, {Name: "third"}})
	if err := fleet.Freeze("second"); err != nil {
		t.Fatal(err)
	}
	cmd, out, errs := fleet.command(t)
	for i, arg := range cmd.Args {
		if arg == "audit" {
			cmd.Args[i] = "exec"
		}
	}
	cmd.Args = append(cmd.Args, "--", "echo here")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return fleet.Stats().Nodes["second"].Connections > 0 })
	for _, said := range []string{"waiting for 1 host: second", "aborting"} {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return strings.Contains(errs.read(t), said) })
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != report.ExitInterrupted {
		t.Errorf("ended with %v\n%s", err, errs.read(t))
	}
	var x report.Exec
	if err := json.Unmarshal(out.Bytes(), &x); err != nil {
		t.Fatal(err)
	}
	if h := of(t, x, "first"); h.Stdout != "here\n" || h.Reason != "" {
		t.Errorf("first: %+v", h)
	}
	for name, reason := range map[string]string{"second": "interrupted", "third": "not-reached"} {
		if h := of(t, x, name); h.Reason != reason || !strings.Contains(h.Hint, "--limit "+name) {
			t.Errorf("%s: %s, hint %q", name, h.Reason, h.Hint)
		}
	}
	if !x.Run.Interrupted {
		t.Error("the run does not say that it was interrupted")
	}
}
