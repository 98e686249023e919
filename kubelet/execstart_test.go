package kubelet

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unitTestStart starts a unit of these lines of [Service].
func unitTestStart(service string, files map[string]string) Launch {
	all := map[string]string{"/etc/systemd/system/kubelet.service": "[Service]\n" + service}
	for p, content := range files {
		all[p] = content
	}
	_, l := unitTestLaunch(Manager{Version: 252}, "kubelet", unitTestDisk("kubelet", all, nil))
	return l
}

func execTestArgs(l Launch) []string {
	args := []string{l.Exe}
	for _, a := range l.Start.Args {
		args = append(args, a.Text)
	}
	return args
}

// TestExecStartWords takes what systemd 252's own config_parse_exec() and
// replace_env_argv() made of these lines.
func TestExecStartWords(t *testing.T) {
	const env = "Environment='A=1 \"2 3\"' B= \"C=x\\ny\" 'Q=\"open' D=a=b\n"
	cases := []struct {
		name, line string
		want       []string
	}{
		{"plain", `/k a b`, []string{"/k", "a", "b"}},
		{"quotes", `/k "a b" 'c d' e" "f`, []string{"/k", "a b", "c d", "e f"}},
		{"empty word", `/k "" x`, []string{"/k", "", "x"}},
		{"escapes", `/k a\x41\t\101\u00e9\s.`, []string{"/k", "aA\tAé ."}},
		{"unknown escape stays", `/k a\qb`, []string{"/k", `a\qb`}},
		{"nul escape stays", `/k a\x00b`, []string{"/k", `a\x00b`}},
		{"words of a variable", `/k $A`, []string{"/k", "1", "2 3"}},
		{"one word of a variable", `/k ${A}`, []string{"/k", `1 "2 3"`}},
		{"within a word", `/k x${A}y`, []string{"/k", `x1 "2 3"y`}},
		{"no braces within a word", `/k x$A`, []string{"/k", "x$A"}},
		{"name runs to the end of the word", `/k $A/x $A-$B`, []string{"/k"}},
		{"quoted variable is split too", `/k "$A"`, []string{"/k", "1", "2 3"}},
		{"unset and empty variables", `/k $NONE $B ${NONE} ${B} x`, []string{"/k", "", "", "x"}},
		{"newline separates", `/k $C ${C}`, []string{"/k", "x", "y", "x\ny"}},
		{"open quote in a value", `/k $Q`, []string{"/k", "open"}},
		{"dollars", `/k $$A $$$A a$$b a$ $`, []string{"/k", "$A", "$$A", "a$b", "a$"}},
		{"unsupported syntax", `/k ${A:-x} ${A`, []string{"/k", "${A:-x}", "${A"}},
		{"value with =", `/k $D`, []string{"/k", "a=b"}},
		{"no expansion", `:/k $A ${A} $$`, []string{"/k", "$A", "${A}", "$$"}},
		{"prefixes", `-@:+/k zero $A`, []string{"/k", "$A"}},
		{"own argv[0]", `@/k zero one`, []string{"/k", "one"}},
		{"specifiers", `/k %n %p %N %i. %% 5%, %`, []string{"/k", "kubelet.service", "kubelet", "kubelet", ".", "%", "5%,", "%"}},
		{"node-only specifier stays", `/k %H`, []string{"/k", "%H"}},
		{"semicolons", `/k a \; b ";" c;`, []string{"/k", "a", ";", "b", ";", "c;"}},
		{"trailing semicolon", `/k a ;`, []string{"/k", "a"}},
		{"path simplified", `//usr/./bin//k a`, []string{"/usr/bin/k", "a"}},
		{"name to be searched", `kubelet a`, []string{"kubelet", "a"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := unitTestStart(env+"ExecStart="+c.line+"\n", nil)
			if l.Fatal != nil {
				t.Fatal(l.Fatal.Message)
			}
			if diff := cmp.Diff(c.want, execTestArgs(l)); diff != "" {
				t.Errorf("ExecStart=%s (-want +got):\n%s", c.line, diff)
			}
		})
	}
}

func TestExecStartRefusals(t *testing.T) {
	cases := []struct{ name, service, want string }{
		{"nothing", "", "Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing."},
		{"stop only", "Type=simple\nExecStop=/x\n", "Service has no ExecStart= setting, which is only allowed"},
		{"several", "ExecStart=/a\nExecStart=/b\n", "more than one ExecStart="},
		{"oneshot may have several", "Type=oneshot\nExecStart=/a\nExecStart=/b\n", ""},
		{"oneshot for ever", "Type=oneshot\nRestart=always\nExecStart=/a\n", "isn't allowed for Type=oneshot"},
		{"dbus without a name", "Type=dbus\nExecStart=/a\n", "no D-Bus service name"},
		{"unknown type is ignored", "Type=foo\nExecStart=/a\n", ""},
		{"relative path", "ExecStart=bin/kubelet\n", "Neither a valid executable name nor an absolute path"},
		{"directory", "ExecStart=/bin/\n", "Executable path specifies a directory"},
		{"quote in the path", "ExecStart=/a\\\"b\n", "special characters"},
		{"prefix alone", "ExecStart=@\n", "Empty path in command line"},
		{"argv0 alone", "ExecStart=@/a\n", "Empty executable name or zeroeth argument"},
		{"open quote in an argument", "ExecStart=/a \"b\n", "Unbalanced quoting"},
		{"open quote at once is ignored", "ExecStart=/a\nExecStart=\"b\n", ""},
		{"bad specifier", "ExecStart=/a %z\n", "Failed to resolve unit specifiers"},
		{"bad specifier of a tolerated command", "ExecStart=/a\nExecStart=-/b %z\n", ""},
		{"broken ExecStartPre", "ExecStartPre=./x\nExecStart=/a\n", "Neither a valid executable name"},
		{"relative working directory", "WorkingDirectory=x\nExecStart=/a\n", "path is not absolute"},
		{"tolerated working directory", "WorkingDirectory=-x\nExecStart=/a\n", ""},
		{"bad user", "User=a:b\nExecStart=/a\n", "Invalid user/group name"},
		{"mandatory file missing", "EnvironmentFile=/nope\nExecStart=/a\n", "Failed to load environment files: /nope: No such file or directory"},
		{"mandatory pattern without match", "EnvironmentFile=/etc/*.env\nExecStart=/a\n", "Failed to load environment files"},
		{"optional file missing", "EnvironmentFile=-/nope\nExecStart=/a\n", ""},
		{"file with NUL", "EnvironmentFile=/nul\nExecStart=/a\n", "Failed to load environment files: /nul: Bad message"},
		{"file that is not UTF-8", "EnvironmentFile=/latin1\nExecStart=/a\n", "Failed to load environment files: /latin1: Invalid argument"},
		{"one argument too long", "EnvironmentFile=/long\nExecStart=/a ${LONG}\n", "Argument list too long"},
		{"too much altogether", "EnvironmentFile=/many\nExecStart=/a " + strings.Repeat("${MANY} ", 100) + "\n", "Argument list too long"},
	}
	files := map[string]string{
		"/nul": "A=\x00\n", "/latin1": "A=1\nB=\xe9\n",
		"/long": "LONG=" + strings.Repeat("x", 128<<10), "/many": "MANY=" + strings.Repeat("x", 100<<10),
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := unitTestStart(c.service, files)
			got := ""
			if l.Fatal != nil {
				got = l.Fatal.Message
			}
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestExecStartWorkingDirectory(t *testing.T) {
	cases := []struct{ service, want string }{
		{"", "/"},
		{"WorkingDirectory=/var//lib/./kubelet/\n", "/var/lib/kubelet"},
		{"WorkingDirectory=~\n", "/root"},
		{"WorkingDirectory=~\nUser=nobody\n", ""},
		{"WorkingDirectory=/a\nWorkingDirectory=\n", "/"},
	}
	for _, c := range cases {
		if l := unitTestStart(c.service+"ExecStart=/k\n", nil); l.Start.Cwd != c.want {
			t.Errorf("%q: cwd %q, want %q", c.service, l.Start.Cwd, c.want)
		}
	}
}

func TestLaunchEnv(t *testing.T) {
	l := unitTestStart("EnvironmentFile=/e\nExecStart=/k\n", map[string]string{"/e": `KUBELET_CONFIG_DROPIN_DIR_ALPHA="on"`})
	if got := l.Start.Env["KUBELET_CONFIG_DROPIN_DIR_ALPHA"]; got != "on" {
		t.Errorf("got %q, want on", got)
	}
	if len(l.Unused) != 0 {
		t.Errorf("unused: %v", l.Unused)
	}
}

// TestManager gives what only the running manager knows.
func TestManager(t *testing.T) {
	d := unitTestDisk("kubelet", map[string]string{
		"/etc/systemd/system/kubelet.service": "[Service]\nEnvironment=A=unit\nExecStart=/k %H $A $B\n",
	}, nil)
	m := Manager{Specifiers: map[byte]string{'H': "node1"}, Environment: []string{"A=manager", "B=manager"}}
	_, l := unitTestLaunch(m, "kubelet.service", d)
	if diff := cmp.Diff([]string{"/k", "node1", "unit", "manager"}, execTestArgs(l)); diff != "" {
		t.Error(diff)
	}
	if len(l.Warnings) != 0 {
		t.Errorf("warnings: %q", l.Warnings)
	}
}

// TestLaunchNeed asks for what was not looked at and says nothing else.
func TestLaunchNeed(t *testing.T) {
	files, dirs := UnitPaths("kubelet")
	u := LoadUnit("kubelet", Disk{})
	if diff := cmp.Diff(unitSorted(slices.Clone(files)), u.Need); diff != "" || u.Fatal != nil {
		t.Errorf("without anything: fatal %v, need (-want +got)\n%s", u.Fatal, diff)
	}
	if !slices.Contains(dirs, "/etc/systemd/system/kubelet.service.d") || !slices.Contains(dirs, "/usr/lib/systemd/system/service.d") {
		t.Errorf("drop-in directories are missing from %q", dirs)
	}
	d := unitTestDisk("kubelet", map[string]string{
		"/etc/systemd/system/kubelet.service": "[Service]\nEnvironmentFile=/a\nEnvironmentFile=-/b/*.env\nExecStart=/k\n",
	}, nil)
	if l := LoadUnit("kubelet", d).Start(d); !slices.Equal(l.Need, []string{"/a", "/b/"}) || l.Fatal != nil {
		t.Errorf("need %q, fatal %v", l.Need, l.Fatal)
	}
	delete(d.Dirs, "/etc/systemd/system/kubelet.service.d")
	if u := LoadUnit("kubelet", d); !slices.Equal(u.Need, []string{"/etc/systemd/system/kubelet.service.d/"}) {
		t.Errorf("need %q", u.Need)
	}
}

// TestLaunchBlocked never takes what cannot be read for absent.
func TestLaunchBlocked(t *testing.T) {
	const unit = "/etc/systemd/system/kubelet.service"
	files := map[string]string{unit: "[Service]\nEnvironmentFile=-/e\nExecStart=/k\n", unit + ".d/x.conf": "", "/e": ""}
	for _, p := range []string{unit, unit + ".d/x.conf", "/e"} {
		for _, state := range []FileState{StateUnreadable, StateTooLarge} {
			d := unitTestDisk("kubelet", files, nil)
			d.Files[p] = File{Path: p, State: state}
			if _, l := unitTestLaunch(Manager{}, "kubelet", d); l.Blocked == nil || l.Blocked.Source.Path != p || len(l.Start.Args) > 0 {
				t.Errorf("%s %s: %+v", p, state, l)
			}
		}
	}
}

// FuzzExecStart expands any ExecStart= line with any variable.
func FuzzExecStart(f *testing.F) {
	f.Add(`/usr/bin/kubelet $A "${A}" x${B}y $$ \x41 %n ;`, `--a "b c" 'd`)
	f.Add(`-@:!!/k zero \; "a\q" ${A:x} ${`, "1\n2")
	f.Fuzz(func(t *testing.T, line, value string) {
		files := map[string]string{"/e": "A='" + value + "'\nB=" + value}
		l := unitTestStart("EnvironmentFile=-/e\nExecStart="+line+"\n", files)
		again := unitTestStart("EnvironmentFile=-/e\nExecStart="+line+"\n", files)
		if diff := cmp.Diff(l, again); diff != "" {
			t.Errorf("two runs differ:\n%s", diff)
		}
		files["/etc/systemd/system/kubelet.service"] = "[Service]\nEnvironmentFile=-/e\nExecStart=" + line + "\n"
		unitTestOrigins(t, l, files)
	})
}

// unitTestOrigins checks that every argument points at a line of a file that
// is there, and that the whole stays within what a kernel takes.
func unitTestOrigins(t *testing.T, l Launch, files map[string]string) {
	t.Helper()
	total := 0
	for _, a := range l.Start.Args {
		total += len(a.Text)
		content, ok := files[a.Origin.Path]
		if !ok || a.Origin.Line < 1 || !strings.Contains(content, a.Origin.Text) || a.Origin.Kind != SourceFlag {
			t.Errorf("argument %q comes from nowhere: %+v", a.Text, a.Origin)
		}
	}
	if total > execArgsMax {
		t.Errorf("%d bytes of arguments", total)
	}
	if l.Fatal != nil && (len(l.Start.Args) > 0 || strings.ContainsAny(l.Fatal.Message, "\n\r")) {
		t.Errorf("refusal %q with %d arguments", l.Fatal.Message, len(l.Start.Args))
	}
}
