//go:build linux

package real

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// run runs a command to its end and returns what it printed on standard
// output. The error names the command and ends with the last lines it printed
// on standard error.
func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	return output(cmd)
}

// output is run for a command that was prepared by the caller.
func output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = 5 * time.Second // a grandchild may keep the pipes open
	}
	if err := cmd.Run(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(strings.Join(cmd.Args, " ")), "\n")
		return out.String(), fmt.Errorf("cannot run %s: %w: %s", line, err, tail(errs.String(), 600))
	}
	return out.String(), nil
}

// tail returns the last n bytes of s, on one line.
func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = "..." + s[len(s)-n:]
	}
	return strings.ReplaceAll(s, "\n", "; ")
}

// quietEnv is the environment for tools whose output is read by a program.
func quietEnv(extra ...string) []string {
	return append(append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"), extra...)
}
