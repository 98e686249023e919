package lab_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fleet/lab"

	"golang.org/x/crypto/ssh"
)

// raw opens a bare TCP connection to a node.
func raw(t *testing.T, f *lab.Fleet, name string) net.Conn {
	t.Helper()
	addr, err := f.Address(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("dial %s: %v", name, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRefuse(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Fault: lab.FaultRefuse})
	if _, err := dial(t, f, node0, "azureuser"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("want a refused connection, got %v", err)
	}
}

// TestSilence: where a node falls silent nothing arrives until the fleet is
// closed, and then the connection ends. Nothing is timed: the proof that the
// node had not answered is that the answer never comes.
func TestSilence(t *testing.T) {
	for _, fault := range []lab.Fault{lab.FaultMute, lab.FaultMuteKex} {
		t.Run(string(fault), func(t *testing.T) {
			f := start(t, lab.NodeSpec{Name: node0, Fault: fault})
			c := raw(t, f, node0)
			if _, err := io.WriteString(c, "SSH-2.0-test\r\n"); err != nil {
				t.Fatal(err)
			}
			closing(f)
			got, _ := io.ReadAll(c)
			want := ""
			if fault == lab.FaultMuteKex {
				want = "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.14\r\n"
			}
			// The fleet may close before the banner was written.
			if s := string(got); s != want && s != "" {
				t.Errorf("want %q, got %q", want, s)
			}
		})
	}
}

// closing closes the fleet while the test waits for what that brings about.
func closing(f *lab.Fleet) { go f.Close() }

func TestMuteAuth(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Fault: lab.FaultMuteAuth})
	c := raw(t, f, node0)
	signer, err := ssh.NewSignerFromKey(f.ClientKey())
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = ssh.NewClientConn(c, node0, &ssh.ClientConfig{
		User: "azureuser", HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			closing(f) // keys have been exchanged, the client is about to authenticate
			return []ssh.Signer{signer}, nil
		})},
	})
	if err == nil {
		t.Error("the node let the client in")
	}
}

func TestGreetings(t *testing.T) {
	for fault, want := range map[lab.Fault]string{lab.FaultBusy: "Exceeded MaxStartups\r\n", lab.FaultNotSSH: "HTTP/1.1 400 Bad Request\r\n"} {
		f := start(t, lab.NodeSpec{Name: node0, Fault: fault})
		got, err := bufio.NewReader(raw(t, f, node0)).ReadString('\n')
		if got != want || err != nil {
			t.Errorf("%s: want %q, got %q, %v", fault, want, got, err)
		}
	}
}

func TestHostKey(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Fault: lab.FaultHostKey})
	if _, err := dial(t, f, node0, "azureuser"); err == nil || !strings.Contains(err.Error(), "host key mismatch") {
		t.Errorf("want another host key than expected, got %v", err)
	}
}

func TestRejectKey(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Fault: lab.FaultRejectKey})
	if _, err := dial(t, f, node0, "azureuser"); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("want the key to be refused, got %v", err)
	}
}

func TestCommandFaults(t *testing.T) {
	const script = `i=0; while [ $i -lt 100 ]; do echo 0123456789; i=$((i+1)); done`
	full := "READY\n" + strings.Repeat("0123456789\n", 100)
	tests := []struct {
		fault lab.Fault
		check func(result) bool
	}{
		{lab.FaultNone, func(r result) bool { return r.stdout == full && r.err == nil && r.exit == 0 }},
		{lab.FaultExecRefused, func(r result) bool { return r.stdout == "" && r.err != nil }},
		{lab.FaultNoLogin, func(r result) bool {
			return r.stdout == "This account is currently not available.\n" && r.exit == 1
		}},
		{lab.FaultWindows, func(r result) bool { return strings.HasPrefix(r.stderr, "'sudo' is not recognized") && r.exit == 1 }},
		{lab.FaultReset, func(r result) bool {
			return len(r.stdout) <= 64 && strings.HasPrefix(full, r.stdout) && errors.As(r.err, new(*ssh.ExitMissingError))
		}},
		{lab.FaultTruncate, func(r result) bool { return r.stdout == full[:400] && r.err == nil && r.exit == 0 }},
		{lab.FaultGarble, func(r result) bool { return len(r.stdout) == len(full) && r.stdout != full && r.exit == 0 }},
	}
	for _, tt := range tests {
		t.Run(string(tt.fault), func(t *testing.T) {
			f := start(t, lab.NodeSpec{Name: node0, Fault: tt.fault})
			if got := sudoScript(t, client(t, f, node0, "azureuser"), script); !tt.check(got) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// begin starts a command and returns its output, without waiting for its end.
func begin(t *testing.T, c *ssh.Client, line string) (*ssh.Session, io.Reader) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(line); err != nil {
		t.Fatalf("start %s: %v", line, err)
	}
	return s, out
}

func TestMuteCommand(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Fault: lab.FaultMuteCommand})
	s, out := begin(t, client(t, f, node0, "azureuser"), "echo hello")
	closing(f)
	got, _ := io.ReadAll(out)
	if err := s.Wait(); len(got) > 0 || err == nil {
		t.Errorf("want silence, got %q, %v", got, err)
	}
}

func TestEndless(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Fault: lab.FaultEndless})
	_, out := begin(t, client(t, f, node0, "azureuser"), "echo hello")
	if n, err := io.CopyN(io.Discard, out, 8<<20); err != nil {
		t.Errorf("want output without end, got %d bytes, %v", n, err)
	}
}

// TestLinger: the exit status arrives and the channel stays open, so that the
// output never ends by itself.
func TestLinger(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Fault: lab.FaultLinger})
	c := client(t, f, node0, "azureuser")
	channel, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"echo hello"})); !ok || err != nil {
		t.Fatalf("exec: %v, %v", ok, err)
	}
	hello := make([]byte, 6)
	if _, err := io.ReadFull(channel, hello); err != nil || string(hello) != "hello\n" {
		t.Fatalf("want the output, got %q, %v", hello, err)
	}
	if req := <-requests; req == nil || req.Type != "exit-status" {
		t.Fatalf("want the exit status, got %+v", req)
	}
	closing(f)
	got, _ := io.ReadAll(channel)
	if _, open := <-requests; len(got) > 0 || open {
		t.Errorf("want nothing more, got %q", got)
	}
}

// TestFreeze: a frozen node stops in the middle of an answer and goes on when
// it thaws.
func TestFreeze(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0}, lab.NodeSpec{Name: "neighbour"})
	c := client(t, f, node0, "azureuser")
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, _ := s.StdinPipe()
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Start("cat"); err != nil {
		t.Fatal(err)
	}
	if err := f.Freeze(node0); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "hello\n")
	in.Close()
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	// The neighbour answers a whole command meanwhile.
	if got := run(t, client(t, f, "neighbour", "azureuser"), "hostname", ""); got.stdout != "neighbour\n" {
		t.Errorf("the neighbour is disturbed: %v", got)
	}
	select {
	case err := <-ended:
		t.Fatalf("a frozen node answered: %q, %v", out.String(), err)
	default:
	}
	if err := f.Thaw(node0); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || out.String() != "hello\n" {
		t.Errorf("want the answer after the thaw, got %q, %v", out.String(), err)
	}
}

// TestClose: Close ends what nodes run, what left its session included, and
// what waits for it.
func TestClose(t *testing.T) {
	f, err := lab.Start(context.Background(), lab.Options{Dir: t.TempDir(), Nodes: []lab.NodeSpec{{Name: node0}}})
	if err != nil {
		t.Fatal(err)
	}
	_, out := begin(t, client(t, f, node0, "azureuser"),
		"sudo -n sh -c 'echo $$; sleep 1000 & echo $!; setsid sh -c \"echo \\$\\$; exec sleep 1000\" & sleep 1000'")
	lines := bufio.NewScanner(out)
	var pids []int
	for len(pids) < 3 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 3 {
		t.Fatalf("want three processes to have started, got %v", pids)
	}
	f.Close()
	f.Close()
	for _, pid := range pids {
		for alive(pid) { // a killed process takes a moment to go
			runtime.Gosched()
		}
	}
}

// alive tells whether a process is there and not a zombie waiting for init.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestCancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f, err := lab.Start(ctx, lab.Options{Dir: t.TempDir(), Nodes: []lab.NodeSpec{{Name: node0, Fault: lab.FaultMute}}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := raw(t, f, node0)
	cancel()
	if _, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("want the connection to end, got %v", err)
	}
}

func TestJumpHost(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: "bastion"}, lab.NodeSpec{Name: node0})
	addr, _ := f.Address(node0)
	inner, err := client(t, f, "bastion", "azureuser").Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := ssh.NewSignerFromKey(f.ClientKey())
	key, _ := f.HostKey(node0)
	conn, channels, requests, err := ssh.NewClientConn(inner, addr, &ssh.ClientConfig{
		User: "azureuser", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(key)})
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, ssh.NewClient(conn, channels, requests), "hostname", "")
	if got.stdout != node0+"\n" {
		t.Errorf("want %s, got %v", node0, got)
	}
	if n := f.Stats().Nodes["bastion"].Forwards; n != 1 {
		t.Errorf("want one forward, got %d", n)
	}
	if _, err := client(t, f, "bastion", "azureuser").Dial("tcp", "192.0.2.1:22"); err == nil {
		t.Error("the bastion reached out beyond loopback")
	}
}

func TestStats(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	c := client(t, f, node0, "azureuser")
	for range 2 {
		run(t, c, "sh -s", "cat >/dev/null\n")
	}
	run(t, c, "hostname", "")
	s := f.Stats()
	got := s.Nodes[node0]
	if s.MaxConnections != 1 || got.Connections != 1 || len(got.Sessions) != 3 {
		t.Fatalf("want one connection and three sessions, got %+v", s)
	}
	if got.Sessions[0] != got.Sessions[1] || got.Sessions[0].StdinBytes != 15 || got.Sessions[2].StdinBytes != 0 || got.Sessions[2].Command != "hostname" {
		t.Errorf("want the script to show twice, got %+v", got.Sessions)
	}
}
