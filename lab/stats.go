package lab

import "slices"

// Stats is what the nodes have seen so far.
type Stats struct {
	// MaxConnections is the most TCP connections there were at one time.
	MaxConnections int
	Nodes          map[string]NodeStats
}

// NodeStats is what one node has seen so far.
type NodeStats struct {
	Connections int // TCP connections accepted
	Forwards    int // direct-tcpip channels, as a jump host
	// Sessions are the commands that have ended, or were taken and left
	// unanswered, in that order. A script that was sent twice shows as two
	// sessions with the same StdinSHA256.
	Sessions []Session
}

// Session is one exec request.
type Session struct {
	Command     string
	StdinBytes  int64  // read from standard input by the time the command ended
	StdinSHA256 string // hex, of the same bytes; "" when the command was not run
}

// Stats returns a snapshot of the counters.
func (f *Fleet) Stats() Stats {
	out := Stats{MaxConnections: f.load.most(), Nodes: make(map[string]NodeStats, len(f.nodes))}
	for _, n := range f.nodes {
		n.count(func(s *NodeStats) {
			c := *s
			c.Sessions = slices.Clone(s.Sessions)
			out.Nodes[n.spec.Name] = c
		})
	}
	return out
}
