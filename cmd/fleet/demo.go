package main

import (
	"fmt"
	"os"
	"path/filepath"

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
		Short: "Start simulated nodes on loopback and audit them",
		Long: `demo starts a fleet of simulated AKS nodes, good, bad and unreachable ones, each
an SSH server on loopback with a root directory of its own, writes nodes.yaml,
known_hosts and a key for them, and audits them as any other fleet. Nothing
leaves the machine. With --serve the nodes stay up until Ctrl-C, to try other
commands on them.

demo ends with 0 when it could show the audit, whatever the audit found.`,
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
	signals := watchSignals(d.env)
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
	args := []string{
		"audit", "-i", filepath.Join(dir, "nodes.yaml"),
		"--known-hosts", filepath.Join(dir, "known_hosts"), "--ssh-config", "none",
	}
	if d.nodes == 0 {
		args = append(args, "--connect-timeout", "3s") // one of the nodes is mute
	}
	fmt.Fprintf(d.env.stdout, "%s on loopback, below %s\n\n$ fleet", plural(len(specs), "simulated node"), dir)
	for _, word := range args {
		fmt.Fprintf(d.env.stdout, " %s", word)
	}
	fmt.Fprint(d.env.stdout, "\n\n")
	code := run(args, d.auditEnvironment(dir))
	fmt.Fprintf(d.env.stdout, "\nThe audit's exit code is %d (see fleet audit --help).\n", code)
	if code == report.ExitUsage {
		return fmt.Errorf("the demonstration's own audit was refused")
	}
	if d.serve {
		fmt.Fprintln(d.env.stdout, "The nodes stay up; run the command above again from another terminal. Ctrl-C ends them.")
		<-signals.stop
	}
	return nil
}

// auditEnvironment keeps the demonstration away from the user's own agent and
// records.
func (d *demoCommand) auditEnvironment(dir string) environment {
	env := d.env
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
