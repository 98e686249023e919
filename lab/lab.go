// Package lab is simulated AKS nodes for the demonstration, the tests and the
// benchmarks: SSH servers in one process on loopback, each with its own root
// directory, that run the very same node scripts as real nodes under the
// machine's own sh. It knows what is on a node and how a node can misbehave;
// it refuses to know what is right: verdicts, reports and the audit itself.
//
// A script reaches the files of its node through a prefix: `sh -s` on a
// simulated node gives the script the node's root directory as its first
// argument, which is absent on a real node. Programs that would ask the
// machine itself (sudo, systemctl, ps, journalctl, hostname, ...) are
// stand-ins; every other tool is the machine's own, from a short list. A
// stand-in that is called in a way it does not know says so on standard error
// and exits with 64, so that a test never passes on a pretence.
//
// The kubelet of a node is not a process but a play of systemd's: its command
// line, and whether it starts at all, come from the files of the node as they
// are at each start. What systemd-run starts is a real process apart from every
// session. Time is the machine's: a unit waits as long as its RestartSec says.
package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options says which fleet to start.
type Options struct {
	// Dir is where everything is kept; it must exist and should be empty.
	Dir string
	// Nodes are started in this order. Names must be unique.
	Nodes []NodeSpec
	// Shell runs the command lines and scripts, "/bin/sh" when empty. Tests
	// name another one to run the same scripts under bash or busybox.
	Shell string
}

// Fleet is a set of running simulated nodes.
type Fleet struct {
	opts       Options
	now        time.Time // the fleet's start; every age on a node counts from it
	clientKey  ed25519.PrivateKey
	authorized ssh.PublicKey
	nodes      []*node
	byName     map[string]*node

	stop    context.CancelFunc
	stopped context.Context
	wg      sync.WaitGroup
	load    gauge
	turns   chan struct{}

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	groups map[int]struct{} // process groups that are running
	closed bool
}

// Start starts the nodes and returns when every port is open (or refuses, as
// specified). Cancelling ctx closes every connection; Close must be called in
// any case. A node's root directory is written when the node is first used.
func Start(ctx context.Context, opts Options) (*Fleet, error) {
	if opts.Shell == "" {
		opts.Shell = "/bin/sh"
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the directory of the simulated nodes: %w", err)
	}
	// The stand-ins compare paths as text, so there must be one spelling.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("find the directory of the simulated nodes: %w", err)
	}
	opts.Dir = dir
	if err := installPrograms(dir); err != nil {
		return nil, err
	}
	f := &Fleet{
		opts:   opts,
		now:    time.Now(),
		byName: make(map[string]*node, len(opts.Nodes)),
		conns:  make(map[net.Conn]struct{}),
		groups: make(map[int]struct{}),
		turns:  newTurns(),
	}
	f.stopped, f.stop = context.WithCancel(ctx)
	if err := f.start(); err != nil {
		f.Close()
		return nil, err
	}
	context.AfterFunc(f.stopped, f.hangUp)
	return f, nil
}

func (f *Fleet) start() error {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make the client key: %w", err)
	}
	f.clientKey = priv
	if err := f.writeShared(); err != nil {
		return err
	}
	if f.authorized, err = ssh.NewPublicKey(pub); err != nil {
		return fmt.Errorf("make the client key: %w", err)
	}
	for _, spec := range f.opts.Nodes {
		if f.byName[spec.Name] != nil {
			return fmt.Errorf("start node %s: the name is taken twice", spec.Name)
		}
		n, err := f.startNode(spec)
		if err != nil {
			return fmt.Errorf("start node %s: %w", spec.Name, err)
		}
		f.nodes = append(f.nodes, n)
		f.byName[spec.Name] = n
	}
	return nil
}

// Close ends every connection and every process the nodes run, waits for them
// and is safe to call twice. It leaves the files in Options.Dir.
func (f *Fleet) Close() {
	f.stop()
	f.hangUp()
	killStrays(f.opts.Dir)
	f.wg.Wait()
	killStrays(f.opts.Dir)
	for _, n := range f.nodes {
		n.letGo()
	}
}

// hangUp closes every socket and kills every process group.
func (f *Fleet) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c := range f.conns {
		c.Close()
	}
	for pgid := range f.groups {
		killGroup(pgid)
	}
	for _, n := range f.nodes {
		n.closeListener()
		n.gate.open() // the closed connections of a frozen node wait behind it
	}
}

// keep registers a connection for hangUp; false means the fleet is closing.
func (f *Fleet) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.conns[c] = struct{}{}
	return true
}

func (f *Fleet) drop(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// Freeze stops every byte from and to a node, open connections included, as a
// hung machine or a lost route does. Thaw lets them flow again.
func (f *Fleet) Freeze(name string) error {
	return f.withNode(name, func(n *node) { n.gate.shut() })
}

// Thaw ends a Freeze.
func (f *Fleet) Thaw(name string) error {
	return f.withNode(name, func(n *node) { n.gate.open() })
}

func (f *Fleet) withNode(name string, do func(*node)) error {
	n := f.byName[name]
	if n == nil {
		return fmt.Errorf("find node %s: no such simulated node", name)
	}
	do(n)
	return nil
}

// Root returns the directory that plays / on a node, writing it if the node
// has not been used yet. Tests change files there as a person on the node
// would.
func (f *Fleet) Root(name string) (string, error) {
	n := f.byName[name]
	if n == nil {
		return "", fmt.Errorf("find node %s: no such simulated node", name)
	}
	return n.root(), n.materialise()
}

// Address returns the host:port on which a node listens, or would.
func (f *Fleet) Address(name string) (string, error) {
	n := f.byName[name]
	if n == nil {
		return "", errors.New("find node " + name + ": no such simulated node")
	}
	return n.addr.String(), nil
}

// ClientKey returns the private key that every node accepts unless its Fault
// says otherwise.
func (f *Fleet) ClientKey() ed25519.PrivateKey { return f.clientKey }

// HostKey returns the public key a client should expect of a node: what
// WriteInventory writes into known_hosts. A node with FaultHostKey shows
// another one.
func (f *Fleet) HostKey(name string) (ssh.PublicKey, error) {
	n := f.byName[name]
	if n == nil {
		return nil, fmt.Errorf("find node %s: no such simulated node", name)
	}
	return n.expected, nil
}
