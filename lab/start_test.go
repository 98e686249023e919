package lab_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fleet/lab"
)

// restarted runs a script that restarts the kubelet and returns its node.
func restarted(t *testing.T, spec lab.NodeSpec, script string) (lab.Node, result) {
	t.Helper()
	spec.Name = node0
	f := start(t, spec)
	n := node(t, f)
	return n, sudoScript(t, client(t, f, node0, "azureuser"), script)
}

const restart = "systemctl restart kubelet; "

// quick makes systemd start the kubelet again at once.
func quick(text string) lab.File {
	return lab.File{Path: "/etc/systemd/system/kubelet.service.d/01-quick.conf", Data: text}
}

// TestCrashLoopInTime: a kubelet that cannot start is started again and again,
// as a new process each time, until somebody mends it or the limit is hit.
func TestCrashLoopInTime(t *testing.T) {
	const fast = "[Service]\nRestartSec=10ms\n[Unit]\nStartLimitIntervalSec=0\n"
	json := "/etc/default/kubeletconfig.json"
	flags := func(f string) *lab.Layers { return &lab.Layers{Flags: []string{f}} }
	tests := []struct {
		name    string
		spec    lab.NodeSpec
		journal string
	}{
		{"colon", lab.NodeSpec{Later: flags(flagColon)}, "unknown flag: " + flagColon},
		{"flag and a word", lab.NodeSpec{Later: flags("--make-iptables-util-chains false")}, "unknown command"},
		{"no boolean", lab.NodeSpec{Later: flags("--make-iptables-util-chains=maybe")}, "invalid argument"},
		{"quoted boolean", lab.NodeSpec{Shape: lab.ShapeAKSFile, Later: &lab.Layers{File: `"true"`}}, "makeIPTablesUtilChains"},
		{"broken JSON", lab.NodeSpec{Shape: lab.ShapeAKSFile, Files: []lab.File{{Path: json, Data: `{"kind": `, Later: true}}}, "command failed"},
		{"unknown kind", lab.NodeSpec{Shape: lab.ShapeAKSFile, Files: []lab.File{{Path: json, Data: `{"kind":"KubeletPoison","apiVersion":"kubelet.config.k8s.io/v1beta1"}`, Later: true}}}, "KubeletPoison"},
		{"no such version", lab.NodeSpec{Shape: lab.ShapeAKSFile, Files: []lab.File{{Path: json, Data: `{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v9"}`, Later: true}}}, "v9"},
		{"no config file", lab.NodeSpec{Shape: lab.ShapeAKSFile, Files: []lab.File{{Path: json, Remove: true, Later: true}}}, "command failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Files = append(tt.spec.Files, quick(fast))
			n, got := restarted(t, tt.spec, restart+"curl -s http://127.0.0.1:10248/healthz; echo $?")
			if got.stdout != "READY\n7\n" {
				t.Fatalf("want a restart that succeeds and no answer from healthz, got %v", got)
			}
			first := n.Unit("kubelet.service")
			if first["ActiveState"] != "activating" || first["SubState"] != "auto-restart" || first["MainPID"] != "0" || first["Result"] != "exit-code" {
				t.Errorf("want a unit between two starts, got %v", first)
			}
			eventually(t, "more restarts", func() bool { return restarts(n) >= 8 })
			if u := n.Unit("kubelet.service"); u["InvocationID"] == first["InvocationID"] || u["ExecMainPID"] == first["ExecMainPID"] ||
				u["ExecMainStartTimestampMonotonic"] == first["ExecMainStartTimestampMonotonic"] {
				t.Errorf("want new starts, got %v after %v", u, first)
			}
			if journal := strings.Join(n.Journal("kubelet.service"), "\n"); !strings.Contains(journal, tt.journal) || !strings.Contains(journal, "Scheduled restart job, restart counter is at 3.") {
				t.Errorf("want %q in the journal, got %s", tt.journal, journal)
			}
		})
	}
}

func restarts(n lab.Node) int {
	count, _ := strconv.Atoi(n.Unit("kubelet.service")["NRestarts"])
	return count
}

// TestMendedLoop: systemd reads the files anew at each start, so a loop ends by
// itself when they are mended, and NRestarts tells of it until reset-failed.
func TestMendedLoop(t *testing.T) {
	n, _ := restarted(t, lab.NodeSpec{Later: &lab.Layers{Flags: []string{flagColon}}, Files: []lab.File{quick("[Service]\nRestartSec=50ms\n[Unit]\nStartLimitIntervalSec=0\n")}}, restart)
	data, err := n.ReadFile("/etc/default/kubelet")
	if err != nil {
		t.Fatal(err)
	}
	put(t, n, "/etc/default/kubelet", strings.Replace(string(data), flagColon, flagTrue, 1))
	eventually(t, "the kubelet to run", func() bool { return n.KubeletPID() != 0 })
	if !slices.Contains(n.KubeletArgv(), flagTrue) || restarts(n) == 0 {
		t.Errorf("want %s and restarts, got %q, %d", flagTrue, n.KubeletArgv(), restarts(n))
	}
}

// TestStartLimit: systemd gives up on a unit that starts too often, and forgets
// it at reset-failed.
func TestStartLimit(t *testing.T) {
	limit := quick("[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=3\n[Service]\nRestartSec=1ms\n")
	n, _ := restarted(t, lab.NodeSpec{Later: &lab.Layers{Flags: []string{flagColon}}, Files: []lab.File{limit}}, restart)
	eventually(t, "systemd to give up", func() bool { return n.Unit("kubelet.service")["ActiveState"] == "failed" })
	if u := n.Unit("kubelet.service"); u["Result"] != "start-limit-hit" || u["NRestarts"] != "2" {
		t.Errorf("want the start limit after two restarts, got %v", u)
	}
	// By hand as well.
	n, got := restarted(t, lab.NodeSpec{Files: []lab.File{limit}}, "for i in 1 2 3 4; do systemctl restart kubelet; echo $?; done; systemctl reset-failed kubelet; systemctl start kubelet; echo $?")
	if got.stdout != "READY\n0\n0\n0\n1\n0\n" || !strings.Contains(got.stderr, "Job for kubelet.service failed.\nSee ") {
		t.Errorf("got %v", got)
	}
	if n.KubeletPID() == 0 || restarts(n) != 0 {
		t.Errorf("want a kubelet that runs, got %v", n.Unit("kubelet.service"))
	}
}

// TestBehaviour: how a kubelet behaves after its start.
func TestBehaviour(t *testing.T) {
	const healthz = "curl -s --noproxy '*' --max-time 5 http://127.0.0.1:10248/healthz; echo $?; wget -q -O - -T 5 http://127.0.0.1:10248/healthz; echo $?; "
	tests := []struct {
		name   string
		spec   lab.NodeSpec
		script string
		want   string
	}{
		{name: "sound", script: restart + healthz, want: "ok0\nok0\n"},
		{name: "before any restart", spec: lab.NodeSpec{Kubelet: lab.Behaviour{HealthAfter: lab.Never}}, script: healthz, want: "ok0\nok0\n"},
		{name: "stopped", script: "systemctl stop kubelet; " + healthz, want: "7\n4\n"},
		{name: "k3s", spec: lab.NodeSpec{Shape: lab.ShapeK3s}, script: healthz, want: "ok0\nok0\n"},
		{name: "no kubelet", spec: lab.NodeSpec{Shape: lab.ShapeBare}, script: healthz, want: "7\n4\n"},
		{name: "never healthy", spec: lab.NodeSpec{Kubelet: lab.Behaviour{HealthAfter: lab.Never}}, script: restart + healthz + "systemctl is-active kubelet", want: "7\n4\nactive\n"},
		{name: "unhealthy", spec: lab.NodeSpec{Kubelet: lab.Behaviour{Unhealthy: true}},
			script: restart + healthz + "curl -fs http://127.0.0.1:10248/healthz; echo $?; curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:10248/healthz",
			want:   "[+]ping ok\n[+]log ok\n[-]syncloop failed: reason withheld\nhealthz check failed0\n8\n22\n500"},
		{name: "healthy in time", spec: lab.NodeSpec{Kubelet: lab.Behaviour{HealthAfter: 50 * time.Millisecond}},
			script: restart + `until curl -s http://127.0.0.1:10248/healthz; do sleep 0.01; done`, want: "ok"},
		{name: "only with false, is true", spec: lab.NodeSpec{Kubelet: lab.Behaviour{Only: "false", HealthAfter: lab.Never}}, script: restart + healthz, want: "ok0\nok0\n"},
		{name: "only with true, is true", spec: lab.NodeSpec{Kubelet: lab.Behaviour{Only: "true", HealthAfter: lab.Never}}, script: restart + healthz, want: "7\n4\n"},
		{name: "ineffective", spec: lab.NodeSpec{Kubelet: lab.Behaviour{Ineffective: true}},
			script: `a=$(systemctl show kubelet -p MainPID,InvocationID); systemctl restart kubelet; [ "$a" = "$(systemctl show kubelet -p MainPID,InvocationID)" ] && echo same`, want: "same\n"},
		{name: "slow start", spec: lab.NodeSpec{Kubelet: lab.Behaviour{SlowStart: 300 * time.Millisecond}},
			script: `systemctl restart kubelet & until [ "$(systemctl show kubelet -p SubState)" = SubState=start-pre ]; do :; done
systemctl show kubelet -p ActiveState,MainPID; systemctl is-active kubelet; wait $!; echo $?; systemctl is-active kubelet`,
			want: "MainPID=0\nActiveState=activating\nactivating\n0\nactive\n"},
		{name: "slow start, overtaken by a stop", spec: lab.NodeSpec{Kubelet: lab.Behaviour{SlowStart: time.Hour}},
			script: `systemctl restart kubelet 2>&1 & until [ "$(systemctl show kubelet -p SubState)" = SubState=start-pre ]; do :; done
systemctl stop kubelet; wait $!; echo $?; systemctl is-active kubelet`,
			want: "Job for kubelet.service canceled.\n1\ninactive\n"},
		{name: "slow start, client gone", spec: lab.NodeSpec{Kubelet: lab.Behaviour{SlowStart: 200 * time.Millisecond}},
			script: `timeout 0.05 systemctl restart kubelet; echo $?; until systemctl is-active -q kubelet; do sleep 0.01; done; echo up`, want: "124\nup\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := restarted(t, tt.spec, tt.script); got.stdout != "READY\n"+tt.want {
				t.Errorf("want %q, got %v", tt.want, got)
			}
		})
	}
}

// TestDieAfter: a kubelet that runs, is healthy, and dies, again and again.
func TestDieAfter(t *testing.T) {
	n, got := restarted(t, lab.NodeSpec{Kubelet: lab.Behaviour{DieAfter: 40 * time.Millisecond}, Files: []lab.File{quick("[Service]\nRestartSec=10ms\n")}}, restart)
	if got.exit != 0 {
		t.Fatalf("got %v", got)
	}
	eventually(t, "it to die twice", func() bool { return restarts(n) >= 2 })
	n.Behave(lab.Behaviour{})
	eventually(t, "it to stay", func() bool {
		return n.KubeletPID() != 0 && strings.Count(strings.Join(n.Journal("kubelet.service"), "\n"), "told to die") == restarts(n)
	})
}

// TestReloadAtRunTime: an edit on the running node is seen as one, and a reload
// takes it over.
func TestReloadAtRunTime(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	n, c := node(t, f), client(t, f, node0, "azureuser")
	need := func(want string) {
		t.Helper()
		if got := prop(t, c, "NeedDaemonReload"); got != want {
			t.Errorf("want NeedDaemonReload=%s, got %s", want, got)
		}
	}
	const dropIn = "/etc/systemd/system/kubelet.service.d/99-site.conf"
	need("no")
	put(t, n, dropIn, "[Service]\nEnvironment=\"KUBELET_CGROUP_FLAGS="+flagFalse+"\"\nEnvironmentFile=-/etc/site\n")
	need("yes")
	sudoScript(t, c, "systemctl restart kubelet")
	if slices.Contains(n.KubeletArgv(), flagFalse) {
		t.Error("the restart read a drop-in that was not loaded")
	}
	sudoScript(t, c, "systemctl daemon-reload; systemctl restart kubelet")
	need("no")
	if !slices.Contains(n.KubeletArgv(), flagFalse) {
		t.Errorf("the restart did not read the drop-in: %q", n.KubeletArgv())
	}
	u := n.Unit("kubelet.service")
	if !strings.Contains(u["Environment"], "KUBELET_CGROUP_FLAGS="+flagFalse) || strings.Contains(u["Environment"], "cgroup-driver") || u["EnvironmentFiles"] != "/etc/site (ignore_errors=yes)" {
		t.Errorf("want the new environment, got %q and %q", u["Environment"], u["EnvironmentFiles"])
	}
	if err := n.Remove(dropIn); err != nil {
		t.Fatal(err)
	}
	need("yes")
}

// TestLogger: the journal has what logger was told, by identifier and by unit.
func TestLogger(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	n, c := node(t, f), client(t, f, node0, "azureuser")
	put(t, n, jobPath, "logger -t fleet from the unit; sleep 1000")
	got := sudoScript(t, c, `logger -t fleet "run 1: [x]: it's done"; echo 'one
two' | logger -t other; journalctl -t fleet -o cat; journalctl -t other -o cat; `+jobRun+jobEnd)
	if got.stdout != "READY\nrun 1: [x]: it's done\none\ntwo\n" {
		t.Errorf("got %v", got)
	}
	eventually(t, "the unit's line", func() bool { return len(n.Journal("fleet")) == 2 })
	if got := strings.Join(n.Journal(jobUnit), "\n"); !strings.HasSuffix(got, "]: from the unit") {
		t.Errorf("want the line in the unit's journal, got %q", got)
	}
}
