//go:build linux

// Command lab brings a fleet of real nodes up on this machine to play with, and
// takes it down again.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"fleet/lab/real"
)

const usage = `usage: lab [-name NAME] up|down|status|provision

  up         bring the fleet up and tell how to use it
  down       remove every lab, or the one named, and all that it started
  status     list the labs and their nodes
  provision  only install and build what a lab is made from
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C kills
	err := lab(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func lab(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	name := flags.String("name", "", "which lab")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch flags.Arg(0) {
	case "up":
		l, err := real.Up(ctx, real.Options{Name: *name, Log: stderr})
		if err != nil {
			return err
		}
		return explain(stdout, l)
	case "down":
		return down(ctx, *name, stderr)
	case "status":
		return status(stdout)
	case "provision":
		return real.Provision(ctx, func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) })
	}
	fmt.Fprint(stderr, usage)
	return fmt.Errorf("cannot do %q", flags.Arg(0))
}

// down removes one lab, or all there are when none is named.
func down(ctx context.Context, name string, log io.Writer) error {
	names := []string{name}
	if name == "" {
		var err error
		if names, err = real.Names(); err != nil {
			return err
		}
	}
	for _, n := range names {
		if err := real.Down(ctx, n); err != nil {
			return fmt.Errorf("cannot remove lab %s: %w", n, err)
		}
		fmt.Fprintf(log, "lab %s is gone\n", n)
	}
	return nil
}

func status(w io.Writer) error {
	names, err := real.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		l, err := real.Open(name)
		if err != nil {
			fmt.Fprintf(w, "%s: broken: %v\n", name, err)
			continue
		}
		for _, n := range l.Nodes {
			state := "stopped"
			if n.Running() {
				state = "running"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, n.Name, n.Address, n.Shape, state)
		}
	}
	return nil
}

// explain tells what there is and what to try.
func explain(w io.Writer, l *real.Lab) error {
	var b strings.Builder
	fmt.Fprintf(&b, "inventory  %s\nssh_config %s\nkubeconfig %s\n\n", l.Inventory(), l.SSHConfig(), l.Kubeconfig())
	fmt.Fprintf(&b, "The nodes live in a network of their own. After make build, try:\n\n")
	fleet := l.Prefix() + " bin/fleet"
	reach := " -i " + l.Inventory() + " --known-hosts " + l.KnownHosts() + " --ssh-config none"
	for _, c := range []string{
		fleet + " audit" + reach,
		fleet + " audit" + reach + " -o wide",
		fleet + " hosts -i " + l.Inventory() + " --ssh-config none --explain " + l.Nodes[len(l.Nodes)-1].Name,
		l.Prefix() + " ssh -F " + l.SSHConfig() + " " + l.Nodes[0].Name,
		l.Prefix() + " ssh -F " + l.SSHConfig() + " " + l.Nodes[len(l.Nodes)-1].Name + "   # through its jump host",
	} {
		fmt.Fprintf(&b, "  %s\n", c)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
