// Package inventory knows which hosts there are: it reads an inventory in any
// of the accepted formats, expands ranges, selects by pattern and folds names
// back into ranges. It refuses to know the network and the kubelet.
package inventory

import "fmt"

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
type Host struct {
	Name     string            // unique; names the host in every report
	Address  string            // what to dial; equal to Name unless the inventory says otherwise
	Port     int               // 0: not said
	User     string            // "": not said
	Identity []string          // private key files as written, ~ not expanded
	Jump     string            // [user@]host[:port], "none", or "": not said
	Become   Become            // how to become root
	Labels   map[string]string // nil when there are none
	Groups   []string          // names of the groups the host is in, sorted
	Position Position          // where the host was written
}

// Inventory is a parsed inventory. Hosts keep the order of the file.
type Inventory struct {
	Name   string // path, or "-" for standard input
	Format string // "fleet", "kubernetes", "ansible" or "list"
	Hosts  []Host
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
