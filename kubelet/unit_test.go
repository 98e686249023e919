package kubelet

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// unitTestDisk is a disk that was looked at everywhere a unit of this name can
// have files, and that holds these files and symlinks.
func unitTestDisk(name string, files, links map[string]string) Disk {
	d := Disk{Files: map[string]File{}, Dirs: map[string]Dir{}}
	fragments, dirs := UnitPaths(name)
	for _, p := range fragments {
		d.Files[p] = File{Path: p, State: StateMissing}
	}
	for _, p := range dirs {
		d.Dirs[p] = Dir{Path: p, State: StateMissing}
	}
	for p, content := range files {
		d.Files[p] = File{Path: p, State: StatePresent, Data: []byte(content)}
		unitTestList(d, p)
	}
	for p, target := range links {
		f := d.Files[target]
		f.Path, f.Target = p, target
		if f.State == "" {
			f.State = StateMissing
		}
		d.Files[p] = f
		unitTestList(d, p)
	}
	return d
}

// unitTestList enters a path into the listing of its directory.
func unitTestList(d Disk, p string) {
	dir := d.Dirs[path.Dir(p)]
	dir.Path, dir.State = path.Dir(p), StatePresent
	dir.Entries = append(dir.Entries, p)
	d.Dirs[dir.Path] = dir
}

// unitTestLaunch loads and starts with everything that is asked for and not on
// the disk reported as missing, as a probe would.
func unitTestLaunch(m Manager, name string, d Disk) (Unit, Launch) {
	for {
		u := m.LoadUnit(name, d)
		l := u.Start(d)
		if len(l.Need) == 0 {
			return u, l
		}
		for _, p := range l.Need {
			if dir, listing := strings.CutSuffix(p, "/"); listing {
				d.Dirs[dir] = Dir{Path: dir, State: StateMissing}
			} else {
				d.Files[p] = File{Path: p, State: StateMissing}
			}
		}
	}
}

// unitTestShow renders a launch as the test files spell it.
func unitTestShow(u Unit, l Launch) string {
	var b strings.Builder
	at := func(s Source) string { return fmt.Sprintf("%s:%d", s.Path, s.Line) }
	for _, p := range u.DropIns {
		fmt.Fprintln(&b, "dropin", p)
	}
	if l.Fatal != nil {
		fmt.Fprintf(&b, "fatal %s @%s\n", l.Fatal.Message, at(l.Fatal.Source))
	}
	if l.Blocked != nil {
		fmt.Fprintf(&b, "blocked %s\n", l.Blocked.Message)
	}
	if l.Exe != "" && l.Fatal == nil && l.Blocked == nil {
		fmt.Fprintf(&b, "exe %s cwd %s\n", l.Exe, l.Start.Cwd)
	}
	for _, a := range l.Start.Args {
		fmt.Fprintf(&b, "arg %s @%s\n", a.Text, at(a.Origin))
	}
	for _, v := range l.Expands {
		fmt.Fprintf(&b, "expands %s set=%v @%s\n", v.Name, v.Set, at(v.Source))
		for _, o := range v.Overridden {
			fmt.Fprintf(&b, "  overrides %s @%s\n", o.Value, at(o.Source))
		}
	}
	for _, v := range l.Unused {
		fmt.Fprintf(&b, "unused %s @%s\n", v.Name, at(v.Source))
	}
	for _, c := range slices.Concat(u.Conditions, u.Asserts) {
		fmt.Fprintf(&b, "condition %s=%s @%s\n", c.Name, c.Value, at(c.Source))
	}
	for _, w := range l.Warnings {
		fmt.Fprintln(&b, "warning", w)
	}
	return b.String()
}

// TestUnitLayouts runs the layouts of testdata/unit: files by their path on
// the node, symlinks in the heading as "link PATH TARGET", the systemd version
// as "systemd N", and under "want" what the next start would be.
func TestUnitLayouts(t *testing.T) {
	cases, err := filepath.Glob("testdata/unit/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata/unit: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files, links, want, m := unitTestCase(t, a)
			u, l := unitTestLaunch(m, "kubelet", unitTestDisk("kubelet", files, links))
			got := unitTestShow(u, l)
			if os.Getenv("UPDATE") != "" {
				unitTestUpdate(t, file, a, got)
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("next start (-want +got):\n%s", diff)
			}
		})
	}
}

func unitTestCase(t *testing.T, a *txtar.Archive) (files, links map[string]string, want string, m Manager) {
	t.Helper()
	files, links = map[string]string{}, map[string]string{}
	for line := range strings.Lines(string(a.Comment)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[0] == "link":
			links[f[1]] = f[2]
		case len(f) == 2 && f[0] == "systemd":
			if _, err := fmt.Sscan(f[1], &m.Version); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, f := range a.Files {
		if f.Name == "want" {
			want = string(f.Data)
		} else {
			files[f.Name] = string(f.Data)
		}
	}
	return files, links, want, m
}

func unitTestUpdate(t *testing.T, file string, a *txtar.Archive, got string) {
	t.Helper()
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
	a.Files = append(a.Files, txtar.File{Name: "want", Data: []byte(got)})
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestUnitDropInDirs(t *testing.T) {
	got := unitDropInDirs("a-b@i-j.service")
	var etc []string
	for _, dir := range got {
		if p, ok := strings.CutPrefix(dir, "/etc/systemd/system/"); ok {
			etc = append(etc, p)
		}
	}
	want := []string{"a-b@i-j.service.d", "a-b@.service.d", "a-.service.d", "a-@i-j.service.d", "a-@.service.d", "service.d"}
	if diff := cmp.Diff(want, etc); diff != "" {
		t.Errorf("drop-in directories (-want +got):\n%s", diff)
	}
}

// TestUnitLines counts lines as systemd's read_line() does.
func TestUnitLines(t *testing.T) {
	for in, want := range map[string][]string{
		"a\nb":       {"a", "b"},
		"a\r\nb\n":   {"a", "b"},
		"a\n\rb":     {"a", "b"},
		"a\n\nb":     {"a", "", "b"},
		"a\rb\x00c":  {"a", "b", "c"},
		"a\r\n\x00b": {"a", "b"},
		"\n":         {""},
		"":           nil,
	} {
		var got []string
		f := unitNewFile("/u", []byte(in), unitStarts([]byte(in)))
		for i := range f.starts {
			got = append(got, f.lineText(i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
}

// FuzzUnitFile loads any unit with any drop-in.
func FuzzUnitFile(f *testing.F) {
	f.Add([]byte("[Service]\nExecStart=/k $A \\\n# c\n ${B}\n"), []byte("\xef\xbb\xbf[Service]\r\nEnvironment=A=1 \"B=2 3\" \\\r\n 'C=4'\r\nEnvironmentFile=-/e*\n"))
	f.Add([]byte("[Unit]\nConditionPathExists=|!/x\n[Service]\nType=oneshot\nExecStart=/a ; -/b %n\n"), []byte("[Service]\nExecStart=\nExecStart=@/k k\nUser=x\nWorkingDirectory=~\nUnsetEnvironment=A\n["))
	f.Fuzz(func(t *testing.T, unit, dropIn []byte) {
		const at = "/etc/systemd/system/kubelet.service"
		files := map[string]string{at: string(unit), at + ".d/x.conf": string(dropIn)}
		_, l := unitTestLaunch(Manager{}, "kubelet", unitTestDisk("kubelet", files, nil))
		_, again := unitTestLaunch(Manager{}, "kubelet", unitTestDisk("kubelet", files, nil))
		if diff := cmp.Diff(l, again); diff != "" {
			t.Errorf("two runs differ:\n%s", diff)
		}
		unitTestOrigins(t, l, files)
		for _, w := range l.Warnings {
			if len(w) > 1024 || strings.ContainsAny(w, "\n\r\x1b") {
				t.Errorf("warning %q", w)
			}
		}
	})
}
