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
	mark := []byte("\x00LAB_ROOT=" + dir + string(filepath.Separator))
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range names {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), mark) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && pid != os.Getpid() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
