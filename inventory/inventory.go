// Package inventory knows which hosts there are: it reads an inventory in any
// of the accepted formats, expands ranges, selects by pattern and folds names
// back into ranges. It refuses to know the network and the kubelet.
package inventory

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Become says how commands on a host become root.
type Become string

// Ways to become root. BecomeDefault leaves the choice to the caller: sudo,
// unless the login is root already.
const (
	BecomeDefault Become = ""
	BecomeSudo    Become = "sudo"
	BecomeNone    Become = "none"
)

// Position is a place in an inventory file. Line is 1-based, 0 when the
// format has no lines that mean anything.
type Position struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Host is one machine to connect to. A zero field means that the inventory
// says nothing, so that ssh_config and the defaults decide.
//
// As JSON every key is always there, and a host without labels has {} rather
// than null:
//
//	{"name": "aks-np1-12345678-vmss00000a", "address": "10.224.0.14",
//	 "port": 0, "user": "azureuser", "identity": ["~/.ssh/aks"],
//	 "jump": "bastion.example.net", "become": "sudo",
//	 "labels": {"agentpool": "np1"}, "groups": ["np1"],
//	 "position": {"file": "nodes.yaml", "line": 7}}
type Host struct {
	Name     string            `json:"name"`     // unique, whatever the case of its letters; names the host in every report
	Address  string            `json:"address"`  // what to dial; equal to Name unless the inventory says otherwise
	Port     int               `json:"port"`     // 0: not said
	User     string            `json:"user"`     // "": not said
	Identity []string          `json:"identity"` // private key files as written, ~ not expanded
	Jump     string            `json:"jump"`     // [user@]host[:port], "none", or "": not said
	Become   Become            `json:"become"`   // how to become root
	Labels   map[string]string `json:"labels"`   // nil when there are none
	Groups   []string          `json:"groups"`   // names of the groups the host is in, sorted
	Position Position          `json:"position"` // where the host was written

	// Origins tells for each value that the inventory sets where it was
	// written: keys "address", "port", "user", "identity", "jump", "become"
	// and "labels.KEY". A value without an entry was written at Position.
	Origins map[string]Position `json:"-"`
}

// MarshalJSON writes empty lists and maps as [] and {}, so that a reader need
// not ask for null.
func (h Host) MarshalJSON() ([]byte, error) {
	type plain Host
	p := plain(h)
	if p.Identity == nil {
		p.Identity = []string{}
	}
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	if p.Groups == nil {
		p.Groups = []string{}
	}
	return json.Marshal(p)
}

// Inventory is a parsed inventory. Hosts keep the order of the file.
type Inventory struct {
	Name   string `json:"name"`   // path, or "-" for standard input
	Format string `json:"format"` // "fleet", "kubernetes", "ansible" or "list"
	Hosts  []Host `json:"hosts"`
}

// GroupNames lists the groups that have a host, sorted.
func (inv *Inventory) GroupNames() []string {
	seen := map[string]bool{}
	var names []string
	for _, h := range inv.Hosts {
		for _, g := range h.Groups {
			if !seen[g] {
				seen[g] = true
				names = append(names, g)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Error is a fault in an inventory or a host pattern that its author can mend.
type Error struct {
	Position
	Msg  string // what is wrong, lower case, no full stop
	Hint string // what to do, "" when Msg says it
}

func (e *Error) Error() string {
	s := e.Msg
	if e.File != "" {
		s = e.Position.String() + ": " + s
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}
