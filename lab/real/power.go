//go:build linux

package real

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Reboot shuts the machine down in order, as systemctl reboot does, and starts
// it again. It returns when the machine has booted.
func (n *Node) Reboot(ctx context.Context) error {
	if _, err := n.Run(ctx, "systemctl --no-block reboot", nil); err != nil {
		return err
	}
	return n.bootAgain(ctx)
}

// PowerCut ends every process of the machine at once and starts it again. What
// was written stays: its disk is a memory file system of this machine. It
// returns when the machine has booted.
func (n *Node) PowerCut(ctx context.Context) error {
	if pid := leader(n.state.nodeMarker(n.Name)); pid != 0 {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	return n.bootAgain(ctx)
}

// bootAgain waits for the end of the machine and starts it. Its tree and its
// network outlive it; a reboot by systemd-nspawn itself would want them new.
func (n *Node) bootAgain(ctx context.Context) error {
	for range 1200 {
		if leader(n.state.nodeMarker(n.Name)) == 0 && !n.supervised() {
			if err := n.boot(); err != nil {
				return err
			}
			return n.awaitBoot(ctx)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("node %s does not shut down within 2m; its console is in %s", n.Name, n.state.path("console", n.Name+".log"))
}

// supervised reports whether the systemd-nspawn of the machine still runs.
func (n *Node) supervised() bool {
	for _, pid := range processesWith(n.state.marker()) {
		command, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline") // one that is gone has none
		if slices.Contains(strings.Split(string(command), "\x00"), "--machine="+n.Name) {
			return true
		}
	}
	return false
}
