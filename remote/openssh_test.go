//go:build openssh || e2e

// These tests need OpenSSH's programs (Debian: openssh-server and
// openssh-client), but no privileges: sshd runs as the user of the test and
// lets that user in.

package remote

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleet/inventory"
)

// TestSSHConfigAsOpenSSH checks the expectations of testdata/sshconfig
// against ssh -G itself, and ours against them on every keyword it prints.
func TestSSHConfigAsOpenSSH(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configCases(t) {
		t.Run(c.name, func(t *testing.T) {
			d, err := NewDialer(Options{SSHConfig: c.config, Home: me.HomeDir, LocalUser: me.Username})
			if err != nil {
				t.Fatal(err)
			}
			for host, lines := range c.want {
				out, err := exec.Command("ssh", "-G", "-F", c.config, host).Output()
				if err != nil {
					t.Fatal(err)
				}
				theirs := collect(strings.Split(strings.TrimSpace(string(out)), "\n"))
				for k, v := range collect(lines) {
					if !reflect.DeepEqual(theirs[k], v) {
						t.Errorf("%s: ssh -G says %s %q, the case %q", host, k, theirs[k], v)
					}
				}
				s, err := d.Resolve(inventory.Host{Name: host})
				if err != nil {
					t.Fatal(err)
				}
				compareDump(t, host, me.HomeDir, dump(s), theirs, s)
			}
		})
	}
}

// compareDump compares every keyword; where our default differs on purpose
// (time limits, order of default keys) only values that were set count.
func compareDump(t *testing.T, host, home string, ours, theirs map[string][]string, s Settings) {
	t.Helper()
	ownDefault := map[string]bool{
		"connecttimeout":      s.ConnectTimeout.From == fromDefault,
		"serveraliveinterval": s.AliveInterval.From == fromDefault,
		"serveralivecountmax": s.AliveCountMax.From == fromDefault,
		"identityfile":        len(s.Identity) > 0 && s.Identity[0].From == fromDefault,
		"hostkeyalias":        s.HostKeyAlias.From == fromDefault,
	}
	for k, got := range ours {
		if ownDefault[k] {
			continue
		}
		var want []string
		for _, v := range theirs[k] {
			v = strings.NewReplacer("~/", home+"/", "%h", s.HostName.Value, "%n", s.Alias, "%r", s.User.Value, "%p", fmt.Sprint(s.Port.Value)).Replace(v)
			want = append(want, v)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s is %q, ssh -G says %q", host, k, got, want)
		}
	}
}

// sshd is a real server on loopback, run by the user of the test.
type sshd struct {
	t    testing.TB
	dir  string
	port int
	user string
	key  ssh.PublicKey
	log  string
}

// startSSHD starts sshd with extra lines of configuration. It lets in the
// user of the test with the keys in dir/authorized_keys.
func startSSHD(t testing.TB, authorized []ssh.PublicKey, extra string) *sshd {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &sshd{t: t, dir: t.TempDir(), user: me.Username, port: freePort(t)}
	s.key = writeKey(t, filepath.Join(s.dir, "host"), "")
	var keys []byte
	for _, k := range authorized {
		keys = append(keys, ssh.MarshalAuthorizedKey(k)...)
	}
	write(t, filepath.Join(s.dir, "authorized_keys"), string(keys))
	if err := os.Chmod(filepath.Join(s.dir, "authorized_keys"), 0o644); err != nil { // read as the user who logs in
		t.Fatal(err)
	}
	s.log = filepath.Join(s.dir, "log")
	config := fmt.Sprintf("%s\nPort %d\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
		strings.ReplaceAll(extra, "$DIR", s.dir), s.port, s.dir, s.dir)
	write(t, filepath.Join(s.dir, "config"), config)
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	return s
}

func (s *sshd) start() {
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(s.dir, "config"))
	log, err := os.Create(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	log.Close()
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if s.t.Failed() {
			text, _ := os.ReadFile(s.log)
			s.t.Logf("sshd:\n%s", text)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("sshd does not listen: ", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func freePort(t testing.TB) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func (s *sshd) host() inventory.Host {
	return inventory.Host{Name: "127.0.0.1", Address: "127.0.0.1", Port: s.port, User: s.user}
}

func (w *world) knowsKey(port int, key ssh.PublicKey) {
	path := w.opts.KnownHosts[0]
	old, _ := os.ReadFile(path)
	write(w.t, path, string(old)+fmt.Sprintf("[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(key)))
}

func plainRun(t *testing.T, c *Conn, script string) Output {
	t.Helper()
	out, err := c.Run(t.Context(), Command{Line: "sh -s", Stdin: []byte(script), Become: inventory.BecomeNone})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpenSSHRun(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	s := startSSHD(t, []ssh.PublicKey{w.key}, "")
	w.knowsKey(s.port, s.key)
	c := w.dial(s.host())
	out := plainRun(t, c, "echo out; echo err >&2; exit 7")
	if string(out.Stdout) != "out\n" || string(out.Stderr) != "err\n" || out.Exit != 7 {
		t.Errorf("%+v", out)
	}
	out = plainRun(t, c, "sleep 60 & echo started")
	if string(out.Stdout) != "started\n" {
		t.Errorf("a child in the background: %+v", out)
	}
	out = plainRun(t, c, "kill -9 $$")
	if out.Exit != 137 && out.Signal != "KILL" {
		t.Errorf("%+v", out)
	}
	_, err := c.Run(within(t, 300*time.Millisecond), Command{Line: "sleep 60", Become: inventory.BecomeNone})
	wantCode(t, err, CodeTimeoutCommand)
}

func TestOpenSSHKeys(t *testing.T) {
	w := newWorld(t)
	locked := filepath.Join(w.home, "locked")
	lockedKey := writeKey(t, locked, "sesame")
	rsaKey := filepath.Join(w.home, "rsa")
	keygen(t, "-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", rsaKey)
	rsaPub, err := readPublicKey(rsaKey + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	pemKey := filepath.Join(w.home, "pem")
	keygen(t, "-q", "-t", "rsa", "-b", "3072", "-m", "PEM", "-N", "sesame", "-f", pemKey)
	pemPub, err := readPublicKey(pemKey + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(pemKey + ".pub"); err != nil {
		t.Fatal(err)
	}
	s := startSSHD(t, []ssh.PublicKey{lockedKey, rsaPub, pemPub}, "")
	w.knowsKey(s.port, s.key)
	w.opts.Passphrase = func(string) ([]byte, error) { return []byte("sesame"), nil }
	for _, path := range []string{locked, rsaKey, pemKey} {
		h := s.host()
		h.Identity = []string{path}
		plainRun(t, w.dial(h), "true")
	}
	_, err = w.dialer().Dial(t.Context(), s.host())
	wantCode(t, err, CodeAuthRefused, "1 key", "id_ed25519")
}

func keygen(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
}

// startAgent runs ssh-agent and returns its socket.
func startAgent(t testing.TB, keys ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.RemoveAll(dir)
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	for _, key := range keys {
		add := exec.Command("ssh-add", "-q", key)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v\n%s", err, out)
		}
	}
	return socket
}

func TestOpenSSHAgent(t *testing.T) {
	w := newWorld(t)
	if err := os.Remove(filepath.Join(w.home, ".ssh/id_ed25519")); err != nil {
		t.Fatal(err)
	}
	var files []string
	var keys []ssh.PublicKey
	for i := range 7 {
		files = append(files, filepath.Join(w.home, fmt.Sprint("key", i)))
		keys = append(keys, writeKey(t, files[i], ""))
	}
	rsaFile := filepath.Join(w.home, "rsa")
	keygen(t, "-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", rsaFile)
	rsaKey, err := readPublicKey(rsaFile + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	s := startSSHD(t, []ssh.PublicKey{keys[6], rsaKey}, "MaxAuthTries 4\n")
	w.knowsKey(s.port, s.key)

	w.opts.AgentSocket = startAgent(t, files[6])
	plainRun(t, w.dial(s.host()), "true")
	w.opts.AgentSocket = startAgent(t, rsaFile)
	plainRun(t, w.dial(s.host()), "true")

	// More keys than the server will hear.
	w.opts.AgentSocket = startAgent(t, files...)
	_, err = w.dialer().Dial(t.Context(), s.host())
	wantCode(t, err, CodeAuthRefused, "4 keys", "3 more not offered")

	// The one named goes first, and its private half may be in the agent only.
	h := s.host()
	write(t, filepath.Join(w.home, "only.pub"), string(ssh.MarshalAuthorizedKey(keys[6])))
	h.Identity = []string{"~/only.pub"}
	plainRun(t, w.dial(h), "true")

	// An encrypted file whose key the agent holds needs no passphrase.
	locked := filepath.Join(w.home, "locked")
	data, err := os.ReadFile(files[6])
	if err != nil {
		t.Fatal(err)
	}
	write(t, locked, string(data))
	keygen(t, "-q", "-p", "-N", "sesame", "-f", locked)
	h.Identity = []string{locked}
	plainRun(t, w.dial(h), "true")

	// A dead agent does not matter while a key file works.
	w.opts.AgentSocket = filepath.Join(w.home, "nothing")
	h.Identity = []string{files[6]}
	plainRun(t, w.dial(h), "true")
	h.Identity = nil
	_, err = w.dialer().Dial(t.Context(), h)
	wantCode(t, err, CodeAuthAgent, "nothing")
}

func TestOpenSSHUserCertificate(t *testing.T) {
	w := newWorld(t)
	ca := filepath.Join(w.home, "ca")
	writeKey(t, ca, "")
	id := filepath.Join(w.home, "id")
	write(t, id+".pub", string(ssh.MarshalAuthorizedKey(writeKey(t, id, ""))))
	s := startSSHD(t, nil, "TrustedUserCAKeys $DIR/ca.pub\n")
	keygen(t, "-q", "-s", ca, "-I", "me", "-n", s.user, "-V", "-1h:+1h", id+".pub")
	caPub, err := exec.Command("ssh-keygen", "-y", "-f", ca).Output()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "ca.pub"), string(caPub))
	w.knowsKey(s.port, s.key)
	h := s.host()
	h.Identity = []string{id}
	plainRun(t, w.dial(h), "true")
}

func TestOpenSSHJump(t *testing.T) {
	noLeaks(t)
	w := newWorld(t)
	bastion := startSSHD(t, []ssh.PublicKey{w.key}, "")
	target := startSSHD(t, []ssh.PublicKey{w.key}, "")
	w.knowsKey(bastion.port, bastion.key)
	w.knowsKey(target.port, target.key)
	d := w.dialer()
	h := target.host()
	h.Jump = fmt.Sprintf("%s@127.0.0.1:%d", bastion.user, bastion.port)
	c, err := d.Dial(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if out := plainRun(t, c, "echo through"); string(out.Stdout) != "through\n" {
		t.Errorf("%q", out.Stdout)
	}
	c.Close()
	h.Port = freePort(t)
	_, err = d.Dial(t.Context(), h)
	wantCode(t, err, CodeRefused, "jump host")
	h.Address = "no-such-name.invalid"
	_, err = d.Dial(t.Context(), h)
	wantCode(t, err, CodeDNS, "jump host")

	shut := startSSHD(t, []ssh.PublicKey{w.key}, "AllowTcpForwarding no\n")
	w.knowsKey(shut.port, shut.key)
	h = target.host()
	h.Jump = fmt.Sprintf("%s@127.0.0.1:%d", shut.user, shut.port)
	_, err = w.dialer().Dial(t.Context(), h)
	wantCode(t, err, "jump-"+CodeForward)
}

func TestOpenSSHRefusals(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name, config string
		code         Code
		part         string
	}{
		{"forced command", "ForceCommand echo go away\n", CodeNoShell, "go away"},
		{"forced false", "ForceCommand /bin/false\n", CodeNoShell, "exit status 1"},
		{"no sessions", "MaxSessions 0\n", CodeNoShell, "session"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startSSHD(t, []ssh.PublicKey{w.key}, tt.config)
			w.knowsKey(s.port, s.key)
			_, err := w.dial(s.host()).Run(t.Context(), Command{Line: "true", Become: inventory.BecomeNone})
			wantCode(t, err, tt.code, tt.part)
		})
	}
	t.Run("MaxStartups", func(t *testing.T) {
		s := startSSHD(t, []ssh.PublicKey{w.key}, "MaxStartups 1\n")
		w.knowsKey(s.port, s.key)
		holdStartup(t, s.port)
		_, err := w.dialer().Dial(t.Context(), s.host())
		wantCode(t, err, CodeBusy, "MaxStartups")
	})
	t.Run("no common algorithm", func(t *testing.T) {
		s := startSSHD(t, []ssh.PublicKey{w.key}, "Ciphers aes128-cbc\n")
		w.knowsKey(s.port, s.key)
		_, err := w.dialer().Dial(t.Context(), s.host())
		wantCode(t, err, CodeKex, "aes128-cbc")
	})
}

// holdStartup takes the only place a server has for logins under way.
func holdStartup(t *testing.T, port int) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4)
		if _, err := c.Read(buf); err == nil && bytes.HasPrefix(buf, []byte("SSH")) {
			t.Cleanup(func() { c.Close() })
			return
		}
		c.Close()
	}
	t.Fatal("no place to be had")
}

// TestHostKeysAsOpenSSH lets ssh(1) and us judge the same server by the same
// known_hosts.
func TestHostKeysAsOpenSSH(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	port := s.port()
	for _, c := range hostKeyCases(t, s) {
		t.Run(c.name, func(t *testing.T) {
			kh := filepath.Join(t.TempDir(), "kh")
			write(t, kh, c.text)
			args := []string{"-F", "none", "-o", "UserKnownHostsFile=" + kh, "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes",
				"-o", "IdentityFile=" + filepath.Join(w.home, ".ssh/id_ed25519"), "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-p", fmt.Sprint(port)}
			if c.alias != "" {
				args = append(args, "-o", "HostKeyAlias="+c.alias)
			}
			out, err := exec.Command("ssh", append(args, "tester@127.0.0.1", "true")...).CombinedOutput()
			theirs := Code("")
			switch text := string(out); {
			case err == nil:
			case strings.Contains(text, "REVOKED"), strings.Contains(text, "revoked"):
				theirs = CodeHostKeyRevoked
			case strings.Contains(text, "IDENTIFICATION HAS CHANGED"):
				theirs = CodeHostKeyChanged
			case strings.Contains(text, "host key is known"):
				theirs = CodeHostKeyUnknown
			default:
				t.Fatalf("ssh: %v\n%s", err, text)
			}
			if want := c.code; theirs != want && !(theirs == CodeHostKeyUnknown && want == CodeHostKeyCert) {
				t.Errorf("ssh says %q, the case %q\n%s", theirs, want, out)
			}
		})
	}
}

// TestKnownHostsAsKeygen: the lines we find for a name are those ssh-keygen -F
// finds.
func TestKnownHostsAsKeygen(t *testing.T) {
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newKey(t).PublicKey())))
	text := strings.Join([]string{
		"plain.example " + key, "a,b,Mixed.Example " + key, "*.wild " + key, "w?ld " + key, "!no.neg,*.neg " + key,
		"[p.example]:2222 " + key, "10.0.0.* " + key, "@cert-authority *.ca " + key, "@revoked r.example " + key,
		"# comment", "", "broken line", "2001:db8::1 " + key, "[2001:db8::2]:2222 " + key,
	}, "\n") + "\n"
	dir := t.TempDir()
	path, hashed := filepath.Join(dir, "kh"), filepath.Join(dir, "hashed")
	write(t, path, text)
	write(t, hashed, "plain.example "+key+"\n[p.example]:2222 "+key+"\n")
	keygen(t, "-H", "-f", hashed)
	for _, file := range []string{path, hashed} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		entries := parseKnownHosts(file, data, func(int, error) {})
		for _, name := range []string{"plain.example", "a", "b", "mixed.example", "x.wild", ".wild", "wild", "wld", "no.neg", "x.neg",
			"p.example", "[p.example]:2222", "10.0.0.7", "10.0.0.", "x.ca", "r.example", "nowhere", "2001:db8::1", "[2001:db8::2]:2222"} {
			var ours []string
			for _, e := range entries {
				if e.matches(name) {
					ours = append(ours, fmt.Sprint("line ", e.line))
				}
			}
			out, _ := exec.Command("ssh-keygen", "-F", name, "-f", file).Output()
			var theirs []string
			for _, l := range strings.Split(string(out), "\n") {
				if _, after, ok := strings.Cut(l, " found: "); ok {
					theirs = append(theirs, strings.Join(strings.Fields(after)[:2], " "))
				}
			}
			if !reflect.DeepEqual(ours, theirs) {
				t.Errorf("%s %s: %v, ssh-keygen %v", filepath.Base(file), name, ours, theirs)
			}
		}
	}
}
