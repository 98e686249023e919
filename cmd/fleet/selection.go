package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fleet/inventory"
)

// selection is which hosts a command is about.
type selection struct {
	file    string
	limit   []string
	cluster clusterFlags
	// orCluster makes the cluster the inventory where none is found.
	orCluster bool
}

func (s *selection) flags(cmd *cobra.Command, env environment) {
	f := cmd.Flags()
	f.StringVarP(&s.file, "inventory", "i", "", "inventory `FILE`, - for standard input, cluster[:SELECTOR] for the cluster's own nodes (default $FLEET_INVENTORY, ./nodes.yaml, ~/.config/fleet/nodes.yaml)")
	f.StringArrayVar(&s.limit, "limit", nil, "only hosts that match `PATTERN`: name, glob, range, group, label=value, @file, run:ID:STATUS; !x excludes; may be repeated")
	s.cluster.flags(cmd)
	_ = cmd.MarkFlagFilename("inventory", "yaml", "yml", "json", "txt")
	_ = cmd.RegisterFlagCompletionFunc("limit", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return s.complete(env), cobra.ShellCompDirectiveNoFileComp
	})
}

// hosts reads the inventory and applies the limits. Every error is the
// user's to mend.
func (s *selection) hosts(env environment) (*inventory.Inventory, []inventory.Host, error) {
	inv, err := s.load(env)
	if err != nil {
		return nil, nil, usageError{err}
	}
	hosts, err := inv.Select(s.limit, inventory.Sources{
		ReadFile: os.ReadFile,
		Run:      func(id, status string) ([]string, error) { return presentHosts(env, inv, id, status) },
	})
	if err != nil {
		return nil, nil, usageError{err}
	}
	return inv, hosts, nil
}

// presentHosts leaves out the hosts of a recorded run that the inventory no
// longer has, and says so: scale sets come and go between two runs.
func presentHosts(env environment, inv *inventory.Inventory, id, status string) ([]string, error) {
	names, err := recordedHosts(env, id, status)
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, h := range inv.Hosts {
		have[h.Name] = true
	}
	var present, gone []string
	for _, name := range names {
		if have[name] {
			present = append(present, name)
		} else {
			gone = append(gone, name)
		}
	}
	if len(gone) > 0 {
		env.warn("run %s has %s that the inventory no longer has: %s", id, plural(len(gone), "host"), strings.Join(inventory.Fold(gone), ","))
	}
	return present, nil
}

func (s *selection) load(env environment) (*inventory.Inventory, error) {
	name, err := s.name(env)
	if err != nil {
		return nil, err
	}
	if selector, ok := clusterSelector(name); ok {
		return s.cluster.inventory(name, selector)
	}
	return inventory.Load(name, env.stdin)
}

// name is what the command line, else the environment, else a default file
// says that the inventory is.
func (s *selection) name(env environment) (string, error) {
	if s.file != "" {
		return s.file, nil
	}
	if name := env.getenv(inventory.EnvFile); name != "" {
		if _, ok := clusterSelector(name); ok {
			return name, nil
		}
	}
	name, err := inventory.Find(env.getenv)
	var none *inventory.Error
	if s.orCluster && errors.As(err, &none) && none.File == "" { // there is none, as opposed to one that cannot be read
		return clusterInventory, nil
	}
	return name, err
}

// complete offers host, group and label names for the shell's completion.
func (s *selection) complete(env environment) []string {
	name, err := s.name(env)
	if _, remote := clusterSelector(name); err != nil || remote || name == "-" {
		return nil // only a file is there to look at
	}
	inv, err := s.load(env)
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	var out []string
	add := func(word string) {
		if !seen[word] {
			seen[word] = true
			out = append(out, word)
		}
	}
	for _, h := range inv.Hosts {
		add(h.Name)
		for _, g := range h.Groups {
			add(g)
		}
		for k, v := range h.Labels {
			add(k + "=" + v)
		}
	}
	return out
}

// inventoryName is how a report names the inventory.
func inventoryName(inv *inventory.Inventory) string {
	if inv.Name == "-" {
		return "standard input"
	}
	if _, ok := clusterSelector(inv.Name); ok {
		return inv.Name
	}
	if abs, err := filepath.Abs(inv.Name); err == nil {
		return abs
	}
	return inv.Name
}

// plural says "1 host" and "2 hosts".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, strings.TrimSuffix(noun, "s"))
}
