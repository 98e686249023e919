package judge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DumperPath is the program that units in layouts for Argv execute. It lies
// beside the kubelet's usual places.
const DumperPath = "/usr/local/bin/kubelet"

// DumpDir is where that program writes what it was given.
const DumpDir = "/run/fleet-judge"

// Argv puts all layouts on the node at once, starts their units and says what
// systemd passed to each. Their units and files must not overlap.
func (j *Judge) Argv(ctx context.Context, layouts []Layout) ([]Verdict, error) {
	if err := j.Clear(ctx); err != nil {
		return nil, err
	}
	defer j.in.clear()
	if err := prepareDumps(j.dumper); err != nil {
		return nil, err
	}
	units := make([]string, len(layouts))
	for i, l := range layouts {
		units[i] = l.Unit
		for _, f := range l.Files {
			if err := j.in.put(f); err != nil {
				return nil, err
			}
		}
	}
	if said, err := systemctl(ctx, "daemon-reload"); err != nil {
		return nil, fmt.Errorf("cannot reload systemd: %w: %s", err, said)
	}
	said, _ := systemctl(ctx, append([]string{"start"}, units...)...) // some of them are meant to fail
	if err := awaitOver(ctx, units); err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(layouts))
	for i, unit := range units {
		verdicts[i] = readDump(unit, said)
	}
	systemctl(ctx, append([]string{"reset-failed"}, units...)...) // refuses for those that did not fail
	return verdicts, nil
}

func prepareDumps(dumper string) error {
	if err := os.RemoveAll(DumpDir); err != nil {
		return err
	}
	if err := os.MkdirAll(DumpDir, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(DumperPath), 0o755); err != nil {
		return err
	}
	if err := os.Link(dumper, DumperPath); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// awaitOver waits until none of the units runs any more.
func awaitOver(ctx context.Context, units []string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		states, err := show(ctx, units...)
		if err != nil {
			return fmt.Errorf("cannot follow the units: %w", err)
		}
		running := ""
		for _, s := range states {
			if !s.over() {
				running = s["Id"]
			}
		}
		if running == "" {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s does not end", running)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// readDump reads what the dumper wrote for a unit; said is where systemctl may
// have told why it did not run.
func readDump(unit, said string) Verdict {
	data, err := os.ReadFile(filepath.Join(DumpDir, unit))
	if err != nil {
		v := Verdict{}
		for line := range strings.Lines(said) {
			if strings.Contains(line, unit) {
				v.Reason = strings.TrimSpace(line)
				break
			}
		}
		return v
	}
	cwd, rest, _ := strings.Cut(string(data), "\n")
	v := Verdict{Exec: true, Cwd: cwd, Argv: []string{}}
	if rest != "" {
		v.Argv = strings.Split(strings.TrimSuffix(rest, "\x00"), "\x00")
	}
	return v
}
