package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fleet/lab"
	"fleet/report"
)

// demoCommand is one `fleet demo`.
type demoCommand struct {
	env   environment
	dir   string
	nodes int
	serve bool
}

func newDemo(env environment) *cobra.Command {
	d := &demoCommand{env: env}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Audit and mend simulated nodes on loopback",
		Long: `demo starts a fleet of simulated AKS nodes, good, bad and unreachable ones, each
an SSH server on loopback with a root directory of its own, and writes nodes.yaml,
known_hosts and a key for them. Then it does what an operator would do with any
other fleet, and shows each command: audit, remediate with the diff of every
change, and audit again. Nothing leaves the machine.

With --serve only the audit is shown; the nodes stay up, wrong as they are, until
Ctrl-C, to try the other commands on them.

demo ends with 0 when it could show all of it, whatever the commands found.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run() },
	}
	cmd.Flags().StringVar(&d.dir, "dir", "", "keep everything in `DIR`, which must be empty (default: a temporary directory, removed at the end)")
	cmd.Flags().IntVar(&d.nodes, "nodes", 0, "start `N` nodes, most of them good, instead of the small mixture")
	cmd.Flags().BoolVar(&d.serve, "serve", false, "keep the nodes up until Ctrl-C")
	return cmd
}

func (d *demoCommand) run() error {
	dir, remove, err := d.directory()
	if err != nil {
		return usageError{err}
	}
	defer remove()
	quiet := d.env // the commands speak of interrupts themselves
	quiet.stderr = io.Discard
	signals := watchSignals(quiet)
	defer signals.release()
	specs := lab.DemoNodes()
	if d.nodes > 0 {
		specs = lab.ManyNodes(d.nodes)
	}
	fleet, err := lab.Start(signals.ctx, lab.Options{Dir: dir, Nodes: specs})
	if err != nil {
		return fmt.Errorf("start the simulated nodes: %w", err)
	}
	defer fleet.Close()
	if err := fleet.WriteInventory(dir); err != nil {
		return fmt.Errorf("write the inventory of the simulated nodes: %w", err)
	}
	fmt.Fprintf(d.env.stdout, "%s on loopback, below %s\n", plural(len(specs), "simulated node"), dir)
	if d.serve {
		return d.show(signals, dir, d.audit(dir))
	}
	return d.show(signals, dir, d.audit(dir), d.remediate(dir), d.audit(dir))
}

// show runs one command after the other.
func (d *demoCommand) show(signals *signals, dir string, commands ...[]string) error {
	env := d.sandbox(dir)
	for _, args := range commands {
		if signals.interrupted() {
			return verdict(report.ExitInterrupted)
		}
		fmt.Fprintf(d.env.stdout, "\n%s\n\n", typed(args))
		switch code := run(args, env); {
		case code == report.ExitInterrupted:
			return verdict(code)
		case code == report.ExitUsage:
			return fmt.Errorf("the demonstration's own fleet %s was refused", args[0])
		default:
			fmt.Fprintf(d.env.stdout, "\n(exit code %d; fleet %s --help tells what it means)\n", code, args[0])
		}
	}
	if d.serve {
		fmt.Fprintf(d.env.stdout, "\nThe nodes stay up until Ctrl-C. From another terminal, for example:\n\n%s\n%s\n%s\n",
			typed(append(d.remediate(dir), "--dry-run")), typed(d.remediate(dir)), typed(d.audit(dir)))
		<-signals.stop
	}
	return nil
}

func (d *demoCommand) audit(dir string) []string {
	return append([]string{"audit"}, d.reach(dir)...)
}

// remediate goes faster than one would on nodes that somebody needs: one host,
// then all others at once, and a short look at each.
func (d *demoCommand) remediate(dir string) []string {
	args := append([]string{"remediate", "--method", "auto"}, d.reach(dir)...)
	args = append(args, "--batch", "1,100%", "--pool-limit", "100%", "--healthy-for", "2s")
	if d.nodes == 0 {
		args = append(args, "--max-failures", "5") // four of the nodes cannot be reached
	}
	return append(args, "--yes")
}

// reach is what every command on the simulated nodes is told.
func (d *demoCommand) reach(dir string) []string {
	args := []string{
		"-i", filepath.Join(dir, "nodes.yaml"),
		"--known-hosts", filepath.Join(dir, "known_hosts"), "--ssh-config", "none",
	}
	if d.nodes == 0 {
		args = append(args, "--connect-timeout", "3s") // one of the nodes is mute
	}
	return args
}

// typed is a command line as one would type it.
func typed(args []string) string {
	var b strings.Builder
	b.WriteString("$ fleet")
	for _, word := range args {
		if strings.ContainsAny(word, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		b.WriteString(" " + word)
	}
	return b.String()
}

// sandbox keeps the demonstration away from the user's own agent and records,
// and puts the plan, which is no result, where the results are: in one
// transcript.
func (d *demoCommand) sandbox(dir string) environment {
	env := d.env
	env.stderr = d.env.stdout
	env.getenv = func(name string) string {
		switch name {
		case "SSH_AUTH_SOCK":
			return ""
		case "XDG_STATE_HOME":
			return filepath.Join(dir, "state")
		}
		return d.env.getenv(name)
	}
	return env
}

// directory is where the fleet lives, and how to clean it up.
func (d *demoCommand) directory() (string, func(), error) {
	if d.dir == "" {
		dir, err := os.MkdirTemp("", "fleet-demo-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return "", nil, err
	}
	if len(entries) > 0 {
		return "", nil, fmt.Errorf("--dir %s: the directory is not empty", d.dir)
	}
	dir, err := filepath.Abs(d.dir)
	return dir, func() {}, err
}
