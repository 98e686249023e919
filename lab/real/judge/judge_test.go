package judge

import (
	"os"
	"path/filepath"
	"testing"
)

// TestInstall wants a layout gone without a trace, and what was there before
// still there.
func TestInstall(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/default"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := installed{root: root}
	for _, f := range []File{
		{Path: "/etc/default/kubelet", Text: "A=1\n", Mode: 0o600},
		{Path: "/etc/kubernetes/kubelet/deep/config.json", Data: []byte{0xff}},
		{Path: "/etc/systemd/system/kubelet.service", Link: "/dev/null"},
		{Path: "/etc/kubernetes/empty", Dir: true},
		{Path: "/etc/kubernetes/empty", Dir: true},
	} {
		if err := in.put(f); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "etc/default/kubelet")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := in.clear(); err != nil {
		t.Fatal(err)
	}
	var left []string
	filepath.WalkDir(root, func(path string, _ os.DirEntry, _ error) error {
		left = append(left, path)
		return nil
	})
	if len(left) != 3 { // root, etc, etc/default
		t.Errorf("left %q", left)
	}
}

func TestValid(t *testing.T) {
	for path, want := range map[string]bool{
		"/etc/default/kubelet":       true,
		"/etc/default/../passwd":     false,
		"/etc/passwd":                false,
		"/etc/systemd/system/x/y":    true,
		"etc/default/kubelet":        false,
		"/etc/default/":              false,
		"/var/lib/kubelet/config":    true,
		"/usr/bin/kubelet":           false,
		"/run/systemd/system/a.conf": true,
	} {
		if got := valid(path); got != want {
			t.Errorf("%s: got %v", path, got)
		}
	}
}

func TestCommandFailed(t *testing.T) {
	line := `E1122 18:33:08.500403     164 run.go:72] "command failed" err="failed to parse kubelet flag: unknown flag: --a=\"b\""` + "\n"
	m := commandFailed.FindStringSubmatch(line)
	if m == nil || m[1] != `"failed to parse kubelet flag: unknown flag: --a=\"b\""` {
		t.Errorf("got %q", m)
	}
}
