package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Places are directories of a node, absolute, with all below them, each taken
// for a file system of its own.
//
// Where a place is read-only, its directories and files lose their write
// permission and commands run without root's right to pass that by, so that
// whatever writes there fails, redirections of the shell included, and test -w
// says no. Those fail with "Permission denied"; cp, mv, ln, mkdir, touch, rm,
// rmdir, chmod, chown, tee and truncate say "Read-only file system".
//
// Where the disk is full, cp leaves an empty file, and it, mkdir, tee, mv from
// another place, and cat, head, tail, sed, base64, tr, sort and cut with their
// standard output in a file say "No space left on device"; df shows nothing
// available. What the shell writes by itself (echo and printf) gets through,
// for nothing stands between it and the machine's disk; an empty file, a rename
// within the place and a removal succeed as they do on a disk that is full.
//
// /proc/mounts says which places there are. Nodes whose / is such a place keep
// /proc, /run and /tmp out of it.
type Places []string

// writers are the programs that are told where writing fails.
func writers() []string {
	return []string{"cp", "mv", "ln", "mkdir", "touch", "rm", "rmdir", "chmod", "chown", "tee", "truncate", "df",
		"cat", "head", "tail", "sed", "base64", "tr", "sort", "cut"}
}

// installFaulty puts the stand-in for each of them into DIR/faulty.
func installFaulty(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "faulty"), 0o755); err != nil {
		return fmt.Errorf("install the stand-ins: %w", err)
	}
	for _, name := range writers() {
		link := filepath.Join(dir, "faulty", name)
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("install the stand-in for %s: %w", name, err)
		}
		if err := os.Symlink("../lib/faulty", link); err != nil {
			return fmt.Errorf("install the stand-in for %s: %w", name, err)
		}
	}
	return nil
}

// faulty tells whether there are places where writing fails. The caller holds
// n.mu.
func (n *node) faulty() bool { return len(n.spec.ReadOnly)+len(n.spec.DiskFull) > 0 }

// modesCount tells whether file modes have to count for root as well.
func (n *node) modesCount() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.spec.ReadOnly) > 0
}

// setPlaces makes writing fail in these places, and nowhere else. The caller
// holds n.mu.
func (n *node) setPlaces(readOnly, diskFull Places) error {
	if err := n.makeWritable(); err != nil {
		return err
	}
	n.spec.ReadOnly, n.spec.DiskFull = readOnly, diskFull
	mounts := "/dev/root / ext4 rw,relatime,discard,errors=remount-ro 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n"
	for i, p := range readOnly {
		mounts += fmt.Sprintf("/dev/sdc%d %s ext4 ro,relatime 0 0\n", i+1, path.Clean("/"+p))
	}
	for i, p := range diskFull {
		mounts += fmt.Sprintf("/dev/sdd%d %s ext4 rw,relatime 0 0\n", i+1, path.Clean("/"+p))
	}
	for name, data := range map[string]string{n.host("/proc/mounts"): mounts, n.stateDir() + "/read-only": list(readOnly), n.stateDir() + "/disk-full": list(diskFull)} {
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			return fmt.Errorf("say where writing fails: %w", err)
		}
	}
	for _, p := range readOnly {
		if err := n.chmodBelow(p, func(m fs.FileMode) fs.FileMode { return m &^ 0o222 }); err != nil {
			return fmt.Errorf("make %s read-only: %w", p, err)
		}
	}
	return nil
}

func list(places Places) string {
	var b strings.Builder
	for _, p := range places {
		b.WriteString(path.Clean("/"+p) + "\n")
	}
	return b.String()
}

// makeWritable gives the owner the write permission back. The caller holds
// n.mu.
func (n *node) makeWritable() error {
	for _, p := range n.spec.ReadOnly {
		if err := n.chmodBelow(p, func(m fs.FileMode) fs.FileMode { return m | 0o200 }); err != nil {
			return fmt.Errorf("make %s writable: %w", p, err)
		}
	}
	return nil
}

// letGo leaves behind what whoever owns the files can remove.
func (n *node) letGo() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.written {
		n.makeWritable() // the fleet has ended; nobody is left to tell
	}
}

func (n *node) chmodBelow(place string, change func(fs.FileMode) fs.FileMode) error {
	apart := []string{n.host("/proc"), n.host("/run"), n.host("/tmp")}
	return filepath.WalkDir(n.host(place), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, a := range apart {
			if name == a {
				return fs.SkipDir
			}
		}
		info, err := d.Info()
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chmod(name, change(info.Mode().Perm()))
	})
}
