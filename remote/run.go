package remote

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"fleet/inventory"
)

// Bounds on what a command may send back.
const (
	DefaultOutputLimit = 8 << 20  // of Output.Stdout, when Command.Limit is 0
	StderrLimit        = 64 << 10 // of Output.Stderr; what comes after is dropped
)

// lingerTime is how long a channel may stay silent after the command's exit
// status came. A child that the command left behind can hold it open for ever.
const lingerTime = 2 * time.Second

// Command is one command to run.
type Command struct {
	// Line is the command and its arguments: plain words, at least one, of
	// letters, digits and @%+=:,./_- only, so that every login shell reads
	// them alike. Whatever needs more goes into Stdin of "sh -s".
	Line     string
	Stdin    []byte           // sent once the command is known to have started
	Become   inventory.Become // BecomeDefault is sudo unless the login is root
	Password []byte           // for sudo, nil for none; never logged or put on a command line
	Limit    int64            // bytes of stdout, 0 for DefaultOutputLimit
}

// Output is how a command ended that did start.
type Output struct {
	Stdout []byte
	Stderr []byte // the first StderrLimit bytes
	Exit   int    // exit status; 128 and more when Signal is set
	Signal string // name of the signal that ended it, without SIG; "" for an exit
}

// Run runs one command. A command that fails is no error: its status is in the
// Output. The error is an *Error for a command that could not be started, and
// for one whose end is not known because the link or the time ran out; the
// connection is then closed, and the Output holds what had arrived.
func (c *Conn) Run(ctx context.Context, cmd Command) (Output, error) {
	x, err := c.prepare(cmd)
	if err != nil {
		return Output{}, err
	}
	stop := context.AfterFunc(ctx, func() {
		c.life.fail(contextError(ctx, CodeTimeoutCommand, "the command did not end"))
	})
	defer stop()
	quit := make(chan struct{})
	defer close(quit)
	go c.keepalive(quit)

	done := make(chan error, 1)
	go func() { done <- x.run() }()
	select {
	case err = <-done:
	case <-c.life.dead:
		err = c.settle(done)
	}
	return x.output(), err
}

// settle gives the command's goroutines a moment to hand over what had
// already arrived when the connection ended. They cannot be waited for: a
// frozen jump connection may hold them until it is given up itself.
func (c *Conn) settle(done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return c.life.err()
	}
}

// keepalive asks the server for a sign of life whenever nothing came from it
// for an interval, and ends the connection when it keeps silent (ssh_config(5),
// ServerAliveInterval and ServerAliveCountMax). The requests themselves block
// on a frozen link, so the clock is ours.
func (c *Conn) keepalive(quit <-chan struct{}) {
	interval, limit := c.settings.AliveInterval.Value, c.settings.AliveCountMax.Value
	if interval <= 0 || limit <= 0 {
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var asking atomic.Bool
	for unanswered, last := 0, c.wire.received.Load(); ; unanswered++ {
		select {
		case <-quit:
			return
		case <-c.life.dead:
			return
		case <-ticker.C:
		}
		if now := c.wire.received.Load(); now != last {
			unanswered, last = 0, now
		}
		if unanswered >= limit {
			c.life.fail(&Error{Reason: CodeLost, Msg: fmt.Sprintf("the server has been silent for %v", time.Duration(limit)*interval)})
			return
		}
		if asking.CompareAndSwap(false, true) {
			go func() {
				defer asking.Store(false)
				_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil)
			}()
		}
	}
}

// execution is one command under way.
type execution struct {
	conn    *Conn
	cmd     Command
	wrapped wrapped

	stdout *markedOutput
	stderr *watchedOutput

	started  chan struct{} // closed when the command proper begins
	prompted chan struct{} // one value when sudo asks for the password
	over     chan struct{} // closed when the channel is done with
	moved    atomic.Int64  // bytes of output, to see whether any still comes

	mu     sync.Mutex
	fault  *Error // our own verdict, once there is one
	exit   int
	exited bool
	signal string
}

func (c *Conn) prepare(cmd Command) (*execution, error) {
	if err := plainWords(cmd.Line); err != nil {
		return nil, &Error{Reason: CodeNoShell, Msg: fmt.Sprintf("cannot run %q", cmd.Line), Err: err}
	}
	if cmd.Limit == 0 {
		cmd.Limit = DefaultOutputLimit
	}
	x := &execution{conn: c, cmd: cmd,
		wrapped:  wrap(cmd, c.User() == "root", nonce()),
		started:  make(chan struct{}),
		prompted: make(chan struct{}, 1),
		over:     make(chan struct{}),
	}
	x.stdout = &markedOutput{mark: x.wrapped.mark, limit: cmd.Limit, begin: func() { close(x.started) },
		full: func() {
			x.fail(&Error{Reason: CodeOutput, Msg: fmt.Sprintf("the command printed more than %d bytes", cmd.Limit)})
		}}
	x.stderr = &watchedOutput{prompt: x.wrapped.prompt, seen: x.prompt}
	return x, nil
}

func nonce() string {
	b := make([]byte, 12)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// prompt is called for every password prompt of sudo.
func (x *execution) prompt(n int) {
	if n == 1 {
		x.prompted <- struct{}{}
		return
	}
	x.fail(&Error{Reason: CodeSudoWrong, Msg: "sudo refused the password"})
}

// fail ends the connection with a verdict of our own.
func (x *execution) fail(err *Error) {
	x.mu.Lock()
	if x.fault == nil {
		x.fault = err
	}
	x.mu.Unlock()
	x.conn.life.fail(err)
}

// run runs the command to its end.
func (x *execution) run() error {
	ch, reqs, err := x.conn.client.OpenChannel("session", nil)
	if err != nil {
		return x.notStarted("the server opens no session", err)
	}
	defer ch.Close()
	defer close(x.over)
	closed := make(chan struct{})
	exited := make(chan struct{})
	go x.requests(reqs, exited, closed)
	ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{x.wrapped.line}))
	if err != nil || !ok {
		return x.notStarted("the server refuses to run commands", err)
	}
	go x.feed(ch)
	x.drain(ch, exited, closed)
	return x.verdict()
}

func (x *execution) notStarted(what string, err error) error {
	var open *ssh.OpenChannelError
	if err == nil || errors.As(err, &open) {
		e := &Error{Reason: CodeNoShell, Msg: what}
		if err != nil {
			e.Err = plain(err)
		}
		return e
	}
	return x.lost()
}

// drain reads both streams to their end. It stops early when the exit status
// is known and the streams stay silent.
func (x *execution) drain(ch ssh.Channel, exited, closed <-chan struct{}) {
	var copies sync.WaitGroup
	copies.Go(func() { io.Copy(&counted{x.stdout, &x.moved}, ch) })
	copies.Go(func() { io.Copy(&counted{x.stderr, &x.moved}, ch.Stderr()) })
	eof := make(chan struct{})
	go func() {
		copies.Wait()
		<-closed
		close(eof)
	}()
	select {
	case <-eof:
		return
	case <-exited:
	}
	timer := time.NewTicker(lingerTime)
	defer timer.Stop()
	for moved := x.moved.Load(); ; moved = x.moved.Load() {
		select {
		case <-eof:
			return
		case <-timer.C:
			if x.moved.Load() == moved {
				return
			}
		}
	}
}

// requests takes the exit status or signal and waits for the channel's end.
func (x *execution) requests(reqs <-chan *ssh.Request, exited, closed chan<- struct{}) {
	defer close(closed)
	once := sync.OnceFunc(func() { close(exited) })
	for req := range reqs {
		switch req.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if ssh.Unmarshal(req.Payload, &m) == nil {
				x.setExit(int(m.Status), "")
				once()
			}
		case "exit-signal":
			var m struct {
				Signal     string
				CoreDumped bool
				Error      string
				Lang       string
			}
			if ssh.Unmarshal(req.Payload, &m) == nil {
				x.setExit(128+signalNumber(m.Signal), printable([]byte(m.Signal)))
				once()
			}
		}
		if req.WantReply {
			_ = req.Reply(false, nil)
		}
	}
}

func (x *execution) setExit(status int, signal string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.exit, x.signal, x.exited = status, signal, true
}

// signalNumber maps the names of RFC 4254, 6.10, to Linux numbers.
func signalNumber(name string) int {
	return map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "FPE": 8, "KILL": 9,
		"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15}[name]
}

// feed sends the password when sudo asks, and standard input once the command
// has begun, so that neither reaches the wrong reader.
func (x *execution) feed(ch ssh.Channel) {
	for {
		select {
		case <-x.started:
			if _, err := ch.Write(x.cmd.Stdin); err == nil {
				_ = ch.CloseWrite()
			}
			return
		case <-x.prompted:
			_, _ = ch.Write(append(append([]byte(nil), x.cmd.Password...), '\n'))
		case <-x.over:
			return
		}
	}
}

// verdict tells how the command ended, once nothing more comes.
func (x *execution) verdict() error {
	x.mu.Lock()
	fault, exited, exit := x.fault, x.exited, x.exit
	x.mu.Unlock()
	switch {
	case fault != nil:
		return fault
	case !exited:
		return x.lost()
	case !x.stdout.begun():
		return refusal(x.wrapped, exit, x.stdout.preface(), x.stderr.bytes())
	case x.conn.wire.broken() != nil:
		return x.lost() // the tail of the output may be missing
	}
	return nil
}

// lost is the reason the connection ended, for which x/crypto sometimes takes
// a moment longer than for closing the channel.
func (x *execution) lost() error {
	select {
	case <-x.conn.life.dead:
		return x.conn.life.err()
	case <-time.After(time.Second):
		return &Error{Reason: CodeLost, Msg: "the server closed the session without an exit status"}
	}
}

func (x *execution) output() Output {
	x.mu.Lock()
	defer x.mu.Unlock()
	return Output{Stdout: x.stdout.bytes(), Stderr: x.stderr.bytes(), Exit: x.exit, Signal: x.signal}
}
