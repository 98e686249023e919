package remediate

import (
	"fmt"
	"strings"
)

// Counts is how the hosts of a run came out so far.
type Counts struct {
	Good        int // changed, or as wanted already
	Failed      int // failed or rolled back; a host that its plan refused was not tried
	Unreachable int // could not be connected to
	Unknown     int // what the change came to could not be told
	Left        int // had no turn yet
}

// Failures is what counts against a run. A host that cannot be reached, or of
// which nothing is known, counts like one that failed: a change that takes
// nodes off the network must stop by itself.
func (c Counts) Failures() int { return c.Failed + c.Unreachable + c.Unknown }

// Gate decides whether a run may start anything more.
type Gate struct {
	// MaxFailures is the number of failures that ends a run: with 1 the first
	// one does. 0 stands for 1.
	MaxFailures int
}

// Closed reports whether nothing more may start.
func (g Gate) Closed(c Counts) bool { return c.Failures() >= g.limit() }

func (g Gate) limit() int { return max(g.MaxFailures, 1) }

// Why tells a person, in one line, why a closed gate is closed and how to go
// on; of an open gate it is "".
func (g Gate) Why(c Counts) string {
	if !g.Closed(c) {
		return ""
	}
	var parts []string
	add := func(n int, one, many string) {
		if n > 0 {
			parts = append(parts, count(n, one, many))
		}
	}
	add(c.Failed, "host was not changed as planned", "hosts were not changed as planned")
	add(c.Unreachable, "host could not be reached", "hosts could not be reached")
	add(c.Unknown, "host is in an unknown state", "hosts are in an unknown state")
	return fmt.Sprintf("%s, and --max-failures is %d: nothing more is started, %s. "+
		"Mend the cause or leave those hosts out with --limit, then run the same command again: it passes over what is as wanted already.",
		strings.Join(parts, ", "), g.limit(), count(c.Left, "host was not touched", "hosts were not touched"))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
