//go:build e2e

// These tests need root: they add users and sudoers rules, and remove them.

package remote

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleet/inventory"
)

// addUser makes an account with a password and, unless rule is empty, a rule
// in sudoers.
func addUser(t *testing.T, suffix, shell, password, rule string) string {
	t.Helper()
	name := fmt.Sprintf("fleet%d%s", os.Getpid()%10000, suffix)
	run := func(stdin string, args ...string) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	run("", "useradd", "--create-home", "--shell", shell, name)
	t.Cleanup(func() { exec.Command("userdel", "--force", "--remove", name).Run() })
	run(name+":"+password+"\n", "chpasswd")
	if rule == "" {
		return name
	}
	path := filepath.Join("/etc/sudoers.d", name)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(rule, "USER", name)+"\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	return name
}

func TestRealSudo(t *testing.T) {
	const password = "Tr0ub4dor"
	w := newWorld(t)
	s := startSSHD(t, []ssh.PublicKey{w.key}, "")
	w.knowsKey(s.port, s.key)
	if err := os.Chmod(filepath.Dir(s.dir), 0o755); err != nil { // authorized_keys is read as the user who logs in
		t.Fatal(err)
	}
	tests := []struct {
		name, shell, rule string
		password          string
		code              Code
	}{
		{"free", "/bin/bash", "USER ALL=(ALL) NOPASSWD: ALL", "", ""},
		{"free2", "/bin/sh", "USER ALL=(ALL) NOPASSWD: ALL", password, ""},
		{"pty", "/bin/sh", "Defaults:USER use_pty\nUSER ALL=(ALL) ALL", password, ""},
		{"pw", "/bin/bash", "USER ALL=(ALL) ALL", "", CodeSudoPassword},
		{"pwok", "/bin/bash", "USER ALL=(ALL) ALL", password, ""},
		{"pwbad", "/bin/bash", "USER ALL=(ALL) ALL", "wrong", CodeSudoWrong},
		{"one", "/bin/bash", "Defaults:USER passwd_tries=1\nUSER ALL=(ALL) ALL", "wrong", CodeSudoWrong},
		{"tty", "/bin/bash", "Defaults:USER requiretty\nUSER ALL=(ALL) NOPASSWD: ALL", "", CodeSudoTTY},
		{"some", "/bin/bash", "USER ALL=(ALL) NOPASSWD: /bin/true", password, CodeSudoDenied},
		{"none", "/bin/bash", "", password, CodeSudoDenied},
		{"none2", "/bin/bash", "", "", CodeSudoPassword},
		{"nolog", "/usr/sbin/nologin", "USER ALL=(ALL) NOPASSWD: ALL", "", CodeNoShell},
		{"fals", "/bin/false", "USER ALL=(ALL) NOPASSWD: ALL", "", CodeNoShell},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := s.host()
			h.User = addUser(t, tt.name, tt.shell, password, tt.rule)
			cmd := Command{Line: "sh -s", Stdin: []byte("id -u; cat <<E\nrest\nE\n"), Become: inventory.BecomeSudo}
			if tt.password != "" {
				cmd.Password = []byte(tt.password)
			}
			w := &world{t: t, home: w.home, opts: w.opts}
			out, err := w.dial(h).Run(within(t, time.Minute), cmd)
			if strings.Contains(fmt.Sprint(err, string(out.Stderr)), password) {
				t.Errorf("the password shows: %v %q", err, out.Stderr)
			}
			if tt.code != "" {
				wantCode(t, err, tt.code)
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(out.Stdout) != "0\nrest\n" {
				t.Errorf("%q %q", out.Stdout, out.Stderr)
			}
		})
	}
}
