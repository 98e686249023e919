package remote

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kevinburke/ssh_config"
	"github.com/rogpeppe/go-internal/txtar"

	"fleet/inventory"
)

// configCase is one file of testdata/sshconfig: an ssh_config, what it
// includes, and what ssh -G must print for some hosts. The build tag openssh
// adds the test that it does.
type configCase struct {
	name   string
	config string
	want   map[string][]string // host to lines "keyword value"
}

func configCases(t testing.TB) []configCase {
	t.Helper()
	paths, err := filepath.Glob("testdata/sshconfig/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases: ", err)
	}
	var out []configCase
	for _, path := range paths {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		c := configCase{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), config: filepath.Join(dir, "config"), want: make(map[string][]string)}
		for _, f := range ar.Files {
			if host, ok := strings.CutPrefix(f.Name, "want "); ok {
				c.want[host] = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
				continue
			}
			write(t, filepath.Join(dir, f.Name), strings.ReplaceAll(string(f.Data), "$DIR", dir))
		}
		out = append(out, c)
	}
	return out
}

// dump prints settings in the words of ssh -G.
func dump(s Settings) map[string][]string {
	strict := map[HostKeyPolicy]string{HostKeysOff: "false", HostKeysAcceptNew: "accept-new", HostKeysStrict: "strict"}
	out := map[string][]string{
		"hostname": {s.HostName.Value}, "user": {s.User.Value}, "port": {fmt.Sprint(s.Port.Value)},
		"addressfamily":         {s.AddressFamily.Value},
		"connecttimeout":        {fmt.Sprint(int(s.ConnectTimeout.Value / time.Second))},
		"serveraliveinterval":   {fmt.Sprint(int(s.AliveInterval.Value / time.Second))},
		"serveralivecountmax":   {fmt.Sprint(s.AliveCountMax.Value)},
		"identitiesonly":        {yesNo(s.IdentitiesOnly.Value)},
		"hashknownhosts":        {yesNo(s.HashKnownHosts.Value)},
		"stricthostkeychecking": {strict[s.HostKeys.Value]},
		"hostkeyalias":          {s.HostKeyAlias.Value},
		"userknownhostsfile":    {strings.Join(s.KnownHosts.Value, " ")},
		"globalknownhostsfile":  {strings.Join(s.GlobalKnownHosts.Value, " ")},
		"proxyjump":             nil,
	}
	if len(s.hops) > 0 {
		out["proxyjump"] = []string{s.Jump.Value}
	}
	for _, f := range s.Identity {
		out["identityfile"] = append(out["identityfile"], f.Path)
	}
	for _, f := range s.Certificates {
		out["certificatefile"] = append(out["certificatefile"], f.Path)
	}
	return out
}

// collect groups "keyword value" lines by keyword.
func collect(lines []string) map[string][]string {
	out := make(map[string][]string)
	for _, l := range lines {
		k, v, _ := strings.Cut(l, " ")
		if k == "stricthostkeychecking" && (v == "true" || v == "ask") {
			v = "strict"
		}
		out[k] = append(out[k], v)
	}
	return out
}

func TestSSHConfig(t *testing.T) {
	for _, c := range configCases(t) {
		t.Run(c.name, func(t *testing.T) {
			d, err := NewDialer(Options{SSHConfig: c.config, Home: "/home/me", LocalUser: "me", LocalHostname: "here"})
			if err != nil {
				t.Fatal(err)
			}
			for host, want := range c.want {
				s, err := d.Resolve(inventory.Host{Name: host})
				if err != nil {
					t.Fatal(err)
				}
				got := dump(s)
				for k, v := range collect(want) {
					if !reflect.DeepEqual(got[k], v) {
						t.Errorf("%s: %s is %q, want %q", host, k, got[k], v)
					}
				}
			}
		})
	}
}

func resolveText(t *testing.T, config string, h inventory.Host, change func(*Options)) (Settings, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, config)
	o := Options{SSHConfig: path, Home: "/home/me", LocalUser: "me", LocalHostname: "here.example"}
	if change != nil {
		change(&o)
	}
	d, err := NewDialer(o)
	if err != nil {
		t.Fatal(err)
	}
	return d.Resolve(h)
}

func TestSSHConfigRefused(t *testing.T) {
	tests := []struct {
		name, config, host string
		parts              []string // of the error; none: it is fine
	}{
		{"exec", "Match host a exec \"true\"\n User x\n", "a", []string{"config:2", "user", "Match exec", "config:1"}},
		{"exec, other host", "Match host a exec \"true\"\n User x\n", "b", nil},
		{"exec, nothing we use", "Match exec \"true\"\n ForwardAgent yes\n", "a", nil},
		{"exec, decided before", "User y\nMatch exec \"true\"\n User x\n", "a", nil},
		{"exec adds an identity", "IdentityFile /k\nMatch exec \"true\"\n IdentityFile /l\n", "a", []string{"identityfile"}},
		{"exec ruled out by a later criterion", "Match exec \"true\" user nobody\n User x\n", "a", nil},
		{"negated exec", "Match !exec \"true\"\n Port 1\n", "a", []string{"Match exec"}},
		{"localnetwork", "Match localnetwork 10.0.0.0/8\n ProxyJump b\n", "a", []string{"localnetwork"}},
		{"unknown criterion", "Match colour blue\n Port 1\n", "a", []string{"colour"}},
		{"all not alone", "Match host a all\n Port 1\nMatch host a user b all\n", "a", []string{"config:3", "all"}},
		{"all and exec", "Match all exec \"false\"\n Port 1\n", "a", []string{"all"}},
		{"proxy command", "Host a\n ProxyCommand ssh -W %h:%p b\n", "a", []string{"config:2", "ProxyCommand"}},
		{"proxy command after jump", "ProxyJump b\nProxyCommand nc %h %p\n", "a", nil},
		{"proxy command, other host", "Host a\n ProxyCommand nc %h %p\n", "b", nil},
		{"port", "Port 99999\n", "a", []string{"config:1", "99999"}},
		{"flag", "IdentitiesOnly maybe\n", "a", []string{"maybe"}},
		{"time", "ConnectTimeout soon\n", "a", []string{"soon"}},
		{"policy", "StrictHostKeyChecking perhaps\n", "a", []string{"perhaps"}},
		{"quote", "User \"x\n", "a", []string{"quote"}},
		{"no argument", "Port\n", "a", []string{"argument missing"}},
		{"extra argument", "Port 22 23\n", "a", []string{"extra", "23"}},
		{"token", "IdentityFile /k/%Z\n", "a", []string{"%Z"}},
		{"variable", "IdentityFile ${NO_SUCH_VARIABLE_HERE}/k\n", "a", []string{"NO_SUCH_VARIABLE_HERE"}},
		{"jump", "ProxyJump a:b:c@:1\n", "x", []string{"config:1"}},
		{"canonical", "CanonicalizeHostname yes\nCanonicalDomains example.net\n", "a", []string{"CanonicalizeHostname"}},
		{"unknown keyword", "NoSuchKeyword x\n", "a", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := resolveText(t, tt.config, inventory.Host{Name: tt.host}, func(o *Options) {
				o.LookupEnv = func(string) (string, bool) { return "", false }
			})
			if tt.parts == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantCode(t, err, CodeConfig, tt.parts...)
		})
	}
}

func TestPrecedence(t *testing.T) {
	const config = "Host *\n User c\n Port 2001\n ConnectTimeout 3\n IdentityFile /k/config\n ProxyJump configjump\nHost 10.*\n HostKeyAlias by-address\n"
	h := inventory.Host{Name: "n1", Address: "10.0.0.1", Port: 2002, User: "i", Identity: []string{"~/inv"}, Jump: "invjump:99",
		Position: inventory.Position{File: "nodes.yaml", Line: 4}}
	s, err := resolveText(t, config, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	const inv = "inventory nodes.yaml:4"
	check := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	check("hostname", s.HostName, Value[string]{"10.0.0.1", inv})
	check("user", s.User, Value[string]{"i", inv})
	check("port", s.Port, Value[int]{2002, inv})
	check("identity", s.Identity, []KeyFile{{Path: "/home/me/inv", From: inv, must: true}})
	check("jump", s.Jump, Value[string]{"invjump:99", inv})
	check("alias by address", s.HostKeyAlias.Value, "by-address")
	if !strings.HasSuffix(s.ConnectTimeout.From, "config:4") || s.ConnectTimeout.Value != 3*time.Second {
		t.Errorf("connect timeout %v", s.ConnectTimeout)
	}

	s, err = resolveText(t, config, h, func(o *Options) {
		o.User, o.Identity, o.ConnectTimeout, o.HostKeys = "cli", []string{"/k/cli"}, time.Minute, HostKeysAcceptNew
		o.KnownHosts = []string{"~/kh"}
	})
	if err != nil {
		t.Fatal(err)
	}
	check("user", s.User, Value[string]{"cli", fromCommandLine})
	check("identity", s.Identity, []KeyFile{{Path: "/k/cli", From: fromCommandLine, must: true}})
	check("timeout", s.ConnectTimeout, Value[time.Duration]{time.Minute, fromCommandLine})
	check("policy", s.HostKeys, Value[HostKeyPolicy]{HostKeysAcceptNew, fromCommandLine})
	check("known_hosts", s.knownHostsFiles(), []string{"/home/me/kh"})

	s, err = resolveText(t, "", inventory.Host{Name: "n1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("user", s.User, Value[string]{"me", fromDefault})
	check("port", s.Port, Value[int]{22, fromDefault})
	check("jump", s.Jump, Value[string]{"none", fromDefault})
	check("policy", s.HostKeys, Value[HostKeyPolicy]{HostKeysStrict, fromDefault})
	check("known_hosts", s.KnownHosts.Value, []string{"/home/me/.ssh/known_hosts", "/home/me/.ssh/known_hosts2"})
	for _, l := range s.List() {
		if l.From == "" || l.Keyword == "" {
			t.Errorf("%+v has no place", l)
		}
	}
}

func TestTokens(t *testing.T) {
	config := "Host t\n HostName %h.example\n User u\n Port 77\n IdentityFile ~/%n-%h-%p-%r-%u-%L-%l-%k-%%\n IdentityFile ${KEYS}/x\n IdentityAgent $AGENT\n UserKnownHostsFile %d/kh-%k none2\n"
	s, err := resolveText(t, config, inventory.Host{Name: "t"}, func(o *Options) {
		o.LookupEnv = func(k string) (string, bool) {
			v, ok := map[string]string{"KEYS": "/keys", "AGENT": "/run/agent"}[k]
			return v, ok
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/home/me/t-t.example-77-u-me-here-here.example-t.example-%", "/keys/x"}
	for i, f := range s.Identity {
		if f.Path != want[i] {
			t.Errorf("identity %q, want %q", f.Path, want[i])
		}
	}
	if s.IdentityAgent.Value != "/run/agent" || s.KnownHosts.Value[0] != "/home/me/kh-t.example" {
		t.Errorf("agent %q, known_hosts %q", s.IdentityAgent.Value, s.KnownHosts.Value)
	}
}

func TestJumpToSelf(t *testing.T) {
	const config = "Host bastion\n HostName 192.0.2.1\nHost *\n ProxyJump 192.0.2.1\n"
	s, err := resolveText(t, config, inventory.Host{Name: "bastion"}, nil)
	if err != nil || len(s.hops) != 0 {
		t.Errorf("jumps to itself: %v, %v", s.hops, err)
	}
	s, err = resolveText(t, config, inventory.Host{Name: "node"}, nil)
	if err != nil || len(s.hops) != 1 {
		t.Errorf("does not jump: %v, %v", s.hops, err)
	}
}

func TestParseHops(t *testing.T) {
	tests := map[string][]hop{
		"b":                     {{host: "b"}},
		"u@b:22":                {{"u", "b", 22}},
		"u@dom@b":               {{host: "b", user: "u@dom"}},
		"ssh://u@b:2222/":       {{"u", "b", 2222}},
		"[::1]:22":              {{host: "::1", port: 22}},
		"::1":                   {{host: "::1"}},
		"a, u@[fe80::1]":        {{host: "a"}, {host: "fe80::1", user: "u"}},
		"none":                  nil,
		"NONE":                  nil,
		"":                      {{host: "!"}},
		"@b":                    {{host: "!"}},
		"b:":                    {{host: "!"}},
		"b:0":                   {{host: "!"}},
		"b:65536":               {{host: "!"}},
		"[::1":                  {{host: "!"}},
		"-oProxyCommand=id":     {{host: "!"}},
		"a,,b":                  {{host: "!"}},
		"a b":                   {{host: "!"}},
		"u@-b":                  {{host: "!"}},
		"ssh://u@[2001:db8::1]": {{host: "2001:db8::1", user: "u"}},
	}
	for in, want := range tests {
		got, err := parseHops(in)
		if len(want) == 1 && want[0].host == "!" {
			if err == nil {
				t.Errorf("%q: no error, %v", in, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
		for _, h := range got {
			if again, err := parseHop(h.String()); err != nil || again != h {
				t.Errorf("%q does not survive as %q: %v, %v", in, h, again, err)
			}
		}
	}
}

func TestNewDialer(t *testing.T) {
	_, err := NewDialer(Options{SSHConfig: "/no/such/config"})
	wantCode(t, err, CodeConfig, "/no/such/config")
	if !errors.Is(err, os.ErrNotExist) {
		t.Error("cause lost")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config"), "Include "+dir+"/config\n")
	_, err = NewDialer(Options{SSHConfig: filepath.Join(dir, "config")})
	wantCode(t, err, CodeConfig, "Include")
	_, err = NewDialer(Options{SSHConfig: "none", HostKeys: "sloppy"})
	wantCode(t, err, CodeConfig, "sloppy")
}

// TestAgainstLibrary compares with kevinburke/ssh_config on what it reads as
// ssh(1) does: plain Host blocks with literal and * patterns.
func TestAgainstLibrary(t *testing.T) {
	const config = "Host a b\n  User one\nHost *.x\n  HostName %h\n  Port 2001\nHost *\n  User two\n"
	lib, err := ssh_config.DecodeBytes([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"a", "b", "c.x", "d"} {
		s, err := resolveText(t, config, inventory.Host{Name: host}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user, _ := lib.Get(host, "User"); user != s.User.Value {
			t.Errorf("%s: user %q, library %q", host, s.User.Value, user)
		}
		if port, _ := lib.Get(host, "Port"); port != "" && port != fmt.Sprint(s.Port.Value) {
			t.Errorf("%s: port %d, library %q", host, s.Port.Value, port)
		}
	}
}

func FuzzSSHConfig(f *testing.F) {
	for _, c := range configCases(f) {
		data, err := os.ReadFile(c.config)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "web")
	}
	f.Add([]byte("Match exec x\nPort 1\n"), "a")
	f.Fuzz(func(t *testing.T, data []byte, host string) {
		lines := parseConfig("config", data)
		for _, l := range lines {
			if l.keyword != strings.ToLower(l.keyword) || l.keyword == "" || l.line < 1 {
				t.Fatalf("%+v", l)
			}
			if l.err == nil && len(l.args) == 0 {
				t.Fatalf("no arguments and no error: %+v", l)
			}
		}
		d := &Dialer{config: &sshConfig{files: []configFile{{"config", lines}}},
			opts: Options{Home: "/h", LocalUser: "me", LookupEnv: func(string) (string, bool) { return "v", true }}}
		s, err := d.Resolve(inventory.Host{Name: host})
		if err != nil {
			wantCode(t, err, CodeConfig)
			return
		}
		if s.Port.Value < 1 || s.Port.Value > 65535 || s.ConnectTimeout.Value <= 0 {
			t.Fatalf("%+v", s)
		}
		again, err := d.Resolve(inventory.Host{Name: host})
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatal("not pure")
		}
	})
}
