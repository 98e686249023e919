//go:build linux

package real

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// mountsBelow returns the mount points at and below dir in this process's mount
// namespace, deepest and latest first, the order in which they come off.
func mountsBelow(dir string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot list mounts: %w", err)
	}
	return pointsBelow(string(data), dir), nil
}

// pointsBelow picks the mount points at and below dir out of the text of a
// mountinfo file (proc_pid_mountinfo(5)), in reverse order.
func pointsBelow(mountinfo, dir string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := mountUnescape.Replace(fields[4])
		if point == dir || strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	slices.Reverse(points)
	return points
}

// mountUnescape undoes the octal escapes of mountinfo.
var mountUnescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// unmountBelow detaches every mount at and below dir. MNT_DETACH is used so
// that a process that still has a file open there cannot keep the lab alive.
func unmountBelow(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, p := range points {
		if err := syscall.Unmount(p, syscall.MNT_DETACH); err != nil && err != syscall.EINVAL && err != syscall.ENOENT {
			return fmt.Errorf("cannot unmount %s: %w", p, err)
		}
	}
	return nil
}
