package judge

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
)

// systemctl runs systemctl and returns what it printed on both streams.
func systemctl(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "systemctl", append([]string{"--no-pager", "--no-ask-password"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// unitState is what systemctl show says of one unit.
type unitState map[string]string

var unitProperties = []string{
	"Id", "LoadState", "LoadError", "ActiveState", "SubState", "Result", "MainPID", "ExecMainStatus", "ExecMainCode", "InvocationID", "NRestarts", "Job",
}

// show returns the state of each unit, in the order asked for.
func show(ctx context.Context, units ...string) ([]unitState, error) {
	out, err := systemctl(ctx, append([]string{"show", "--property=" + strings.Join(unitProperties, ",")}, units...)...)
	if err != nil {
		return nil, err
	}
	var states []unitState
	for _, block := range strings.Split(out, "\n\n") {
		s := unitState{}
		for line := range strings.Lines(block) {
			if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
				s[key] = value
			}
		}
		states = append(states, s)
	}
	return states, nil
}

// over says that the unit is not running and is not about to.
func (s unitState) over() bool {
	return (s["ActiveState"] == "failed" || s["ActiveState"] == "inactive") && s["Job"] == ""
}
