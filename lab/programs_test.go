package lab_test

import (
	"strings"
	"testing"

	"fleet/lab"
)

const node0 = "aks-np1-12345678-vmss000000"

// TestStandIns holds the stand-ins to what the real programs print. A script
// runs as the product runs it, as root through sudo.
func TestStandIns(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	c := client(t, f, node0, "azureuser")
	tests := []struct {
		name, script string
		want         []string // lines the output has
		not          []string // texts it has not
		stderr       string
		exit         int
	}{
		{name: "root prefix", script: `cat "$1/etc/hostname"`, want: []string{node0}},
		{name: "file of root", script: `stat -L -c '%a|%U|%G|%u' "$1/etc/default/kubelet"`, want: []string{"600|root|root|0"}},
		{name: "change time is the modification time", script: `cd "$1" && [ "$(stat -c %Z ./etc/default/kubelet)" = "$(stat -c %Y ./etc/default/kubelet)" ] && echo same`, want: []string{"same"}},
		{name: "stat elsewhere", script: `stat -c %a /etc/passwd`, exit: 64, stderr: "outside the node's root"},
		{name: "kubelet version", script: `exe=$(readlink "$1"/proc/[0-9]*/exe | grep kubelet$); echo "$exe"; "$1$exe" --version`, want: []string{"/opt/bin/kubelet", "Kubernetes v1.34.4"}},
		{name: "kubelet otherwise", script: `"$1/opt/bin/kubelet" --help`, exit: 64, stderr: "not simulated"},
		{name: "show, selected and in systemd's order", script: `systemctl show kubelet -p LoadState,MainPID --property=Id -p FragmentPath | sed 's/=[0-9].*/=N/'`,
			want: []string{"MainPID=N", "Id=kubelet.service", "LoadState=loaded", "FragmentPath=/etc/systemd/system/kubelet.service"}, not: []string{"ActiveState"}},
		{name: "show of several", script: `systemctl show --no-pager kubelet.service nosuch.service containerd -p Id,LoadState,ActiveState`,
			want: []string{"Id=kubelet.service", "LoadState=loaded", "ActiveState=active", "", "Id=nosuch.service", "LoadState=not-found", "ActiveState=inactive", "Id=containerd.service"}},
		{name: "show of a unit there is not", script: `systemctl show nosuch -p LoadState,MainPID,FragmentPath; echo $?`, want: []string{"MainPID=0", "LoadState=not-found", "FragmentPath=", "0"}},
		{name: "show of the manager", script: `systemctl show -p Version`, want: []string{"Version=255 (255.4-1ubuntu8.10)"}},
		{name: "show by pattern", script: `systemctl show 'kube*'`, exit: 64, stderr: "not simulated"},
		{name: "is-active", script: `systemctl is-active kubelet; echo $?; systemctl is-active -q nosuch; echo $?`, want: []string{"active", "0", "4"}},
		{name: "status", script: `systemctl status kubelet -l --no-pager`, want: []string{"● kubelet.service - Kubelet"}},
		{name: "status of a unit there is not", script: `systemctl status nosuch`, exit: 4, stderr: "Unit nosuch.service could not be found."},
		{name: "cat", script: `systemctl cat kubelet`, want: []string{"# /etc/systemd/system/kubelet.service", "EnvironmentFile=/etc/default/kubelet", "# /etc/systemd/system/kubelet.service.d/10-cgroupv2.conf"}},
		{name: "an unknown verb", script: `systemctl isolate rescue.target`, exit: 64, stderr: "isolate is not simulated"},
		{name: "an unknown option", script: `systemctl --user show kubelet`, exit: 64, stderr: "--user is not simulated"},
		{name: "ps", script: `ps -ef | grep kubelet | sed 's/.*00:00:00 //; s/ .*//'`, want: []string{"/opt/bin/kubelet", "/csi-node-driver-registrar", "vim", "bash", "grep"}},
		{name: "ps otherwise", script: `ps aux`, exit: 64, stderr: "not simulated"},
		{name: "journal", script: `journalctl -u kubelet -n 1 --no-pager -o cat; journalctl -u nosuch`, want: []string{"Started kubelet.service - Kubelet.", "-- No entries --"}},
		{name: "journal otherwise", script: `journalctl -k`, exit: 64, stderr: "not simulated"},
		{name: "who", script: `id -u; id -un; hostname; uname -n; uname -snrm`, want: []string{"0", "root", node0, "Linux " + node0 + " 6.8.0-1034-azure x86_64"}},
		{name: "uname otherwise", script: `uname -o`, exit: 64, stderr: "not simulated"},
		{name: "nothing that a bare node lacks", script: `for p in python3 python perl jq nc; do command -v $p; done; echo none`, want: []string{"none"}, not: []string{"py", "perl"}},
		{name: "sh with arguments", script: `sh -s extra`, exit: 64, stderr: "not simulated"},
		{name: "sh -c", script: `sh -c 'echo "$1"' x y`, want: []string{"y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := sudoScript(t, c, tt.script)
			lines := strings.Split(strings.TrimPrefix(got.stdout, "READY\n"), "\n")
			for _, w := range tt.want {
				lines = after(t, lines, w, got)
			}
			for _, n := range tt.not {
				if strings.Contains(got.stdout, n) {
					t.Errorf("output has %q\n%v", n, got)
				}
			}
			if got.exit != tt.exit || !strings.Contains(got.stderr, tt.stderr) || (tt.stderr == "" && got.stderr != "") {
				t.Errorf("want exit %d and %q on stderr, got %v", tt.exit, tt.stderr, got)
			}
		})
	}
}

// after finds a line and returns those that follow it, so that wanted lines
// must come in their order.
func after(t *testing.T, lines []string, want string, r result) []string {
	t.Helper()
	for i, l := range lines {
		if l == want {
			return lines[i+1:]
		}
	}
	t.Errorf("no line %q where it should be\n%v", want, r)
	return lines
}

// TestSudo holds the stand-in for sudo to what sudo 1.9.13p3 did when it was
// asked the same with sudoers entries of each kind.
func TestSudo(t *testing.T) {
	const plain = "sudo -n -- sh -c 'echo READY; exec sh -s'"
	const asked = "sudo -S -p 'PROMPT:' -- sh -c 'echo READY; exec sh -s'"
	tests := []struct {
		name           string
		sudo           lab.Sudo
		line, stdin    string
		stdout, stderr string
		exit           int
	}{
		{name: "no password", line: plain, stdin: "id -u", stdout: "READY\n0\n"},
		{name: "no password, one sent", line: asked, stdin: "id -u", stdout: "READY\n0\n"},
		{name: "password, none may be asked", sudo: lab.SudoPassword, line: plain, stderr: "sudo: a password is required\n", exit: 1},
		{name: "password, no terminal", sudo: lab.SudoPassword, line: "sudo -- true", exit: 1,
			stderr: "sudo: a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper\nsudo: a password is required\n"},
		{name: "password right", sudo: lab.SudoPassword, line: asked, stdin: "it's $me\nid -u\n", stdout: "READY\n0\n", stderr: "PROMPT:"},
		{name: "password right at last", sudo: lab.SudoPassword, line: asked, stdin: "bad\nit's $me\nid -u\n", stdout: "READY\n0\n", stderr: "PROMPT:Sorry, try again.\nPROMPT:"},
		{name: "password wrong", sudo: lab.SudoPassword, line: asked, stdin: "bad\nbad\nbad\n", exit: 1,
			stderr: "PROMPT:Sorry, try again.\nPROMPT:Sorry, try again.\nPROMPT:sudo: 3 incorrect password attempts\n"},
		{name: "password wrong once", sudo: lab.SudoPassword, line: asked, stdin: "bad\n", exit: 1,
			stderr: "PROMPT:Sorry, try again.\nPROMPT:\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n"},
		{name: "password absent", sudo: lab.SudoPassword, line: asked, exit: 1,
			stderr: "PROMPT:\nsudo: no password was provided\nsudo: a password is required\n"},
		{name: "not in sudoers, no password", sudo: lab.SudoNotInSudoers, line: plain, stderr: "sudo: a password is required\n", exit: 1},
		{name: "not in sudoers", sudo: lab.SudoNotInSudoers, line: asked, stdin: "it's $me\n", stderr: "PROMPT:azureuser is not in the sudoers file.\n", exit: 1},
		{name: "not allowed", sudo: lab.SudoNotAllowed, line: "sudo -n -- cat", exit: 1,
			stderr: "Sorry, user azureuser is not allowed to execute '/usr/bin/cat' as root on " + node0 + ".\n"},
		{name: "requiretty", sudo: lab.SudoRequireTTY, line: plain, stderr: "sudo: sorry, you must have a tty to run sudo\n", exit: 1},
		{name: "an unknown option", line: "sudo -i", stderr: "lab: sudo -i is not simulated\n", exit: 64},
		{name: "a program there is not", line: "sudo -n nosuch", stderr: "sudo: nosuch: command not found\n", exit: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, lab.NodeSpec{Name: node0, Sudo: tt.sudo, Password: "it's $me"})
			got := run(t, client(t, f, node0, "azureuser"), tt.line, tt.stdin)
			want := result{stdout: tt.stdout, stderr: tt.stderr, exit: tt.exit}
			if got != want {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestSudoMissing(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Sudo: lab.SudoMissing})
	got := run(t, client(t, f, node0, "azureuser"), "sudo -n -- sh -s", "id -u")
	if got.exit != 127 || !strings.Contains(got.stderr, "sudo: not found") || got.stdout != "" {
		t.Errorf("want sudo not to be found, got %v", got)
	}
}

// TestLoginUser is the view of a login that is not root: modes count, whoever
// runs the simulator.
func TestLoginUser(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, Shape: lab.ShapeAKSFile})
	c := client(t, f, node0, "azureuser")
	got := run(t, c, "sh -s", `id -u
test -r "$1/etc/default/kubeletconfig.json" || echo hidden
test -e "$1/etc/default/kubeletconfig.json" && echo there
cat "$1/etc/default/kubeletconfig.json"
for d in "$1"/proc/[0-9]*; do cat $d/comm; done | grep kubelet
cat "$1/etc/hostname"
systemctl restart kubelet`)
	if got.stdout != "1000\nhidden\nthere\nkubelet\n"+node0+"\n" || !strings.Contains(got.stderr, "Permission denied") || got.exit != 1 {
		t.Errorf("want a file that is there and cannot be read, got %v", got)
	}
	if !strings.Contains(got.stderr, "Interactive authentication required") {
		t.Errorf("want a restart to be refused, got %v", got)
	}
}

func TestRootLogin(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0, User: "root"})
	if _, err := dial(t, f, node0, "azureuser"); err == nil {
		t.Error("a login that is not the node's was let in")
	}
	got := run(t, client(t, f, node0, "root"), "sh -s", `id -u; head -c 14 "$1/etc/default/kubelet"; sudo -n true; echo $?`)
	if got.stdout != "0\nKUBELET_FLAGS=0\n" {
		t.Errorf("want root to read everything, got %v", got)
	}
}

// TestShells runs the same script under every shell the machine has.
func TestShells(t *testing.T) {
	for _, shell := range []string{"/bin/sh", "/bin/bash", "/bin/dash"} {
		if shell != "/bin/sh" && !executable(shell) {
			continue
		}
		t.Run(shell, func(t *testing.T) {
			f := startWith(t, lab.Options{Shell: shell, Nodes: []lab.NodeSpec{{Name: node0, Preamble: "welcome\n"}}})
			got := sudoScript(t, client(t, f, node0, "azureuser"), `printf '%s' "$#"`)
			if got.stdout != "welcome\nREADY\n1" {
				t.Errorf("want one argument, got %v", got)
			}
		})
	}
}

// TestNoWayOut: a command line that would run the machine's own programs is
// refused.
func TestNoWayOut(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	c := client(t, f, node0, "azureuser")
	for _, line := range []string{"/usr/bin/sudo -n true", "PATH=/usr/bin systemctl restart kubelet"} {
		if got := run(t, c, line, ""); got.exit != 64 || !strings.HasPrefix(got.stderr, "lab: ") {
			t.Errorf("%s: want a refusal, got %v", line, got)
		}
	}
}
