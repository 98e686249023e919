package lab

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// run answers one exec request.
func (n *node) run(c *conn, channel ssh.Channel, line string, signals <-chan string) {
	if !n.after(n.spec.Delay) {
		return
	}
	switch n.spec.Fault {
	case FaultMuteCommand:
		n.remember(line, nil)
		io.Copy(io.Discard, channel)
		return
	case FaultNoLogin:
		n.remember(line, nil)
		say(channel, "This account is currently not available.\n", "", 1)
		return
	case FaultWindows:
		n.remember(line, nil)
		word, _, _ := strings.Cut(line, " ")
		say(channel, "", "'"+word+"' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n", 1)
		return
	case FaultEndless:
		n.remember(line, nil)
		n.endless(channel)
		return
	}
	if err := n.execute(c, channel, line, signals); err != nil {
		notSimulated(channel, "%v", err)
	}
}

func (n *node) endless(channel ssh.Channel) {
	block := bytes.Repeat([]byte("all work and no play makes a long answer\n"), 200)
	for {
		if _, err := channel.Write(block); err != nil {
			return
		}
	}
}

// execute runs a command line as sshd does: by the login shell, in a session
// of its own, with pipes for the three streams. An error is one of the
// simulator, met before the command ran.
func (n *node) execute(c *conn, channel ssh.Channel, line string, signals <-chan string) error {
	if strings.Contains(line, "/bin/") || strings.Contains(line, "PATH=") {
		return fmt.Errorf("the command line names a program by its path or sets PATH, which would leave the simulated node: %s", line)
	}
	cut := n.cutFor(line)
	turnOver, ok := n.fleet.takeTurn()
	if !ok {
		return errors.New("the fleet is closing")
	}
	defer turnOver()
	root, done, err := n.rootFor(line)
	if err != nil {
		return err
	}
	defer done()
	p, err := n.spawn(line, root)
	if err != nil {
		return err
	}
	defer n.fleet.forget(p.cmd.Process.Pid)
	defer close(p.done)
	n.fleet.wg.Go(func() { p.forward(signals) })
	n.fleet.wg.Go(func() { p.abandon(c) })
	n.cutAfter(cut.After)
	in := &script{sum: sha256.New()}
	n.fleet.wg.Go(func() {
		io.Copy(n.trip(io.MultiWriter(p.stdin, in), cut.In), channel)
		p.stdin.Close()
		io.Copy(io.Discard, channel)
	})
	io.WriteString(channel, n.spec.Preamble)
	out := n.trip(newWire(n.spec.Fault, channel, c), cut.Out)
	var copied sync.WaitGroup
	copied.Go(func() { drain(out, p.stdout) })
	copied.Go(func() { drain(channel.Stderr(), p.stderr) })
	p.cmd.Wait() // the state says more than the error
	turnOver()
	state := p.cmd.ProcessState
	// sshd reports the exit at once and closes the channel when the last
	// descendant has let go of the streams.
	n.remember(line, in)
	if n.spec.Fault == FaultReset || cut.Out > 0 {
		copied.Wait() // the exit status must not overtake what is cut within the output
	}
	reportExit(channel, state)
	copied.Wait()
	if n.spec.Fault == FaultLinger {
		<-c.dead
	}
	channel.Close()
	return nil
}

func reportExit(channel ssh.Channel, state *os.ProcessState) {
	if sig := signalOf(state); sig != "" {
		exitSignal(channel, sig)
		return
	}
	exitStatus(channel, state.ExitCode())
}

// drain copies until the end or until the reader has gone, and then lets the
// writer feel it.
func drain(to io.Writer, from *os.File) {
	io.Copy(to, from)
	from.Close()
}

// process is a running command and the simulator's ends of its pipes.
type process struct {
	cmd            *exec.Cmd
	stdin          *os.File
	stdout, stderr *os.File
	done           chan struct{} // closed when nothing is left to do for it
}

func (n *node) spawn(line, root string) (*process, error) {
	p := &process{cmd: exec.Command(n.fleet.opts.Shell, "-c", line), done: make(chan struct{})}
	pipes := make([]*os.File, 0, 6)
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(pipes)
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		pipes = append(pipes, r, w)
	}
	p.stdin, p.stdout, p.stderr = pipes[1], pipes[2], pipes[4]
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = pipes[0], pipes[3], pipes[5]
	p.cmd.Dir = filepath.Join(root, "home", n.spec.User)
	p.cmd.Env = n.environ(root)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := n.fleet.launch(p.cmd, root != n.root() || n.modesCount()); err != nil {
		closeAll(pipes)
		return nil, err
	}
	pipes[0].Close()
	pipes[3].Close()
	pipes[5].Close()
	return p, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// launch starts a command unless the fleet is closing, and remembers its
// process group.
func (f *Fleet) launch(cmd *exec.Cmd, unprivileged bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.New("the fleet is closing")
	}
	start := cmd.Start
	if unprivileged {
		start = func() error { return startUnprivileged(cmd) }
	}
	if err := start(); err != nil {
		return fmt.Errorf("start the command: %w", err)
	}
	f.groups[cmd.Process.Pid] = struct{}{}
	return nil
}

func (f *Fleet) forget(pgid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.groups, pgid)
}

// forward passes signals on as sshd does, to the process group.
func (p *process) forward(signals <-chan string) {
	names := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP}
	for {
		select {
		case name := <-signals:
			if sig, ok := names[name]; ok {
				syscall.Kill(-p.cmd.Process.Pid, sig)
			}
		case <-p.done:
			return
		}
	}
}

// abandon lets go of the streams when the connection has died. As with sshd,
// the command itself goes on until it reads or writes.
func (p *process) abandon(c *conn) {
	select {
	case <-c.dead:
		closeAll([]*os.File{p.stdin, p.stdout, p.stderr})
	case <-p.done:
	}
}

func killGroup(pgid int) { syscall.Kill(-pgid, syscall.SIGKILL) }

func signalOf(state *os.ProcessState) string {
	ws, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() {
		return ""
	}
	names := map[syscall.Signal]string{syscall.SIGKILL: "KILL", syscall.SIGTERM: "TERM", syscall.SIGINT: "INT", syscall.SIGHUP: "HUP", syscall.SIGPIPE: "PIPE"}
	if name := names[ws.Signal()]; name != "" {
		return name
	}
	return "ABRT"
}

// environ is the environment of a session. Nothing of the simulator's own
// leaks into it.
func (n *node) environ(root string) []string {
	dir := n.fleet.opts.Dir
	path := filepath.Join(dir, "bin") + ":" + filepath.Join(dir, "sudo") + ":" + filepath.Join(dir, "tools")
	if n.spec.Sudo == SudoMissing {
		path = filepath.Join(dir, "bin") + ":" + filepath.Join(dir, "tools")
	}
	n.mu.Lock()
	if n.faulty() {
		path = filepath.Join(dir, "faulty") + ":" + path
	}
	n.mu.Unlock()
	uid, sudo := "1000", n.spec.Sudo
	if n.spec.User == "root" {
		uid = "0"
	}
	if sudo == SudoNoPassword {
		sudo = "nopasswd"
	}
	return []string{
		"PATH=" + path, "HOME=" + filepath.Join(root, "home", n.spec.User), "USER=" + n.spec.User, "LOGNAME=" + n.spec.User,
		"SHELL=/bin/bash", "LANG=C.UTF-8", "LAB_ROOT=" + root, "LAB_STATE=" + n.stateDir(), "LAB_TOOLS=" + filepath.Join(dir, "tools"),
		"LAB_SHELL=" + n.fleet.opts.Shell, "LAB_HOSTNAME=" + n.spec.Name, "LAB_USER=" + n.spec.User, "LAB_UID=" + uid, "LAB_SUDO=" + string(sudo),
	}
}

// rootFor writes the node on its first use, moves its clock, and returns the
// root a command line sees: the node's own for root and for whoever uses sudo,
// else a copy in which the files of root cannot be read. done removes the copy.
func (n *node) rootFor(line string) (root string, done func(), err error) {
	if err := n.materialise(); err != nil {
		return "", nil, err
	}
	if err := n.writeUptime(); err != nil {
		return "", nil, err
	}
	if err := n.sys.touch(); err != nil {
		return "", nil, err
	}
	if n.spec.User == "root" || strings.Contains(line, "sudo") {
		return n.root(), func() {}, nil
	}
	n.mu.Lock()
	n.views++
	view := filepath.Join(n.dir(), fmt.Sprintf("view%d", n.views))
	n.mu.Unlock()
	if err := copyForUser(n.root(), view); err != nil {
		return "", nil, fmt.Errorf("copy the root for the login user: %w", err)
	}
	return view, func() { os.RemoveAll(view) }, nil
}

// script is what a session got on standard input.
type script struct {
	mu   sync.Mutex
	sum  hash.Hash
	size int64
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += int64(len(p))
	return s.sum.Write(p)
}

func (n *node) remember(line string, in *script) {
	rec := Session{Command: line}
	if in != nil {
		in.mu.Lock()
		defer in.mu.Unlock()
		rec.StdinBytes, rec.StdinSHA256 = in.size, hex.EncodeToString(in.sum.Sum(nil))
	}
	n.count(func(s *NodeStats) { s.Sessions = append(s.Sessions, rec) })
}
