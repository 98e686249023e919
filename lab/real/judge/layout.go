// Package judge asks the real systemd and the real kubelet of a node what a
// layout of files means. Its functions run on the node; the package refuses to
// know how the node was made.
package judge

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// File is one path of a layout: a regular file unless Link or Dir is set.
type File struct {
	Path string `json:"path"`
	Text string `json:"text,omitempty"` // content, when it is valid UTF-8
	Data []byte `json:"data,omitempty"` // content, when it is not
	Mode uint32 `json:"mode,omitempty"` // permission bits, 0 for 0644 (0755 for a directory)
	Link string `json:"link,omitempty"` // target of a symbolic link
	Dir  bool   `json:"dir,omitempty"`
}

// Bytes returns the content of a regular file.
func (f File) Bytes() []byte {
	if f.Data != nil {
		return f.Data
	}
	return []byte(f.Text)
}

// Layout is the part of a node's disk that decides how its kubelet starts.
type Layout struct {
	Unit  string `json:"unit"` // the unit to start, "kubelet.service"
	Files []File `json:"files"`
}

// Clone returns a layout that shares no memory with l.
func (l Layout) Clone() Layout {
	l.Files = slices.Clone(l.Files)
	return l
}

// Verdict is what systemd and the kubelet made of a layout.
type Verdict struct {
	// Started says that the kubelet came as far as serving its configuration.
	Started bool `json:"started"`
	// Config is the kubeletconfig object of /configz when it started.
	Config json.RawMessage `json:"config,omitempty"`
	// Reason is why it did not start: the kubelet's last words, or systemd's.
	Reason string `json:"reason,omitempty"`
	// Exec says whether systemd came as far as executing the program. Argv and
	// Cwd are what it passed then.
	Exec bool     `json:"exec"`
	Argv []string `json:"argv,omitempty"`
	Cwd  string   `json:"cwd,omitempty"`
}

// writable are the only places where a layout may put files, so that a layout
// can neither harm the node nor outlive its judgement.
var writable = []string{
	"/etc/systemd/system/", "/run/systemd/system/", "/usr/lib/systemd/system/", "/usr/local/lib/systemd/system/",
	"/etc/default/", "/etc/sysconfig/", "/etc/eks/", "/etc/kubernetes/", "/var/lib/kubelet/",
}

// valid says whether a layout may put something at p.
func valid(p string) bool {
	return path.Clean(p) == p && slices.ContainsFunc(writable, func(dir string) bool { return strings.HasPrefix(p, dir) })
}
