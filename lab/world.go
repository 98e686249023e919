package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Ages of things on a node, counted back from the start of the fleet: booted,
// then configured, then the kubelet started, then somebody edited.
const (
	ageBoot    = 9 * 24 * time.Hour
	ageFiles   = 8 * 24 * time.Hour
	ageKubelet = 3 * 24 * time.Hour
	ageEdit    = time.Hour
)

// clockTicks is USER_HZ, the unit of start times in /proc/PID/stat.
const clockTicks = 100

// materialise writes the node's root directory once.
func (n *node) materialise() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.written {
		return n.writeErr
	}
	n.written = true
	n.writeErr = n.write()
	if n.writeErr != nil {
		n.writeErr = fmt.Errorf("write the root of node %s: %w", n.spec.Name, n.writeErr)
	}
	return n.writeErr
}

func (n *node) write() error {
	w := writer{root: n.root(), dirs: map[string]bool{}}
	for _, dir := range []string{"/run", "/tmp", "/proc", "/var/lib", "/home/" + n.spec.User, "/../state/units", "/../state/journal"} {
		if err := w.mkdir(dir); err != nil {
			return err
		}
	}
	start := layoutOf(n.spec, n.spec.Set)
	disk := start
	if n.spec.Later != nil {
		disk = layoutOf(n.spec, *n.spec.Later)
	}
	files, touched := n.files(start, disk)
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if err := w.file(files[p], n.age(files[p].Later)); err != nil {
			return err
		}
	}
	if err := n.ageDirs(files, touched); err != nil {
		return err
	}
	if err := n.writeIdentity(w, start.os); err != nil {
		return err
	}
	n.sys = newSystemd(n, start)
	if err := n.sys.publish(); err != nil {
		return err
	}
	if err := os.WriteFile(n.stateDir()+"/password", []byte(n.spec.Password+"\n"), 0o600); err != nil {
		return err
	}
	if err := n.setPlaces(n.spec.ReadOnly, n.spec.DiskFull); err != nil {
		return err
	}
	return n.listenControl()
}

// files are the shape's files with the spec's own over them, by path, and the
// directories in which a name came or went since the kubelet's start. A file
// that differs between then and now carries the time of the edit.
func (n *node) files(start, disk layout) (files map[string]File, touched map[string]bool) {
	files, touched = map[string]File{}, map[string]bool{}
	for p := range start.files {
		if _, kept := disk.files[p]; !kept {
			touched[path.Dir(p)] = true
		}
	}
	for p, data := range disk.files {
		before, had := start.files[p]
		if !had {
			touched[path.Dir(p)] = true
		}
		files[p] = File{Path: p, Data: data, Later: !had || before != data}
	}
	if start.exe != "" {
		program := "#!/bin/sh\n[ \"$*\" = --version ] || { echo \"lab: kubelet $* is not simulated\" >&2; exit 64; }\necho Kubernetes " + n.spec.Version + "\n"
		files[start.exe] = File{Path: start.exe, Data: program, Mode: 0o755, Later: n.spec.State == StateReplaced}
	}
	if n.spec.State == StateMasked {
		files[unitPath] = File{Path: unitPath, Link: "/dev/null"}
	}
	for _, f := range n.spec.Files {
		f.Path = path.Clean("/" + f.Path)
		if _, had := start.files[f.Path]; f.Later && (!had || f.Remove) {
			touched[path.Dir(f.Path)] = true
		}
		files[f.Path] = f
	}
	return files, touched
}

// ageDirs sets the times of the directories that hold the files.
func (n *node) ageDirs(files map[string]File, touched map[string]bool) error {
	dirs := map[string]bool{}
	for p := range files {
		dirs[path.Dir(p)] = true
	}
	for dir := range dirs {
		when := n.age(touched[dir])
		if err := os.Chtimes(n.host(dir), when, when); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// age is when a thing was last changed.
func (n *node) age(later bool) time.Time {
	if later {
		return n.fleet.now.Add(-ageEdit)
	}
	return n.fleet.now.Add(-ageFiles)
}

// writer fills a root that is empty at first with as few system calls as it
// can: a thousand roots are written while their fleet is audited.
type writer struct {
	root string
	dirs map[string]bool // made already
}

func (w writer) mkdir(dir string) error {
	if w.dirs[dir] {
		return nil
	}
	w.dirs[dir] = true
	return os.MkdirAll(filepath.Join(w.root, dir), 0o755)
}

// file writes one file; a zero time leaves its times alone.
func (w writer) file(f File, when time.Time) error {
	if f.Remove {
		return nil
	}
	if err := w.mkdir(path.Dir(f.Path)); err != nil {
		return err
	}
	name := filepath.Join(w.root, f.Path)
	if f.Link != "" {
		return os.Symlink(f.Link, name)
	}
	mode := f.Mode
	if mode == 0 {
		mode = 0o600
	}
	if err := writeMode(name, f.Data, mode); err != nil || when.IsZero() {
		return err
	}
	return os.Chtimes(name, when, when)
}

// writeMode is os.WriteFile for a new file, without the umask.
func writeMode(name, data string, mode fs.FileMode) error {
	if err := os.WriteFile(name, []byte(data), mode); err != nil || mode&0o077 == 0 {
		return err
	}
	return os.Chmod(name, mode)
}

// host is where a path of the node lies on this machine.
func (n *node) host(p string) string { return filepath.Join(n.root(), path.Clean("/"+p)) }

// writeIdentity writes what tells one node from another.
func (n *node) writeIdentity(w writer, pretty string) error {
	if n.spec.OS != "" {
		pretty = n.spec.OS
	}
	name, version, _ := strings.Cut(pretty, " ")
	public := map[string]string{
		"/etc/os-release":                 fmt.Sprintf("PRETTY_NAME=%q\nNAME=%q\nVERSION=%q\nID=%s\n", pretty, name, version, strings.ToLower(name)),
		"/etc/hostname":                   n.spec.Name + "\n",
		"/etc/machine-id":                 n.machineID() + "\n",
		"/proc/sys/kernel/hostname":       n.spec.Name + "\n",
		"/proc/sys/kernel/random/boot_id": n.bootID() + "\n",
		"/proc/stat":                      fmt.Sprintf("cpu  6310 0 4210 991000 310 0 120 0 0 0\nctxt 9182736\nbtime %d\nprocesses 48211\nprocs_running 1\nprocs_blocked 0\n", n.fleet.booted().Unix()),
	}
	for p, data := range public {
		if err := w.file(File{Path: p, Data: data, Mode: 0o644}, time.Time{}); err != nil {
			return err
		}
	}
	return n.writeUptime()
}

// writeUptime keeps /proc/uptime in step with the clock; every session calls it.
func (n *node) writeUptime() error {
	up := time.Since(n.fleet.booted()).Seconds()
	return os.WriteFile(n.host("/proc/uptime"), fmt.Appendf(nil, "%.2f %.2f\n", up, up*1.9), 0o644)
}

// booted is when the nodes booted, to the second as /proc/stat has it.
func (f *Fleet) booted() time.Time { return f.now.Add(-ageBoot).Truncate(time.Second) }

func (n *node) digest(what string) []byte {
	sum := sha256.Sum256([]byte(what + "\x00" + n.spec.Name))
	return sum[:]
}

func (n *node) machineID() string { return hex.EncodeToString(n.digest("machine-id")[:16]) }

func (n *node) bootID() string {
	b := n.digest("boot-id")
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a random UUID, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
