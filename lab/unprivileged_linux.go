package lab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Numbers of linux/prctl.h and linux/capability.h.
const (
	prCapbsetDrop    = 24
	capDACOverride   = 1
	capDACReadSearch = 2
)

// startUnprivileged starts a command for which file modes count. For a
// simulator that is not root they count anyway. Root keeps its uid, which the
// parent directories may demand, but loses the capabilities that pass modes
// by: the thread that forks drops them from its bounding set and ends, for the
// goroutine never unlocks it.
func startUnprivileged(cmd *exec.Cmd) error {
	if os.Geteuid() != 0 {
		return cmd.Start()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		for _, capability := range []uintptr{capDACOverride, capDACReadSearch} {
			if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prCapbsetDrop, capability, 0); errno != 0 {
				result <- fmt.Errorf("drop a capability: %w", errno)
				return
			}
		}
		result <- cmd.Start()
	}()
	return <-result
}
