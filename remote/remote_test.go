package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleet/inventory"
)

func TestRun(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	s := startServer(t, w.key)
	w.knows(s)
	c := w.dial(s.host())
	out, err := c.Run(t.Context(), Command{Line: "sh -s", Stdin: []byte("echo out; echo err >&2; exit 3"), Become: inventory.BecomeNone})
	if err != nil {
		t.Fatal(err)
	}
	if string(out.Stdout) != "out\n" || string(out.Stderr) != "err\n" || out.Exit != 3 {
		t.Errorf("got %q %q %d", out.Stdout, out.Stderr, out.Exit)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<15)
	out, err = c.Run(t.Context(), Command{Line: "cat", Stdin: big, Become: inventory.BecomeNone})
	if err != nil || !bytes.Equal(out.Stdout, big) {
		t.Errorf("second command: %d bytes, %v", len(out.Stdout), err)
	}
}

// TestHandshakeFaults: each way a server can misbehave before the login is
// over has its own code, within the deadline, and leaves nothing behind.
func TestHandshakeFaults(t *testing.T) {
	banner := func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n") }
	mute := func(c net.Conn) { io.Copy(io.Discard, c) }
	drip := func(c net.Conn, b []byte) {
		for {
			for i := range b {
				if _, err := c.Write(b[i : i+1]); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	tests := []struct {
		name  string
		serve func(net.Conn)
		code  Code
		parts []string
	}{
		{"mute", mute, CodeTimeoutHandshake, nil},
		{"banner, no key exchange", func(c net.Conn) { banner(c); mute(c) }, CodeTimeoutHandshake, nil},
		{"drips text before the banner", func(c net.Conn) { drip(c, []byte("hello\r\n")) }, CodeTimeoutHandshake, nil},
		{"banner without end", func(c net.Conn) { drip(c, []byte("x")) }, CodeTimeoutHandshake, nil},
		{"drips a packet", func(c net.Conn) { banner(c); drip(c, []byte{0, 0, 0x10, 0}) }, CodeTimeoutHandshake, nil},
		{"closes at once", func(c net.Conn) {}, CodeProtocol, []string{"before any SSH greeting"}},
		{"closes after banner", func(c net.Conn) { banner(c); c.(*net.TCPConn).CloseWrite(); mute(c) }, CodeProtocol, []string{"broke off"}},
		{"MaxStartups", func(c net.Conn) { io.WriteString(c, "Exceeded MaxStartups\r\n") }, CodeBusy, []string{"Exceeded MaxStartups"}},
		{"PerSourcePenalties", func(c net.Conn) { io.WriteString(c, "Not allowed at this time\r\n") }, CodeBusy, []string{"Not allowed"}},
		{"HTTP", func(c net.Conn) { c.Read(make([]byte, 9)); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, CodeNotSSH, []string{"400 Bad Request"}},
		{"TLS alert", func(c net.Conn) { c.Write([]byte{0x15, 3, 1, 0, 2, 2, 0x46}) }, CodeNotSSH, nil},
		{"garbage after banner", func(c net.Conn) { banner(c); io.WriteString(c, strings.Repeat("garbage ", 99)) }, CodeProtocol, nil},
		{"no common algorithm", func(c net.Conn) {
			cfg := &ssh.ServerConfig{NoClientAuth: true, Config: ssh.Config{Ciphers: []string{"aes128-cbc"}}}
			cfg.AddHostKey(newKey(t))
			ssh.NewServerConn(c, cfg)
		}, CodeKex, []string{"aes128-cbc"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			w := newWorld(t)
			w.opts.HostKeys = HostKeysOff
			if tt.code == CodeTimeoutHandshake {
				w.opts.ConnectTimeout = 200 * time.Millisecond
			}
			_, err := w.dialer().Dial(t.Context(), rawServer(t, tt.serve).host())
			wantCode(t, err, tt.code, tt.parts...)
		})
	}
}

func TestConnectFaults(t *testing.T) {
	noLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	w := newWorld(t)
	_, err = w.dialer().Dial(t.Context(), inventory.Host{Name: "127.0.0.1", Address: "127.0.0.1", Port: closed})
	wantCode(t, err, CodeRefused)
	_, err = w.dialer().Dial(t.Context(), inventory.Host{Name: "no.such.host.invalid"})
	wantCode(t, err, CodeDNS)

	w.opts.DialTCP = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.opts.ConnectTimeout = 50 * time.Millisecond
	_, err = w.dialer().Dial(t.Context(), inventory.Host{Name: "10.0.0.1"})
	wantCode(t, err, CodeTimeoutConnect, "10.0.0.1:22", "50ms")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.dialer().Dial(ctx, inventory.Host{Name: "10.0.0.1"})
	wantCode(t, err, CodeInterrupted)
}

// TestAuthSilence: a server that exchanges keys and then says nothing.
func TestAuthSilence(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	release := make(chan struct{})
	s := startServer(t)
	s.set(func() {
		s.config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			<-release
			return nil, fmt.Errorf("no")
		}
	})
	w.knows(s)
	w.opts.ConnectTimeout = 300 * time.Millisecond
	_, err := w.dialer().Dial(t.Context(), s.host())
	close(release)
	wantCode(t, err, CodeTimeoutAuth)
}

// relay forwards to a server until it is frozen; then it swallows every byte
// and keeps its sockets open.
type relay struct {
	*testServer
	frozen chan struct{}
}

func newRelay(t testing.TB, to *testServer) *relay {
	r := &relay{frozen: make(chan struct{})}
	pump := func(dst, src net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := src.Read(buf)
			if err != nil {
				dst.Close()
				return
			}
			select {
			case <-r.frozen:
			default:
				dst.Write(buf[:n])
			}
		}
	}
	r.testServer = rawServer(t, func(c net.Conn) {
		up, err := net.Dial("tcp", to.ln.Addr().String())
		if err != nil {
			return
		}
		defer up.Close()
		go pump(c, up)
		pump(up, c)
	})
	r.key = to.key
	return r
}

func TestCommandFaults(t *testing.T) {
	tests := []struct {
		name  string
		line  string
		stdin string
		fault func(ch ssh.Channel, s *testServer)
		code  Code
		parts []string
	}{
		{name: "silent command", fault: func(ch ssh.Channel, s *testServer) { io.Copy(io.Discard, ch) }, code: CodeTimeoutCommand},
		{name: "link cut", fault: func(ch ssh.Channel, s *testServer) { s.cut() }, code: CodeLost},
		{name: "no exit status", fault: func(ch ssh.Channel, s *testServer) {}, code: CodeLost, parts: []string{"exit status"}},
		{name: "too much output", line: "yes", code: CodeOutput},
		{name: "nologin", fault: func(ch ssh.Channel, s *testServer) {
			io.WriteString(ch, "This account is currently not available.\n")
			exitStatus(ch, 1)
		}, code: CodeNoShell, parts: []string{"currently not available"}},
		{name: "false", fault: func(ch ssh.Channel, s *testServer) { exitStatus(ch, 1) }, code: CodeNoShell},
		{name: "forced command", fault: func(ch ssh.Channel, s *testServer) {
			io.WriteString(ch, "hi\n")
			exitStatus(ch, 0)
		}, code: CodeNoShell, parts: []string{"hi"}},
		{name: "noise without end", fault: func(ch ssh.Channel, s *testServer) {
			for {
				if _, err := ch.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, code: CodeOutput},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			w := newWorld(t)
			s := startServer(t, w.key)
			if tt.fault != nil {
				s.set(func() { s.exec = func(ch ssh.Channel, _ string, _ []string) { tt.fault(ch, s) } })
			}
			w.knows(s)
			c := w.dial(s.host())
			limit := 20 * time.Second
			if tt.code == CodeTimeoutCommand {
				limit = 300 * time.Millisecond
			}
			if tt.line == "" {
				tt.line = "true"
			}
			_, err := c.Run(within(t, limit), Command{Line: tt.line, Become: inventory.BecomeNone, Limit: 1 << 16})
			wantCode(t, err, tt.code, tt.parts...)
			s.cut()
		})
	}
}

// TestHeldChannel: a child that keeps the channel open does not hide that the
// command has ended.
func TestHeldChannel(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	s := startServer(t, w.key)
	hold := make(chan struct{})
	s.set(func() {
		s.exec = func(ch ssh.Channel, line string, _ []string) {
			mark := strings.Fields(strings.TrimPrefix(line, "sh -c 'echo "))[0]
			io.WriteString(ch, strings.TrimSuffix(mark, ";")+"\nall of it\n")
			exitStatus(ch, 0)
			<-hold
		}
	})
	w.knows(s)
	out, err := w.dial(s.host()).Run(t.Context(), Command{Line: "true", Become: inventory.BecomeNone})
	close(hold)
	if err != nil || string(out.Stdout) != "all of it\n" || out.Exit != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
}

// TestFrozenLink: a relay that swallows everything is noticed by the
// keepalive while the command runs, and by the deadline without it.
func TestFrozenLink(t *testing.T) {
	for _, alive := range []bool{true, false} {
		t.Run(fmt.Sprint("keepalive ", alive), func(t *testing.T) {
			noLeaks(t)
			w := newWorld(t)
			config := "ServerAliveInterval 0"
			code, limit := CodeTimeoutCommand, 300*time.Millisecond
			if alive {
				config = "ServerAliveInterval 1\nServerAliveCountMax 1"
				code, limit = CodeLost, time.Minute
			}
			w.opts.SSHConfig = filepath.Join(w.home, "config")
			write(t, w.opts.SSHConfig, config)
			s := startServer(t, w.key)
			r := newRelay(t, s)
			w.knows(r.testServer)
			c := w.dial(r.host())
			close(r.frozen)
			_, err := c.Run(within(t, limit), Command{Line: "true", Become: inventory.BecomeNone})
			wantCode(t, err, code)
			s.cut()
		})
	}
}

func TestSignal(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	s.set(func() {
		s.exec = func(ch ssh.Channel, line string, _ []string) {
			io.WriteString(ch, strings.TrimSuffix(strings.Fields(line)[3], ";")+"\n")
			ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal     string
				Core       bool
				Text, Lang string
			}{"KILL", false, "", ""}))
		}
	})
	w.knows(s)
	out, err := w.dial(s.host()).Run(t.Context(), Command{Line: "true", Become: inventory.BecomeNone})
	if err != nil || out.Signal != "KILL" || out.Exit != 137 {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestCancelEndsEverything(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	s := startServer(t, w.key)
	w.knows(s)
	c := w.dial(s.host())
	ctx, cancel := context.WithCancel(t.Context())
	s.set(func() { s.exec = func(ch ssh.Channel, _ string, _ []string) { cancel(); io.Copy(io.Discard, ch) } })
	_, err := c.Run(ctx, Command{Line: "true", Become: inventory.BecomeNone})
	wantCode(t, err, CodeInterrupted)
}

func TestNoise(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	s.set(func() {
		s.exec = func(ch ssh.Channel, line string, env []string) {
			io.WriteString(ch, "Welcome to the bastille\nno newline: ")
			io.WriteString(ch.Stderr(), "rc noise\n")
			runShell(ch, line, env)
		}
	})
	w.knows(s)
	out, err := w.dial(s.host()).Run(t.Context(), Command{Line: "echo clean", Become: inventory.BecomeNone})
	if err != nil || string(out.Stdout) != "clean\n" {
		t.Fatalf("%q, %v", out.Stdout, err)
	}
}

func TestAuth(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t)
		s := startServer(t, newKey(t).PublicKey())
		w.knows(s)
		_, err := w.dialer().Dial(t.Context(), s.host())
		wantCode(t, err, CodeAuthRefused, "as tester", "id_ed25519")
	})
	t.Run("no key", func(t *testing.T) {
		w := newWorld(t)
		s := startServer(t, w.key)
		w.knows(s)
		w.opts.Home = t.TempDir()
		_, err := w.dialer().Dial(t.Context(), s.host())
		wantCode(t, err, CodeAuthNone)
	})
	t.Run("named key missing", func(t *testing.T) {
		w := newWorld(t)
		w.opts.Identity = []string{"~/nothing"}
		_, err := w.dialer().Dial(t.Context(), inventory.Host{Name: "x"})
		wantCode(t, err, CodeAuthKeyFile, "command line", "nothing")
	})
	t.Run("garbage key", func(t *testing.T) {
		w := newWorld(t)
		write(t, filepath.Join(w.home, "bad"), "not a key")
		_, err := w.dialer().Dial(t.Context(), inventory.Host{Name: "x", Identity: []string{"~/bad"}, Position: inventory.Position{File: "nodes.yaml", Line: 7}})
		wantCode(t, err, CodeAuthKeyFile, "nodes.yaml:7")
	})
	t.Run("password only", func(t *testing.T) {
		w := newWorld(t)
		s := startServer(t)
		s.set(func() {
			s.config.PublicKeyCallback = nil
			s.config.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, fmt.Errorf("no") }
		})
		w.knows(s)
		_, err := w.dialer().Dial(t.Context(), s.host())
		wantCode(t, err, CodeAuthRefused, "only password")
	})
}

func TestPassphrase(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.home, "locked")
	key := writeKey(t, path, "open sesame")
	s := startServer(t, key)
	w.knows(s)
	w.opts.Identity = []string{path}

	_, err := w.dialer().Dial(t.Context(), s.host())
	wantCode(t, err, CodeAuthPassphrase, "encrypted")

	w.opts.Passphrase = func(string) ([]byte, error) { return []byte("wrong"), nil }
	_, err = w.dialer().Dial(t.Context(), s.host())
	wantCode(t, err, CodeAuthPassphrase, "does not open")

	asked := 0
	w.opts.Passphrase = func(f string) ([]byte, error) {
		asked++
		return []byte("open sesame"), nil
	}
	d := w.dialer()
	var wg sync.WaitGroup
	for range 8 {
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
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}

	// A server that does not want the key does not cause a prompt.
	asked = 0
	other := startServer(t, newKey(t).PublicKey())
	w.knows(other)
	_, err = w.dialer().Dial(t.Context(), other.host())
	wantCode(t, err, CodeAuthRefused, "locked")
	if asked != 0 {
		t.Error("asked for the passphrase of a key that was refused")
	}
}

func TestJump(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	bastion, target := startServer(t, w.key), startServer(t, w.key)
	w.knows(bastion, target)
	d := w.dialer()
	h := target.host()
	h.Jump = fmt.Sprintf("jumper@127.0.0.1:%d", bastion.port())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, err := d.Dial(t.Context(), h)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			out, err := c.Run(t.Context(), Command{Line: "echo there", Become: inventory.BecomeNone})
			if err != nil || string(out.Stdout) != "there\n" {
				t.Errorf("%q, %v", out.Stdout, err)
			}
		})
	}
	wg.Wait()
	if bastion.logins != 1 {
		t.Errorf("%d logins on the jump host, want 1", bastion.logins)
	}
	// Two hops, and a host that is not there.
	h.Jump = fmt.Sprintf("a@127.0.0.1:%d,b@127.0.0.1:%d", bastion.port(), bastion.port())
	c, err := d.Dial(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	h.Port = 1
	_, err = d.Dial(t.Context(), h)
	wantCode(t, err, CodeRefused, "127.0.0.1:1", "jump host")
}

func TestJumpFaults(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	target := startServer(t, w.key)
	bastion := startServer(t, newKey(t).PublicKey())
	w.knows(target, bastion)
	d := w.dialer()
	h := target.host()
	h.Jump = fmt.Sprintf("127.0.0.1:%d", bastion.port())
	for range 3 {
		_, err := d.Dial(t.Context(), h)
		wantCode(t, err, "jump-"+CodeAuthRefused, h.Jump, "as me")
	}
	if bastion.offered != 1 {
		t.Errorf("the refused key was offered %d times", bastion.offered)
	}
	h.Jump = "127.0.0.1:1"
	_, err := d.Dial(t.Context(), h)
	wantCode(t, err, "jump-"+CodeRefused)
	h.Jump = "@x"
	_, err = d.Dial(t.Context(), h)
	wantCode(t, err, CodeConfig)
}

// TestFrozenJump: a jump host that stops forwarding bytes ends the command of
// a host behind it at the command's deadline.
func TestFrozenJump(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	bastion, target := startServer(t, w.key), startServer(t, w.key)
	r := newRelay(t, bastion)
	w.knows(r.testServer, target)
	h := target.host()
	h.Jump = fmt.Sprintf("127.0.0.1:%d", r.port())
	c := w.dial(h)
	close(r.frozen)
	_, err := c.Run(within(t, 300*time.Millisecond), Command{Line: "true", Become: inventory.BecomeNone})
	wantCode(t, err, CodeTimeoutCommand)
	bastion.cut()
	target.cut()
}
