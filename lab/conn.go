package lab

import (
	"net"
	"sync"
)

// gate lets bytes through or holds them. The zero gate is open.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // nil while open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// pass waits until the gate is open or done ends.
func (g *gate) pass(done <-chan struct{}) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed == nil {
		return
	}
	select {
	case <-closed:
	case <-done:
	}
}

// conn is a connection behind a gate that tells when it has died.
type conn struct {
	net.Conn
	gate *gate
	once sync.Once
	dead chan struct{}
}

func newConn(raw net.Conn, g *gate) *conn {
	return &conn{Conn: raw, gate: g, dead: make(chan struct{})}
}

func (c *conn) Read(p []byte) (int, error) {
	c.gate.pass(c.dead)
	n, err := c.Conn.Read(p)
	if err != nil {
		c.die()
	}
	c.gate.pass(c.dead)
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.gate.pass(c.dead)
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.die()
	return c.Conn.Close()
}

func (c *conn) die() { c.once.Do(func() { close(c.dead) }) }

// reset closes the connection so that the peer sees a reset, not an end.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// gauge counts what is going on now and the most there has been.
type gauge struct {
	mu       sync.Mutex
	now, max int
}

func (g *gauge) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now++
	g.max = max(g.max, g.now)
}

func (g *gauge) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now--
}

func (g *gauge) most() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.max
}
