package lab

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// node is one simulated node.
type node struct {
	spec     NodeSpec
	fleet    *Fleet
	addr     *net.TCPAddr
	listener net.Listener // nil for a closed port
	reserved *reservation // holds the number of a closed port
	expected ssh.PublicKey
	hostKey  ssh.Signer
	gate     gate

	mu       sync.Mutex // guards what follows
	written  bool
	writeErr error
	sys      *systemd
	control  *os.File
	views    int
	stats    NodeStats
	conns    map[*conn]struct{} // open now
	refuse   time.Time          // nobody gets in before
	hook     func(int, string) Cut
	sessions int // started so far
}

func (n *node) dir() string      { return filepath.Join(n.fleet.opts.Dir, "nodes", n.spec.Name) }
func (n *node) root() string     { return filepath.Join(n.dir(), "root") }
func (n *node) stateDir() string { return filepath.Join(n.dir(), "state") }

// startNode opens the node's port and starts to serve it.
func (f *Fleet) startNode(spec NodeSpec) (*node, error) {
	if spec.Name == "" || strings.ContainsAny(spec.Name, "/ \t\n") || strings.Contains(spec.Password, "\n") {
		return nil, fmt.Errorf("check the specification: the name %q or the password cannot be used", spec.Name)
	}
	n := &node{spec: spec.withDefaults(), fleet: f, conns: map[*conn]struct{}{}}
	var err error
	if n.hostKey, err = newSigner(); err != nil {
		return nil, err
	}
	n.expected = n.hostKey.PublicKey()
	if spec.Fault == FaultHostKey {
		if n.hostKey, err = newSigner(); err != nil {
			return nil, err
		}
	}
	if spec.Fault == FaultRefuse {
		n.reserved, n.addr, err = reservePort()
		return n, err
	}
	if n.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("open a port: %w", err)
	}
	n.addr = n.listener.Addr().(*net.TCPAddr)
	f.wg.Go(n.accept)
	return n, nil
}

func newSigner() (ssh.Signer, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a host key: %w", err)
	}
	return ssh.NewSignerFromKey(priv)
}

func (n *node) closeListener() {
	if n.listener != nil {
		n.listener.Close()
	}
	if n.reserved != nil {
		n.reserved.close()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.control != nil {
		n.control.Close()
	}
}

func (n *node) accept() {
	for {
		raw, err := n.listener.Accept()
		if err != nil {
			return
		}
		if !n.fleet.keep(raw) {
			raw.Close()
			return
		}
		n.fleet.wg.Go(func() {
			defer n.fleet.drop(raw)
			defer raw.Close()
			n.fleet.load.enter()
			defer n.fleet.load.leave()
			n.count(func(s *NodeStats) { s.Connections++ })
			c := newConn(raw, &n.gate)
			if !n.admit(c) {
				c.reset()
				return
			}
			defer n.leave(c)
			n.serve(c)
		})
	}
}

func (n *node) count(do func(*NodeStats)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do(&n.stats)
}

// after waits, and reports false when the fleet closes first.
func (n *node) after(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.fleet.stopped.Done():
		return false
	}
}
