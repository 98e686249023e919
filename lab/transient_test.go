package lab_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fleet/lab"
)

// node returns the handle of node0.
func node(t *testing.T, f *lab.Fleet) lab.Node {
	t.Helper()
	n, err := f.Node(node0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits for what has to come by itself.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// put writes a script on the node, as a run of fleet would.
func put(t *testing.T, n lab.Node, path, script string) {
	t.Helper()
	if err := n.WriteFile(path, []byte(script)); err != nil {
		t.Fatal(err)
	}
}

const (
	jobPath = "/var/lib/fleet/job.sh"
	jobUnit = "fleet-change.service"
	jobRun  = `systemd-run --quiet --collect --unit=fleet-change --description='fleet change 1 by ann' `
	jobEnd  = ` /bin/sh "$1` + jobPath + `" "$1"`
)

// TestTransientUnit: what systemd makes of the end of a unit that systemd-run
// started: starts that are counted, and what is left of it.
func TestTransientUnit(t *testing.T) {
	const count = `echo x >>"$1/tmp/starts"; `
	tests := []struct {
		name, options, script string
		starts                int
		left                  string // ActiveState and Result at the end, "" for an unloaded unit
		journal               string
	}{
		{name: "success", script: "echo hello; exit 0", starts: 1},
		{name: "failure, collected", script: "exit 3", starts: 1},
		{name: "starts again until it succeeds", options: "-p Restart=on-failure -p RestartSec=10ms",
			script: `[ "$(wc -l <"$1/tmp/starts")" -ge 3 ] || exit 1`, starts: 3},
		{name: "killed by itself", options: "-p Restart=on-failure -p RestartSec=10ms",
			script: `[ "$(wc -l <"$1/tmp/starts")" -ge 2 ] || kill -9 $$`, starts: 2},
		{name: "SIGTERM is a clean end", options: "--property=Restart=on-failure -p RestartSec=10ms", script: `kill -15 $$`, starts: 1},
		{name: "the start limit", options: "-p Restart=on-failure -p RestartSec=1ms", script: "exit 1", starts: 5},
		{name: "a start limit of its own", options: "-p Restart=always -p RestartSec=1ms -p StartLimitBurst=2", script: "exit 0", starts: 2},
		{name: "an exit status that prevents it", options: "-p Restart=on-failure -p RestartPreventExitStatus=7", script: "exit 7", starts: 1},
		{name: "an exit status that is success", options: "-p Restart=on-failure -p SuccessExitStatus=7", script: "exit 7", starts: 1},
		{name: "variables", options: `--setenv=WORD="a b" -E OTHER=c`, script: `[ "$WORD$OTHER" = "a bc" ] || echo x >>"$1/tmp/starts"`, starts: 1},
		{name: "no terminal, no input", script: `tty; read -r line || echo x >>"$1/tmp/starts"`, starts: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, lab.NodeSpec{Name: node0})
			n, c := node(t, f), client(t, f, node0, "azureuser")
			put(t, n, jobPath, count+tt.script)
			if got := sudoScript(t, c, jobRun+tt.options+jobEnd); got.stdout != "READY\n" || got.stderr != "" || got.exit != 0 {
				t.Fatalf("got %v", got)
			}
			eventually(t, "the unit to be unloaded", func() bool { return n.Unit(jobUnit) == nil })
			starts, err := n.ReadFile("/tmp/starts")
			if err != nil || strings.Count(string(starts), "x") != tt.starts {
				t.Errorf("want %d starts, got %q, %v", tt.starts, starts, err)
			}
			if got := sudoScript(t, c, "systemctl show fleet-change -p LoadState; journalctl -u fleet-change -o cat"); !strings.HasPrefix(got.stdout, "READY\nLoadState=not-found\nStarted ") {
				t.Errorf("want the unit gone and its journal kept, got %v", got)
			}
		})
	}
}

// TestTransientLock: the name of a unit that is loaded is taken, and what it is
// for can be read.
func TestTransientLock(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	n, c := node(t, f), client(t, f, node0, "azureuser")
	put(t, n, jobPath, "exec sleep 1000")
	got := sudoScript(t, c, jobRun+jobEnd+`
systemd-run --unit=fleet-change true; echo $?
systemctl show fleet-change.service -p Description,ActiveState,SubState,Transient
systemctl is-active fleet-change; kill -0 "$(systemctl show fleet-change -p MainPID | sed s/MainPID=//)" && echo alive`)
	want := "READY\n1\nDescription=fleet change 1 by ann\nActiveState=active\nSubState=running\nTransient=yes\nactive\nalive\n"
	const words = "Failed to start transient service unit: Unit fleet-change.service was already loaded or has a fragment file.\n"
	if got.stdout != want || got.stderr != words {
		t.Errorf("got %v", got)
	}
	// Without --collect a failure holds the name until reset-failed.
	got = sudoScript(t, c, `systemctl stop fleet-change
systemd-run -q --unit=fleet-change false
until [ "$(systemctl is-active fleet-change)" = failed ]; do :; done
systemd-run -q --unit=fleet-change true; echo $?
systemctl reset-failed fleet-change; systemd-run -q --unit=fleet-change true; echo $?`)
	if got.stdout != "READY\n1\n0\n" || got.stderr != words {
		t.Errorf("got %v", got)
	}
}

// TestStopTransient: stop ends all the unit's processes, gently at first, and
// nothing starts it again; kill is the process's own affair.
func TestStopTransient(t *testing.T) {
	const again = "-p Restart=on-failure -p RestartSec=10ms "
	tests := []struct {
		name, options, script, act string
		ends                       bool
		said                       string // what the script wrote into /tmp/said
	}{
		{"stop", again, `trap 'echo term >"$1/tmp/said"; exit 1' TERM; echo up >"$1/tmp/said"; while :; do sleep 0.01; done`, "systemctl stop fleet-change", true, "term\n"},
		{"stop of one that does not listen", again + "-p TimeoutStopSec=50ms", `trap '' TERM; echo up >"$1/tmp/said"; while :; do sleep 0.01; done`, "systemctl stop fleet-change", true, "up\n"},
		{"kill", again, `echo up >>"$1/tmp/said"; exec sleep 1000`, "systemctl kill -s KILL --kill-whom=main fleet-change", false, "up\nup\n"},
		{"kill with a clean signal", again, `echo up >>"$1/tmp/said"; exec sleep 1000`, "systemctl kill fleet-change", true, "up\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, lab.NodeSpec{Name: node0})
			n, c := node(t, f), client(t, f, node0, "azureuser")
			said := func() string { data, _ := n.ReadFile("/tmp/said"); return string(data) }
			put(t, n, jobPath, tt.script)
			sudoScript(t, c, jobRun+tt.options+jobEnd)
			eventually(t, "the script to be up", func() bool { return said() == "up\n" })
			if got := sudoScript(t, c, tt.act); got.exit != 0 || got.stderr != "" {
				t.Fatalf("got %v", got)
			}
			if tt.ends {
				eventually(t, "the unit to be unloaded", func() bool { return n.Unit(jobUnit) == nil })
			}
			eventually(t, "the script to say "+tt.said, func() bool { return said() == tt.said })
			if u := n.Unit(jobUnit); !tt.ends && (u["ActiveState"] != "active" || u["NRestarts"] != "1") {
				t.Errorf("want a unit that was started again, got %v", u)
			}
		})
	}
}

// TestKillUnit: a unit that is killed takes what it started along, and starts
// again.
func TestKillUnit(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	n, c := node(t, f), client(t, f, node0, "azureuser")
	put(t, n, jobPath, `timeout 1000 sleep 1000 & echo $! >"$1/tmp/child.$INVOCATION_ID"; wait`)
	sudoScript(t, c, jobRun+"-p Restart=on-failure -p RestartSec=10ms"+jobEnd)
	child := func() int {
		data, _ := n.ReadFile("/tmp/child." + n.Unit(jobUnit)["InvocationID"])
		pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
		return pid
	}
	eventually(t, "a child", func() bool { return child() != 0 })
	first := child()
	if err := n.KillUnit(jobUnit); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second child", func() bool { pid := child(); return pid != 0 && pid != first })
	if alive(first) {
		t.Error("the child of the first start is still there")
	}
	second := child()
	f.Close()
	eventually(t, "everything to be gone", func() bool { return !alive(second) })
}

// TestCutLeavesUnits: a cut ends the connections and not the transient unit.
func TestCutLeavesUnits(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	n, c := node(t, f), client(t, f, node0, "azureuser")
	put(t, n, jobPath, `until [ -e "$1/tmp/go" ]; do sleep 0.01; done; systemctl restart kubelet; echo done >"$1/tmp/done"`)
	sudoScript(t, c, jobRun+jobEnd)
	pid := n.KubeletPID()
	n.Cut()
	if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err == nil {
		t.Error("the connection survived the cut")
	}
	put(t, n, "/tmp/go", "")
	eventually(t, "the unit to finish", func() bool { _, err := os.Stat(filepath.Join(n.Root(), "tmp/done")); return err == nil })
	if n.KubeletPID() == pid || n.KubeletPID() == 0 {
		t.Errorf("want a new kubelet, got process %d after %d", n.KubeletPID(), pid)
	}
}

func TestSystemdRunRefuses(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	c := client(t, f, node0, "azureuser")
	for line, want := range map[string]result{
		"systemd-run -p Frobnicate=1 true":            {exit: 1, stderr: "Unknown assignment: Frobnicate=1\n"},
		"systemd-run -p RestartSec=soon true":         {exit: 1, stderr: "Failed to parse RestartSec= value: soon\n"},
		"systemd-run nosuch":                          {exit: 1, stderr: "Failed to find executable nosuch: No such file or directory\n"},
		"systemd-run --wait true":                     {exit: 64, stderr: "lab: systemd-run --wait is not simulated\n"},
		"systemd-run":                                 {exit: 64, stderr: "lab: systemd-run without a command is not simulated\n"},
		"systemctl restart containerd":                {exit: 64, stderr: "lab: systemctl restart containerd.service is not simulated\n"},
		"systemctl kill nosuch":                       {exit: 5, stderr: "Failed to kill nosuch.service: Unit nosuch.service not found.\n"},
		"systemctl stop nosuch":                       {exit: 5, stderr: "Failed to stop nosuch.service: Unit nosuch.service not loaded.\n"},
		"curl -s https://example.net/":                {exit: 64, stderr: "lab: curl https://example.net/ is not simulated\n"},
		"wget -q -O - http://127.0.0.1:10248/configz": {exit: 64, stderr: "lab: wget http://127.0.0.1:10248/configz is not simulated\n"},
		"logger --journald":                           {exit: 64, stderr: "lab: logger --journald is not simulated\n"},
	} {
		want.stdout = "READY\n"
		if got := sudoScript(t, c, line); got != want {
			t.Errorf("%s: got %v", line, got)
		}
	}
}
