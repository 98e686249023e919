//go:build linux

package real

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// stateRoot holds one directory per lab. It lies below /run, so that what it
// tells of ends with a reboot just as the lab itself does.
const stateRoot = "/run/fleet-lab"

// state is what has to be known to find everything a lab started. It is on
// disk before the first thing is started and never changes afterwards: all
// names derive from it, so nothing can be started that it does not cover.
type state struct {
	Name string `json:"name"`
	// ID marks the lab's processes: it is in the environment of each.
	ID string `json:"id"`
	// Owner is the process that brings the lab up, with its start time so that
	// another process with a recycled number is not taken for it.
	Owner      int    `json:"owner"`
	OwnerStart string `json:"owner_start"`
	// Sysctls are settings of the machine that a kubelet changes for all
	// (pkg/kubelet/cm, setupKernelTunables), as they were before.
	Sysctls map[string]string `json:"sysctls"`
	// Inotify is the limit of inotify instances as it was before any lab.
	Inotify string `json:"inotify,omitempty"`
	// NamespaceMount says that /run/netns was a mount point before any lab.
	NamespaceMount bool        `json:"namespace_mount"`
	Nodes          []nodeState `json:"nodes"`
}

// nodeState is what is kept of a node.
type nodeState struct {
	Name    string            `json:"name"`
	Address string            `json:"address"`
	Jump    string            `json:"jump,omitempty"` // the node it is reached through
	Shape   string            `json:"shape"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// labName is what a lab may be called. A dot separates the parts of a
// namespace's name and is thus left out.
var labName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,15}$`)

func labDir(name string) string { return filepath.Join(stateRoot, name) }

// path returns a path below the lab's directory.
func (s *state) path(parts ...string) string {
	return filepath.Join(append([]string{labDir(s.Name)}, parts...)...)
}

// disk is the memory file system that holds everything the nodes write: it is
// gone with one unmount.
func (s *state) disk(parts ...string) string {
	return s.path(append([]string{"disk"}, parts...)...)
}

// namespacePrefix begins the name of each of the lab's network namespaces.
func (s *state) namespacePrefix() string { return "fleet." + s.Name + "." }

func (s *state) namespace(node string) string { return s.namespacePrefix() + node }

// operator is the namespace that holds the bridge, from which the nodes are
// reached. No node can have its name: it is not a host name.
func (s *state) operator() string { return s.namespace("_net") }

func (s *state) marker() string { return "FLEET_LAB_ID=" + s.ID }

func (s *state) nodeMarker(node string) string { return "FLEET_LAB_NODE=" + s.ID + "/" + node }

// write puts the state on disk, whole or not at all.
func (s *state) write() error {
	if err := os.MkdirAll(s.path(), 0o755); err != nil {
		return fmt.Errorf("cannot record the lab: %w", err)
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot record the lab: %w", err)
	}
	temporary := s.path("lab.json.new")
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot record the lab: %w", err)
	}
	return os.Rename(temporary, s.path("lab.json"))
}

// readState reads the state of a lab. It returns fs.ErrNotExist when there is
// no such lab.
func readState(name string) (*state, error) {
	path := filepath.Join(labDir(name), "lab.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the lab's state: %w", err)
	}
	s := &state{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return s, nil
}

// Names lists the labs that are up, or that were left behind by a process that
// died while it brought one up or down.
func Names() ([]string, error) {
	entries, err := os.ReadDir(stateRoot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the labs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && labName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// kernelTunables are the settings that a kubelet which does not protect kernel
// defaults writes at its start.
var kernelTunables = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

func readSysctls() map[string]string {
	values := map[string]string{}
	for _, name := range kernelTunables {
		if data, err := os.ReadFile("/proc/sys/" + name); err == nil {
			values[name] = strings.TrimSpace(string(data))
		}
	}
	return values
}

// restoreSysctls writes back what differs.
func restoreSysctls(values map[string]string) error {
	now := readSysctls()
	var failed []error
	for name, value := range values {
		if now[name] != value {
			failed = append(failed, os.WriteFile("/proc/sys/"+name, []byte(value), 0))
		}
	}
	return errors.Join(failed...)
}
