package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleet/inventory"
)

// testServer is an SSH server in this process that runs commands with sh.
type testServer struct {
	t       testing.TB
	ln      net.Listener
	key     ssh.Signer
	config  *ssh.ServerConfig
	exec    func(ch ssh.Channel, line string, env []string)
	env     []string
	mu      sync.Mutex
	conns   []net.Conn
	logins  int
	offered int
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writeKey makes a key file, encrypted when pass is not empty.
func writeKey(t testing.TB, path, pass string) ssh.PublicKey {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if pass == "" {
		block, err = ssh.MarshalPrivateKey(priv, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(priv, "", []byte(pass))
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(block)))
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startServer starts a server that lets in whoever shows one of the keys.
func startServer(t testing.TB, keys ...ssh.PublicKey) *testServer {
	t.Helper()
	s := &testServer{t: t, key: newKey(t), exec: runShell}
	s.config = &ssh.ServerConfig{
		MaxAuthTries: 4,
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			s.mu.Lock()
			s.offered++
			s.mu.Unlock()
			for _, k := range keys {
				if sameKey(k, key) {
					return nil, nil
				}
			}
			return nil, errors.New("unknown key")
		},
	}
	s.config.AddHostKey(s.key)
	s.listen(s.serve)
	return s
}

// listen accepts connections on loopback and hands them to serve.
func (s *testServer) listen(serve func(net.Conn)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.ln = ln
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			wg.Go(func() { serve(c); c.Close() })
		}
	})
	s.t.Cleanup(func() {
		ln.Close()
		s.cut()
		wg.Wait()
	})
}

// cut closes every connection the server has.
func (s *testServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
}

func rawServer(t testing.TB, serve func(net.Conn)) *testServer {
	s := &testServer{t: t, key: newKey(t)}
	s.listen(serve)
	return s
}

// set changes the server while it runs.
func (s *testServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *testServer) serve(c net.Conn) {
	s.mu.Lock()
	config := s.config
	s.mu.Unlock()
	conn, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	go ssh.DiscardRequests(reqs)
	var wg sync.WaitGroup
	for nc := range chans {
		switch nc.ChannelType() {
		case "session":
			ch, reqs, err := nc.Accept()
			if err == nil {
				wg.Go(func() { s.session(ch, reqs) })
			}
		case "direct-tcpip":
			wg.Go(func() { forward(nc) })
		default:
			nc.Reject(ssh.UnknownChannelType, "no")
		}
	}
	wg.Wait()
	conn.Close()
}

func forward(nc ssh.NewChannel) {
	var m struct {
		Host     string
		Port     uint32
		FromHost string
		FromPort uint32
	}
	if err := ssh.Unmarshal(nc.ExtraData(), &m); err != nil {
		nc.Reject(ssh.ConnectionFailed, "bad request")
		return
	}
	c, err := net.Dial("tcp", net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port))))
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		c.Close()
		return
	}
	go ssh.DiscardRequests(reqs)
	done := make(chan struct{})
	go func() { io.Copy(ch, c); ch.Close(); close(done) }()
	io.Copy(c, ch)
	c.Close()
	<-done
}

func (s *testServer) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	for req := range reqs {
		if req.Type != "exec" {
			req.Reply(false, nil)
			continue
		}
		var m struct{ Line string }
		if err := ssh.Unmarshal(req.Payload, &m); err != nil {
			req.Reply(false, nil)
			return
		}
		req.Reply(true, nil)
		go ssh.DiscardRequests(reqs)
		s.mu.Lock()
		run, env := s.exec, s.env
		s.mu.Unlock()
		run(ch, m.Line, env)
		return
	}
}

// runShell is what sshd does with a command: the login shell's -c.
func runShell(ch ssh.Channel, line string, env []string) {
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	if err := cmd.Start(); err != nil {
		return
	}
	go func() { io.Copy(in, ch); in.Close() }()
	cmd.Wait()
	exitStatus(ch, cmd.ProcessState.ExitCode())
}

func exitStatus(ch ssh.Channel, status int) {
	ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
}

func (s *testServer) port() int { return s.ln.Addr().(*net.TCPAddr).Port }

func (s *testServer) host() inventory.Host {
	return inventory.Host{Name: "127.0.0.1", Address: "127.0.0.1", Port: s.port(), User: "tester"}
}

// knownLine is the known_hosts line for the server.
func (s *testServer) knownLine() string {
	return "[127.0.0.1]:" + strconv.Itoa(s.port()) + " " + string(ssh.MarshalAuthorizedKey(s.key.PublicKey()))
}

// world is a user's home with a key and known_hosts.
type world struct {
	t    testing.TB
	home string
	opts Options
	key  ssh.PublicKey
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, home: t.TempDir()}
	w.key = writeKey(t, filepath.Join(w.home, ".ssh/id_ed25519"), "")
	w.opts = Options{Home: w.home, LocalUser: "me", LocalHostname: "here.example", SSHConfig: "none",
		KnownHosts: []string{filepath.Join(w.home, ".ssh/known_hosts")}, ConnectTimeout: 20 * time.Second}
	return w
}

// knows adds servers to known_hosts.
func (w *world) knows(servers ...*testServer) {
	path := w.opts.KnownHosts[0]
	old, _ := os.ReadFile(path)
	for _, s := range servers {
		old = append(old, s.knownLine()...)
	}
	write(w.t, path, string(old))
}

func (w *world) dialer() *Dialer {
	w.t.Helper()
	d, err := NewDialer(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { d.Close() })
	return d
}

func (w *world) dial(h inventory.Host) *Conn {
	w.t.Helper()
	c, err := w.dialer().Dial(w.t.Context(), h)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// wantCode fails unless err is an *Error with the code and a text that
// contains the parts.
func wantCode(t testing.TB, err error, code Code, parts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want code %s", err, err, code)
	}
	if e.Reason != code {
		t.Fatalf("code %s, want %s (%v)", e.Reason, code, err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Fatalf("error %q does not mention %q", err, p)
		}
	}
}

// noLeaks fails the test when goroutines are left once everything it started
// is closed.
func noLeaks(t testing.TB) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(10 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<16)
				t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
			}
			runtime.Gosched()
			time.Sleep(time.Millisecond)
		}
	})
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
