package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Limits on the agent. Signing may wait for a person to touch a token or to
// confirm the use of a key.
const (
	agentListTimeout = 5 * time.Second
	agentSignTimeout = time.Minute
)

// agentKey is a key an agent holds; its PublicKey may be a certificate.
type agentKey struct {
	public  ssh.PublicKey
	comment string
}

// agentClient is the one connection to an agent, shared by all hosts. The
// protocol answers one request after the other, so requests take turns.
type agentClient struct {
	socket string

	mu      sync.Mutex
	conn    net.Conn
	client  agent.ExtendedAgent
	listed  bool
	keys    []agentKey
	listErr error
}

// agentKeys lists the keys of the agent a host uses. No agent is no error.
func (k *keyring) agentKeys(ctx context.Context, s Settings) (*agentClient, []agentKey, *Error) {
	socket := s.IdentityAgent.Value
	if socket == "" || socket == "none" {
		return nil, nil, nil
	}
	k.mu.Lock()
	c := k.agents[socket]
	if c == nil {
		c = &agentClient{socket: socket}
		k.agents[socket] = c
	}
	k.mu.Unlock()
	keys, err := c.list(ctx)
	if err != nil {
		return nil, nil, &Error{Reason: CodeAuthAgent, Msg: "the agent at " + socket + " does not answer", Err: err}
	}
	return c, keys, nil
}

// list asks the agent for its keys, once per run.
func (c *agentClient) list(ctx context.Context) ([]agentKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listed {
		return c.keys, c.listErr
	}
	if c.listErr = c.open(ctx, agentListTimeout); c.listErr == nil {
		var list []*agent.Key
		if list, c.listErr = c.client.List(); c.listErr != nil {
			c.drop()
		}
		for _, key := range list {
			if public, err := ssh.ParsePublicKey(key.Blob); err == nil {
				c.keys = append(c.keys, agentKey{public, key.Comment})
			}
		}
	}
	c.listed = ctx.Err() == nil // an interrupted host says nothing about the agent
	return c.keys, c.listErr
}

// open connects if need be and sets the deadline of the next request.
func (c *agentClient) open(ctx context.Context, timeout time.Duration) error {
	if c.conn == nil {
		ctx, cancel := context.WithTimeout(ctx, agentListTimeout)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
		if err != nil {
			return err
		}
		c.conn, c.client = conn, agent.NewClient(conn)
	}
	return c.conn.SetDeadline(time.Now().Add(timeout))
}

// drop forgets a connection that failed; the next request opens a new one.
func (c *agentClient) drop() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn, c.client = nil, nil
}

// close ends the connection without waiting for a request under way.
func (c *agentClient) close() {
	if !c.mu.TryLock() {
		return // the request has a deadline of its own
	}
	defer c.mu.Unlock()
	c.drop()
}

func (c *agentClient) sign(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.open(context.Background(), agentSignTimeout); err != nil {
		return nil, err
	}
	sig, err := c.client.SignWithFlags(key, data, flags)
	if err != nil {
		c.drop()
	}
	return sig, err
}

// agentSigner signs with a key the agent holds.
type agentSigner struct {
	agent *agentClient
	key   agentKey
	a     *authenticator
}

func (s *agentSigner) PublicKey() ssh.PublicKey { return s.key.public }

func (s *agentSigner) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(r, data, plainType(s.key.public.Type()))
}

func (s *agentSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	var flags agent.SignatureFlags
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	s.a.stages.wait("the agent to sign")
	defer s.a.stages.wait("")
	sig, err := s.agent.sign(s.key.public, data, flags)
	if err != nil {
		return nil, &Error{Reason: CodeAuthAgent, Msg: fmt.Sprintf("the agent did not sign with the key %s the server would accept", s.key.name()), Err: err}
	}
	return sig, nil
}

func (k agentKey) name() string {
	return fmt.Sprintf("%q (agent)", printable([]byte(k.comment)))
}

func heldKey(held []agentKey, public ssh.PublicKey) (agentKey, bool) {
	for _, k := range held {
		if sameKey(k.public, public) {
			return k, true
		}
	}
	return agentKey{}, false
}

// otherAgentKeys are the agent's keys that no identity file already stands for.
func otherAgentKeys(c *agentClient, held []agentKey, ids []identity) []candidate {
	var out []candidate
	for _, key := range held {
		if isIdentity(ids, key.public) {
			continue
		}
		out = append(out, candidate{name: key.name(), from: "agent", open: func(a *authenticator) (ssh.Signer, error) {
			return &agentSigner{c, key, a}, nil
		}})
	}
	return out
}

func isIdentity(ids []identity, public ssh.PublicKey) bool {
	for _, id := range ids {
		if id.file.public != nil && sameKey(id.file.public, public) {
			return true
		}
	}
	return false
}
