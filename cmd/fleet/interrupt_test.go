package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleet/lab"
	"fleet/report"
)

// TestInterrupt sends Ctrl-C once or twice while a host keeps the run waiting.
func TestInterrupt(t *testing.T) {
	for _, c := range []struct {
		name    string
		signals int
		thaw    bool // the host comes back after the first signal
		want    map[string]string
	}{
		{"once, the host under way finishes", 1, true, map[string]string{"first": "default", "second": "not-reached"}},
		{"twice, the host under way is given up", 2, false, map[string]string{"first": "interrupted", "second": "not-reached"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fleet := start(t, []lab.NodeSpec{{Name: "first"}, {Name: "second"}})
			if err := fleet.Freeze("first"); err != nil {
				t.Fatal(err)
			}
			cmd, out, errs := fleet.command(t)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool { return fleet.Stats().Nodes["first"].Connections > 0 })
			for n := range c.signals {
				if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
				said := []string{"interrupt again to abort", "aborting"}[n]
				until(t, func() bool { return strings.Contains(errs.read(t), said) })
			}
			if !strings.Contains(errs.read(t), "waiting for 1 host: first") {
				t.Errorf("the host under way is not named: %s", errs.read(t))
			}
			if c.thaw {
				if err := fleet.Thaw("first"); err != nil {
					t.Fatal(err)
				}
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != report.ExitInterrupted {
				t.Errorf("ended with %v, want exit code %d\n%s", err, report.ExitInterrupted, errs.read(t))
			}
			rep, err := report.Decode(strings.NewReader(out.String()))
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range rep.Hosts {
				if h.Reason != c.want[h.Name] {
					t.Errorf("%s: %s %s, want %s", h.Name, h.Reason, h.Message, c.want[h.Name])
				}
			}
		})
	}
}

// logFile is a stream that can be read while the command writes it.
type logFile string

func (f logFile) read(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(string(f))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// command is fleet as a process of its own: this test binary under its name.
func (s started) command(t *testing.T) (*exec.Cmd, *bytes.Buffer, logFile) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.dir, "stderr")
	stderr, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stderr.Close() })
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = []string{
		"fleet", "audit", "-i", filepath.Join(s.dir, "nodes.yaml"), "--known-hosts", filepath.Join(s.dir, "known_hosts"),
		"--ssh-config", "none", "--parallel", "1", "--connect-timeout", "60s", "-o", "json",
	}
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_STATE_HOME="+s.dir, "SSH_AUTH_SOCK=")
	cmd.Stdout, cmd.Stderr = &out, stderr
	return cmd, &out, logFile(name)
}

// until waits for a condition that another process brings about.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the awaited condition did not come about within a minute")
		}
	}
}
