package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"

	"fleet/inventory"
)

// Dial logs in on a host, through its jump hosts if it has any. Every phase
// has a deadline that closes the connection, and the end of ctx closes it at
// once. The error is always an *Error.
func (d *Dialer) Dial(ctx context.Context, h inventory.Host) (*Conn, error) {
	s, err := d.Resolve(h)
	if err != nil {
		return nil, err
	}
	return d.dial(ctx, s)
}

func (d *Dialer) dial(ctx context.Context, s Settings) (*Conn, error) {
	keys, err := d.keys.candidates(ctx, s)
	if err != nil {
		return nil, err
	}
	known := d.known.lookup(s)
	jump, release, err := d.viaJump(ctx, s)
	if err != nil {
		return nil, err
	}
	defer release()
	raw, err := d.connect(ctx, s, jump)
	if err != nil {
		return nil, err
	}
	return d.login(ctx, s, stream{raw, jump}, known, keys)
}

// stream is a byte stream to a host's port and the jump connection it runs
// through, nil for none.
type stream struct {
	net.Conn
	jump *jumpConn
}

// connect opens the byte stream to the host's port.
func (d *Dialer) connect(ctx context.Context, s Settings, jump *jumpConn) (net.Conn, error) {
	dial := d.opts.DialTCP
	if jump != nil {
		dial = jump.dialTCP
	}
	ctx, cancel := context.WithTimeout(ctx, s.ConnectTimeout.Value)
	defer cancel()
	conn, err := dial(ctx, s.network(), s.addr())
	if err != nil {
		return nil, connectError(ctx, s, err)
	}
	return conn, nil
}

// connectError tells why there is no byte stream to the host.
func connectError(ctx context.Context, s Settings, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	addr, via := s.addr(), ""
	if len(s.hops) > 0 {
		via = " from jump host " + s.Jump.Value
	}
	var dns *net.DNSError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &Error{Reason: CodeInterrupted, Msg: "connecting to " + addr + ": interrupted", Err: context.Cause(ctx)}
	case errors.As(err, &dns) && !dns.IsTimeout:
		return &Error{Reason: CodeDNS, Msg: fmt.Sprintf("cannot resolve %q", s.HostName.Value), Err: err}
	case ctx.Err() != nil || isTimeout(err):
		return &Error{Reason: CodeTimeoutConnect, Msg: fmt.Sprintf("no connection to %s%s within %v", addr, via, s.ConnectTimeout.Value)}
	}
	code := connectCode(err)
	if open := new(ssh.OpenChannelError); errors.As(err, &open) {
		err = plain(err) // the jump host's words
	}
	return &Error{Reason: code, Msg: "cannot connect to " + addr + via, Err: err}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &t) && t.Timeout()
}

// connectCode classifies a failed connect, our own or one that a jump host
// reports in the words of its strerror(3).
func connectCode(err error) Code {
	var open *ssh.OpenChannelError
	if errors.As(err, &open) {
		return openChannelCode(open)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return CodeRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EHOSTDOWN):
		return CodeNoRoute
	}
	return CodeUnreachable
}

func openChannelCode(open *ssh.OpenChannelError) Code {
	text := strings.ToLower(open.Message)
	switch {
	case open.Reason == ssh.Prohibited || open.Reason == ssh.UnknownChannelType:
		return "jump-" + CodeForward
	case strings.Contains(text, "refused"):
		return CodeRefused
	case strings.Contains(text, "unreachable"), strings.Contains(text, "no route"):
		return CodeNoRoute
	case strings.Contains(text, "timed out"):
		return CodeTimeoutConnect
	case strings.Contains(text, "not known"), strings.Contains(text, "name resolution"),
		strings.Contains(text, "unknown host"), strings.Contains(text, "no address"):
		return CodeDNS
	}
	return CodeUnreachable
}

// login is one attempt to turn a byte stream into a Conn.
type login struct {
	s      Settings
	life   *lifeline
	stages *stages
	wire   *wire
	keys   *authenticator

	mu     sync.Mutex
	inAuth bool
	banner string
}

func (d *Dialer) login(ctx context.Context, s Settings, raw stream, known hostKeys, keys []candidate) (*Conn, error) {
	life := newLifeline(func() { raw.Close() })
	if raw.jump != nil {
		raw.jump.life.attach(life, func(reason error) error { return jumpError(s, reason) })
	}
	l := &login{s: s, life: life, wire: &wire{Conn: raw},
		stages: &stages{life: life, timeout: s.ConnectTimeout.Value}}
	l.keys = &authenticator{candidates: keys, stages: l.stages, settings: s}
	l.stages.enter(l.timeout(CodeTimeoutHandshake, "connected, but no SSH key exchange with"))
	defer l.stages.leave()
	stop := context.AfterFunc(ctx, func() { life.fail(l.contextError(ctx)) })
	defer stop()

	client, err := l.handshake(l.clientConfig(func(key ssh.PublicKey) error {
		return d.known.check(s, known, key)
	}, known.algorithms()))
	if err != nil {
		life.fail(err)
		return nil, err
	}
	l.stages.leave()
	c := &Conn{client: client, life: life, settings: s, wire: l.wire, jump: raw.jump}
	go c.watch()
	if !stop() {
		<-life.dead
		return nil, life.err()
	}
	return c, nil
}

// watch turns the end of the link into the Conn's reason to fail.
func (c *Conn) watch() {
	err := c.client.Wait()
	c.life.fail(c.broken(err))
}

// broken is the reason for the end of a link that nobody here has closed. A
// jump connection takes all the connections inside it along.
func (c *Conn) broken(err error) *Error {
	if c.jump != nil && c.jump.life.err() != nil {
		return jumpError(c.settings, c.jump.life.err())
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &Error{Reason: CodeLost, Msg: "the server closed the connection"}
	}
	return &Error{Reason: CodeLost, Msg: "the connection broke", Err: plain(err)}
}

func (l *login) timeout(code Code, what string) *Error {
	return &Error{Reason: code, Msg: fmt.Sprintf("%s %s within %v", what, l.s.addr(), l.s.ConnectTimeout.Value)}
}

func (l *login) contextError(ctx context.Context) *Error {
	if l.authenticating() {
		return contextError(ctx, CodeTimeoutAuth, "not logged in on "+l.s.addr())
	}
	return contextError(ctx, CodeTimeoutHandshake, "no SSH key exchange with "+l.s.addr())
}

// clientConfig wires the callbacks of x/crypto to this attempt. Algorithms
// with known weaknesses are left out, which x/crypto's defaults do not do.
func (l *login) clientConfig(check func(ssh.PublicKey) error, hostKeyAlgos []string) *ssh.ClientConfig {
	safe := ssh.SupportedAlgorithms()
	return &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: safe.KeyExchanges, Ciphers: safe.Ciphers, MACs: safe.MACs},
		User:              l.s.User.Value,
		ClientVersion:     "SSH-2.0-fleet",
		HostKeyAlgorithms: hostKeyAlgos,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if l.authenticating() {
				return nil // a later key exchange; x/crypto insists on the same key
			}
			if err := check(key); err != nil {
				return err
			}
			l.enterAuth()
			return nil
		},
		BannerCallback: func(text string) error { l.setBanner(text); return nil },
		AuthCallback:   l.keys.next,
	}
}

func (l *login) enterAuth() {
	l.mu.Lock()
	l.inAuth = true
	l.mu.Unlock()
	l.stages.enter(l.timeout(CodeTimeoutAuth, "keys exchanged, but no answer to authentication from"))
}

func (l *login) authenticating() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inAuth
}

func (l *login) setBanner(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.banner == "" {
		l.banner = printable([]byte(text[:min(len(text), headLimit)]))
	}
}

// handshake exchanges keys and authenticates, or ends when the lifeline does.
// x/crypto has no deadline of its own here.
func (l *login) handshake(config *ssh.ClientConfig) (*ssh.Client, error) {
	type result struct {
		client *ssh.Client
		err    error
	}
	done := make(chan result, 1)
	go func() {
		conn, chans, reqs, err := ssh.NewClientConn(l.wire, l.s.addr(), config)
		if err != nil {
			done <- result{err: err}
			return
		}
		done <- result{client: ssh.NewClient(conn, chans, reqs)}
	}()
	select {
	case r := <-done:
		if err := l.life.err(); err != nil {
			return nil, err
		}
		if r.err != nil {
			return nil, l.classify(r.err)
		}
		return r.client, nil
	case <-l.life.dead:
		return nil, l.life.err()
	}
}

// classify names the cause of a handshake that x/crypto gave up.
func (l *login) classify(err error) *Error {
	var own *Error
	var negotiation *ssh.AlgorithmNegotiationError
	text, greeted := l.wire.preface()
	switch {
	case errors.As(err, &own):
		return own
	case l.authenticating():
		return l.authError(err)
	case errors.As(err, &negotiation):
		return &Error{Reason: CodeKex, Msg: fmt.Sprintf("no algorithm for %s in common with %s, it offers only %s",
			negotiation.What, l.s.addr(), printable([]byte(strings.Join(negotiation.RequestedAlgorithms, ", "))))}
	case !greeted:
		return prefaceError(l.s.addr(), text, err)
	case busy(err.Error()):
		return &Error{Reason: CodeBusy, Msg: l.s.addr() + " turned the connection away", Err: err}
	}
	return &Error{Reason: CodeProtocol, Msg: "the SSH key exchange with " + l.s.addr() + " broke off", Err: plain(err)}
}

func (l *login) authError(err error) *Error {
	if strings.Contains(strings.ToLower(err.Error()), "too many authentication failures") {
		return l.keys.refused("the server gave up")
	}
	l.mu.Lock()
	banner := l.banner
	l.mu.Unlock()
	e := &Error{Reason: CodeProtocol, Msg: "the connection to " + l.s.addr() + " broke off during authentication", Err: plain(err)}
	if banner != "" {
		e.Msg += fmt.Sprintf(" (server says %q)", banner)
	}
	return e
}

// prefaceError judges a server that never sent an SSH version line.
func prefaceError(addr string, text []byte, err error) *Error {
	says := printable(text)
	switch {
	case says == "":
		return &Error{Reason: CodeProtocol, Msg: addr + " closed the connection before any SSH greeting", Err: plain(err)}
	case busy(says):
		return &Error{Reason: CodeBusy, Msg: fmt.Sprintf("%s turned the connection away: %q", addr, says)}
	}
	return &Error{Reason: CodeNotSSH, Msg: fmt.Sprintf("%s does not speak SSH, it says %q", addr, says)}
}

// busy recognises what sshd says when it turns a connection away unheard:
// MaxStartups (sshd.c, drop_connection) and PerSourcePenalties
// (srclimit.c), and the disconnect of a full server.
func busy(text string) bool {
	for _, s := range []string{"Exceeded MaxStartups", "Not allowed at this time", "Too many connections", "too many connections"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// plain makes the text of an error that may quote the server fit for a
// message, and drops x/crypto's prefixes.
func plain(err error) error {
	s := strings.TrimPrefix(err.Error(), "ssh: handshake failed: ")
	return errors.New(printable([]byte(strings.TrimPrefix(s, "ssh: "))))
}

func (s Settings) addr() string {
	return net.JoinHostPort(s.HostName.Value, strconv.Itoa(s.Port.Value))
}

// network maps AddressFamily to the names of package net.
func (s Settings) network() string {
	switch s.AddressFamily.Value {
	case "inet":
		return "tcp4"
	case "inet6":
		return "tcp6"
	}
	return "tcp"
}
