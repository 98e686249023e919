package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"fleet/kubelet"
	"fleet/lab"

	"golang.org/x/crypto/ssh"
)

const (
	flagTrue  = "--make-iptables-util-chains=true"
	flagFalse = "--make-iptables-util-chains=false"
	flagColon = "--make-iptables-util-chains:true"
)

var setting = kubelet.Setting{Flag: "make-iptables-util-chains", Key: "makeIPTablesUtilChains", Default: true}

// argv is the command line of the unit's process.
func argv(t *testing.T, c *ssh.Client) []string {
	t.Helper()
	got := sudoScript(t, c, `pid=$(systemctl show kubelet -p MainPID); cat "$1/proc/${pid#MainPID=}/cmdline"`)
	words, ok := strings.CutPrefix(got.stdout, "READY\n")
	if !ok || got.exit != 0 {
		t.Fatalf("read the command line: %v", got)
	}
	return strings.Split(strings.TrimSuffix(words, "\x00"), "\x00")
}

// prop is one property of the kubelet's unit.
func prop(t *testing.T, c *ssh.Client, name string) string {
	t.Helper()
	got := sudoScript(t, c, "systemctl show kubelet -p "+name)
	value, ok := strings.CutPrefix(got.stdout, "READY\n"+name+"=")
	if !ok {
		t.Fatalf("read %s: %v", name, got)
	}
	return strings.TrimSuffix(value, "\n")
}

// valueOf is what the product makes of a node's command line and files.
func valueOf(t *testing.T, root string, args []string) kubelet.Resolution {
	t.Helper()
	start := kubelet.Start{Cwd: "/", Version: "v1.34.4"}
	for _, a := range args[1:] {
		start.Args = append(start.Args, kubelet.Arg{Text: a})
	}
	d := kubelet.Disk{Files: map[string]kubelet.File{}, Dirs: map[string]kubelet.Dir{}}
	r := kubelet.Resolve(setting, start, d)
	for range 5 {
		for _, p := range r.Need {
			if info, err := os.Stat(root + p); err == nil && info.IsDir() {
				d.Dirs[p] = listing(t, root, p)
				continue
			}
			data, err := os.ReadFile(root + p)
			if err != nil {
				t.Fatal(err)
			}
			d.Files[p] = kubelet.File{Path: p, State: kubelet.StatePresent, Data: data}
		}
		r = kubelet.Resolve(setting, start, d)
	}
	return r
}

func listing(t *testing.T, root, dir string) kubelet.Dir {
	t.Helper()
	entries, err := os.ReadDir(root + dir)
	if err != nil {
		t.Fatal(err)
	}
	out := kubelet.Dir{Path: dir, State: kubelet.StatePresent}
	for _, e := range entries {
		out.Entries = append(out.Entries, dir+"/"+e.Name())
	}
	return out
}

// TestShapes: for every shape, a restart of a node on which nothing changed
// comes to the command line written out by hand for it, and the value is where
// the layers put it.
func TestShapes(t *testing.T) {
	flag := func(f string) lab.Layers { return lab.Layers{Flags: []string{f}} }
	tests := []struct {
		shape lab.Shape
		set   lab.Layers
		want  any
		kind  kubelet.SourceKind
	}{
		{lab.ShapeAKSFlags, lab.Layers{}, true, kubelet.SourceDefault},
		{lab.ShapeAKSFlags, flag(flagFalse), false, kubelet.SourceFlag},
		{lab.ShapeAKSFile, lab.Layers{}, true, kubelet.SourceDefault},
		{lab.ShapeAKSFile, lab.Layers{File: "false"}, false, kubelet.SourceFile},
		{lab.ShapeAKSFile, lab.Layers{File: "false", Flags: []string{flagTrue}}, true, kubelet.SourceFlag},
		{lab.ShapeEKS, lab.Layers{File: "true"}, true, kubelet.SourceFile},
		{lab.ShapeEKS, flag(flagFalse), false, kubelet.SourceFlag},
		{lab.ShapeKubeadm, lab.Layers{File: "false"}, false, kubelet.SourceFile},
		{lab.ShapeKubeadm, flag(flagTrue), true, kubelet.SourceFlag},
		{lab.ShapeAL2023, lab.Layers{File: "true", DropIns: map[string]string{"50-site.conf": "false"}}, false, kubelet.SourceDropIn},
		{lab.ShapeAL2023, lab.Layers{}, true, kubelet.SourceDefault},
	}
	for i, tt := range tests {
		t.Run(string(tt.shape)+"/"+strconv.Itoa(i), func(t *testing.T) {
			f := start(t, lab.NodeSpec{Name: node0, Shape: tt.shape, Set: tt.set})
			c := client(t, f, node0, "azureuser")
			before, pid, began := argv(t, c), prop(t, c, "MainPID"), prop(t, c, "InvocationID")
			if got := sudoScript(t, c, "systemctl daemon-reload && systemctl restart kubelet"); got.exit != 0 {
				t.Fatalf("restart: %v", got)
			}
			if state := prop(t, c, "ActiveState"); state != "active" {
				t.Fatalf("the kubelet is %s after a restart\n%v", state, sudoScript(t, c, "journalctl -u kubelet"))
			}
			if prop(t, c, "MainPID") == pid || prop(t, c, "InvocationID") == began {
				t.Error("the restart left the old process")
			}
			if after := argv(t, c); !slices.Equal(before, after) {
				t.Errorf("the restart came to another command line\nbefore %q\nafter  %q", before, after)
			}
			root, err := f.Root(node0)
			if err != nil {
				t.Fatal(err)
			}
			r := valueOf(t, root, before)
			if r.Value != tt.want || r.Source.Kind != tt.kind || len(r.Warnings) > 0 {
				t.Errorf("want %v from %s, got %+v", tt.want, tt.kind, r)
			}
			if _, err := os.Stat(root + "/proc/" + pid); !os.IsNotExist(err) {
				t.Errorf("the old process is still in /proc: %v", err)
			}
		})
	}
}

// TestEdits: what a later edit does at a restart, and what it needs before.
func TestEdits(t *testing.T) {
	dropIn := lab.File{Path: "/etc/systemd/system/kubelet.service.d/99-site.conf", Later: true,
		Data: "[Service]\nEnvironment=\"KUBELET_CGROUP_FLAGS=--cgroup-driver=systemd " + flagFalse + "\"\n"}
	tests := []struct {
		name       string
		spec       lab.NodeSpec
		script     string
		needReload string // NeedDaemonReload before the script
		state      string // ActiveState after it
		last       string // in the command line after it
		without    string // not in it
		journal    string // in the journal after it
		exit       int
	}{
		{name: "environment file", spec: lab.NodeSpec{Later: &lab.Layers{Flags: []string{flagTrue}}},
			script: "systemctl restart kubelet", needReload: "no", state: "active", last: flagTrue},
		{name: "drop-in without a reload", spec: lab.NodeSpec{Files: []lab.File{dropIn}},
			script: "systemctl restart kubelet", needReload: "yes", state: "active", without: flagFalse},
		{name: "drop-in with a reload", spec: lab.NodeSpec{Files: []lab.File{dropIn}},
			script: "systemctl daemon-reload; systemctl restart kubelet", needReload: "yes", state: "active", last: flagFalse},
		{name: "edited on the node", spec: lab.NodeSpec{},
			script: `sed -i 's/^KUBELET_FLAGS=.*/& ` + flagTrue + `/' "$1/etc/default/kubelet"; systemctl restart kubelet`, needReload: "no", state: "active", last: flagTrue},
		{name: "a flag the kubelet does not know", spec: lab.NodeSpec{Later: &lab.Layers{Flags: []string{flagColon}}},
			script: "systemctl restart kubelet", needReload: "no", state: "activating", journal: "unknown flag: " + flagColon},
		{name: "a quoted boolean", spec: lab.NodeSpec{Shape: lab.ShapeAKSFile, Later: &lab.Layers{File: `"true"`}},
			script: "systemctl restart kubelet", needReload: "no", state: "activating", journal: "command failed"},
		{name: "no environment file", spec: lab.NodeSpec{},
			script: `rm "$1/etc/default/kubelet"; systemctl restart kubelet`, needReload: "no", state: "activating", exit: 1},
		{name: "a condition that does not hold", spec: lab.NodeSpec{},
			script: `rm "$1/opt/bin/kubelet"; systemctl restart kubelet`, needReload: "no", state: "inactive"},
		{name: "stop", script: "systemctl stop kubelet", needReload: "no", state: "inactive"},
		{name: "stop and start", script: "systemctl stop kubelet; systemctl start kubelet", needReload: "no", state: "active"},
		{name: "masked", spec: lab.NodeSpec{State: lab.StateMasked}, script: "systemctl restart kubelet", needReload: "no", state: "inactive", exit: 1},
		{name: "a unit there is not", script: "systemctl restart nosuch", needReload: "no", state: "active", exit: 5},
		{name: "mended after a crash loop", spec: lab.NodeSpec{State: lab.StateCrashLoop, Set: lab.Layers{Flags: []string{flagColon}}},
			script: `sed -i 's/ ` + flagColon + `//' "$1/etc/default/kubelet"; systemctl reset-failed kubelet; systemctl restart kubelet`, needReload: "no", state: "active"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Name = node0
			f := start(t, tt.spec)
			c := client(t, f, node0, "azureuser")
			if got := prop(t, c, "NeedDaemonReload"); got != tt.needReload {
				t.Errorf("want NeedDaemonReload=%s at first, got %s", tt.needReload, got)
			}
			if got := sudoScript(t, c, tt.script); got.exit != tt.exit {
				t.Errorf("want exit %d, got %v", tt.exit, got)
			}
			if got := prop(t, c, "ActiveState"); got != tt.state {
				t.Fatalf("want the kubelet %s, got %s\n%v", tt.state, got, sudoScript(t, c, "journalctl -u kubelet"))
			}
			if tt.state != "active" {
				if pid := prop(t, c, "MainPID"); pid != "0" {
					t.Errorf("want no process, got %s", pid)
				}
			} else if words := argv(t, c); tt.last != "" && !slices.Contains(words, tt.last) || slices.Contains(words, tt.without) {
				t.Errorf("want %q and not %q in %q", tt.last, tt.without, words)
			}
			if got := sudoScript(t, c, "journalctl -u kubelet -o cat"); !strings.Contains(got.stdout, tt.journal) {
				t.Errorf("want %q in the journal, got %v", tt.journal, got)
			}
		})
	}
}

// TestStates: how the unit and the processes look in each state.
func TestStates(t *testing.T) {
	tests := []struct {
		spec                     lab.NodeSpec
		load, active, sub, count string
	}{
		{lab.NodeSpec{}, "loaded", "active", "running", "1"},
		{lab.NodeSpec{State: lab.StateStopped}, "loaded", "inactive", "dead", "0"},
		{lab.NodeSpec{State: lab.StateMasked}, "masked", "inactive", "dead", "0"},
		{lab.NodeSpec{State: lab.StateCrashLoop}, "loaded", "activating", "auto-restart", "0"},
		{lab.NodeSpec{State: lab.StateTwo}, "loaded", "active", "running", "2"},
		{lab.NodeSpec{State: lab.StateReplaced}, "loaded", "active", "running", "1"},
		{lab.NodeSpec{Shape: lab.ShapeK3s}, "not-found", "inactive", "dead", "0"},
		{lab.NodeSpec{Shape: lab.ShapeBare}, "not-found", "inactive", "dead", "0"},
	}
	for _, tt := range tests {
		t.Run(string(tt.spec.Shape+"-")+string(tt.spec.State), func(t *testing.T) {
			tt.spec.Name = node0
			f := start(t, tt.spec)
			c := client(t, f, node0, "azureuser")
			if l, a, s := prop(t, c, "LoadState"), prop(t, c, "ActiveState"), prop(t, c, "SubState"); l != tt.load || a != tt.active || s != tt.sub {
				t.Errorf("want %s %s %s, got %s %s %s", tt.load, tt.active, tt.sub, l, a, s)
			}
			got := sudoScript(t, c, `n=0; for f in "$1"/proc/[0-9]*/comm; do read -r c <$f; [ "$c" = kubelet ] && n=$((n+1)); done; echo $n`)
			if got.stdout != "READY\n"+tt.count+"\n" {
				t.Errorf("want %s kubelets, got %v", tt.count, got)
			}
		})
	}
}

// TestAges: to a script the files and directories are older than the kubelet,
// unless they were edited since.
func TestAges(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Shape: lab.ShapeAL2023, Later: &lab.Layers{DropIns: map[string]string{"90-new.conf": "false"}}})
	got := sudoScript(t, client(t, f, node0, "azureuser"), `cd "$1" || exit
btime=$(sed -n 's/^btime //p' proc/stat)
pid=$(systemctl show kubelet -p MainPID)
set -- $(cat "proc/${pid#MainPID=}/stat")
began=$((btime + ${22} / 100))
for f in ./etc/kubernetes/kubelet ./etc/kubernetes/kubelet/config.json ./etc/eks/kubelet/environment ./etc/systemd/system/kubelet.service \
	./etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf ./etc/kubernetes/kubelet/config.json.d ./etc/kubernetes/kubelet/config.json.d/90-new.conf; do
	[ "$(stat -c %Z $f)" -gt $began ] && echo $f
done
now=$(date +%s)
[ $began -lt $now ] && [ $btime -lt $began ] && echo sane
grep -cE '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' proc/sys/kernel/random/boot_id`)
	want := "READY\n./etc/kubernetes/kubelet/config.json.d\n./etc/kubernetes/kubelet/config.json.d/90-new.conf\nsane\n1\n"
	if got.stdout != want {
		t.Errorf("want %q, got %v", want, got)
	}
}

func TestCrashLoopRises(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, State: lab.StateCrashLoop, Set: lab.Layers{Flags: []string{flagColon}}})
	c := client(t, f, node0, "azureuser")
	first, second := prop(t, c, "NRestarts"), prop(t, c, "NRestarts")
	a, _ := strconv.Atoi(first)
	b, _ := strconv.Atoi(second)
	if a == 0 || b <= a {
		t.Errorf("want NRestarts to rise, got %s then %s", first, second)
	}
	if got := sudoScript(t, c, "journalctl -u kubelet -n 40 --no-pager -o cat"); !strings.Contains(got.stdout, "unknown flag: "+flagColon) {
		t.Errorf("want the reason in the journal, got %v", got)
	}
}

func TestReplacedBinary(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, State: lab.StateReplaced})
	got := sudoScript(t, client(t, f, node0, "azureuser"), `pid=$(systemctl show kubelet -p MainPID); readlink "$1/proc/${pid#MainPID=}/exe"`)
	if got.stdout != "READY\n/opt/bin/kubelet (deleted)\n" {
		t.Errorf("got %v", got)
	}
}

// TestSystemdRun: the command outlives its session, acts on the unit, and
// leaves its output and its exit status with systemd.
func TestSystemdRun(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Later: &lab.Layers{Flags: []string{flagTrue}}})
	c := client(t, f, node0, "azureuser")
	got := sudoScript(t, c, `mkfifo "$1/tmp/go"
cat >"$1/tmp/job" <<'END'
read -r word <"$1/tmp/go"
systemctl restart kubelet
echo "got $word"
exit 3
END
systemd-run --unit=fleet-job --description="a job" sh "$1/tmp/job" "$1"; systemctl is-active fleet-job`)
	if got.stdout != "READY\nactive\n" || got.stderr != "Running as unit: fleet-job.service\n" {
		t.Fatalf("got %v", got)
	}
	got = sudoScript(t, c, `echo word >"$1/tmp/go"
until [ "$(systemctl is-active fleet-job)" = failed ]; do :; done
systemctl show fleet-job -p ExecMainStatus,Result; journalctl -u fleet-job -o cat`)
	if got.stdout != "READY\nResult=exit-code\nExecMainStatus=3\nStarted fleet-job.service - a job.\ngot word\n" {
		t.Errorf("got %v", got)
	}
	if words := argv(t, c); !slices.Contains(words, flagTrue) {
		t.Errorf("the job did not restart the kubelet: %q", words)
	}
}

func TestWriteInventory(t *testing.T) {
	f := start(t, lab.DemoNodes()...)
	dir := filepath.Join(t.TempDir(), "new")
	if err := f.WriteInventory(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir + "/id_ed25519")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("want a key of mode 0600, got %v, %v", info, err)
	}
	data, err := os.ReadFile(dir + "/id_ed25519")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ssh.ParsePrivateKey(data); err != nil {
		t.Errorf("the key does not parse: %v", err)
	}
	hosts, err := os.ReadFile(dir + "/known_hosts")
	if err != nil || strings.Count(string(hosts), "\n[127.0.0.1]:")+1 != len(lab.DemoNodes()) {
		t.Errorf("want a line per node, got %v\n%s", err, hosts)
	}
	nodes, err := os.ReadFile(dir + "/nodes.yaml")
	if err != nil || strings.Count(string(nodes), "name: aks-np") != len(lab.DemoNodes()) {
		t.Errorf("want a host per node, got %v\n%s", err, nodes)
	}
}

func TestStartRefuses(t *testing.T) {
	for name, nodes := range map[string][]lab.NodeSpec{
		"no name": {{}}, "a path": {{Name: "../x"}}, "a name twice": {{Name: "x"}, {Name: "x"}},
		"a password of two lines": {{Name: "x", Password: "a\nb"}},
	} {
		if f, err := lab.Start(context.Background(), lab.Options{Dir: t.TempDir(), Nodes: nodes}); err == nil {
			f.Close()
			t.Errorf("%s: want an error", name)
		}
	}
}

// TestManyNodes: a thousand nodes are up together, each its own.
func TestManyNodes(t *testing.T) {
	specs := lab.ManyNodes(1000)
	f := start(t, specs...)
	for _, i := range []int{0, 49, 999} {
		name := specs[i].Name
		c := client(t, f, name, "azureuser")
		if got := run(t, c, "hostname", ""); got.stdout != name+"\n" {
			t.Errorf("want %s, got %v", name, got)
		}
		if off := slices.Contains(argv(t, c), flagFalse); off != (i%50 == 49) {
			t.Errorf("%s: setting switched off: %v", name, off)
		}
	}
}
