package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"fleet/inventory"
)

// Limits of jump hosts. Every host needs one channel of the shared connection,
// so sshd's MaxStartups and MaxSessions do not count against it; the number of
// logins under way at once is bounded for the sake of a small bastion's CPU
// and uplink.
const (
	jumpMaxDepth   = 8
	jumpSlots      = 32
	jumpRetryAfter = 30 * time.Second
)

// hop is one jump host as written: [user@]host[:port] or an ssh URI.
type hop struct {
	user string
	host string
	port int
}

func (h hop) is(s Settings) bool {
	return strings.EqualFold(h.host, s.HostName.Value) && (h.port == s.Port.Value || h.port == 0 && s.Port.Value == 22)
}

func (h hop) String() string {
	s := h.host
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	if h.user != "" {
		s = h.user + "@" + s
	}
	if h.port != 0 {
		s += ":" + strconv.Itoa(h.port)
	}
	return s
}

// parseHops reads a ProxyJump value, nearest host first; "none" has no hops.
func parseHops(s string) ([]hop, error) {
	if strings.EqualFold(s, "none") {
		return nil, nil
	}
	var out []hop
	for _, part := range strings.Split(s, ",") {
		h, err := parseHop(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

func parseHop(s string) (hop, error) {
	s, uri := strings.CutPrefix(s, "ssh://")
	if uri {
		s = strings.TrimSuffix(s, "/")
	}
	var h hop
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		h.user, s = s[:i], s[i+1:]
		if h.user == "" {
			return h, errors.New("the user name before @ is empty")
		}
	}
	host, port := s, ""
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
		var ok bool
		if host, port, ok = cutPort(s); !ok {
			return h, errors.New("not of the form [user@]host[:port]")
		}
	}
	h.host = host
	if h.host == "" || strings.HasPrefix(h.host, "-") || strings.ContainsAny(h.host, " \t/@") {
		return h, errors.New("not of the form [user@]host[:port]")
	}
	if port == "" {
		return h, nil
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return h, fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	h.port = n
	return h, nil
}

// cutPort splits host:port, [host] and [host]:port.
func cutPort(s string) (host, port string, ok bool) {
	if inner, bracket := strings.CutPrefix(s, "["); bracket {
		host, rest, ok := strings.Cut(inner, "]")
		if !ok || rest != "" && (rest[0] != ':' || len(rest) == 1) {
			return "", "", false
		}
		return host, strings.TrimPrefix(rest, ":"), true
	}
	host, port, _ = strings.Cut(s, ":")
	return host, port, port != ""
}

// jumpSettings resolves the last hop before a host. Hops in front of it become
// its own jump hosts. As with ssh -J, the login name of the host does not
// carry over; its keys are offered after those ssh_config names for the jump
// host.
func (d *Dialer) jumpSettings(s Settings) (Settings, error) {
	if s.depth+1 > jumpMaxDepth {
		return Settings{}, &Error{Reason: CodeConfig, Msg: fmt.Sprintf("%s: more than %d jump hosts in a row, is there a loop?", s.Jump.From, jumpMaxDepth)}
	}
	last := s.hops[len(s.hops)-1]
	var before []string
	for _, h := range s.hops[:len(s.hops)-1] {
		before = append(before, h.String())
	}
	var named []KeyFile
	for _, f := range s.Identity {
		if f.must {
			named = append(named, f)
		}
	}
	return d.resolve(request{
		host:  inventory.Host{Name: last.host, Address: last.host, User: last.user, Port: last.port, Jump: strings.Join(before, ",")},
		from:  s.Jump.From,
		extra: named,
		depth: s.depth + 1,
	})
}

// viaJump returns the connection to the jump host of s, shared by all hosts
// behind it, and a place for one login on it; nil when s has no jump host.
func (d *Dialer) viaJump(ctx context.Context, s Settings) (conn *jumpConn, release func(), err error) {
	if len(s.hops) == 0 {
		return nil, func() {}, nil
	}
	js, err := d.jumpSettings(s)
	if err != nil {
		return nil, nil, jumpError(s, err)
	}
	if conn, err = d.jumps.get(ctx, js, d.dial); err != nil {
		return nil, nil, jumpError(s, err)
	}
	release, err = conn.slot(ctx)
	return conn, release, err
}

// jumpError marks a failure as the jump host's.
func jumpError(s Settings, err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Reason: CodeUnreachable, Msg: "cannot connect", Err: err}
	}
	if e.Reason == CodeInterrupted || e.Reason == CodeConfig || strings.HasPrefix(string(e.Reason), "jump-") {
		return e
	}
	return &Error{Reason: "jump-" + e.Reason, Msg: "jump host " + s.Jump.Value + ": " + e.Msg, Err: e.Err}
}

// jumpPool opens each jump connection once.
type jumpPool struct {
	mu      sync.Mutex
	entries map[string]*jumpEntry
	closed  bool
}

// jumpEntry is a connection being opened, open, or failed.
type jumpEntry struct {
	cancel context.CancelFunc
	done   chan struct{} // closed once conn or err is set
	conn   *jumpConn
	err    error
	failed time.Time
}

// jumpConn is a login on a jump host.
type jumpConn struct {
	*Conn
	slots chan struct{}
}

func newJumpPool() *jumpPool { return &jumpPool{entries: make(map[string]*jumpEntry)} }

// get returns the open connection, waits for the one being opened, or opens
// it. A failure holds for every host that asks, so that a refused key is not
// tried hundreds of times; failures that may pass are tried again after a
// while.
func (p *jumpPool) get(ctx context.Context, s Settings, dial func(context.Context, Settings) (*Conn, error)) (*jumpConn, error) {
	e, err := p.entry(ctx, s, dial)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.done:
		return e.conn, e.err
	case <-ctx.Done():
		return nil, contextError(ctx, CodeTimeoutConnect, "still waiting for the login on the jump host")
	}
}

func (p *jumpPool) entry(ctx context.Context, s Settings, dial func(context.Context, Settings) (*Conn, error)) (*jumpEntry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, &Error{Reason: CodeInterrupted, Msg: "the run is over", Err: net.ErrClosed}
	}
	key := s.jumpKey()
	if e := p.entries[key]; e != nil && e.usable() {
		return e, nil
	}
	// The connection serves other hosts too, so it must outlive the one that
	// happens to be first.
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e := &jumpEntry{cancel: cancel, done: make(chan struct{})}
	p.entries[key] = e
	go e.open(open, s, dial)
	return e, nil
}

func (e *jumpEntry) open(ctx context.Context, s Settings, dial func(context.Context, Settings) (*Conn, error)) {
	defer close(e.done)
	conn, err := dial(ctx, s)
	if err != nil {
		e.err, e.failed = err, time.Now()
		return
	}
	e.conn = &jumpConn{Conn: conn, slots: make(chan struct{}, jumpSlots)}
	go conn.keepalive(nil)
}

func (e *jumpEntry) usable() bool {
	select {
	case <-e.done:
	default:
		return true
	}
	if e.err != nil {
		var own *Error
		lasting := errors.As(e.err, &own) && (strings.HasPrefix(string(own.Reason), "auth-") || strings.HasPrefix(string(own.Reason), "host-key-"))
		return lasting || time.Since(e.failed) < jumpRetryAfter
	}
	return e.conn.life.err() == nil
}

// close ends every jump connection and every attempt to open one.
func (p *jumpPool) close() error {
	p.mu.Lock()
	p.closed = true
	entries := p.entries
	p.entries = make(map[string]*jumpEntry)
	p.mu.Unlock()
	for _, e := range entries {
		e.cancel()
		<-e.done
		if e.conn != nil {
			e.conn.Close()
		}
	}
	return nil
}

// jumpKey tells connections apart that may not be shared.
func (s Settings) jumpKey() string {
	parts := []string{s.User.Value, s.addr(), s.Jump.Value, s.IdentityAgent.Value}
	for _, f := range s.Identity {
		parts = append(parts, f.Path)
	}
	return strings.Join(parts, "\x00")
}

// slot takes one of the places for logins under way.
func (j *jumpConn) slot(ctx context.Context) (release func(), err error) {
	select {
	case j.slots <- struct{}{}:
		return sync.OnceFunc(func() { <-j.slots }), nil
	case <-ctx.Done():
		return nil, contextError(ctx, CodeTimeoutConnect, "still waiting for a turn on the jump host")
	}
}

func (j *jumpConn) dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := j.client.DialContext(ctx, network, addr)
	if dead := j.life.err(); err != nil && dead != nil {
		return nil, jumpError(Settings{Jump: j.settings.HostName}, dead)
	}
	return conn, err
}
