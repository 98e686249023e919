package report

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ in, format, path, err string }{
		{in: "json=out.json", format: "json", path: "out.json"},
		{in: "table=/tmp/a=b.txt", format: "table", path: "/tmp/a=b.txt"},
		{in: "ndjson= x", format: "ndjson", path: " x"},
		{in: "json", err: "want FORMAT=PATH"},
		{in: "json=", err: "want FORMAT=PATH"},
		{in: "", err: "want FORMAT=PATH"},
		{in: "json=-", err: "standard output is -o json"},
		{in: "xml=out.xml", err: `unknown output format "xml" (one of: table, wide, json, ndjson)`},
		{in: "JSON=out.json", err: "unknown output format"},
		{in: "=out", err: "unknown output format"},
	} {
		got, err := ParseTarget(c.in)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: got %v, want an error with %q", c.in, err, c.err)
			}
			continue
		}
		if err != nil || got.Format.Name != c.format || got.Path != c.path {
			t.Errorf("%q: got %s, %q, %v", c.in, got.Format.Name, got.Path, err)
		}
	}
}

func target(t *testing.T, format, path string) Target {
	t.Helper()
	got, err := ParseTarget(format + "=" + path)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// lone fails unless the directory of path holds nothing else.
func lone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func TestSave(t *testing.T) {
	for _, format := range Formats() {
		path := filepath.Join(t.TempDir(), "report")
		// An older report, readable by all, is replaced.
		if err := os.WriteFile(path, []byte(strings.Repeat("old ", 99999)), 0o644); err != nil {
			t.Fatal(err)
		}
		to := target(t, format.Name, path)
		if err := errors.Join(to.Check(), to.Save(full())); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != render(t, format.Name, full(), TextOptions{}) {
			t.Errorf("%s: %v\n%s", format.Name, err, got)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v, want 0600", format.Name, info.Mode(), err)
		}
		lone(t, path)
	}
}

func TestSaveKeepsTheOldFileWhenItFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("no space left")
	to := target(t, "json", path)
	to.Format.Write = func(w io.Writer, _ Report, _ TextOptions) error {
		if _, err := w.Write([]byte("half a report")); err != nil {
			return err
		}
		return cause
	}
	if err := to.Save(full()); !errors.Is(err, cause) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("the old report became %q", got)
	}
	lone(t, path)
}

func TestSaveFollowsALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(real, []byte("old"), 0o600), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	if err := target(t, "table", link).Save(full()); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "real" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if got, _ := os.ReadFile(real); !strings.HasPrefix(string(got), "1 host was changed and still FAILS.") {
		t.Errorf("got %q", got)
	}
}

func TestSaveNeverReplacesADevice(t *testing.T) {
	to := target(t, "json", os.DevNull)
	if err := errors.Join(to.Check(), to.Save(full())); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(os.DevNull)
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Fatalf("%s is no device any more: %v, %v", os.DevNull, info.Mode(), err)
	}
}

func TestSaveSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                                  "it is a directory",
		filepath.Join(dir, "dangling"):       "leads nowhere",
		filepath.Join(dir, "none", "report"): "no such file or directory",
	} {
		to := target(t, "json", path)
		for _, err := range []error{to.Check(), to.Save(full())} {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot write report "+path) {
				t.Errorf("%s: got %v, want %q", path, err, want)
			}
		}
	}
}
