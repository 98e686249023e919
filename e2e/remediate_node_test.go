//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet/lab/real"
	"fleet/report"
)

// patient is one node that is made to fail and then changed by fleet.
type patient struct {
	operator
	n *real.Node
}

func (o operator) patient(t *testing.T, name string) patient {
	t.Helper()
	n := o.lab.Node(name)
	if n == nil {
		t.Fatalf("the lab has no node %s", name)
	}
	return patient{o, n}
}

// kubeletFiles are the places in which a node of any shape keeps the kubelet's
// files.
const kubeletFiles = "etc/default etc/eks etc/kubernetes etc/systemd/system/kubelet.service etc/systemd/system/kubelet.service.d " +
	"usr/lib/systemd/system/kubelet.service usr/lib/systemd/system/kubelet.service.d var/lib/kubelet/config.yaml var/lib/kubelet/kubeadm-flags.env"

// keepAsShipped keeps the files of a fresh node, so that every test can start
// from them.
const keepAsShipped = `cd /; [ -e /root/shipped.tar ] || tar cpf /root/shipped.tar --ignore-failed-read $(ls -d ` + kubeletFiles + ` 2>/dev/null)`

// asShipped brings a node back to what it was when it was made, but for the
// restart of the kubelet.
const asShipped = `cd /
systemctl stop 'fault-*' fleet-change 2>/dev/null
for m in /var/lib/fleet /etc/default /etc/kubernetes /etc; do umount "$m" 2>/dev/null; done
while iptables -D INPUT -p tcp --dport 10248 -j REJECT 2>/dev/null; do :; done
rm -rf /var/lib/fleet /fault ` + kubeletFiles + `
tar xpf /root/shipped.tar
find /etc /var/lib/kubelet -xdev -name '.fleet-*' -delete
`

// restartKubelet forgets failed starts and starts the kubelet anew.
const restartKubelet = "\nsystemctl daemon-reload; systemctl reset-failed kubelet 2>/dev/null; systemctl restart kubelet\n"

func (p patient) run(t *testing.T, script string) string {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := p.n.Run(limited, script, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// prepare brings the node back to what it was, runs the script that makes it
// fail, restarts the kubelet and waits until it answers.
func (p patient) prepare(t *testing.T, script string) {
	t.Helper()
	p.run(t, asShipped+script+restartKubelet)
	settled(t, p.n)
}

// fileState is all there is to say of a file, but for its path.
type fileState struct {
	inode, owner, mode, links, mtime, link, digest string
}

// files looks at every file of the kubelet, and at every leftover of fleet
// outside its own folder.
func (p patient) files(t *testing.T) map[string]fileState {
	t.Helper()
	out := p.run(t, `cd /; for f in $(find `+kubeletFiles+` \( -type f -o -type l \) 2>/dev/null) $(find etc var/lib/kubelet -xdev -name '.fleet-*'); do
stat --printf '/%n|%i|%u:%g|%a|%h|%y|' "$f"; printf '%s|' "$(readlink "$f")"; sha256sum <"$f"; done`)
	files := map[string]fileState{}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 8 {
			t.Fatalf("files of %s: %q", p.n.Name, line)
		}
		files[f[0]] = fileState{f[1], f[2], f[3], f[4], f[5], f[6], f[7]}
	}
	return files
}

// process is what systemd says of the kubelet's process, and how often systemd
// has read its files again.
func (p patient) process(t *testing.T) string {
	t.Helper()
	return p.run(t, `systemctl show kubelet -p MainPID,InvocationID,ActiveState; journalctl -b -q --no-pager _PID=1 | grep -c 'Reloading' || true`)
}

func (p patient) read(t *testing.T, path string) string {
	t.Helper()
	return p.run(t, "cat '"+path+"'")
}

// differing lists the files in which two looks differ.
func differing(a, b map[string]fileState) []string {
	paths := map[string]bool{}
	for path, f := range a {
		if b[path] != f {
			paths[path] = true
		}
	}
	for path, f := range b {
		if a[path] != f {
			paths[path] = true
		}
	}
	return slices.Sorted(maps.Keys(paths))
}

// fast is a timing that lets a change take a few seconds.
var fast = []string{"--healthy-for", "2s", "--confirm-timeout", "8s", "--health-timeout", "60s"}

// access are the arguments with which the lab's nodes are reached.
func (o operator) access() []string {
	return []string{"-i", o.lab.Inventory(), "--known-hosts", o.lab.KnownHosts(), "--ssh-config", "none"}
}

// prepared is a fleet command that is ready to run.
func (o operator) prepared(args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	cmd = o.lab.Command(ctx, append([]string{o.bin}, args...)...)
	cmd.Dir = o.home
	cmd.Env = []string{"HOME=" + o.home, "PATH=" + os.Getenv("PATH")}
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.WaitDelay = 5 * time.Second
	return cmd, out, errs
}

// ran is how a fleet command ended.
type ran struct {
	code        int
	report      report.Report
	out, stderr string
}

func (r ran) host() report.Host { return r.report.Hosts[0] }

// change is the change of the only host of the report.
func (r ran) change() report.Change {
	if len(r.report.Hosts) != 1 || r.report.Hosts[0].Change == nil {
		return report.Change{Outcome: "none", Message: r.stderr}
	}
	return *r.report.Hosts[0].Change
}

// says is the outcome in a line for people.
func (r ran) says() string {
	c := r.change()
	return fmt.Sprintf("exit code %d, %s %s: %s\n...%s", r.code, c.Outcome, c.Reason, c.Message, r.stderr[max(0, len(r.stderr)-400):])
}

// fleetJSON runs a command that reports as JSON.
func (o operator) fleetJSON(t *testing.T, args ...string) ran {
	t.Helper()
	cmd, out, errs := o.prepared(append(append(args, "-o", "json"), o.access()...)...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return finished(t, cmd, out, errs)
}

// finished reads what a command that reports as JSON came to. A command that
// refuses its arguments has no report.
func finished(t *testing.T, cmd *exec.Cmd, out, errs *bytes.Buffer) ran {
	t.Helper()
	r := ran{code: cmd.ProcessState.ExitCode(), out: out.String(), stderr: errs.String()}
	if out.Len() == 0 {
		return r
	}
	rep, err := report.Decode(out)
	if err != nil {
		t.Errorf("exit code %d: %v\n%s%s", r.code, err, r.out, r.stderr)
	}
	r.report = rep
	return r
}

// remedy runs fleet remediate on the node alone.
func (p patient) remedy(t *testing.T, args ...string) ran {
	t.Helper()
	return p.fleetJSON(t, slices.Concat([]string{"remediate", "--yes", "--limit", p.n.Name}, fast, args)...)
}

// live is what the kubelet itself says, nil when it does not answer.
func (p patient) live() any {
	out, err := p.n.Run(ctx, "curl -sk --max-time 5 https://127.0.0.1:10250/configz", nil)
	if err != nil {
		return nil
	}
	var answer struct {
		Kubeletconfig struct{ MakeIPTablesUtilChains *bool }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Kubeletconfig.MakeIPTablesUtilChains == nil {
		return nil
	}
	return *answer.Kubeletconfig.MakeIPTablesUtilChains
}

// settle waits for the kubelet's own word; it is the judge of every change.
func (p patient) settle(t *testing.T) any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if live := p.live(); live != nil || time.Now().After(deadline) {
			return live
		}
	}
}

// quiet waits until no supervisor is at work on the node.
func (p patient) quiet(t *testing.T) {
	t.Helper()
	still := 0
	for deadline := time.Now().Add(3 * time.Minute); still < 4; time.Sleep(300 * time.Millisecond) {
		out, err := p.n.Run(ctx, "systemctl show fleet-change.service -p ActiveState; pgrep -u azureuser || true", nil)
		if err == nil && strings.TrimSpace(out) == "ActiveState=inactive" {
			still++
		} else {
			still = 0
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			t.Fatalf("a supervisor is still at work on %s: %s %v", p.n.Name, out, err)
		}
	}
}

// unharmed holds the node against what it was: only the named file may differ,
// and no leftover may lie about.
func (p patient) unharmed(t *testing.T, before map[string]fileState, but string) {
	t.Helper()
	after := p.files(t)
	for _, path := range differing(before, after) {
		if path != but {
			t.Errorf("%s: %s differs\nbefore %+v\nafter  %+v", p.n.Name, path, before[path], after[path])
		}
	}
}

// asBefore holds the node against what it was in everything that matters of a
// file that was put back: a new inode is fine.
func (p patient) asBefore(t *testing.T, before map[string]fileState) {
	t.Helper()
	after := p.files(t)
	for _, files := range []map[string]fileState{before, after} {
		for path, f := range files {
			f.inode = ""
			files[path] = f
		}
	}
	for _, path := range differing(before, after) {
		t.Errorf("%s: %s differs\nbefore %+v\nafter  %+v", p.n.Name, path, before[path], after[path])
	}
}
