//go:build linux

package real

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// groupRoots are the control group hierarchies in which systemd keeps its
// services: its own and the unified one, as far as the machine has them
// (cgroups(7)). The second exists beside the first on a machine of the hybrid
// kind, and the third is the only one on a machine of today.
func groupRoots() []string {
	var roots []string
	for _, dir := range []string{"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if exists(filepath.Join(dir, "cgroup.procs")) {
			roots = append(roots, dir)
		}
	}
	return roots
}

// enterGroups moves itself into the groups before the -- and becomes the
// command after it.
const enterGroups = `until [ "$1" = -- ]; do echo $$ > "$1/cgroup.procs" || exit; shift; done; shift; exec "$@"`

// scope returns what to put before a machine's command so that it gets control
// groups of its own: without them the systemds of all machines would take the
// same groups for theirs. Where the host is run by systemd, systemd makes them.
func scope(n *Node) ([]string, error) {
	name := n.state.namespace(n.Name)
	if exists("/run/systemd/system") {
		return []string{"systemd-run", "--quiet", "--scope", "--collect", "--property=Delegate=yes", "--unit=" + name}, nil
	}
	args := []string{"/bin/sh", "-c", enterGroups, "sh"}
	for _, root := range groupRoots() {
		group := filepath.Join(root, name)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("cannot make a control group for node %s: %w", n.Name, err)
		}
		args = append(args, group)
	}
	return append(args, "--"), nil
}

// removeGroups removes the control groups of a lab's machines.
func removeGroups(s *state) error {
	var failed []error
	for _, root := range groupRoots() {
		groups, _ := filepath.Glob(filepath.Join(root, s.namespacePrefix()+"*")) // the pattern is well formed
		for _, group := range groups {
			failed = append(failed, removeGroup(group))
		}
	}
	return errors.Join(failed...)
}

// removeGroup removes a control group, which must be empty, and those in it.
func removeGroup(group string) error {
	var dirs []string
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // what went away meanwhile is as wanted
	})
	for _, dir := range slices.Backward(dirs) { // children before parents
		if gone := os.Remove(dir); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}
