package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"fleet/lab"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fleet": main})
}

// TestScripts runs the transcripts below testdata/script. Beside testscript's
// own commands they have:
//
//	status N COMMAND...   run a command and demand its exit code
//	nodes DIR [NAME...]   start the demonstration's simulated nodes, or those
//	                      named, and write their inventory into DIR
//	replace FILE OLD NEW  replace text in a file
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			for _, v := range []string{"FLEET_INVENTORY", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK"} {
				e.Setenv(v, "")
			}
			e.Setenv("HOME", home)
			root, err := filepath.Abs(filepath.Join("..", ".."))
			e.Setenv("ROOT", root)
			return errors.Join(err, os.MkdirAll(home, 0o700))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "nodes": nodes, "replace": replace,
		},
	})
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func nodes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: nodes DIR [NAME...]")
	}
	dir := ts.MkAbs(args[0])
	specs := lab.DemoNodes()
	if len(args) > 1 {
		specs = nil
		for _, s := range lab.DemoNodes() {
			for _, suffix := range args[1:] {
				if strings.HasSuffix(s.Name, suffix) {
					specs = append(specs, s)
				}
			}
		}
	}
	ts.Check(os.MkdirAll(dir, 0o700))
	fleet, err := lab.Start(context.Background(), lab.Options{Dir: dir, Nodes: specs})
	ts.Check(err)
	ts.Defer(fleet.Close)
	ts.Check(fleet.WriteInventory(dir))
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	if !strings.Contains(string(data), args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(name, []byte(strings.ReplaceAll(string(data), args[1], args[2])), 0o600))
}
