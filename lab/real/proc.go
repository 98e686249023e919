//go:build linux

package real

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processesWith lists the processes whose environment holds the assignment.
func processesWith(assignment string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, dir := range dirs {
		env, err := os.ReadFile(dir + "/environ")
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), assignment) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// leader finds the first process of the container that carries the marker, or
// 0 when there is none: of the processes with the marker it is the one that is
// number 1 in its own process namespace.
func leader(marker string) int {
	for _, pid := range processesWith(marker) {
		if ids := nsPIDs(pid); len(ids) == 2 && ids[1] == "1" {
			return pid
		}
	}
	return 0
}

// nsPIDs returns the process's number in each nested process namespace,
// outermost first, as this process sees them (NSpid in proc_pid_status(5)).
func nsPIDs(pid int) []string {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(status) {
		if ids, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			return strings.Fields(string(ids))
		}
	}
	return nil
}

// startTime returns the start time of a process in clock ticks since boot
// (field 22 of proc_pid_stat(5)), "" when there is no such process or only its
// remains.
func startTime(pid int) string {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// killAll kills the processes that find lists, until it lists none any more.
func killAll(ctx context.Context, find func() []int) error {
	for {
		pids := find()
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL) // one that is gone by now is as wanted
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// stopOwner ends the process that brought the lab up when it still runs: first
// politely, so that it can clean up by itself.
func stopOwner(ctx context.Context, s *state) error {
	alive := func() bool { return s.Owner != os.Getpid() && s.OwnerStart != "" && startTime(s.Owner) == s.OwnerStart }
	if !alive() {
		return nil
	}
	syscall.Kill(s.Owner, syscall.SIGTERM)
	for range 100 {
		if !alive() {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	syscall.Kill(s.Owner, syscall.SIGKILL)
	return nil
}
