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
	for _, dir := range []string{n.root(), n.stateDir(), n.stateDir() + "/units", n.stateDir() + "/journal", n.root() + "/run", n.root() + "/tmp", n.root() + "/home/" + n.spec.User, n.root() + "/root"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	start := layoutOf(n.spec, n.spec.Set)
	disk := start
	if n.spec.Later != nil {
		disk = layoutOf(n.spec, *n.spec.Later)
	}
	if err := n.writeFiles(start, disk); err != nil {
		return err
	}
	if err := n.writeIdentity(start.os); err != nil {
		return err
	}
	n.sys = newSystemd(n, start)
	if err := n.sys.publish(); err != nil {
		return err
	}
	if err := os.WriteFile(n.stateDir()+"/password", []byte(n.spec.Password+"\n"), 0o600); err != nil {
		return err
	}
	return n.listenControl()
}

// writeFiles writes the shape's files and the spec's own. A file that differs
// between the kubelet's start and now carries the time of the edit.
func (n *node) writeFiles(start, disk layout) error {
	var files []File
	touched := map[string]bool{} // directories in which a name came or went since
	for p := range start.files {
		if _, kept := disk.files[p]; !kept {
			touched[path.Dir(p)] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(disk.files)) {
		data := disk.files[p]
		before, had := start.files[p]
		if !had {
			touched[path.Dir(p)] = true
		}
		files = append(files, File{Path: p, Data: data, Later: !had || before != data})
	}
	if start.exe != "" {
		program := "#!/bin/sh\n[ \"$*\" = --version ] || { echo \"lab: kubelet $* is not simulated\" >&2; exit 64; }\necho Kubernetes " + n.spec.Version + "\n"
		files = append(files, File{Path: start.exe, Data: program, Mode: 0o755, Later: n.spec.State == StateReplaced})
	}
	if n.spec.State == StateMasked {
		files = append(files, File{Path: unitPath, Link: "/dev/null"})
	}
	for _, f := range n.spec.Files {
		if _, had := start.files[f.Path]; f.Later && (!had || f.Remove) {
			touched[path.Dir(f.Path)] = true
		}
	}
	files = append(files, n.spec.Files...)
	for _, f := range files {
		if err := n.writeFile(f); err != nil {
			return err
		}
	}
	return n.ageDirs(files, touched)
}

// ageDirs sets the times of the directories that hold the files.
func (n *node) ageDirs(files []File, touched map[string]bool) error {
	for _, f := range files {
		dir := path.Dir(f.Path)
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

func (n *node) writeFile(f File) error {
	name := n.host(f.Path)
	if err := os.RemoveAll(name); err != nil || f.Remove {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if f.Link != "" {
		return os.Symlink(f.Link, name)
	}
	mode := f.Mode
	if mode == 0 {
		mode = 0o600
	}
	if err := writeMode(name, f.Data, mode); err != nil {
		return err
	}
	when := n.age(f.Later)
	return os.Chtimes(name, when, when)
}

// writeMode is os.WriteFile without the umask.
func writeMode(name, data string, mode fs.FileMode) error {
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		return err
	}
	return os.Chmod(name, mode)
}

// host is where a path of the node lies on this machine.
func (n *node) host(p string) string { return filepath.Join(n.root(), path.Clean("/"+p)) }

// writeIdentity writes what tells one node from another.
func (n *node) writeIdentity(pretty string) error {
	if n.spec.OS != "" {
		pretty = n.spec.OS
	}
	name, version, _ := strings.Cut(pretty, " ")
	boot := n.booted()
	public := map[string]string{
		"/etc/os-release":                     fmt.Sprintf("PRETTY_NAME=%q\nNAME=%q\nVERSION=%q\nID=%s\n", pretty, name, version, strings.ToLower(name)),
		"/etc/hostname":                       n.spec.Name + "\n",
		"/etc/machine-id":                     n.machineID() + "\n",
		"/proc/sys/kernel/hostname":           n.spec.Name + "\n",
		"/proc/sys/kernel/random/boot_id":     n.bootID() + "\n",
		"/proc/sys/kernel/osrelease":          "6.8.0-1034-azure\n",
		"/proc/stat":                          fmt.Sprintf("cpu  6310 0 4210 991000 310 0 120 0 0 0\nctxt 9182736\nbtime %d\nprocesses 48211\nprocs_running 1\nprocs_blocked 0\n", boot.Unix()),
		"/proc/version":                       "Linux version 6.8.0-1034-azure (buildd@lcy02) (gcc 13.3.0) #39-Ubuntu SMP\n",
		"/proc/self/mountinfo":                "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n",
		"/sys/class/dmi/id/chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77\n",
	}
	for _, p := range slices.Sorted(maps.Keys(public)) {
		if err := n.writeFile(File{Path: p, Data: public[p], Mode: 0o644}); err != nil {
			return err
		}
	}
	return n.writeUptime()
}

// writeUptime keeps /proc/uptime in step with the clock; every session calls it.
func (n *node) writeUptime() error {
	up := time.Since(n.booted()).Seconds()
	return os.WriteFile(n.host("/proc/uptime"), fmt.Appendf(nil, "%.2f %.2f\n", up, up*1.9), 0o644)
}

// booted is when the node booted, to the second as /proc/stat has it.
func (n *node) booted() time.Time { return n.fleet.now.Add(-ageBoot).Truncate(time.Second) }

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
