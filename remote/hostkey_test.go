package remote

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKeyCase is a known_hosts file and the verdict on a server that shows
// one ed25519 key on 127.0.0.1 and a port other than 22.
type hostKeyCase struct {
	name  string
	text  string
	alias string
	code  Code // "" when the key is fine
	parts []string
}

func hostKeyCases(t testing.TB, s *testServer) []hostKeyCase {
	good := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.key.PublicKey())))
	bad := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newKey(t).PublicKey())))
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaPub, err := ssh.NewPublicKey(&priv.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(rsaPub)))
	name := fmt.Sprintf("[127.0.0.1]:%d", s.port())
	ours := ssh.FingerprintSHA256(s.key.PublicKey())
	return []hostKeyCase{
		{"known", name + " " + good, "", "", nil},
		{"known, crlf and blanks", "\t " + name + "\t" + good + " comment\r\n", "", "", nil},
		{"hashed", knownhosts.HashHostname(name) + " " + good, "", "", nil},
		{"without port", "127.0.0.1 " + good, "", "", nil},
		{"hashed without port", knownhosts.HashHostname("127.0.0.1") + " " + good, "", "", nil},
		{"other key without port", "127.0.0.1 " + bad, "", CodeHostKeyUnknown, []string{ours}},
		{"wildcard", "127.* " + good, "", "", nil},
		{"wildcard, other key", "[127.*]:* " + bad, "", CodeHostKeyChanged, []string{"kh:1"}},
		{"negated, found without port", "!" + name + ",* " + good, "", "", nil},
		{"negated", "!" + name + ",!127.0.0.1,* " + good, "", CodeHostKeyUnknown, nil},
		{"empty", "", "", CodeHostKeyUnknown, []string{ours}},
		{"changed", "# c\n" + name + " " + bad, "", CodeHostKeyChanged, []string{"kh:2", ours}},
		{"changed, hashed", knownhosts.HashHostname(name) + " " + bad, "", CodeHostKeyChanged, []string{"kh:1"}},
		{"known by another type", name + " " + rsaKey, "", CodeHostKeyChanged, []string{"ssh-rsa"}},
		{"two keys, one right", name + " " + bad + "\n" + name + " " + good, "", "", nil},
		{"bad lines are skipped", "garbage\n" + name + " ssh-ed25519 AAAA\n@what " + name + " " + good + "\n|2|x|y " + good + "\n" + name + " " + good, "", "", nil},
		{"only bad lines", "garbage\n" + name + " ssh-ed25519 ####\n", "", CodeHostKeyUnknown, nil},
		{"revoked", "@revoked " + name + " " + good + "\n" + name + " " + good, "", CodeHostKeyRevoked, []string{"kh:1"}},
		{"revoked for all", name + " " + good + "\n@revoked * " + good, "", CodeHostKeyRevoked, []string{"kh:2"}},
		{"revoked elsewhere", "@revoked other " + good + "\n" + name + " " + good, "", "", nil},
		{"other key revoked", "@revoked " + name + " " + bad + "\n" + name + " " + good, "", "", nil},
		{"only an authority", "@cert-authority * " + bad, "", CodeHostKeyUnknown, []string{"cert-authority"}},
		{"the authority's key itself", "@cert-authority * " + good, "", CodeHostKeyUnknown, nil},
		{"alias", "the-alias " + good, "The-Alias", "", nil},
		{"alias has no port", name + " " + good, "the-alias", CodeHostKeyUnknown, []string{"the-alias"}},
		{"alias, other key", "the-alias " + bad, "the-alias", CodeHostKeyChanged, nil},
	}
}

func TestHostKeys(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	for _, c := range hostKeyCases(t, s) {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			kh := filepath.Join(dir, "kh")
			write(t, kh, c.text)
			o := w.opts
			o.KnownHosts = []string{kh}
			o.SSHConfig = filepath.Join(dir, "config")
			config := ""
			if c.alias != "" {
				config = "HostKeyAlias " + c.alias + "\n"
			}
			write(t, o.SSHConfig, config)
			d, err := NewDialer(o)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			conn, err := d.Dial(t.Context(), s.host())
			if c.code != "" {
				wantCode(t, err, c.code, c.parts...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
}

func TestHostKeyWarnings(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	write(t, w.opts.KnownHosts[0], "garbage\n"+s.knownLine())
	var warnings []string
	w.opts.Warn = func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	d := w.dialer()
	for range 3 {
		c, err := d.Dial(t.Context(), s.host())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "known_hosts:1") {
		t.Errorf("%q", warnings)
	}
}

func TestHostKeyFileUnreadable(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	w.opts.KnownHosts = []string{w.home} // a directory
	_, err := w.dialer().Dial(t.Context(), s.host())
	wantCode(t, err, CodeHostKeyFile, w.home)
	w.opts.HostKeys = HostKeysOff
	w.dial(s.host())
}

func TestAcceptNew(t *testing.T) {
	w := newWorld(t)
	w.opts.HostKeys = HostKeysAcceptNew
	w.opts.KnownHosts = []string{filepath.Join(w.home, "new/dir/known_hosts")}
	servers := []*testServer{startServer(t, w.key), startServer(t, w.key), startServer(t, w.key)}
	dialers := []*Dialer{w.dialer(), w.dialer()}
	var wg sync.WaitGroup
	for range 4 {
		for _, s := range servers {
			for _, d := range dialers {
				wg.Go(func() {
					c, err := d.Dial(t.Context(), s.host())
					if err != nil {
						t.Error(err)
						return
					}
					c.Close()
				})
			}
		}
	}
	wg.Wait()
	data, err := os.ReadFile(w.opts.KnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n != len(servers) {
		t.Errorf("%d lines for %d servers:\n%s", n, len(servers), data)
	}
	info, err := os.Stat(w.opts.KnownHosts[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// What was written is what strict reads; a changed key is never added.
	w.opts.HostKeys = HostKeysStrict
	w.dial(servers[0].host())
	w.opts.HostKeys = HostKeysAcceptNew
	bad := fmt.Sprintf("[127.0.0.1]:%d %s", servers[0].port(), ssh.MarshalAuthorizedKey(newKey(t).PublicKey()))
	write(t, w.opts.KnownHosts[0], strings.TrimSuffix(bad, "\n"))
	_, err = w.dialer().Dial(t.Context(), servers[0].host())
	wantCode(t, err, CodeHostKeyChanged)
	// An unfinished last line is completed first.
	w.dial(servers[1].host())
	data, _ = os.ReadFile(w.opts.KnownHosts[0])
	if n := len(parseKnownHosts("", data, func(int, error) {})); n != 2 {
		t.Errorf("%d entries:\n%s", n, data)
	}
}

// TestAcceptNewContradiction: a line another process wrote since the file was
// read counts.
func TestAcceptNewContradiction(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	w.opts.HostKeys = HostKeysAcceptNew
	d := w.dialer()
	set, err := d.Resolve(s.host())
	if err != nil {
		t.Fatal(err)
	}
	known := d.known.lookup(set)
	bad := fmt.Sprintf("[127.0.0.1]:%d %s", s.port(), ssh.MarshalAuthorizedKey(newKey(t).PublicKey()))
	write(t, w.opts.KnownHosts[0], bad)
	wantCode(t, d.known.check(set, known, s.key.PublicKey()), CodeHostKeyChanged)
}

func TestHashKnownHosts(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	w.opts.HostKeys = HostKeysAcceptNew
	w.opts.SSHConfig = filepath.Join(w.home, "config")
	write(t, w.opts.SSHConfig, "HashKnownHosts yes\n")
	w.dial(s.host())
	data, err := os.ReadFile(w.opts.KnownHosts[0])
	if err != nil || !strings.HasPrefix(string(data), "|1|") {
		t.Fatalf("%s, %v", data, err)
	}
	w.opts.HostKeys = HostKeysStrict
	w.dial(s.host())
}

// TestAlgorithms: a host known by its RSA key is asked for that key, although
// it has others.
func TestAlgorithms(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	second, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.config.AddHostKey(second) })
	write(t, w.opts.KnownHosts[0], fmt.Sprintf("[127.0.0.1]:%d %s", s.port(), ssh.MarshalAuthorizedKey(second.PublicKey())))
	w.dial(s.host())

	var none hostKeys
	if got := none.algorithms(); got[0] != ssh.KeyAlgoED25519 || contains(got, ssh.KeyAlgoRSA) {
		t.Errorf("order for an unknown host: %q", got)
	}
}

func hostCert(t *testing.T, key, ca ssh.Signer, change func(*ssh.Certificate)) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.HostCert, KeyId: "node",
		ValidPrincipals: []string{"127.0.0.*"}, ValidBefore: ssh.CertTimeInfinity}
	if change != nil {
		change(c)
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHostCertificates(t *testing.T) {
	w := newWorld(t)
	ca, other := newKey(t), newKey(t)
	past := uint64(time.Now().Add(-time.Hour).Unix())
	tests := []struct {
		name   string
		change func(*ssh.Certificate)
		signer ssh.Signer
		known  string // after the authority's line; $KEY is the plain key, $CA the authority
		code   Code
		part   string
	}{
		{"wildcard principal", nil, ca, "", "", ""},
		{"exact principal", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"x", "127.0.0.1"} }, ca, "", "", ""},
		{"any principal", func(c *ssh.Certificate) { c.ValidPrincipals = nil }, ca, "", "", ""},
		{"other principal", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"*.aks"} }, ca, "", CodeHostKeyCert, "it is for *.aks"},
		{"expired", func(c *ssh.Certificate) { c.ValidBefore = past }, ca, "", CodeHostKeyCert, "expired"},
		{"user certificate", func(c *ssh.Certificate) { c.CertType = ssh.UserCert }, ca, "", CodeHostKeyCert, "not a host certificate"},
		{"critical option", func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"x": "y"} }, ca, "", CodeHostKeyCert, "critical"},
		{"other authority", nil, other, "", CodeHostKeyCert, "no @cert-authority"},
		{"other authority, plain key known", nil, other, "$HOST $KEY", "", ""},
		{"expired, plain key known", func(c *ssh.Certificate) { c.ValidBefore = past }, ca, "$HOST $KEY", "", ""},
		{"authority revoked", nil, ca, "@revoked * $CA", CodeHostKeyRevoked, ""},
		{"key revoked", nil, ca, "@revoked * $KEY", CodeHostKeyRevoked, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, w.key)
			signer, err := ssh.NewCertSigner(hostCert(t, s.key, tt.signer, tt.change), s.key)
			if err != nil {
				t.Fatal(err)
			}
			s.set(func() { s.config.AddHostKey(signer) })
			line := func(k ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) }
			text := "@cert-authority * " + line(ca.PublicKey()) + "\n" +
				strings.NewReplacer("$HOST", fmt.Sprintf("[127.0.0.1]:%d", s.port()), "$KEY", line(s.key.PublicKey()), "$CA", line(ca.PublicKey())).Replace(tt.known) + "\n"
			write(t, w.opts.KnownHosts[0], text)
			c, err := w.dialer().Dial(t.Context(), s.host())
			if tt.code != "" {
				wantCode(t, err, tt.code, tt.part)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

func TestMatchPattern(t *testing.T) {
	tests := []struct {
		s, pattern string
		want       bool
	}{
		{"web", "web*", true}, {"web", "web?", false}, {"web1", "web?", true}, {"", "*", true}, {"", "", true},
		{"a", "", false}, {"abc", "a*c", true}, {"abcd", "a*c", false}, {"aXbXc", "a*b*c", true}, {"abab", "*ab", true},
		{"a.b", "a?b", true}, {"a[b", "a[b", true}, {"ab", "a**b", true}, {"é", "??", true},
	}
	for _, tt := range tests {
		if got := matchPattern(tt.s, tt.pattern); got != tt.want {
			t.Errorf("%q %q: %v", tt.s, tt.pattern, got)
		}
	}
	if matchList("db.x", "*.x,!db.x") || !matchList("a.x", "*.x,!db.x") || matchList("a", "!b") {
		t.Error("lists")
	}
}

func FuzzKnownHosts(f *testing.F) {
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newKey(f).PublicKey())))
	for _, s := range []string{"host " + key, "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= " + key,
		"@cert-authority *.x,!y " + key + " c", "@revoked * " + key, "[h]:22 " + key + "\r\n# c\n", "x"} {
		f.Add([]byte(s), "host")
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		bad := 0
		entries := parseKnownHosts("kh", data, func(line int, why error) {
			if line < 1 || why == nil {
				t.Fatal(line, why)
			}
			bad++
		})
		if lines := strings.Count(string(data), "\n") + 1; len(entries)+bad > lines {
			t.Fatalf("%d entries and %d bad lines of %d", len(entries), bad, lines)
		}
		for _, e := range entries {
			if e.key == nil || e.line < 1 {
				t.Fatalf("%+v", e)
			}
			e.matches(name)
			// What can be read can be written and read again.
			if e.marker == markerNone && e.hash == nil {
				text := e.patterns + " " + string(ssh.MarshalAuthorizedKey(e.key))
				again := parseKnownHosts("kh", []byte(text), func(_ int, why error) { t.Fatalf("%q: %v", text, why) })
				if len(again) != 1 || again[0].patterns != e.patterns || !reflect.DeepEqual(again[0].key.Marshal(), e.key.Marshal()) {
					t.Fatalf("%q became %+v", text, again)
				}
			}
		}
	})
}

// TestKnownHostsUnknownToHost keeps the two names apart: lines for the bare
// name vouch for another port, but never contradict.
func TestLooseNames(t *testing.T) {
	h := hostNames(Settings{HostName: Value[string]{Value: "Node.Example"}, Port: Value[int]{Value: 2222}})
	if h.name != "[node.example]:2222" || h.bare != "node.example" {
		t.Errorf("%+v", h)
	}
	h = hostNames(Settings{HostName: Value[string]{Value: "n"}, Port: Value[int]{Value: 22}})
	if h.name != "n" || h.bare != "n" {
		t.Errorf("%+v", h)
	}
}
