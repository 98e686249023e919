package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLoad(t *testing.T) {
	inv, err := Load("-", strings.NewReader("a\nb\n"))
	if err != nil || inv.Name != "-" || len(inv.Hosts) != 2 || inv.Hosts[1].Position.String() != "-:2" {
		t.Errorf("standard input: %+v, %v", inv, err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "nodes.txt")
	write(t, file)
	if inv, err := Load(file, nil); err != nil || inv.Name != file {
		t.Errorf("file: %+v, %v", inv, err)
	}
	for name, path := range map[string]string{"missing": filepath.Join(dir, "missing"), "directory": dir} {
		_, err := Load(path, nil)
		var e *Error
		if !errors.As(err, &e) || e.File != path || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load("-", iotest.ErrReader(errors.New("broken pipe"))); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("read error: %v", err)
	}
	if _, err := Load("-", strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("nothing on standard input: %v", err)
	}
}

// endless is a reader without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

func TestReadEndless(t *testing.T) {
	data, err := readUpTo(endless{}, 1000)
	if err != nil || len(data) != 1001 {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
	if _, err := Parse("f", make([]byte, MaxBytes+1)); err == nil || !strings.Contains(err.Error(), "larger than 256 MiB") {
		t.Errorf("got %v", err)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	work, home := t.TempDir(), t.TempDir()
	t.Chdir(work)
	env := map[string]string{"HOME": home}
	find := func() string {
		path, err := Find(func(k string) string { return env[k] })
		if err != nil {
			return "error: " + err.Error()
		}
		return path
	}
	want := func(step, want string) {
		t.Helper()
		if got := find(); got != want {
			t.Errorf("%s: got %s, want %s", step, got, want)
		}
	}
	none := find()
	for _, place := range []string{"$FLEET_INVENTORY", "nodes.yaml", filepath.Join(home, ".config/fleet/nodes.yaml"), "-i FILE"} {
		if !strings.HasPrefix(none, "error: ") || !strings.Contains(none, place) {
			t.Errorf("%s does not name %s", none, place)
		}
	}
	config := filepath.Join(home, ".config", "fleet", "nodes.yaml")
	write(t, config)
	want("~/.config", config)

	env["XDG_CONFIG_HOME"] = "relative"
	want("a relative XDG_CONFIG_HOME is ignored", config)
	xdg := filepath.Join(home, "xdg", "fleet", "nodes.yaml")
	env["XDG_CONFIG_HOME"] = filepath.Join(home, "xdg")
	write(t, xdg)
	want("XDG_CONFIG_HOME", xdg)

	write(t, filepath.Join(work, "nodes.yaml"))
	want("working directory", "nodes.yaml")

	env["FLEET_INVENTORY"] = xdg
	want("FLEET_INVENTORY", xdg)
	env["FLEET_INVENTORY"] = "-"
	want("FLEET_INVENTORY as standard input", "-")
	env["FLEET_INVENTORY"] = filepath.Join(home, "gone.yaml")
	if got := find(); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, "gone.yaml") {
		t.Errorf("FLEET_INVENTORY names a missing file, but got %s", got)
	}
}
