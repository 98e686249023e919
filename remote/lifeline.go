package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// lifeline is the one place where a connection is ended. Whoever ends it
// leaves the reason first, because afterwards x/crypto reports a reset link, a
// deadline and our own close as one and the same error.
type lifeline struct {
	once   sync.Once
	close  func()
	dead   chan struct{} // closed once reason is set
	reason error
}

func newLifeline(close func()) *lifeline {
	return &lifeline{close: close, dead: make(chan struct{})}
}

// fail records why the connection ends and closes it; only the first reason
// counts. The close runs apart, because closing a channel of a frozen jump
// connection can itself block until that connection is given up.
func (l *lifeline) fail(reason error) {
	l.once.Do(func() {
		l.reason = reason
		close(l.dead)
		go l.close()
	})
}

// attach makes the end of l the end of inner, too, with the reason that why
// makes of l's.
func (l *lifeline) attach(inner *lifeline, why func(error) error) {
	go func() {
		select {
		case <-l.dead:
			inner.fail(why(l.reason))
		case <-inner.dead:
		}
	}()
}

// err returns the reason, nil while the connection lives.
func (l *lifeline) err() error {
	select {
	case <-l.dead:
		return l.reason
	default:
		return nil
	}
}

// stages bounds the phases of a login one after the other with one timer.
type stages struct {
	life    *lifeline
	timeout time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	timeErr *Error // what the running timer reports
	pauses  int
	waiting string // what the phase waits for on our side, for the message
}

// enter starts the next phase; err is reported when it takes too long.
func (s *stages) enter(err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeErr = err
	if s.pauses == 0 {
		s.arm()
	}
}

// arm starts the timer of the current phase anew. The caller holds mu.
func (s *stages) arm() {
	if s.timer != nil {
		s.timer.Stop()
	}
	err := s.timeErr
	s.timer = time.AfterFunc(s.timeout, func() {
		s.mu.Lock()
		waiting := s.waiting
		s.mu.Unlock()
		if waiting != "" {
			err = &Error{Reason: err.Reason, Msg: err.Msg + ", still waiting for " + waiting, Err: err.Err}
		}
		s.life.fail(err)
	})
}

// leave stops the clock for good.
func (s *stages) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauses++
	if s.timer != nil {
		s.timer.Stop()
	}
}

// pause stops the clock while a person is asked; the returned function starts
// the phase anew.
func (s *stages) pause() (resume func()) {
	s.leave()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pauses--
		if s.pauses == 0 {
			s.arm()
		}
	}
}

// wait names what the phase is waiting for on our side; "" for the server.
func (s *stages) wait(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = what
}

// headLimit bounds what is kept of the bytes before the SSH banner.
const headLimit = 1024

// wire is the connection to a server. It keeps what the server says before
// its SSH version line, which x/crypto throws away, counts what arrives, and
// remembers how reading ended.
type wire struct {
	net.Conn
	received atomic.Int64

	mu      sync.Mutex
	head    []byte
	greeted bool // the version line has begun
	readErr error
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.received.Add(int64(n))
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.greeted && len(w.head) < headLimit {
		w.head = append(w.head, p[:min(n, headLimit-len(w.head))]...)
		w.greeted = bytes.HasPrefix(w.head, []byte("SSH-")) || bytes.Contains(w.head, []byte("\nSSH-"))
	}
	if err != nil && w.readErr == nil {
		w.readErr = err
	}
	return n, err
}

// preface returns the text before the version line and whether such a line
// was seen.
func (w *wire) preface() (text []byte, greeted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.head), w.greeted
}

// broken returns the error that ended reading, nil while the link is up and
// for an orderly end.
func (w *wire) broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(w.readErr, io.EOF) {
		return nil
	}
	return w.readErr
}

// contextError is the reason for ending a connection because ctx ended: a
// deadline counts as the phase's own limit, anything else as an interrupt.
func contextError(ctx context.Context, timeout Code, what string) *Error {
	cause := context.Cause(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Reason: timeout, Msg: what + " in the time allowed", Err: cause}
	}
	return &Error{Reason: CodeInterrupted, Msg: what + ": interrupted", Err: cause}
}

// printable makes text from a server fit for one line of a message: bounded,
// control characters as blanks, blanks folded.
func printable(b []byte) string {
	const limit = 200
	s := strings.ToValidUTF8(string(b), "?")
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > limit {
		s = string(r[:limit]) + "..."
	}
	return s
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
