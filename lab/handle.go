package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Node is one node of a fleet, for a test that looks at it or meddles with it
// from outside, without a connection.
type Node struct{ n *node }

// Node returns the node of this name, written if it has not been used yet.
func (f *Fleet) Node(name string) (Node, error) {
	n := f.byName[name]
	if n == nil {
		return Node{}, fmt.Errorf("find node %s: no such simulated node", name)
	}
	return Node{n}, n.materialise()
}

// Root is the directory that plays / on the node.
func (h Node) Root() string { return h.n.root() }

// ReadFile reads a file of the node.
func (h Node) ReadFile(path string) ([]byte, error) { return os.ReadFile(h.n.host(path)) }

// WriteFile is an edit by a person on the node: the bytes are replaced in the
// file itself, which keeps its mode; its time is now. A file that was not there
// gets mode 0644, and its directory is made.
func (h Node) WriteFile(path string, data []byte) error {
	name := h.n.host(path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("edit %s on the node: %w", path, err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return fmt.Errorf("edit %s on the node: %w", path, err)
	}
	return nil
}

// Remove takes a file of the node away.
func (h Node) Remove(path string) error { return os.Remove(h.n.host(path)) }

// Unit is what systemctl show prints of a unit, by property; nil for a unit
// that is not loaded.
func (h Node) Unit(name string) map[string]string {
	s := h.n.sys
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[name]
	if u == nil {
		return nil
	}
	props := map[string]string{}
	for line := range strings.Lines(u.show(h.n.fleet.booted())) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		props[key] = value
	}
	return props
}

// Journal is what the journal holds of a unit or of an identifier of logger, a
// line each.
func (h Node) Journal(name string) []string {
	s := h.n.sys
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[name]; u != nil {
		return slices.Clone(u.journal)
	}
	if past, ok := s.past[name]; ok {
		return slices.Clone(past)
	}
	return slices.Clone(s.tagged[name])
}

// KubeletPID is the main process of kubelet.service, 0 when there is none.
func (h Node) KubeletPID() int {
	pid, _ := h.kubelet()
	return pid
}

// KubeletArgv is the command line of that process, nil when there is none.
func (h Node) KubeletArgv() []string {
	_, argv := h.kubelet()
	return argv
}

func (h Node) kubelet() (int, []string) {
	s := h.n.sys
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[unitName]
	if u == nil || u.mainPID == 0 {
		return 0, nil
	}
	for _, p := range s.processes {
		if p.PID == u.mainPID {
			return u.mainPID, slices.Clone(p.Argv)
		}
	}
	return u.mainPID, nil
}

// Behave gives the kubelet another behaviour from its next start on.
func (h Node) Behave(b Behaviour) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.n.spec.Kubelet = b
}

// KillUnit kills the main process of a transient unit with SIGKILL. What the
// unit's Restart= says of that happens.
func (h Node) KillUnit(name string) error {
	s := h.n.sys
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[name]
	if u == nil || u.transient == nil || u.mainPID == 0 {
		return fmt.Errorf("kill %s: no such transient unit runs", name)
	}
	return syscall.Kill(u.mainPID, syscall.SIGKILL)
}

// Cut breaks every connection of the node at once, with a reset. What runs on
// the node goes on, as under sshd; new connections are welcome.
func (h Node) Cut() { h.n.cut() }

// Refuse breaks every connection and lets nobody in for so long: who tries is
// reset before a greeting.
func (h Node) Refuse(d time.Duration) {
	h.n.mu.Lock()
	h.n.refuse = time.Now().Add(d)
	h.n.mu.Unlock()
	h.n.cut()
}

// OnSession has the hook called at the start of each session, with its number
// from 1 and its command line, to say when the node is cut off.
func (h Node) OnSession(hook func(number int, command string) Cut) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.n.sessions, h.n.hook = 0, hook
}

// FailWrites makes writing fail in these places and nowhere else, for commands
// that start from now on.
func (h Node) FailWrites(readOnly, diskFull Places) error {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return h.n.setPlaces(readOnly, diskFull)
}
