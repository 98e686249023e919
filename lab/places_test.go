package lab_test

import (
	"os"
	"strings"
	"testing"

	"fleet/lab"
)

// TestPlaces: where writing fails, how, and what succeeds nevertheless.
func TestPlaces(t *testing.T) {
	const ro, full = "Read-only file system", "No space left on device"
	tests := []struct {
		name   string
		spec   lab.NodeSpec
		script string // runs in /etc/default
		stdout string
		stderr string // a text of it
		exit   int
	}{
		{name: "sound: no stand-ins", script: `cp kubelet new && mv -f new kubelet && command -v cp | sed 's,.*/\([a-z]*\)/cp,\1,'`, stdout: "tools\n"},
		{name: "test -w", spec: ro1(), script: `[ -w . ] || echo directory; [ -w kubelet ] || echo file; [ -w "$1/var" ] || echo var; [ -r kubelet ] && echo readable`, stdout: "directory\nfile\nreadable\n"},
		{name: "cp", spec: ro1(), script: `cp -a kubelet .new`, stderr: "cp: cannot create regular file '.new': " + ro, exit: 1},
		{name: "cp out of it", spec: ro1(), script: `cp -a kubelet "$1/var/copy" && cmp kubelet "$1/var/copy" && echo same`, stdout: "same\n"},
		{name: "mv into it", spec: ro1(), script: `echo x >"$1/tmp/x"; mv -f "$1/tmp/x" kubelet`, stderr: ro, exit: 1},
		{name: "mv into the directory", spec: ro1(), script: `echo x >"$1/tmp/x"; mv -f "$1/tmp/x" .`, stderr: ro, exit: 1},
		{name: "mv out of it", spec: ro1(), script: `mv kubelet "$1/tmp/x"`, stderr: ro, exit: 1},
		{name: "rm", spec: ro1(), script: `rm -f kubelet`, stderr: ro, exit: 1},
		{name: "rm of what is not there", spec: ro1(), script: `rm -f .nosuch`},
		{name: "mkdir", spec: ro1(), script: `mkdir -p new`, stderr: ro, exit: 1},
		{name: "chmod", spec: ro1(), script: `chmod 700 .`, stderr: ro, exit: 1},
		{name: "redirection", spec: ro1(), script: `echo x >new`, stderr: "ermission denied", exit: 2},
		{name: "redirection to what is there", spec: ro1(), script: `echo x >kubelet`, stderr: "ermission denied", exit: 2},
		{name: "the mount", spec: ro1(), script: `grep -c ' /etc ext4 ro,' "$1/proc/mounts"`, stdout: "1\n"},
		{name: "all of it", spec: lab.NodeSpec{ReadOnly: lab.Places{"/"}}, script: `[ -w "$1/var" ] || echo var; [ -w "$1/tmp" ] && echo tmp; systemctl restart kubelet && systemctl is-active kubelet`, stdout: "var\ntmp\nactive\n"},
		{name: "full: cp", spec: full1(), script: `cp -a kubelet .new || ls -A | wc -l; wc -c <.new`, stdout: "2\n0\n", stderr: "cp: error writing '.new': " + full},
		{name: "full: cat with a redirection", spec: full1(), script: `cat kubelet >.new || wc -c <.new`, stdout: "0\n", stderr: "cat: write error: " + full},
		{name: "full: cat elsewhere", spec: full1(), script: `cat kubelet >"$1/tmp/x" && cmp kubelet "$1/tmp/x" && echo same`, stdout: "same\n"},
		{name: "full: cat to the session", spec: full1(), script: `echo x | cat`, stdout: "x\n"},
		{name: "full: mv within", spec: full1(), script: `: >new && mv -f new kubelet && wc -c <kubelet`, stdout: "0\n"},
		{name: "full: mv from elsewhere", spec: full1(), script: `echo x >"$1/tmp/x"; mv -f "$1/tmp/x" kubelet`, stderr: full, exit: 1},
		{name: "full: rm", spec: full1(), script: `rm kubelet`},
		{name: "full: mkdir", spec: full1(), script: `mkdir new`, stderr: full, exit: 1},
		{name: "full: mkdir of what is there", spec: full1(), script: `mkdir -p "$1/etc/default"`},
		{name: "full: df", spec: full1(), script: `df -P -k . | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4,5`, stdout: "0 100%\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Name = node0
			f := start(t, tt.spec)
			got := sudoScript(t, client(t, f, node0, "azureuser"), "cd \"$1/etc/default\" || exit\n"+tt.script)
			if got.stdout != "READY\n"+tt.stdout || !strings.Contains(got.stderr, tt.stderr) || (tt.stderr == "" && got.stderr != "") || got.exit != tt.exit {
				t.Errorf("got %v", got)
			}
		})
	}
}

func ro1() lab.NodeSpec   { return lab.NodeSpec{ReadOnly: lab.Places{"/etc"}} }
func full1() lab.NodeSpec { return lab.NodeSpec{DiskFull: lab.Places{"/etc"}} }

// TestFailWrites: places come and go while the fleet runs, for a unit as well,
// and a closed fleet can be removed.
func TestFailWrites(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	n, c := node(t, f), client(t, f, node0, "azureuser")
	put(t, n, jobPath, `cp "$1/etc/default/kubelet" "$1/etc/default/new" 2>&1; echo end`)
	journal := func() string { return sudoScript(t, c, "journalctl -u fleet-change -o cat").stdout }
	for _, want := range []string{"", "Read-only file system", "No space left on device"} {
		var err error
		switch want {
		case "":
			err = n.FailWrites(nil, nil)
		case "Read-only file system":
			err = n.FailWrites(lab.Places{"/etc"}, nil)
		default:
			err = n.FailWrites(nil, lab.Places{"/etc"})
		}
		if err != nil {
			t.Fatal(err)
		}
		before := strings.Count(journal(), "end\n")
		sudoScript(t, c, jobRun+jobEnd)
		eventually(t, "the unit to end", func() bool { return strings.Count(journal(), "end\n") > before && n.Unit(jobUnit) == nil })
		if got := journal(); !strings.HasSuffix(strings.TrimSuffix(got, "end\n"), want+"\n") && want != "" {
			t.Errorf("want %q, got %s", want, got)
		}
	}
	if err := n.FailWrites(lab.Places{"/"}, nil); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.RemoveAll(n.Root()); err != nil {
		t.Errorf("a closed fleet cannot be removed: %v", err)
	}
}
