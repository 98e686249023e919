package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet/kubelet"
)

const (
	flagF  = "--make-iptables-util-chains"
	keyK   = "makeIPTablesUtilChains"
	header = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
)

// kc is a configuration file with the header and these lines.
func kc(lines ...string) string { return header + strings.Join(lines, "\n") + "\n" }

// node is a layout on a host, small enough for a line of a table.
type node struct {
	flags string            // the running kubelet's arguments, parted by blanks
	argv  []string          // the same as a list, where an argument holds a blank
	next  string            // what ExecStart says now; "" for the same as flags
	unit  string            // a whole unit file instead
	files map[string]string // further files
	dirs  []string          // directories that are there
	newer []string          // files and directories changed after the kubelet's start
	state map[string]string // systemd's properties of the unit, over the usual ones
	procs []Process         // further processes
	main  func(*Process)    // changes to the kubelet's process
	facts func(*Facts)      // changes to everything
	live  any               // what configz says, a *Live for more than a value, nil when nobody asked
	rule  Policy
}

var (
	bootTime  = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	startTime = bootTime.Add(time.Hour)
)

func (n node) arguments() []string {
	if n.argv != nil {
		return n.argv
	}
	return strings.Fields(n.flags)
}

// argv is a command line as the probe brings it.
func argv(words ...string) []kubelet.Arg {
	return kubelet.SplitCmdline("/proc/1234/cmdline", []byte(strings.Join(words, "\x00")+"\x00"))
}

// build makes the facts a probe would bring.
func (n node) build() Facts {
	f := Facts{
		Hostname: "aks-np1-12345678-vmss000000", Kernel: "Linux 5.15.0 x86_64", Init: "systemd", BootID: "b007",
		Now: startTime.Add(time.Hour), Precise: true, Booted: bootTime,
		Units: map[string]UnitState{}, Owners: map[string]Owner{},
		Disk: kubelet.Disk{Files: map[string]kubelet.File{}, Dirs: map[string]kubelet.Dir{}},
	}
	n.addUnit(&f)
	main := Process{
		PID: 1234, Parent: 1, Comm: "kubelet", Exe: "/opt/bin/kubelet", Cwd: "/", PIDNS: "pid:[1]",
		Argv: argv(append([]string{"/opt/bin/kubelet"}, n.arguments()...)...), Started: startTime, Unit: kubeletUnit, Version: "v1.34.4",
	}
	if n.main != nil {
		n.main(&main)
	}
	if n.state["MainPID"] == "" {
		f.Processes = append(f.Processes, main)
	}
	f.Processes = append(f.Processes, n.procs...)
	if n.facts != nil {
		n.facts(&f)
	}
	return f
}

func (n node) addUnit(f *Facts) {
	state := UnitState{
		"Id": kubeletUnit, "LoadState": "loaded", "ActiveState": "active", "SubState": "running",
		"MainPID": "1234", "NRestarts": "0", "Result": "success",
	}
	maps.Copy(state, n.state)
	f.Units[kubeletUnit] = state
	unit := n.unit
	if unit == "" {
		next := n.next
		if next == "" {
			next = strings.Join(n.arguments(), " ")
		}
		unit = "[Service]\nExecStart=/opt/bin/kubelet " + next + "\n"
	}
	files, dirs := kubelet.UnitPaths(kubeletUnit)
	for _, name := range files {
		f.Disk.Files[name] = kubelet.File{Path: name, State: kubelet.StateMissing}
	}
	for _, name := range append(dirs, n.dirs...) {
		f.Disk.Dirs[name] = kubelet.Dir{Path: name, State: kubelet.StateMissing}
	}
	all := map[string]string{"/etc/systemd/system/kubelet.service": unit}
	maps.Copy(all, n.files)
	for name, data := range all {
		n.addFile(f, name, data)
	}
	for _, name := range n.dirs {
		dir := f.Disk.Dirs[name]
		dir.State, dir.Modified = kubelet.StatePresent, n.modified(name)
		f.Disk.Dirs[name] = dir
	}
}

// addFile adds one file; a directory that is asked for lists it. The contents
// "missing", "unreadable", "too-large" and "directory" are states.
func (n node) addFile(f *Facts, name, data string) {
	file := kubelet.File{Path: name, State: kubelet.StatePresent, Data: []byte(data), Modified: n.modified(name), Changed: n.modified(name)}
	switch state := kubelet.FileState(data); state {
	case kubelet.StateMissing, kubelet.StateUnreadable, kubelet.StateTooLarge, kubelet.StateDirectory:
		file.State, file.Data = state, nil
	}
	f.Disk.Files[name] = file
	for _, dir := range slices.Collect(maps.Keys(f.Disk.Dirs)) {
		if strings.HasPrefix(name, dir+"/") {
			d := f.Disk.Dirs[dir]
			d.State, d.Modified = kubelet.StatePresent, n.modified(dir)
			d.Entries = append(d.Entries, name)
			f.Disk.Dirs[dir] = d
		}
	}
}

func (n node) modified(name string) time.Time {
	if slices.Contains(n.newer, name) {
		return startTime.Add(10 * time.Minute)
	}
	return bootTime.Add(time.Minute)
}

func (n node) judge() Finding {
	live, ok := n.live.(*Live)
	if !ok && n.live != nil {
		live = &Live{Value: n.live, Path: "/api/v1/nodes/a/proxy/configz"}
	}
	return MakeIPTablesUtilChains.Judge(n.build(), n.rule, live)
}

// TestCases holds the verdicts on what is really found on nodes, by the ids of
// the project's list of cases. want is "STATUS REASON RUNNING NEXT", with - for
// a value that cannot be told; note is a part of a note or of the message.
func TestCases(t *testing.T) {
	const conf = "/etc/kubelet.yaml"
	file := func(lines ...string) map[string]string { return map[string]string{conf: kc(lines...)} }
	withFile := func(content string) node {
		return node{flags: "--config=" + conf, files: map[string]string{conf: content}}
	}
	const dir = "/etc/kubelet.d"
	dropIn := func(flags string, files ...string) node {
		n := node{flags: "--config=" + conf + " --config-dir=" + dir + " " + flags, files: map[string]string{conf: kc()}, dirs: []string{dir}}
		for i := 0; i < len(files); i += 2 {
			n.files[files[i]] = files[i+1]
		}
		return n
	}
	assigned := func(version, flags, content string, live any) node {
		return node{
			flags: strings.TrimSpace("--dynamic-config-dir=/var/lib/dynamic " + flags), live: live,
			files: map[string]string{"/var/lib/dynamic/store/meta/assigned": content},
			main:  func(p *Process) { p.Version = version },
		}
	}
	for _, c := range []struct {
		id   string
		node node
		want string
		note string
	}{
		// Defaults and precedence.
		{"E01", node{}, "pass default true true", ""},
		{"E02", withFile(kc("maxPods: 30")), "pass default true true", ""},
		{"E03", withFile(kc(keyK + ": true")), "pass explicit true true", conf + ":3"},
		{"E04", withFile(kc(keyK + ": false")), "fail file-false false false", conf + ":3"},
		{"E05", node{flags: flagF + "=false --config=" + conf, files: file(keyK + ": true")}, "fail flag-false false false", ""},
		{"E06", node{flags: flagF + "=true --config=" + conf, files: file(keyK + ": false")}, "pass explicit true true", "false by " + conf + ":3, masked"},
		{"E07", node{files: map[string]string{"/etc/default/kubeletconfig.json": kc(keyK + ": false")}}, "pass default true true", "/etc/default/kubeletconfig.json:3 says false"},
		{"E08", node{flags: "--config=" + conf, files: map[string]string{conf: kc(), "/var/lib/kubelet/config.yaml": kc(keyK + ": false")}}, "pass default true true", "does not use that file"},
		{"E09", node{flags: "--config /etc/default/kubeletconfig.json", files: map[string]string{
			"/etc/kubernetes/azure.json": "{}", "/etc/default/kubeletconfig.json": kc(keyK + ": false")}}, "fail file-false false false", "kubeletconfig.json:3"},
		{"E10", node{rule: Policy{Strict: true}}, "fail not-explicit true true", "--strict"},
		{"E10 with a file", node{flags: "--config=" + conf, files: file(keyK + ": true"), rule: Policy{Strict: true}}, "pass explicit true true", ""},

		// Spelling of the flag.
		{"E11", node{flags: flagF}, "pass explicit true true", ""},
		{"E12 TRUE", node{flags: flagF + "=TRUE"}, "pass explicit true true", ""},
		{"E12 True", node{flags: flagF + "=True"}, "pass explicit true true", ""},
		{"E12 t", node{flags: flagF + "=t"}, "pass explicit true true", ""},
		{"E12 T", node{flags: flagF + "=T"}, "pass explicit true true", ""},
		{"E12 1", node{flags: flagF + "=1"}, "pass explicit true true", ""},
		{"E13 FALSE", node{flags: flagF + "=FALSE"}, "fail flag-false false false", ""},
		{"E13 False", node{flags: flagF + "=False"}, "fail flag-false false false", ""},
		{"E13 f", node{flags: flagF + "=f"}, "fail flag-false false false", ""},
		{"E13 F", node{flags: flagF + "=F"}, "fail flag-false false false", ""},
		{"E13 0", node{flags: flagF + "=0"}, "fail flag-false false false", ""},
		{"E14", node{flags: flagF + "=true " + flagF + "=false"}, "fail flag-false false false", ""},
		{"E16", node{flags: "--make_iptables_util_chains=false"}, "fail flag-false false false", ""},
		{"E16 mixed", node{flags: "--make-iptables_util-chains=false"}, "fail flag-false false false", ""},
		{"E17", node{next: flagF + " false"}, "fail wont-start true -", "unknown command"},
		{"E18", node{next: flagF + ":true"}, "fail wont-start true -", "unknown flag"},
		{"E18 over a false", node{flags: flagF + "=false", next: flagF + ":true"}, "fail wont-start false -", "the running kubelet has false"},
		{"E19 no", node{next: flagF + "=no"}, "fail wont-start true -", ""},
		{"E19 off", node{next: flagF + "=off"}, "fail wont-start true -", ""},
		{"E19 empty", node{next: flagF + "="}, "fail wont-start true -", ""},
		{"E19 quoted", node{next: flagF + `=\"false\"`}, "fail wont-start true -", ""},
		{"E20", node{next: "-make-iptables-util-chains=false"}, "fail wont-start true -", ""},
		{"E23", node{next: "-- " + flagF + "=false"}, "fail wont-start true -", ""},
		{"E24 space", node{flags: "--config " + conf, files: file(keyK + ": false")}, "fail file-false false false", ""},
		{"E24 twice", node{flags: "--config=/etc/other.yaml --config=" + conf, files: map[string]string{conf: kc(keyK + ": false"), "/etc/other.yaml": kc(keyK + ": true")}}, "fail file-false false false", conf},
		{"E25", node{flags: "--config=kubelet_conf.json", unit: "[Service]\nWorkingDirectory=/srv\nExecStart=/opt/bin/kubelet --config=kubelet_conf.json\n",
			main: func(p *Process) { p.Cwd = "/srv" }, files: map[string]string{"/srv/kubelet_conf.json": kc(keyK + ": false")}}, "fail file-false false false", "/srv/kubelet_conf.json:3"},
		{"E27", node{argv: []string{"--node-labels=a=b " + flagF + "=false\n" + flagF + "=false", flagF + "=true"}, next: flagF + "=true"}, "pass explicit true true", ""},

		{"a vendor's flag", node{flags: "--vendor-flag=x --other-vendor y " + flagF + "=false"}, "fail flag-false false false", ""},
		{"a vendor's flag and a bad one", node{flags: "--vendor-flag=x", next: "--vendor-flag=x " + flagF + ":true"}, "fail wont-start true -", flagF + ":true"},
		{"a new unknown flag", node{next: "--vendor-flag=x"}, "fail wont-start true -", "--vendor-flag"},

		// Content of the configuration file.
		{"E31 null", withFile(kc(keyK + ": null")), "pass default true true", ""},
		{"E31 ~", withFile(kc(keyK + ": ~")), "pass default true true", ""},
		{"E31 empty", withFile(kc(keyK + ":")), "pass default true true", ""},
		{"E31 json", withFile(`{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","` + keyK + `":null}`), "pass default true true", ""},
		{"E32 no", withFile(kc(keyK + ": no")), "fail file-false false false", ""},
		{"E32 off", withFile(kc(keyK + ": off")), "fail file-false false false", ""},
		{"E32 n", withFile(kc(keyK + ": n")), "fail file-false false false", ""},
		{"E32 False", withFile(kc(keyK + ": False")), "fail file-false false false", ""},
		{"E32 FALSE", withFile(kc(keyK + ": FALSE")), "fail file-false false false", ""},
		{"E34 quoted true", withFile(kc(keyK + `: "true"`)), "fail wont-start - -", ""},
		{"E34 quoted false", withFile(kc(keyK + `: 'false'`)), "fail wont-start - -", ""},
		{"E34 zero", withFile(kc(keyK + ": 0")), "fail wont-start - -", ""},
		{"E35", withFile(kc("makeIptablesUtilChains: false")), "pass default true true", "makeIptablesUtilChains"},
		{"E37", withFile(kc(keyK+": true", keyK+": false")), "fail file-false false false", conf + ":4"},
		{"E38", withFile(kc(keyK+": false", keyK+": true")), "pass explicit true true", conf + ":4"},
		{"E41", withFile(kc("noSuchField: 1", keyK+": false")), "fail file-false false false", "noSuchField"},
		{"E43 crlf", withFile(strings.ReplaceAll(kc(keyK+": false"), "\n", "\r\n")), "fail file-false false false", ""},
		{"E43 bom", withFile("\ufeff" + kc(keyK+": false")), "fail file-false false false", ""},
		{"E43 document", withFile("---\n" + kc(keyK+": false")), "fail file-false false false", ""},
		{"E43 comment over json", withFile("# made by hand\n" + `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","` + keyK + `":false}`), "fail file-false false false", ""},
		{"E44 truncated", withFile(`{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"Kubelet`), "fail wont-start - -", ""},
		{"E44 trailing comma", withFile(`{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","` + keyK + `":false,}`), "fail wont-start - -", ""},
		{"E44 tab", withFile(kc("\t" + keyK + ": false")), "fail wont-start - -", ""},
		{"E44 slashes", withFile(`{"apiVersion":"kubelet.config.k8s.io/v1beta1", // x` + "\n" + `"kind":"KubeletConfiguration"}`), "fail wont-start - -", ""},
		{"E44 empty", withFile(""), "fail wont-start - -", ""},
		{"E44 only comments", withFile("# nothing\n"), "fail wont-start - -", ""},
		{"E44 no kind", withFile(keyK + ": false\n"), "fail wont-start - -", ""},
		{"E44 wrong kind", withFile("apiVersion: v1\nkind: Pod\n"), "fail wont-start - -", ""},
		{"E44 with a flag", node{flags: flagF + "=false --config=" + conf, files: map[string]string{conf: ""}}, "fail wont-start false -", ""},
		{"E45", withFile("missing"), "fail wont-start - -", conf},
		{"a directory for a file", withFile("directory"), "fail wont-start - -", "is a directory"},
		{"E46", withFile("unreadable"), "unknown unreadable - -", conf},
		{"E49", node{flags: "--config=" + conf, files: file(keyK + ": true"), newer: []string{conf}}, "fail restart-pending - true", "changed at 2026-11-01T09:10:00Z, after the kubelet started at 2026-11-01T09:00:00Z"},
		{"E49 live", node{flags: "--config=" + conf, files: file(keyK + ": true"), newer: []string{conf}, live: false}, "fail restart-pending - true", "has false"},
		{"E50", node{flags: "--config=" + conf, files: file(keyK + ": false"), newer: []string{conf}}, "fail latent - false", ""},
		{"E50 live", node{flags: "--config=" + conf, files: file(keyK + ": false"), newer: []string{conf}, live: true}, "fail latent - false", "true now"},

		// The drop-in directory.
		{"E51", dropIn("", conf, kc(keyK+": true"), dir+"/10-x.conf", kc(keyK+": false")), "fail drop-in-false false false", dir + "/10-x.conf:3"},
		{"E52", dropIn("", conf, kc(keyK+": false"), dir+"/10-x.conf", kc(keyK+": false"), dir+"/20-y.conf", kc(keyK+": true")), "pass explicit true true", dir + "/20-y.conf:3"},
		{"E53", dropIn(flagF+"=true", dir+"/10-x.conf", kc(keyK+": false")), "pass explicit true true", "masked"},
		{"E55", dropIn("", dir+"/99-x.yaml", kc(keyK+": false"), dir+"/99-x.conf.bak", kc(keyK+": false"), dir+"/99-x.conf~", kc(keyK+": false")), "pass default true true", ""},
		{"E57", dropIn("", dir+"/10-x.conf", keyK+": true\n"), "fail wont-start - -", ""},
		{"E58", dropIn("", dir+"/10-x.conf", kc(keyK+`: "true"`)), "fail wont-start - -", ""},
		{"E59", node{files: map[string]string{"/etc/kubernetes/kubelet.conf.d/10-x.conf": kc(keyK + ": false")}}, "pass default true true", ""},
		{"E61", node{flags: "--config-dir=" + dir, facts: func(f *Facts) {
			f.Disk.Dirs[dir] = kubelet.Dir{Path: dir, State: kubelet.StateMissing}
		}}, "fail wont-start - -", dir},
		{"a drop-in went away", func() node {
			n := dropIn("", conf, kc())
			n.newer = []string{dir}
			return n
		}(), "fail restart-pending - true", "came to or went from " + dir},

		// Finding the process.
		{"E62", node{state: map[string]string{"MainPID": "0", "ActiveState": "inactive", "SubState": "dead"}}, "unknown no-kubelet nil true", "true by default"},
		{"E63", node{next: flagF + ":true", state: map[string]string{"MainPID": "0", "ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "41"},
			facts: func(f *Facts) { f.Journal = []string{"x", "E1101 run.go:72] \"command failed\" err=\"unknown flag\""} }}, "unknown crash-loop nil -", "command failed"},
		{"E63 alive for a moment", node{state: map[string]string{"NRestarts": "41"}, main: func(p *Process) { p.Started = startTime.Add(59*time.Minute + 55*time.Second) }}, "unknown crash-loop nil true", "41 times"},
		{"E63 gone already", node{state: map[string]string{"NRestarts": "2"}, main: func(p *Process) { p.Argv = nil }}, "unknown crash-loop nil true", "2 times"},
		{"restarted long ago", node{state: map[string]string{"NRestarts": "41"}}, "pass default true true", ""},
		{"E64", node{procs: []Process{
			{PID: 9, Comm: "grep", Exe: "/usr/bin/grep", Argv: argv("grep", "kubelet")},
			{PID: 10, Comm: "vim", Exe: "/usr/bin/vim", Argv: argv("vim", "kubelet.conf")},
			{PID: 11, Comm: "kube-apiserver", Exe: "/usr/bin/kube-apiserver", Argv: argv("kube-apiserver", "--kubelet-client-key=/x")},
			{PID: 12, Comm: "kubelet", Exe: "/usr/bin/kubelet", PIDNS: "pid:[4]", Argv: argv("kubelet", flagF+"=false")},
		}}, "pass default true true", ""},
		{"E66", node{main: func(p *Process) { p.Exe += " (deleted)" }}, "pass default true true", "binary was replaced"},
		{"E67 hyperkube", node{argv: []string{flagF + "=false"}, main: func(p *Process) {
			p.Exe, p.Comm, p.Argv = "/opt/bin/hyperkube", "hyperkube", argv("/opt/bin/hyperkube", "kubelet", flagF+"=false")
		}, unit: "[Service]\nExecStart=/opt/bin/hyperkube kubelet " + flagF + "=false\n"}, "fail flag-false false false", ""},
		{"E67 moved", node{flags: flagF + "=false", main: func(p *Process) { p.Exe = "/usr/local/bin/kubelet" }}, "fail flag-false false false", ""},
		{"E67 wrapper", node{unit: "[Service]\nExecStart=/bin/sh -c 'exec /opt/start-kubelet'\n",
			state: map[string]string{"MainPID": "77"}, procs: []Process{
				{PID: 77, Comm: "sh", Exe: "/usr/bin/dash", Unit: kubeletUnit, Started: startTime},
				{PID: 78, Parent: 77, Comm: "kubelet", Exe: "/opt/bin/kubelet", Unit: kubeletUnit, Started: startTime, Cwd: "/", Argv: argv("kubelet", flagF+"=false")},
			}}, "fail flag-false false -", ""},
		{"E68", node{main: func(p *Process) { p.Argv, p.Exe = nil, "" }, facts: func(f *Facts) { f.UID = 1000 }}, "unknown unreadable nil true", "command line"},
		{"E70", node{facts: func(f *Facts) { f.Kernel = "MINGW64_NT-10.0 3.4 x86_64" }}, "not-applicable os-windows nil nil", ""},
		{"two kubelets", node{procs: []Process{{PID: 4321, Comm: "kubelet", Exe: "/tmp/kubelet", PIDNS: "pid:[1]", Argv: argv("kubelet")}}}, "unknown several-kubelets nil true", "4321"},
		{"somebody else looks at it", node{procs: []Process{{PID: 4321, Comm: "kubelet", Exe: "/usr/bin/kubelet", PIDNS: "pid:[1]", Argv: argv("/usr/bin/kubelet", "--version")}}}, "pass default true true", ""},
		{"masked", node{state: map[string]string{"MainPID": "0", "LoadState": "masked", "ActiveState": "inactive"}}, "unknown unit-masked nil true", ""},
		{"no unit", node{state: map[string]string{"MainPID": "0", "LoadState": "not-found", "ActiveState": "inactive"}}, "unknown no-unit nil nil", ""},
		{"starting", node{state: map[string]string{"MainPID": "0", "ActiveState": "activating", "SubState": "start-pre"}}, "unknown starting nil true", ""},
		{"k3s", node{state: map[string]string{"MainPID": "0", "LoadState": "not-found"}, procs: []Process{{PID: 5, Comm: "k3s-agent", Exe: "/usr/local/bin/k3s"}}}, "not-applicable k3s nil nil", ""},
		{"rke2", node{state: map[string]string{"MainPID": "0", "LoadState": "not-found"}, procs: []Process{{PID: 5, Comm: "rke2", Exe: "/usr/local/bin/rke2"}, {PID: 6, Parent: 5, Comm: "kubelet", Exe: "/var/lib/rancher/rke2/bin/kubelet", Unit: "rke2-agent.service"}}}, "not-applicable rke2 nil nil", ""},

		// systemd.
		{"E71", node{unit: "[Service]\nEnvironment=KUBELET_FLAGS=\nExecStart=/opt/bin/kubelet $KUBELET_FLAGS\n", dirs: []string{"/etc/systemd/system/kubelet.service.d"},
			files: map[string]string{"/etc/systemd/system/kubelet.service.d/10-kubelet-args.conf": "[Service]\nEnvironment=\"KUBELET_ARGS=" + flagF + "=false\"\n"}}, "pass default true true", "KUBELET_ARGS"},
		{"E72", node{unit: "[Service]\nEnvironmentFile=/etc/default/kubelet\nExecStart=/opt/bin/kubelet $KUBELET_FLAGS\n", dirs: []string{"/etc/systemd/system/kubelet.service.d"}, files: map[string]string{
			"/etc/default/kubelet":                            "KUBELET_FLAGS=--v=2\n",
			"/etc/systemd/system/kubelet.service.d/90-x.conf": "[Service]\nEnvironment=\"KUBELET_FLAGS=--v=2 " + flagF + "=false\"\n"}, flags: "--v=2"}, "pass default true true", "KUBELET_FLAGS"},
		{"E75", node{flags: flagF + "=false", next: flagF + "=true", state: map[string]string{"NeedDaemonReload": "yes"}}, "fail restart-pending false true", "daemon-reload is missing"},
		{"E77", node{flags: "--eviction-hard=memory.available<100Mi --x", unit: "[Service]\nEnvironmentFile=/etc/default/kubelet\nExecStart=/opt/bin/kubelet $KUBELET_FLAGS\n", argv: []string{"--eviction-hard=memory.available<100Mi", flagF + "=false"},
			files: map[string]string{"/etc/default/kubelet": "KUBELET_FLAGS=--eviction-hard=memory.available<100Mi \\\n " + flagF + "=false \n"}}, "fail flag-false false false", "/etc/default/kubelet:"},
		{"E78", node{state: map[string]string{"MainPID": "0", "ActiveState": "inactive", "SubState": "dead", "ConditionResult": "no"}}, "unknown no-kubelet nil true", "condition"},
		{"latent by a flag", node{next: flagF + "=false"}, "fail latent true false", ""},

		// The live witness.
		{"E49 live agrees with the disk", node{flags: "--config=" + conf, files: file(keyK + ": false"), newer: []string{conf}, live: false}, "fail file-false - false", conf + ":3"},
		{"E49 live says the new value", node{flags: "--config=" + conf, files: file(keyK + ": true"), newer: []string{conf}, live: true}, "pass explicit - true", conf + ":3"},
		{"E49 live, by default", node{flags: "--config=" + conf, files: file(), newer: []string{conf}, live: true}, "pass default - true", ""},
		{"E49 live, by default, strict", node{flags: "--config=" + conf, files: file(), newer: []string{conf}, live: true, rule: Policy{Strict: true}}, "fail not-explicit - true", ""},
		{"E50 live was wrong already", node{flags: "--config=" + conf, files: file(keyK + ": false"), newer: []string{conf}, live: false}, "fail file-false - false", conf + ":3"},
		{"E81", node{flags: flagF + "=false", live: true}, "fail witnesses-disagree false false", "started with false by its command line, its live configuration says true, the next start: false by /etc/systemd/system/kubelet.service:2"},
		{"E81 the other way", node{live: false}, "fail witnesses-disagree true true", "started with true by default, its live configuration says false, the next start: true by default"},
		{"E81 with a file", node{flags: "--config=" + conf, files: file(keyK + ": true"), live: false}, "fail witnesses-disagree true true", "true by " + conf + ":3"},
		{"E82", node{live: true}, "pass default true true", ""},

		// Dynamic Kubelet Configuration: kubelets below 1.24 with --dynamic-config-dir.
		{"E95 assigned", assigned("v1.20.2", "", "kind: SerializedNodeConfigSource\n", nil), "unknown dynamic-config - -", "Dynamic Kubelet Configuration"},
		{"E95 assigned, live true", assigned("v1.20.2", "", "kind: SerializedNodeConfigSource\n", true), "pass live - -", "Dynamic Kubelet Configuration"},
		{"E95 assigned, live false", assigned("v1.20.2", "", "kind: SerializedNodeConfigSource\n", false), "fail live-false - -", ""},
		{"E95 assigned, not to be read", assigned("v1.20.2", "", "unreadable", nil), "unknown dynamic-config - -", ""},
		{"E95 assigned, a flag beats it", assigned("v1.20.2", flagF+"=false", "kind: SerializedNodeConfigSource\n", nil), "fail flag-false false false", ""},
		{"E95 nothing assigned yet", assigned("v1.20.2", "", "", nil), "pass default true true", ""},
		{"E95 never assigned", assigned("v1.20.2", "", "missing", nil), "pass default true true", ""},
		{"E95 gone since 1.24", assigned("v1.24.0", "", "kind: SerializedNodeConfigSource\n", nil), "pass default true true", ""},
		{"live and running wrong, next right", node{flags: flagF + "=false", next: flagF + "=true", live: false}, "fail restart-pending false true", ""},
		{"live and running right, next wrong", node{next: flagF + "=false", live: true}, "fail latent true false", ""},
		{"live disagrees and it won't start", node{next: flagF + ":true", live: false}, "fail wont-start true -", "started with true, but its live configuration says false"},
		{"live where the file broke since", node{flags: "--config=" + conf, files: map[string]string{conf: "missing"}, live: true}, "fail wont-start - -", "the running kubelet has true by its live configuration"},
		{"live where the process is closed", node{main: func(p *Process) { p.Argv, p.Exe = nil, "" }, facts: func(f *Facts) { f.UID = 1000 }, live: true}, "pass default nil true", ""},
		{"live where files are closed", node{flags: "--config=" + conf, files: map[string]string{conf: "unreadable"}, live: true}, "pass live - -", "live configuration"},
		{"live where files are closed, strict", node{flags: "--config=" + conf, files: map[string]string{conf: "unreadable"}, live: true, rule: Policy{Strict: true}}, "unknown unreadable - -", "whether that is written down"},
		{"live false where files are closed", node{flags: "--config=" + conf, files: map[string]string{conf: "unreadable"}, live: false}, "fail live-false - -", "live configuration"},
		{"live of a stopped kubelet", node{state: map[string]string{"MainPID": "0", "ActiveState": "inactive", "SubState": "dead"}, live: true}, "unknown no-kubelet nil true", ""},
		{"E83", node{live: &Live{Reason: "configz-no-key", Problem: "holds no key"}}, "pass default true true", "configz-no-key: holds no key"},
		{"E84", node{live: &Live{Reason: "configz-forbidden", Problem: "403"}}, "pass default true true", "needs get on nodes and on nodes/proxy"},
		{"E86", node{flags: flagF + "=false", live: &Live{Reason: "configz-unavailable", Problem: "503"}}, "fail flag-false false false", "configz-unavailable: 503"},
		{"E87", node{live: &Live{Reason: "identity-mismatch", Problem: "another boot id"}}, "pass default true true", "identity-mismatch: another boot id"},
		{"E86 when only live could tell", node{flags: "--config=" + conf, files: map[string]string{conf: "unreadable"}, live: &Live{Reason: "configz-unavailable", Problem: "503"}}, "unknown unreadable - -", "configz-unavailable"},
	} {
		t.Run(strings.ReplaceAll(c.id, " ", "_"), func(t *testing.T) {
			got := c.node.judge()
			text := fmt.Sprintf("%s %s %s %s", got.Status, got.Reason, valueText(got.Running), valueText(got.Next))
			if text != c.want {
				t.Errorf("got  %s\nwant %s\nmessage: %s\nnotes: %q", text, c.want, got.Message, got.Notes)
			}
			all := got.Message + "\n" + strings.Join(got.Notes, "\n")
			if !strings.Contains(all, c.note) {
				t.Errorf("neither message nor notes say %q:\n%s", c.note, all)
			}
			if got.Status != StatusPass && got.Hint == "" {
				t.Errorf("no hint for %s: %s", got.Reason, got.Message)
			}
			if strings.Contains(got.Message+got.Hint, "\n") || strings.ContainsAny(got.Hint, "{}") {
				t.Errorf("message or hint is not one plain line: %q %q", got.Message, got.Hint)
			}
		})
	}
}

func valueText(w *Witness) string {
	switch {
	case w == nil:
		return "nil"
	case w.Value == nil:
		return "-"
	}
	return fmt.Sprint(w.Value)
}
