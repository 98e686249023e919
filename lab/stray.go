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
	signalMarked("LAB_ROOT="+dir+string(filepath.Separator), syscall.SIGKILL)
}

// signalMarked signals every process with a variable that begins with mark in
// its environment, and returns how many there were. A process that has ended
// and was not waited for has no environment, and does not count.
func signalMarked(mark string, sig syscall.Signal) int {
	count := 0
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range names {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00"+mark)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && pid != os.Getpid() && syscall.Kill(pid, sig) == nil {
			count++
		}
	}
	return count
}
