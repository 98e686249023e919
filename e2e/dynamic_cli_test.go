//go:build e2edynamic

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleet/configz/dynamic"
	"fleet/lab/real"
	"fleet/report"
)

// commander is a person with the fleet binary, in front of one node whose
// kubelet takes its configuration from the API server.
type commander struct {
	subject
	lab *real.Lab
	bin string
	dir string
}

func newCommander(t *testing.T, lab *real.Lab, s subject) commander {
	t.Helper()
	dir := t.TempDir()
	c := commander{subject: s, lab: lab, bin: filepath.Join(dir, "fleet"), dir: dir}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", c.bin, "fleet/cmd/fleet").CombinedOutput(); err != nil {
		t.Fatalf("build fleet: %v\n%s", err, out)
	}
	return c
}

// told is how one command ended.
type told struct {
	code   int
	run    string
	host   report.Host
	stderr string
}

// says is the end in a line for people.
func (r told) says() string {
	text := fmt.Sprintf("exit code %d, %s %s: %s", r.code, r.host.Status, r.host.Reason, r.host.Message)
	if c := r.host.Change; c != nil {
		text += fmt.Sprintf("; %s %s %s: %s", c.Method, c.Outcome, c.Reason, c.Message)
	}
	return text + "\n" + r.stderr
}

// fleet runs one command on the node.
func (c commander) fleet(t *testing.T, command string, args ...string) told {
	t.Helper()
	all := slices.Concat([]string{c.bin, command, "-i", c.lab.Inventory(), "--known-hosts", c.lab.KnownHosts(), "--ssh-config", "none",
		"--limit", c.node.Name, "-o", "json"}, args)
	cmd := c.lab.Command(ctx, all...)
	cmd.Dir = c.dir
	cmd.Env = []string{"HOME=" + c.dir, "PATH=" + os.Getenv("PATH")}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	rep, err := report.Decode(&out)
	if err != nil || len(rep.Hosts) != 1 {
		t.Fatalf("exit code %d, %d hosts, %v\n%s", cmd.ProcessState.ExitCode(), len(rep.Hosts), err, errs.String())
	}
	return told{cmd.ProcessState.ExitCode(), rep.Run.ID, rep.Hosts[0], errs.String()}
}

// audited demands the verdict with the API server as the witness, and the one
// without.
func (c commander) audited(t *testing.T, with, without string) {
	t.Helper()
	for _, look := range []struct {
		want string
		args []string
	}{{with, []string{"--kubeconfig", c.lab.Kubeconfig()}}, {without, nil}} {
		r := c.fleet(t, "audit", look.args...)
		got := fmt.Sprintf("%s %s", r.host.Status, r.host.Reason)
		if r.host.Live != nil {
			got += fmt.Sprintf(" live=%v", r.host.Live.Value)
		}
		if got != look.want {
			t.Errorf("audit %q: got %s, want %s: %s", look.args, got, look.want, r.says())
		}
	}
}

// remediate runs fleet remediate by a method and demands an outcome, and of a
// refusal its reason.
func (c commander) remediate(t *testing.T, method, want string, args ...string) told {
	t.Helper()
	r := c.fleet(t, "remediate", slices.Concat([]string{"--method", method, "--yes", "--kubeconfig", c.lab.Kubeconfig(), "--healthy-for", "2s"}, args)...)
	if got := strings.TrimSpace(string(r.host.Change.Outcome) + " " + r.host.Change.Reason); got != want {
		t.Errorf("--method %s %q: got %s, want %s: %s", method, args, got, want, r.says())
	}
	return r
}

// commandLine goes the whole way by the command line. It begins and ends with a
// file that says false and no assignment.
func (c commander) commandLine(t *testing.T) {
	c.wantLive(t, false)
	c.audited(t, "fail file-false live=false", "fail file-false")
	c.remediate(t, "configz", "refused "+dynamic.CodeUnsupported, "--no-restart")
	c.baseDiffers(t)

	dry := c.remediate(t, "configz", "planned", "--dry-run")
	if left := c.configMaps(t); len(left) > 0 || c.look(t).Spec != nil {
		t.Errorf("a dry run left %s", left)
	}
	done := c.remediate(t, "configz", "changed")
	change := done.host.Change
	if done.code != report.ExitOK || done.host.Live == nil || done.host.Live.Value != true || !strings.Contains(change.Message, "Dynamic Kubelet Configuration") ||
		change.Diff != dry.host.Change.Diff || !strings.Contains(change.Diff, "\n-makeIPTablesUtilChains: false # as") || !strings.Contains(change.Diff, "\n+makeIPTablesUtilChains: true # as") {
		t.Errorf("%s, live %+v\n%s", done.says(), done.host.Live, change.Diff)
	}
	c.wantLive(t, true)
	c.audited(t, "pass live live=true", "unknown dynamic-config")
	if again := c.remediate(t, "configz", "unchanged"); again.code != report.ExitOK {
		t.Error(again.says())
	}
	c.assignedFalse(t)

	if r := c.fleet(t, "rollback", "--run", done.run, "--yes"); r.code != report.ExitFail || r.host.Change.Reason != "live-needed" {
		t.Errorf("rollback without an API server: %s", r.says())
	}
	back := c.fleet(t, "rollback", "--run", done.run, "--yes", "--kubeconfig", c.lab.Kubeconfig())
	if back.code != report.ExitOK || back.host.Change.Outcome != report.OutcomeRolledBack || back.host.Live == nil || back.host.Live.Value != false {
		t.Errorf("rollback: %s, live %+v", back.says(), back.host.Live)
	}
	c.wantLive(t, false)
	c.audited(t, "fail file-false live=false", "fail file-false")
	if left := c.configMaps(t); len(left) > 0 || c.look(t).Spec != nil {
		t.Errorf("the rollback left %s, spec.configSource %+v", left, c.look(t).Spec)
	}
}

// baseDiffers edits the file under the running kubelet: it runs with something
// else than the configuration that would be assigned.
func (c commander) baseDiffers(t *testing.T) {
	const file = "/etc/kubernetes/kubelet/config.yaml"
	run := func(script string) {
		t.Helper()
		if _, err := c.node.Run(ctx, script, nil); err != nil {
			t.Fatal(err)
		}
	}
	run("sleep 1.2; cp -p " + file + " /root/kept; printf 'registryBurst: 77\\n' >> " + file)
	if r := c.remediate(t, "configz", "refused "+dynamic.CodeBaseDiffers); r.code != report.ExitFail || !strings.Contains(r.host.Change.Message, "registryBurst") {
		t.Error(r.says())
	}
	if r := c.remediate(t, "configz,file", "planned", "--dry-run"); r.host.Change.Method != "file" {
		t.Errorf("the next method: %s", r.says())
	}
	if left := c.configMaps(t); len(left) > 0 || c.look(t).Spec != nil {
		t.Errorf("a refusal left %s", left)
	}
	run("cp -p /root/kept " + file)
	c.wantLive(t, false)
}

// assignedFalse is a node whose ConfigMap says false: no file of the node can
// change that.
func (c commander) assignedFalse(t *testing.T) {
	record := c.apply(t, c.plan(t, false), dynamic.OutcomeChanged)
	c.audited(t, "fail live-false live=false", "unknown dynamic-config")
	if r := c.remediate(t, "file", "refused no-effect"); !strings.Contains(r.host.Change.Message, "--method args would work") {
		t.Error(r.says())
	}
	if r := c.remediate(t, "file,configz", "planned", "--dry-run"); r.host.Change.Method != "configz" || !strings.Contains(r.host.Change.Message, "assign ConfigMap") {
		t.Error(r.says())
	}
	if r := c.remediate(t, "auto", "planned", "--dry-run"); r.host.Change.Method != "configz" || !strings.Contains(r.host.Change.Message, "assign ConfigMap") {
		t.Error(r.says())
	}
	c.rollback(t, record)
	c.wantLive(t, true)
}
