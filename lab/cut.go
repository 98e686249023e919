package lab

import (
	"io"
	"sync"
	"time"
)

// Cut says when a node's connections break. The zero value is never; of several
// conditions the first that is met counts.
type Cut struct {
	After time.Duration // so long after the start of the session's command
	In    int64         // when so many bytes of its standard input have arrived
	Out   int64         // when so many bytes of its standard output were sent
}

// admit takes a connection in, unless the node refuses them.
func (n *node) admit(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Now().Before(n.refuse) {
		return false
	}
	n.conns[c] = struct{}{}
	return true
}

func (n *node) leave(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// cut breaks every connection of the node. What runs on it goes on.
func (n *node) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.reset()
	}
}

// cutFor asks the hook what is to happen to a session that starts now.
func (n *node) cutFor(line string) Cut {
	n.mu.Lock()
	n.sessions++
	hook, number := n.hook, n.sessions
	n.mu.Unlock()
	if hook == nil {
		return Cut{}
	}
	return hook(number, line)
}

// cutAfter cuts the node off after a while, even if the session has ended by
// then.
func (n *node) cutAfter(d time.Duration) {
	if d <= 0 {
		return
	}
	n.fleet.wg.Go(func() {
		if n.after(d) {
			n.cut()
		}
	})
}

// trip is a writer that cuts the node off once so many bytes have passed, 0 for
// never.
func (n *node) trip(to io.Writer, after int64) io.Writer {
	if after <= 0 {
		return to
	}
	return &trip{to: to, left: after, cut: n.cut}
}

type trip struct {
	to   io.Writer
	mu   sync.Mutex
	left int64
	cut  func()
}

func (t *trip) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keep := min(int64(len(p)), t.left)
	n, err := t.to.Write(p[:keep])
	t.left -= int64(n)
	if err == nil && t.left <= 0 {
		t.cut()
		return n, io.ErrClosedPipe
	}
	return n, err
}
