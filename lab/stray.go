package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// killStrays kills the processes that left the process group of their session
// (setsid, nohup) and still run for a node of this fleet. They are told by
// LAB_ROOT in their environment, which names the fleet's own directory, so that
// nobody else's process can be meant.
func killStrays(dir string) {
	signalMarked(syscall.SIGKILL, "LAB_ROOT="+dir+string(filepath.Separator))
}

// signalMarked signals every process that has for each of the marks a variable
// that begins with it in its environment, and returns how many there were. A process that has ended
// and was not waited for has no environment, and does not count.
func signalMarked(sig syscall.Signal, marks ...string) int {
	count := 0
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range names {
		env, err := os.ReadFile(name)
		if err != nil || !hasAll(append([]byte{0}, env...), marks) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && pid != os.Getpid() && syscall.Kill(pid, sig) == nil {
			count++
		}
	}
	return count
}

func hasAll(env []byte, marks []string) bool {
	for _, mark := range marks {
		if !bytes.Contains(env, []byte("\x00"+mark)) {
			return false
		}
	}
	return true
}
