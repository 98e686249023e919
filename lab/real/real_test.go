//go:build linux

package real

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMirrorOneLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain", "deb http://a.test/debian bookworm main contrib\n", "http://a.test/debian"},
		{"options", "deb [arch=amd64 signed-by=/x] http://a.test/debian bookworm main\n", "http://a.test/debian"},
		{"comment", "# deb http://a.test/debian bookworm main\n", ""},
		{"source", "deb-src http://a.test/debian bookworm main\n", ""},
		{"other suite", "deb http://a.test/debian bookworm-updates main\n", ""},
		{"other component", "deb http://a.test/debian bookworm contrib\n", ""},
		{"second line", "deb http://a.test/x jammy main\ndeb http://b.test/debian bookworm main # ours\n", "http://b.test/debian"},
		{"nothing", "", ""},
	} {
		if got := mirrorOneLine(c.text, "bookworm"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMirrorDeb822(t *testing.T) {
	const stanza = "Types: deb\n# old\nURIs: http://a.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
	for _, c := range []struct{ name, text, want string }{
		{"plain", stanza, "http://a.test/debian"},
		{"second stanza", "Types: deb\nURIs: http://b.test\nSuites: x\nComponents: main\n\n" + stanza, "http://a.test/debian"},
		{"sources only", strings.Replace(stanza, "deb", "deb-src", 1), ""},
		{"no components", strings.Replace(stanza, "main", "contrib", 1), ""},
		{"nothing", "", ""},
	} {
		if got := mirrorDeb822(c.text, "bookworm"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPointsBelow(t *testing.T) {
	const info = `1 0 8:1 / / rw - ext4 /dev/a rw
2 1 0:1 / /run/lab rw - tmpfs x rw
3 2 0:2 / /run/lab/a\040b rw - overlay overlay rw
4 2 0:3 / /run/lab/a\040b/proc rw - proc proc rw
5 1 0:4 / /run/laboratory rw - tmpfs x rw
broken
`
	want := []string{"/run/lab/a b/proc", "/run/lab/a b", "/run/lab"}
	if got := pointsBelow(info, "/run/lab"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOnce wants an artefact made once, and nothing left of one that failed.
func TestOnce(t *testing.T) {
	c := cache{dir: t.TempDir(), log: t.Logf}
	made := 0
	fill := func(_ context.Context, dir, _ string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	}
	fails := func(_ context.Context, dir, _ string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), errors.New("broken"))
	}
	if _, err := c.once(t.Context(), "a", fails); err == nil || exists(filepath.Join(c.dir, "a")) || exists(filepath.Join(c.dir, "a.partial")) {
		t.Fatalf("after a failure: %v", err)
	}
	for range 2 {
		path, err := c.once(t.Context(), "a", fill)
		if err != nil || !exists(filepath.Join(path, "file")) || exists(filepath.Join(path, "half")) {
			t.Fatalf("%s: %v", path, err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}

// TestLockFile wants the second one to wait until its context ends.
func TestLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockFile(ctx, path); err == nil {
		t.Error("locked twice")
	}
	unlock()
	if again, err := lockFile(t.Context(), path); err != nil {
		t.Error(err)
	} else {
		again()
	}
}

// TestRecipes wants a new name for a new recipe, and a go.mod that go can read.
func TestRecipes(t *testing.T) {
	if a, b := componentName("kubelet"), componentName("kube-apiserver"); a == b || !strings.Contains(a, KubernetesVersion) {
		t.Errorf("got %s and %s", a, b)
	}
	mod := buildModule("k8s.io/api")
	if !strings.Contains(mod, "replace k8s.io/api => k8s.io/api v0"+strings.TrimPrefix(KubernetesVersion, "v1")+"\n") {
		t.Errorf("got %s", mod)
	}
}

// TestBuilder gives out addresses and keeps the nodes' files in order.
func TestBuilder(t *testing.T) {
	b, err := newBuilder(Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range b.nodes {
		if seen[n.Address] {
			t.Errorf("two nodes at %s", n.Address)
		}
		seen[n.Address] = true
		if inner := strings.HasPrefix(n.Address, backPrefix); inner != (n.Jump != "") {
			t.Errorf("node %s at %s with jump %q", n.Name, n.Address, n.Jump)
		}
		paths := map[string]bool{}
		for _, f := range append(shapes()[n.Shape].files(n), b.machineFiles(n.Name)...) {
			if paths[f.Path] {
				t.Errorf("node %s has %s twice", n.Name, f.Path)
			}
			paths[f.Path] = true
		}
	}
	for _, text := range []string{b.inventory("/key"), b.knownHosts(), b.sshConfig("/dir")} {
		for _, n := range b.nodes {
			if !strings.Contains(text, n.Name) {
				t.Errorf("no %s in\n%s", n.Name, text)
			}
		}
	}
	for _, o := range []Options{{Name: "a.b"}, {Name: "../x"}, {Nodes: []Node{{Name: "x", Shape: "round"}}}} {
		if _, err := newBuilder(o); err == nil {
			t.Errorf("took %+v", o)
		}
	}
}

// TestProcesses finds this process by what only it has.
func TestProcesses(t *testing.T) {
	if startTime(os.Getpid()) == "" || startTime(1<<30) != "" {
		t.Error("cannot tell a process from none")
	}
	if ids := nsPIDs(os.Getpid()); len(ids) == 0 {
		t.Error("no number in any namespace")
	}
}

func TestNotReady(t *testing.T) {
	const list = `{"items":[{"metadata":{"name":"a"},"status":{"conditions":[{"type":"MemoryPressure","status":"True"},{"type":"Ready","status":"True"}]}},
{"metadata":{"name":"b"},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}]}`
	missing, err := notReady([]byte(list), []Node{{Name: "a"}, {Name: "b"}, {Name: "c"}})
	if err != nil || !slices.Equal(missing, []string{"b", "c"}) {
		t.Errorf("got %q, %v", missing, err)
	}
	if _, err := notReady([]byte("no"), nil); err == nil {
		t.Error("took what is no list")
	}
}
