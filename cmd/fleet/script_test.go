package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"fleet/lab"
)

func TestMain(m *testing.M) {
	testscript.Main(patient{m}, map[string]func(){"fleet": main})
}

// patient lets more tests run at a time than there are cores: those that do
// run in parallel wait more than they work.
type patient struct{ *testing.M }

func (p patient) Run() int {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	return p.M.Run()
}

// TestScripts runs the transcripts below testdata/script. Beside testscript's
// own commands they have:
//
//	status N COMMAND...   run a command and demand its exit code
//	nodes DIR [NAME...]   start the demonstration's simulated nodes, or those
//	                      whose names end so, extraNodes among them, and write
//	                      their inventory into DIR
//	replace FILE OLD NEW  replace text in a file
//	take NAME FILE REGEX  set a variable to what the group of an expression
//	                      matches in a file
//	typed N FILE COMMAND [WORDS]
//	                      give a command line that a document shows to sh, the
//	                      words behind it, and demand its exit code
//	alltyped FILE [COMMAND...]
//	                      demand that every command line of a document was
//	                      typed, but for those named
//	lastrun VARIABLE      set a variable to the id of the newest recorded run
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
			e.Values[typedKey{}] = map[string]bool{}
			return errors.Join(err, os.MkdirAll(home, 0o700))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "nodes": nodes, "replace": replace, "take": take,
			"typed": typedCommand, "alltyped": allTyped, "lastrun": lastRunID,
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
		for _, s := range append(lab.DemoNodes(), extraNodes()...) {
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
	for _, s := range specs {
		_, err := fleet.Root(s.Name) // writes the node's files
		ts.Check(err)
	}
}

// extraNodes are nodes that the demonstration does not have.
func extraNodes() []lab.NodeSpec {
	const flagFalse = "--make-iptables-util-chains=false"
	return []lab.NodeSpec{
		{Name: "masked-by-flag", Shape: lab.ShapeAKSFile, Set: lab.Layers{File: "false", Flags: []string{flagFalse}}},
		{Name: "masked-by-drop-in", Shape: lab.ShapeAL2023, Set: lab.Layers{DropIns: map[string]string{"50-site.conf": "false"}}},
		{Name: "read-only", Shape: lab.ShapeAKSFile, Set: lab.Layers{File: "false"}, ReadOnly: lab.Places{"/etc"}},
		{Name: "never-healthy", Shape: lab.ShapeAKSFile, Set: lab.Layers{File: "false"}, Kubelet: lab.Behaviour{Only: "true", HealthAfter: lab.Never}},
	}
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

// typedKey is where a script keeps which command lines were typed.
type typedKey struct{}

// shownCommand is a command line of a document, without the comment behind it.
var shownCommand = regexp.MustCompile(`(?m)^ {4,}((?:(?:bin/)?fleet|make|kubectl) .*?|run=.*?)(?: {2,}#.*)?$`)

func shownCommands(ts *testscript.TestScript, name string) []string {
	var out []string
	for _, m := range shownCommand.FindAllStringSubmatch(ts.ReadFile(name), -1) {
		out = append(out, m[1])
	}
	return out
}

func typedCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: typed N FILE COMMAND [WORDS]")
	}
	if !slices.Contains(shownCommands(ts, args[1]), args[2]) {
		ts.Fatalf("%s does not show the command line %s", args[1], args[2])
	}
	ts.Value(typedKey{}).(map[string]bool)[args[2]] = true
	status(ts, false, []string{args[0], "sh", "-c", strings.Join(args[2:], " ")})
}

func allTyped(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: alltyped FILE [COMMAND...]")
	}
	shown := shownCommands(ts, args[0])
	for _, line := range args[1:] {
		if !slices.Contains(shown, line) {
			ts.Fatalf("%s does not show the command line %s", args[0], line)
		}
	}
	for _, line := range shown {
		if !ts.Value(typedKey{}).(map[string]bool)[line] && !slices.Contains(args[1:], line) {
			ts.Fatalf("%s shows a command line that was not typed: %s", args[0], line)
		}
	}
}

func lastRunID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lastrun VARIABLE")
	}
	runs := ts.MkAbs("home/.local/state/fleet/runs")
	ids, err := recordedRuns(runs)
	ts.Check(err)
	id := newestReport(runs, ids)
	if id == "" {
		ts.Fatalf("no run is recorded")
	}
	ts.Setenv(args[0], id)
}

func take(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: take NAME FILE REGEX")
	}
	found := regexp.MustCompile(args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if len(found) != 2 {
		ts.Fatalf("%s does not hold %s", args[1], args[2])
	}
	ts.Setenv(args[0], found[1])
}
