//go:build linux

package real

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A user may have so many inotify instances (inotify(7)), and root of every
// machine is the same user: a machine with a kubelet takes about 13, and the
// kernel's default is 128. A machine that gets none does not boot.
const (
	inotifyLimit     = "/proc/sys/fs/inotify/max_user_instances"
	inotifyInstances = 4096
)

// raiseInotify lets all machines have their inotify instances.
func raiseInotify() error {
	data, err := os.ReadFile(inotifyLimit)
	if err != nil {
		return fmt.Errorf("cannot read the limit of inotify instances: %w", err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && n >= inotifyInstances {
		return nil
	}
	if err := os.WriteFile(inotifyLimit, []byte(strconv.Itoa(inotifyInstances)), 0); err != nil {
		return fmt.Errorf("cannot raise the limit of inotify instances: %w", err)
	}
	return nil
}

// inotifyBefore is the limit as it was before any lab.
func inotifyBefore() string {
	names, _ := Names() // none to ask then
	for _, name := range names {
		if other, err := readState(name); err == nil && other.Inotify != "" {
			return other.Inotify
		}
	}
	data, _ := os.ReadFile(inotifyLimit)
	return strings.TrimSpace(string(data))
}

// restoreInotify puts the limit back when the last lab goes.
func (s *state) restoreInotify() error {
	names, err := Names()
	if err != nil || len(names) > 1 || s.Inotify == "" {
		return err
	}
	return os.WriteFile(inotifyLimit, []byte(s.Inotify), 0)
}
