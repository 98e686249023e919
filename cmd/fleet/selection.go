package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fleet/inventory"
)

// selection is which hosts a command is about.
type selection struct {
	file  string
	limit []string
}

func (s *selection) flags(cmd *cobra.Command, env environment) {
	f := cmd.Flags()
	f.StringVarP(&s.file, "inventory", "i", "", "inventory `FILE`, - for standard input (default $FLEET_INVENTORY, ./nodes.yaml, ~/.config/fleet/nodes.yaml)")
	f.StringArrayVar(&s.limit, "limit", nil, "only hosts that match `PATTERN`: name, glob, range, group, label=value, @file, run:ID:STATUS; !x excludes; may be repeated")
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
	name := s.file
	if name == "" {
		found, err := inventory.Find(env.getenv)
		if err != nil {
			return nil, err
		}
		name = found
	}
	return inventory.Load(name, env.stdin)
}

// complete offers host, group and label names for the shell's completion.
func (s *selection) complete(env environment) []string {
	if s.file == "-" {
		return nil
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
