package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// serveAgent answers on a socket as serve does.
func serveAgent(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c); c.Close() })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait(); os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// refusing is an agent that lists its keys but does not sign.
type refusing struct{ agent.ExtendedAgent }

func (refusing) SignWithFlags(ssh.PublicKey, []byte, agent.SignatureFlags) (*ssh.Signature, error) {
	return nil, errors.New("the user said no")
}

func agentWith(t *testing.T, n int) (agent.ExtendedAgent, []ssh.PublicKey) {
	t.Helper()
	ring := agent.NewKeyring().(agent.ExtendedAgent)
	var keys []ssh.PublicKey
	for i := range n {
		pub, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: priv, Comment: fmt.Sprint("key ", i)}); err != nil {
			t.Fatal(err)
		}
		key, err := ssh.NewPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return ring, keys
}

func TestAgent(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	ring, keys := agentWith(t, 5)
	w.opts.AgentSocket = serveAgent(t, func(c net.Conn) { agent.ServeAgent(ring, c) })
	s := startServer(t, keys[2])
	w.knows(s)
	d := w.dialer()
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			c, err := d.Dial(t.Context(), s.host())
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()

	// The server stops listening after four keys; the fifth is not offered.
	last := startServer(t, keys[4])
	w.knows(last)
	_, err := w.dialer().Dial(t.Context(), last.host())
	wantCode(t, err, CodeAuthRefused, "4 keys", "key 0", "2 more not offered")

	// The named key goes first.
	write(t, filepath.Join(w.home, "named.pub"), string(ssh.MarshalAuthorizedKey(keys[4])))
	h := last.host()
	h.Identity = []string{"~/named.pub"}
	w.dial(h)

	// IdentitiesOnly keeps the others back.
	w.opts.SSHConfig = filepath.Join(w.home, "config")
	write(t, w.opts.SSHConfig, "IdentitiesOnly yes\n")
	_, err = w.dialer().Dial(t.Context(), s.host())
	wantCode(t, err, CodeAuthRefused, "1 key", "id_ed25519")
}

func TestAgentFaults(t *testing.T) {
	ring, keys := agentWith(t, 1)
	tests := []struct {
		name  string
		serve func(net.Conn)
		code  Code
		part  string
	}{
		{"does not sign", func(c net.Conn) { agent.ServeAgent(refusing{ring}, c) }, CodeAuthAgent, "did not sign"},
		{"closes", func(net.Conn) {}, CodeAuthAgent, "does not answer"},
		{"garbage", func(c net.Conn) { io.WriteString(c, strings.Repeat("x", 99)); io.Copy(io.Discard, c) }, CodeAuthAgent, "does not answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			w := newWorld(t)
			if err := os.Remove(filepath.Join(w.home, ".ssh/id_ed25519")); err != nil {
				t.Fatal(err)
			}
			s := startServer(t, keys[0])
			w.knows(s)
			w.opts.AgentSocket = serveAgent(t, tt.serve)
			_, err := w.dialer().Dial(t.Context(), s.host())
			wantCode(t, err, tt.code, tt.part)
		})
	}
	t.Run("a key file still works", func(t *testing.T) {
		w := newWorld(t)
		s := startServer(t, w.key)
		w.knows(s)
		w.opts.AgentSocket = serveAgent(t, func(net.Conn) {})
		w.dial(s.host())
	})
	t.Run("a signature the agent refuses does not end it", func(t *testing.T) {
		w := newWorld(t)
		s := startServer(t, w.key, keys[0])
		w.knows(s)
		w.opts.AgentSocket = serveAgent(t, func(c net.Conn) { agent.ServeAgent(refusing{ring}, c) })
		w.dial(s.host())
	})
}

// TestMuteAgent: an agent that accepts and says nothing costs its own time
// limit and not the run.
func TestMuteAgent(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	s := startServer(t, w.key)
	w.knows(s)
	w.opts.AgentSocket = serveAgent(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	started := time.Now()
	d := w.dialer()
	for range 2 {
		c, err := d.Dial(t.Context(), s.host())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if took := time.Since(started); took > 2*agentListTimeout {
		t.Errorf("asked a mute agent more than once, took %v", took)
	}
}
