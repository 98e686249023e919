package remediate_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet/audit"
	"fleet/kubelet"
	"fleet/remediate"
)

const (
	kubeletUnit = "kubelet.service"
	unitFile    = "/etc/systemd/system/kubelet.service"
	conf        = "/etc/kubelet.yaml"
	confDir     = "/etc/kubelet.d"
	envFile     = "/etc/default/kubelet"
	flagTrue    = "--make-iptables-util-chains=true"
	flagFalse   = "--make-iptables-util-chains=false"
	key         = "makeIPTablesUtilChains"
)

// kc is a configuration file with these lines.
func kc(lines ...string) string {
	return "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n" + strings.Join(lines, "\n") + "\n"
}

// layout is how a host is set up, small enough for a line of a table.
type layout struct {
	flags string             // what the kubelet runs with, parted by blanks
	unit  string             // the whole unit; "" for one that executes flags
	files map[string]string  // further files; a FileState as content is that state
	dirs  []string           // directories that are there
	newer []string           // files changed after the kubelet's start
	state map[string]string  // systemd's properties, over the usual ones
	facts func(*audit.Facts) // changes to everything
}

var (
	booted  = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	started = booted.Add(time.Hour)
)

// build makes the facts that a probe would bring.
func (l layout) build() audit.Facts {
	f := audit.Facts{
		Hostname: "node", Kernel: "Linux 5.15.0 x86_64", Init: "systemd", BootID: "b007",
		Now: started.Add(time.Hour), Precise: true, Booted: booted,
		Units: map[string]audit.UnitState{kubeletUnit: {
			"Id": kubeletUnit, "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "MainPID": "1234", "NRestarts": "0",
		}},
		Owners: map[string]audit.Owner{},
		Disk:   kubelet.Disk{Files: map[string]kubelet.File{}, Dirs: map[string]kubelet.Dir{}},
	}
	maps.Copy(f.Units[kubeletUnit], l.state)
	l.addFiles(&f)
	if f.Units[kubeletUnit]["MainPID"] == "1234" {
		words := append([]string{"/opt/bin/kubelet"}, strings.Fields(l.flags)...)
		f.Processes = []audit.Process{{
			PID: 1234, Parent: 1, Comm: "kubelet", Exe: "/opt/bin/kubelet", Cwd: "/", PIDNS: "pid:[1]", Started: started, Unit: kubeletUnit, Version: "v1.34.4",
			Argv: kubelet.SplitCmdline("/proc/1234/cmdline", []byte(strings.Join(words, "\x00")+"\x00")),
		}}
	}
	if l.facts != nil {
		l.facts(&f)
	}
	return f
}

func (l layout) addFiles(f *audit.Facts) {
	all := map[string]string{}
	names, dirs := kubelet.UnitPaths(kubeletUnit)
	for _, name := range names {
		all[name] = string(kubelet.StateMissing)
	}
	all[unitFile] = l.unit
	if l.unit == "" {
		all[unitFile] = "[Service]\nExecStart=/opt/bin/kubelet " + l.flags + "\n"
	}
	maps.Copy(all, l.files)
	for _, name := range append(dirs, l.dirs...) {
		f.Disk.Dirs[name] = kubelet.Dir{Path: name, State: kubelet.StateMissing}
	}
	for name, data := range all {
		file := kubelet.File{Path: name, State: kubelet.StatePresent, Data: []byte(data), Modified: booted}
		switch state := kubelet.FileState(data); state {
		case kubelet.StateMissing, kubelet.StateUnreadable, kubelet.StateTooLarge, kubelet.StateDirectory:
			file.State, file.Data = state, nil
		}
		if slices.Contains(l.newer, name) {
			file.Modified = started.Add(time.Minute)
		}
		f.Disk.Files[name] = file
		for dir, d := range f.Disk.Dirs {
			if strings.HasPrefix(name, dir+"/") && file.State == kubelet.StatePresent {
				d.State, d.Modified = kubelet.StatePresent, booted
				d.Entries = append(d.Entries, name)
				f.Disk.Dirs[dir] = d
			}
		}
	}
}

func (l layout) plan(o remediate.Options) (audit.Facts, remediate.Plan) {
	f := l.build()
	return f, remediate.NewPlan(control, f, judged(f, o), o)
}

// judged is the finding that a plan is made from; the API server, where there is
// one, says what the running kubelet has.
func judged(f audit.Facts, o remediate.Options) audit.Finding {
	finding := control.Judge(f, audit.Policy{Strict: o.Strict}, nil)
	if !o.Live || finding.Running == nil {
		return finding
	}
	return control.Judge(f, audit.Policy{Strict: o.Strict}, &audit.Live{Value: finding.Running.Value, Path: "/api/v1/nodes/node/proxy/configz"})
}

// words says a plan in short: "nothing", "refused CODE", or the method and the
// files, "restart" or "stage".
func words(p remediate.Plan) string {
	switch {
	case p.Nothing:
		return "nothing"
	case p.Refused != nil:
		return "refused " + p.Refused.Code
	}
	out := string(p.Method)
	for _, file := range p.Files {
		out += " " + file.Path
	}
	if p.Restart {
		return out + " restart"
	}
	return out + " stage"
}

// envUnit expands two variables, the second one last.
const envUnit = "[Service]\nEnvironmentFile=" + envFile + "\nExecStart=/opt/bin/kubelet $FIRST $KUBELET_FLAGS\n"

// layouts are the hosts that the table below speaks of.
func layouts() map[string]layout {
	withFile := func(content string) layout {
		return layout{flags: "--config=" + conf, files: map[string]string{conf: content}}
	}
	owned := func(o audit.Owner) layout {
		l := withFile(kc(key + ": false"))
		l.facts = func(f *audit.Facts) { f.Owners[conf] = o }
		return l
	}
	linked := func(target string) layout {
		l := withFile(kc(key + ": false"))
		l.facts = func(f *audit.Facts) {
			file := f.Disk.Files[conf]
			file.Target = target
			f.Disk.Files[conf] = file
		}
		return l
	}
	changing := func(held bool) layout {
		l := withFile(kc(key + ": false"))
		l.facts = func(f *audit.Facts) {
			f.Changes = []audit.Change{{Run: "20261101-030000-aaaa", Owner: "night@shift", State: "waiting", Held: held}}
		}
		return l
	}
	crashing := func(flags string) layout {
		return layout{flags: flags, state: map[string]string{"MainPID": "0", "ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "7"}}
	}
	release := func(id string) layout { return layout{files: map[string]string{"/etc/os-release": "ID=" + id + "\n"}} }
	running := func(comm string) layout {
		return layout{state: map[string]string{"MainPID": "0", "LoadState": "not-found", "ActiveState": "inactive"},
			facts: func(f *audit.Facts) { f.Processes = []audit.Process{{PID: 9, Comm: comm, Exe: "/usr/bin/" + comm}} }}
	}
	blank := layout{flags: "--config=/etc/k", unit: "[Service]\nExecStart=/opt/bin/kubelet \"--config=/etc/k \"\n", files: map[string]string{"/etc/k ": kc(key + ": false")}}
	blank.facts = func(f *audit.Facts) {
		f.Processes[0].Argv = kubelet.SplitCmdline("/proc/1234/cmdline", []byte("kubelet\x00--config=/etc/k \x00"))
	}
	noRoot := withFile(kc(key + ": false"))
	noRoot.facts = func(f *audit.Facts) { f.UID = 1000 }
	twice := layout{flags: flagFalse, facts: func(f *audit.Facts) {
		stray := f.Processes[0]
		stray.PID, stray.Unit = 99, "other.service"
		f.Processes = append(f.Processes, stray)
	}}
	pending := withFile(kc(key + ": true"))
	pending.newer = []string{conf}
	return map[string]layout{
		"default":          {flags: "--v=2"},
		"default, a file":  withFile(kc("maxPods: 30")),
		"file true":        withFile(kc(key + ": true")),
		"file false":       withFile(kc(key + ": false")),
		"file quoted":      withFile(kc(key + `: "true"`)),
		"file broken":      withFile("kind: [\n"),
		"file odd":         withFile(kc("base: &b {"+key+": false}", "<<: *b")),
		"file other fault": withFile(kc(key+": false", `maxPods: "many"`)),
		"file missing":     withFile(string(kubelet.StateMissing)),
		"file too large":   withFile(string(kubelet.StateTooLarge)),
		"pending":          pending,
		"flag false":       {flags: flagFalse},
		"flag over file":   {flags: "--config=" + conf + " " + flagFalse, files: map[string]string{conf: kc(key + ": true")}},
		"both false":       {flags: "--config=" + conf + " " + flagFalse, files: map[string]string{conf: kc(key + ": false")}},
		"vendor unit": {flags: flagFalse, files: map[string]string{unitFile: string(kubelet.StateMissing),
			"/usr/lib/systemd/system/kubelet.service": "[Service]\nExecStart=/opt/bin/kubelet " + flagFalse + "\n"}},
		"vendor unit, default": {flags: "--v=2", files: map[string]string{unitFile: string(kubelet.StateMissing),
			"/usr/lib/systemd/system/kubelet.service": "[Service]\nExecStart=/opt/bin/kubelet --v=2\n"}},
		"no place":         {flags: "--v=2", unit: "[Service]\nExecStart=/opt/bin/kubelet --v=2 --\n"},
		"environment file": {flags: flagFalse, unit: envUnit, files: map[string]string{envFile: "FIRST=--v=2\nKUBELET_FLAGS=\"" + flagFalse + "\"\n"}},
		"unit drop-in": {flags: flagFalse, unit: "[Service]\nExecStart=/opt/bin/kubelet $KUBELET_FLAGS\n",
			files: map[string]string{unitFile + ".d/10-flags.conf": "[Service]\nEnvironment=\"KUBELET_FLAGS=" + flagFalse + "\"\n"}},
		"overridden": {flags: flagFalse, unit: "[Service]\nEnvironmentFile=" + envFile + "\nExecStart=/opt/bin/kubelet $KUBELET_FLAGS\n",
			files: map[string]string{envFile: "KUBELET_FLAGS=" + flagFalse + "\n",
				unitFile + ".d/10-flags.conf": "[Service]\nEnvironment=\"KUBELET_FLAGS=" + flagTrue + "\"\n"}},
		"config drop-in": {flags: "--config=" + conf + " --config-dir=" + confDir, dirs: []string{confDir},
			files: map[string]string{conf: kc(key + ": true"), confDir + "/50-site.conf": kc(key + ": false")}},
		"colon":              {flags: "--v=2", unit: "[Service]\nExecStart=/opt/bin/kubelet --v=2 --make-iptables-util-chains:true\n"},
		"colon, crashing":    crashing("--make-iptables-util-chains:true"),
		"other, crashing":    crashing("--no-such-flag " + flagFalse),
		"unclear, crashing":  crashing("--v=2"),
		"stopped":            {state: map[string]string{"MainPID": "0", "ActiveState": "inactive", "SubState": "dead"}},
		"two kubelets":       twice,
		"not root":           noRoot,
		"held":               changing(true),
		"left behind":        changing(false),
		"windows":            {facts: func(f *audit.Facts) { f.Kernel = "MSYS_NT-10.0 3.4 x86_64" }},
		"freebsd":            {facts: func(f *audit.Facts) { f.Kernel = "FreeBSD 14.1 amd64" }},
		"bottlerocket":       release("bottlerocket"),
		"k3s":                running("k3s-agent"),
		"rke2":               running("rke2"),
		"microk8s":           running("kubelite"),
		"read-only":          owned(audit.Owner{ReadOnly: true}),
		"hard link":          owned(audit.Owner{Links: 2}),
		"one name":           owned(audit.Owner{Links: 1, Mode: "600", User: "root"}),
		"symlink beside":     linked("real.yaml"),
		"symlink, same path": linked("/etc/real.yaml"),
		"symlink elsewhere":  linked("/opt/managed/kubelet.yaml"),
		"symlink upwards":    linked("../opt/kubelet.yaml"),
		"blank in the path":  blank,
	}
}

// TestNewPlan holds the plans for what is found on hosts: cases E92 to E95 and
// every refusal. (E96 and E97, a change that does not hold, are in
// apply_test.go.)
func TestNewPlan(t *testing.T) {
	hosts := layouts()
	restart := conf + " restart"
	for _, c := range []struct {
		id      string
		host    string
		methods string
		options remediate.Options
		want    string
		message string // part of the summary or of the refusal
	}{
		// As wanted already: no method writes, restarts or refuses.
		{"E92", "default", "file", remediate.Options{}, "nothing", "as wanted"},
		{"E92", "default", "args", remediate.Options{}, "nothing", ""},
		{"E92", "file true", "file", remediate.Options{}, "nothing", ""},
		{"E92", "file true", "args", remediate.Options{}, "nothing", ""},
		{"E92", "file true", "auto", remediate.Options{NoRestart: true}, "nothing", ""},
		{"E92", "file true", "configz", remediate.Options{}, "nothing", ""},
		{"E92 strict", "file true", "file", remediate.Options{Strict: true}, "nothing", ""},

		// The configuration file.
		{"", "file false", "file", remediate.Options{}, "file " + restart, "write " + key + ": true to " + conf + ", then restart kubelet.service"},
		{"", "file false", "file", remediate.Options{NoRestart: true}, "file " + conf + " stage", "leave the restart of kubelet.service to you"},
		{"", "file quoted", "file", remediate.Options{}, "file " + restart, ""},
		{"E93", "both false", "file", remediate.Options{}, "refused masked-by-flag", unitFile + ":2 sets false and beats the file; --method args or auto would work"},
		{"E93", "flag over file", "file", remediate.Options{}, "refused masked-by-flag", "--method args or auto would work"},
		{"E93", "config drop-in", "file", remediate.Options{}, "refused masked-by-drop-in", confDir + "/50-site.conf:3 sets false and beats the file; --method args or auto would work"},
		{"E94", "flag false", "file", remediate.Options{}, "refused no-config-file", "--method args or auto would work"},
		{"", "file broken", "file", remediate.Options{}, "refused would-not-start", ""},
		{"", "file odd", "file", remediate.Options{}, "refused cannot-edit", ""},
		{"", "file other fault", "file", remediate.Options{}, "refused would-not-start", ""},
		{"", "file other fault", "auto", remediate.Options{}, "refused would-not-start", ""},
		{"", "file missing", "file", remediate.Options{}, "refused unreadable-file", conf + " is missing"},
		{"", "file too large", "file", remediate.Options{}, "refused unreadable", ""},

		// The arguments.
		{"", "flag false", "args", remediate.Options{}, "args " + unitFile + " restart", "write --make-iptables-util-chains=true to " + unitFile},
		{"", "file false", "args", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"", "both false", "args", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"", "environment file", "args", remediate.Options{}, "args " + envFile + " restart", ""},
		{"", "unit drop-in", "args", remediate.Options{}, "args " + unitFile + ".d/10-flags.conf restart", ""},
		{"", "overridden", "args", remediate.Options{}, "args " + envFile + " restart", ""},
		{"", "config drop-in", "args", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"", "colon", "args", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"", "vendor unit", "args", remediate.Options{}, "refused not-editable", ""},
		{"", "vendor unit, default", "args", remediate.Options{Strict: true}, "refused not-editable", ""},
		{"", "no place", "args", remediate.Options{Strict: true}, "refused no-variable", ""},

		// Of several methods the first that works; of none the first refusal.
		{"", "both false", "file,args", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"", "file false", "file,args", remediate.Options{}, "file " + restart, ""},
		{"", "file false", "args,file", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"", "vendor unit", "args,file", remediate.Options{}, "refused not-editable", ""},
		{"", "vendor unit", "file,args", remediate.Options{}, "refused no-config-file", ""},

		// The layer that decides.
		{"auto", "file false", "auto", remediate.Options{}, "file " + restart, ""},
		{"auto", "flag false", "auto", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"auto", "both false", "auto", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"auto", "environment file", "auto", remediate.Options{}, "args " + envFile + " restart", ""},
		{"auto", "config drop-in", "auto", remediate.Options{}, "file " + confDir + "/50-site.conf restart", ""},
		{"auto", "colon", "auto", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"auto", "file quoted", "auto", remediate.Options{}, "file " + restart, ""},
		{"E95", "file false", "configz", remediate.Options{}, "refused live-needed", "--method file or args or auto would work"},
		{"E95", "file false", "configz", remediate.Options{Live: true}, "configz " + restart, "/configz is the proof"},
		{"E95", "flag false", "configz", remediate.Options{Live: true}, "configz " + unitFile + " restart", ""},

		// Right by default, and a policy that wants it written down.
		{"strict", "default", "auto", remediate.Options{Strict: true}, "args " + unitFile + " restart", ""},
		{"strict", "default", "file", remediate.Options{Strict: true}, "refused no-config-file", ""},
		{"strict", "default, a file", "auto", remediate.Options{Strict: true}, "file " + restart, ""},
		{"strict", "default, a file", "args", remediate.Options{Strict: true}, "args " + unitFile + " restart", ""},

		// Only the restart is missing.
		{"", "pending", "file", remediate.Options{}, "file restart", "restart kubelet.service"},
		{"", "pending", "auto", remediate.Options{}, "file restart", ""},
		{"", "pending", "file", remediate.Options{NoRestart: true}, "refused restart-needed", ""},

		// A kubelet that does not stay up is repaired where our setting is the cause.
		{"", "colon, crashing", "auto", remediate.Options{}, "args " + unitFile + " restart", ""},
		{"", "colon, crashing", "file", remediate.Options{}, "refused no-config-file", ""},
		{"", "other, crashing", "auto", remediate.Options{}, "refused would-not-start", "no-such-flag"},
		{"", "unclear, crashing", "auto", remediate.Options{}, "refused crash-loop", ""},

		// Hosts of which too little is known, or that somebody else sees to.
		{"", "stopped", "auto", remediate.Options{}, "refused no-kubelet", ""},
		{"", "two kubelets", "auto", remediate.Options{}, "refused several-kubelets", ""},
		{"", "not root", "auto", remediate.Options{}, "refused not-root", "user 1000"},
		{"", "held", "auto", remediate.Options{}, "refused node-locked", "run 20261101-030000-aaaa by night@shift"},
		{"", "left behind", "auto", remediate.Options{}, "refused unfinished-run", "was interrupted while it was waiting"},
		{"", "windows", "auto", remediate.Options{}, "nothing", "Windows"},
		{"", "freebsd", "auto", remediate.Options{}, "nothing", "FreeBSD"},
		{"", "bottlerocket", "auto", remediate.Options{}, "refused bottlerocket", ""},
		{"", "k3s", "auto", remediate.Options{}, "refused k3s", ""},
		{"", "rke2", "file", remediate.Options{}, "refused rke2", ""},
		{"", "microk8s", "args", remediate.Options{}, "refused microk8s", ""},

		// Files that must not, or cannot, be replaced.
		{"", "read-only", "file", remediate.Options{}, "refused read-only", conf},
		{"", "hard link", "file", remediate.Options{}, "refused hard-link", "2 names"},
		{"", "one name", "file", remediate.Options{}, "file " + restart, ""},
		{"", "symlink beside", "file", remediate.Options{}, "file " + restart, ""},
		{"", "symlink, same path", "file", remediate.Options{}, "file " + restart, ""},
		{"", "symlink elsewhere", "file", remediate.Options{}, "refused symlink-elsewhere", "leads to /opt/managed/kubelet.yaml; --method args would work"},
		{"", "symlink upwards", "file", remediate.Options{}, "refused symlink-elsewhere", "leads to /opt/kubelet.yaml"},
		{"", "blank in the path", "file", remediate.Options{}, "refused cannot-edit", "cannot be handed over"},
	} {
		t.Run(fmt.Sprintf("%s %s by %s %+v", c.id, c.host, c.methods, c.options), func(t *testing.T) {
			l, ok := hosts[c.host]
			if !ok {
				t.Fatal("no such host")
			}
			var err error
			if c.options.Methods, err = remediate.ParseMethods(c.methods); err != nil {
				t.Fatal(err)
			}
			f, p := l.plan(c.options)
			said := p.Summary
			if p.Refused != nil {
				said = p.Refused.Message
				if meaning, hint := remediate.Explain(p.Refused.Code, "h", "r"); meaning == "" || hint == "" {
					t.Errorf("%s is not in the catalogue", p.Refused.Code)
				}
			}
			if got := words(p); got != c.want || !strings.Contains(said, c.message) {
				t.Fatalf("got %q: %q, want %q: %q", got, said, c.want, c.message)
			}
			if !reflect.DeepEqual(f, l.build()) {
				t.Error("the plan changed the facts")
			}
			if p.Ready() {
				again(t, f, p, c.options)
			}
		})
	}
}

// again makes the planned edits and plans once more: the value has come out,
// and nothing
// is left to be written.
func again(t *testing.T, f audit.Facts, p remediate.Plan, o remediate.Options) {
	t.Helper()
	if p.Expect != true || p.Unit != kubeletUnit {
		t.Errorf("expects %v of %q", p.Expect, p.Unit)
	}
	for _, edit := range p.Files {
		if string(edit.Old) != string(f.Disk.Files[edit.Path].Data) {
			t.Errorf("%s: the plan is not made from what is there", edit.Path)
		}
		file := f.Disk.Files[edit.Path]
		file.Data = edit.New
		f.Disk.Files[edit.Path] = file
	}
	if next := control.Basis(f).Next; next.Value != true {
		t.Errorf("then the next start gives %v", next.Value)
	}
	second := remediate.NewPlan(control, f, judged(f, o), o)
	if len(second.Files) > 0 {
		t.Errorf("a second plan writes again: %s", second.Diff())
	}
}

// TestPlanChangesOneValue (E98): nothing but the value changes in the file.
func TestPlanChangesOneValue(t *testing.T) {
	const head = "{\n\t\"kind\": \"KubeletConfiguration\",\n\t\"apiVersion\": \"kubelet.config.k8s.io/v1beta1\""
	for name, c := range map[string]struct{ before, after string }{
		"tabs, no final newline": {head + ",\n\t\"" + key + "\":\tfalse ,\n\t\"maxPods\": 30\n}", head + ",\n\t\"" + key + "\":\ttrue ,\n\t\"maxPods\": 30\n}"},
		"on one line":            {`{"` + key + `":false,"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1"}`, `{"` + key + `":true,"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1"}`},
		"CRLF":                   {strings.ReplaceAll(kc(key+": false # why", "maxPods: 30"), "\n", "\r\n"), strings.ReplaceAll(kc(key+": true # why", "maxPods: 30"), "\n", "\r\n")},
		"comments":               {"# first\n" + kc("# "+key+": false", key+":   no", "# last"), "# first\n" + kc("# "+key+": false", key+":   true", "# last")},
	} {
		t.Run(name, func(t *testing.T) {
			l := layout{flags: "--config=" + conf, files: map[string]string{conf: c.before}}
			_, p := l.plan(remediate.Options{Methods: []remediate.Method{"file"}})
			if len(p.Files) != 1 || string(p.Files[0].New) != c.after {
				t.Errorf("%s: %q, want %q", words(p), p.Files, c.after)
			}
		})
	}
}

// TestHealthz tells where the kubelet is asked whether it is well.
func TestHealthz(t *testing.T) {
	for _, c := range []struct{ flags, config, want string }{
		{"", "", "http://127.0.0.1:10248/healthz"},
		{"--healthz-port=0", "", ""},
		{"--healthz-port=-1", "", ""},
		{"--healthz-port=10999", "", "http://127.0.0.1:10999/healthz"},
		{"--healthz-bind-address=0.0.0.0", "", "http://127.0.0.1:10248/healthz"},
		{"--healthz-bind-address=10.0.0.4", "", "http://10.0.0.4:10248/healthz"},
		{"--healthz-bind-address=::", "", "http://[::1]:10248/healthz"},
		{"--healthz-bind-address=fd00::4", "", "http://[fd00::4]:10248/healthz"},
		{"", "healthzPort: 10999", "http://127.0.0.1:10999/healthz"},
		{"", "healthzPort: 0", ""},
		{"", "healthzBindAddress: 10.0.0.5", "http://10.0.0.5:10248/healthz"},
		{"--healthz-port=10777", "healthzPort: 10999", "http://127.0.0.1:10777/healthz"},
	} {
		l := layout{flags: strings.TrimSpace("--config=" + conf + " " + c.flags), files: map[string]string{conf: kc(key+": false", c.config)}}
		if _, p := l.plan(remediate.Options{Methods: []remediate.Method{"file"}}); p.Healthz != c.want || !p.Ready() {
			t.Errorf("%q %q: %s, %q, want %q", c.flags, c.config, words(p), p.Healthz, c.want)
		}
	}
}

// TestDiffMasksSecrets: what is shown of a plan holds no secret, and what is
// written holds it still.
func TestDiffMasksSecrets(t *testing.T) {
	const secret = "abcdef.0123456789abcdef"
	for name, l := range map[string]layout{
		"environment file": {flags: "--registry-password=" + secret + " " + flagFalse, unit: envUnit, files: map[string]string{envFile: "API_TOKEN=" + secret + "\nKUBELET_FLAGS=\"--registry-password=" + secret + " " + flagFalse + "\"\n"}},
		"unit":             {flags: flagFalse, unit: "[Service]\nEnvironment=API_TOKEN=" + secret + "\nExecStart=/opt/bin/kubelet " + flagFalse + "\n"},
		"configuration":    {flags: "--config=" + conf, files: map[string]string{conf: kc("# password: "+secret, key+": false", "staticPodURLHeader:", "  Authorization: [Bearer "+secret+"]")}},
	} {
		t.Run(name, func(t *testing.T) {
			_, p := l.plan(remediate.Options{Methods: []remediate.Method{"auto"}})
			if len(p.Files) != 1 || !strings.Contains(string(p.Files[0].New), secret) {
				t.Fatalf("%s: %q", words(p), p.Files)
			}
			diff := p.Diff()
			if strings.Contains(diff, secret) || strings.Contains(p.Summary, secret) || !strings.Contains(diff, "***") {
				t.Errorf("the diff:\n%s", diff)
			}
			if !strings.Contains(diff, "\n-") || !strings.Contains(diff, "\n+") || !strings.HasPrefix(diff, "--- "+p.Files[0].Path+"\n+++ "+p.Files[0].Path+" (planned)\n") {
				t.Errorf("the diff:\n%s", diff)
			}
		})
	}
}

// TestParseMethods reads lists of methods.
func TestParseMethods(t *testing.T) {
	for text, want := range map[string]string{
		"file": "[file]", "file,args": "[file args]", " auto , configz": "[auto configz]",
		"": "", "file,": "", "file,file": "", "File": "", "all": "",
	} {
		got, err := remediate.ParseMethods(text)
		if (err == nil) != (want != "") || err == nil && fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
}
