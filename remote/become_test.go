package remote

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleet/inventory"
)

func TestPlainWords(t *testing.T) {
	for _, ok := range []string{"sh -s", "cat /etc/os-release", "a-b_c=d:e,f%g+h@i"} {
		if err := plainWords(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "  ", "a;b", "a'b", "$x", "a|b", "~", "a\nb", "a\\b", "!x", "a*", "é", "a\"b", "#x", "{a,b}"} {
		if plainWords(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// TestWrapInShells runs the wrapped line in every login shell at hand; sh is
// always there.
func TestWrapInShells(t *testing.T) {
	w := wrap(Command{Line: "echo a=b /c,d"}, true, "n0")
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "csh", "tcsh", "fish", "ksh", "busybox"} {
		args := []string{"-c", w.line}
		if shell == "busybox" {
			args = append([]string{"sh"}, args...)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, args...).Output()
		if err != nil || string(out) != "fleet-n0\na=b /c,d\n" {
			t.Errorf("%s: %q, %v", shell, out, err)
		}
	}
}

// fakeSudo is the head of a sudo that remembers whether it got -n or -S and
// the prompt, and leaves the command in "$@".
const fakeSudo = `#!/bin/sh
mode= prompt=
while [ $# -gt 0 ]; do
  case $1 in
  -n) mode=n ;;
  -S) mode=S ;;
  -p) prompt=$2; shift ;;
  --) shift; break ;;
  esac
  shift
done
# like sudo's tgetpass, byte by byte, so as not to take the command's input
ask() { printf %s "$prompt" >&2; IFS= read -r got || got=; }
`

const rightPassword = "correct horse"

// needPassword is a sudo that wants a password and gives three tries.
const needPassword = fakeSudo + `
[ "$mode" = n ] && { echo "sudo: a password is required" >&2; exit 1; }
for i in 1 2 3; do
  ask
  [ "$got" = "` + rightPassword + `" ] && exec "$@"
  echo "Sorry, try again." >&2
done
echo "sudo: 3 incorrect password attempts" >&2
exit 1
`

func TestBecome(t *testing.T) {
	says := func(status int, text string) string {
		return fmt.Sprintf("%scat >&2 <<'E'\n%s\nE\nexit %d\n", fakeSudo, text, status)
	}
	password := []byte(rightPassword)
	tests := []struct {
		name     string
		sudo     string // script
		password []byte
		code     Code
		part     string
	}{
		{"no password needed", fakeSudo + `exec "$@"`, nil, "", ""},
		{"no password needed, one given", fakeSudo + `exec "$@"`, password, "", ""},
		{"lecture and warning", fakeSudo + `echo "sudo: unable to resolve host x" >&2; exec "$@"`, nil, "", ""},
		{"password needed", needPassword, nil, CodeSudoPassword, "password is required"},
		{"password needed and given", needPassword, password, "", ""},
		{"wrong password", needPassword, []byte("guess"), CodeSudoWrong, ""},
		{"empty password", needPassword, []byte{}, CodeSudoWrong, ""},
		{"wrong password, one try", fakeSudo + `ask; echo "sudo: 1 incorrect password attempt" >&2; exit 1`, []byte("guess"), CodeSudoWrong, ""},
		{"not in sudoers", says(1, "me is not in the sudoers file."), nil, CodeSudoDenied, "not in the sudoers"},
		{"not in sudoers, after the password", fakeSudo + `ask; echo "me is not in the sudoers file." >&2; exit 1`, password, CodeSudoDenied, ""},
		{"command not allowed", says(1, "Sorry, user me is not allowed to execute '/bin/sh' as root on x."), nil, CodeSudoDenied, ""},
		{"sudo-rs denies", says(1, "sudo: I'm sorry me. I'm afraid I can't do that"), nil, CodeSudoDenied, ""},
		{"sudo-rs wants a password", says(1, "sudo: interactive authentication is required"), nil, CodeSudoPassword, ""},
		{"sudo-rs refuses the password", fakeSudo + `ask; echo "sudo: Maximum 3 incorrect authentication attempts" >&2; exit 1`, password, CodeSudoWrong, ""},
		{"requiretty", says(1, "sudo: sorry, you must have a tty to run sudo"), nil, CodeSudoTTY, ""},
		{"no sudo", says(127, "env: 'sudo': No such file or directory"), nil, CodeSudoMissing, ""},
		{"expired account", says(1, "sudo: Account expired or PAM config lacks an \"account\" section for sudo, contact your system administrator"), nil, CodeSudoFailed, "Account expired"},
		{"no sh for root", says(1, "sudo: sh: command not found"), nil, CodeSudoFailed, ""},
		{"silent", fakeSudo + "exit 1", nil, CodeNoShell, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			s := startServer(t, w.key)
			bin := filepath.Join(w.home, "bin")
			write(t, filepath.Join(bin, "sudo"), tt.sudo)
			if err := os.Chmod(filepath.Join(bin, "sudo"), 0o755); err != nil {
				t.Fatal(err)
			}
			s.set(func() { s.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")} })
			w.knows(s)
			const script = "cat; echo \"locale $LC_ALL\"; exit 5"
			out, err := w.dial(s.host()).Run(within(t, time.Minute), Command{Line: "sh -s", Stdin: []byte(script), Password: tt.password})
			for _, text := range []string{string(out.Stdout), string(out.Stderr), fmt.Sprint(err)} {
				if len(tt.password) > 0 && strings.Contains(text, string(tt.password)) {
					t.Errorf("the password shows in %q", text)
				}
			}
			if tt.code != "" {
				wantCode(t, err, tt.code, tt.part)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(out.Stdout) != "locale \n" && string(out.Stdout) != "; echo \"locale $LC_ALL\"; exit 5" || strings.Contains(string(out.Stderr), "fleet-") {
				t.Errorf("%q %q", out.Stdout, out.Stderr)
			}
		})
	}
}

// TestPasswordOnlyOnPrompt: what arrives before the prompt is nothing, and the
// command line holds no password.
func TestPasswordOnlyOnPrompt(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, w.key)
	var line, first string
	s.set(func() {
		s.exec = func(ch ssh.Channel, l string, _ []string) {
			line = l
			prompt := strings.Fields(l)[5]
			half := len(prompt) / 2
			io.WriteString(ch.Stderr(), "lecture\n"+prompt[:half])
			io.WriteString(ch.Stderr(), prompt[half:])
			buf := make([]byte, 64)
			n, _ := ch.Read(buf)
			first = string(buf[:n])
			_, after, _ := strings.Cut(l, "echo ")
			mark, _, _ := strings.Cut(after, ";")
			io.WriteString(ch, mark+"\n")
			io.Copy(ch, ch)
			exitStatus(ch, 0)
		}
	})
	w.knows(s)
	out, err := w.dial(s.host()).Run(t.Context(), Command{Line: "cat", Stdin: []byte("script"), Password: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	if first != "secret\n" || string(out.Stdout) != "script" || strings.Contains(line, "secret") {
		t.Errorf("password %q, output %q, line %q", first, out.Stdout, line)
	}
	if string(out.Stderr) != "lecture\n" {
		t.Errorf("stderr %q", out.Stderr)
	}
}

func TestRootNeedsNoSudo(t *testing.T) {
	for _, b := range []inventory.Become{inventory.BecomeDefault, inventory.BecomeSudo, inventory.BecomeNone} {
		if w := wrap(Command{Line: "id", Become: b}, true, "x"); strings.Contains(w.line, "sudo") || w.sudo {
			t.Errorf("%q: %s", b, w.line)
		}
	}
	if w := wrap(Command{Line: "id", Become: inventory.BecomeNone}, false, "x"); w.sudo {
		t.Error(w.line)
	}
}

func TestPrintable(t *testing.T) {
	tests := map[string]string{
		"a\x1b[31mb\r\nc\x00": "a [31mb c", "\xff": "?", "\u202ex": "x", "  a  ": "a",
		strings.Repeat("x", 300): strings.Repeat("x", 200) + "...",
	}
	for in, want := range tests {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzOutput: however the stream is cut into pieces, exactly what follows the
// mark is the output, and every prompt is counted once.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("noise"), []byte("out"), uint8(3))
	f.Add([]byte("fleet-fleet-n"), []byte("fleet-n\n"), uint8(1))
	f.Fuzz(func(t *testing.T, noise, out []byte, step uint8) {
		const mark = "fleet-n0nce"
		if strings.Contains(string(noise), mark) || len(noise) > prefaceLimit {
			return
		}
		begun := 0
		m := &markedOutput{mark: mark, limit: 1 << 20, begin: func() { begun++ }, full: func() { t.Fatal("full") }}
		prompts := 0
		e := &watchedOutput{prompt: mark, seen: func(n int) {
			if prompts++; n != prompts {
				t.Fatal("count")
			}
		}}
		stream := append(append(append([]byte(nil), noise...), mark+"\n"...), out...)
		for len(stream) > 0 {
			n := min(int(step)%7+1, len(stream))
			m.Write(stream[:n])
			e.Write(stream[:n])
			stream = stream[n:]
		}
		if begun != 1 || string(m.bytes()) != string(out) {
			t.Fatalf("begun %d, %q, want %q", begun, m.bytes(), out)
		}
		if want := 1 + strings.Count(string(out), mark); prompts != want {
			t.Fatalf("%d prompts, want %d", prompts, want)
		}
	})
}
