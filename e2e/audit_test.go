//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"fleet/lab/real"
	"fleet/report"
)

// auditLab is the name of the lab that is audited.
const auditLab = "audited"

// operator is a person with the fleet binary and the lab's files.
type operator struct {
	lab  *real.Lab
	bin  string
	home string
}

func newOperator(t *testing.T, lab *real.Lab) operator {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "fleet")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "fleet/cmd/fleet")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build fleet: %v\n%s", err, out)
	}
	return operator{lab: lab, bin: bin, home: dir}
}

// fleet runs one command and returns its exit code and output.
func (o operator) fleet(t *testing.T, stdin string, args ...string) (int, string) {
	t.Helper()
	cmd := o.lab.Command(ctx, append([]string{o.bin}, args...)...)
	cmd.Dir = o.home
	cmd.Env = []string{"HOME=" + o.home, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code == report.ExitUsage || code == report.ExitInterrupted {
		t.Logf("fleet %s: %s", strings.Join(args, " "), errs.String())
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// audit runs fleet audit on the lab's inventory.
func (o operator) audit(t *testing.T, args ...string) (int, report.Report) {
	t.Helper()
	code, out := o.fleet(t, "", append([]string{
		"audit", "-i", o.lab.Inventory(), "--known-hosts", o.lab.KnownHosts(), "--ssh-config", "none", "-o", "json",
	}, args...)...)
	rep, err := report.Decode(strings.NewReader(out))
	if err != nil {
		t.Fatalf("exit code %d: %v\n%s", code, err, out)
	}
	return code, rep
}

// summary is a finding in one line: "STATUS REASON RUNNING NEXT".
func summary(h report.Host) string {
	value := func(v any) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprint(v)
	}
	running, next := "nil", "nil"
	if h.Running != nil {
		running = value(h.Running.Value)
	}
	if h.Next != nil {
		next = value(h.Next.Value)
	}
	return fmt.Sprintf("%s %s %s %s", h.Status, h.Reason, running, next)
}

// TestAuditOfRealNodes audits a fleet with a node in every shape, logged in as
// on AKS, one of them behind another.
func TestAuditOfRealNodes(t *testing.T) {
	lab, err := real.Up(ctx, real.Options{Name: auditLab, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, lab)
	t.Run("every shape", o.everyShape)
	t.Run("node list", o.nodeList)
	t.Run("working directory", o.workingDirectory)
	t.Run("ssh_config", o.sshConfig)
	t.Run("states", o.states)
}

func (o operator) everyShape(t *testing.T) {
	want := map[string]string{
		real.ShapeAKSFlags:  "pass default true true",
		real.ShapeAKSConfig: "pass default true true",
		real.ShapeEKSAL2:    "fail file-false false false",
		"inner":             "fail flag-false false false",
	}
	code, rep := o.audit(t)
	if code != report.ExitFail {
		t.Errorf("exit code %d, want %d", code, report.ExitFail)
	}
	for _, h := range rep.Hosts {
		n := o.lab.Node(h.Name)
		kind := n.Shape
		if n.Jump != "" {
			kind = "inner"
		}
		if w, ok := want[kind]; ok && summary(h) != w {
			t.Errorf("%s (%s): %s, want %s: %s", h.Name, kind, summary(h), w, h.Message)
		}
		if live := liveValue(t, n); h.Running == nil || h.Running.Value != live {
			t.Errorf("%s (%s): fleet says %s, the kubelet's own configz says %v", h.Name, kind, summary(h), live)
		}
		if h.Node.KubeletVersion == "" || h.Node.KubeletPID == 0 || h.Node.Hostname != h.Name || h.Node.KubeletStarted == nil {
			t.Errorf("%s: node %+v", h.Name, h.Node)
		}
		if len(h.Evidence) == 0 || !strings.Contains(h.Evidence[0].Stdout, "kubelet") {
			t.Errorf("%s: no process list in evidence", h.Name)
		}
	}
}

// liveValue asks the kubelet itself, from inside its node.
func liveValue(t *testing.T, n *real.Node) any {
	t.Helper()
	out, err := n.Run(ctx, "curl -sk --max-time 10 https://127.0.0.1:10250/configz", nil)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case strings.Contains(out, `"makeIPTablesUtilChains":true`):
		return true
	case strings.Contains(out, `"makeIPTablesUtilChains":false`):
		return false
	}
	t.Fatalf("configz of %s: %.200s", n.Name, out)
	return nil
}

// nodeList pipes the cluster's own list of nodes into fleet, as
// kubectl get nodes -o json gives it.
func (o operator) nodeList(t *testing.T) {
	code, out := o.fleet(t, o.getNodes(t), "audit", "-i", "-", "--user", real.LoginUser, "--identity", o.lab.Key(),
		"--known-hosts", o.lab.KnownHosts(), "--ssh-config", "none", "--limit", "!aks-inner*")
	if code != report.ExitFail || !strings.Contains(out, "cis-al2") || !strings.Contains(out, "file-false") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// getNodes is kubectl get nodes -o json.
func (o operator) getNodes(t *testing.T) string {
	data, err := os.ReadFile(o.lab.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Clusters []struct{ Cluster struct{ Server string } }
		Users    []struct{ User struct{ Token string } }
	}
	if err := yaml.Unmarshal(data, &config); err != nil || len(config.Clusters) == 0 || len(config.Users) == 0 {
		t.Fatalf("kubeconfig: %v", err)
	}
	curl := o.lab.Command(ctx, "curl", "-sfk", "--config", "-", config.Clusters[0].Cluster.Server+"/api/v1/nodes")
	curl.Stdin = strings.NewReader("header = \"Authorization: Bearer " + config.Users[0].User.Token + "\"\n")
	list, err := curl.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(list)
}

// workingDirectory types no more than fleet audit.
func (o operator) workingDirectory(t *testing.T) {
	data, err := os.ReadFile(o.lab.Inventory())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.home, "nodes.yaml"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(o.home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(o.lab.KnownHosts())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.home, ".ssh", "known_hosts"), known, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := o.fleet(t, "", "audit", "--limit", "aks-flags*,aks-config*,kubeadm")
	if code != report.ExitOK {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// sshConfig leaves everything but the names to ssh_config, the jump host too.
func (o operator) sshConfig(t *testing.T) {
	var names strings.Builder
	for _, n := range o.lab.Nodes {
		fmt.Fprintln(&names, n.Name)
	}
	code, out := o.fleet(t, names.String(), "audit", "-i", "-", "--ssh-config", o.lab.SSHConfig())
	if code != report.ExitFail || strings.Contains(out, "UNKNOWN") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// states puts nodes into every state but health, one at a time, and back.
func (o operator) states(t *testing.T) {
	const (
		restart = "systemctl daemon-reload; systemctl reset-failed kubelet; systemctl restart kubelet"
		aks     = "aks-flags-12345678-vmss000000"
		conf    = "/etc/kubernetes/kubelet/kubelet-config.json"
		flag    = "--make-iptables-util-chains"
	)
	setFile := func(value string) string {
		return `sed -i 's/"makeIPTablesUtilChains": [a-z"]*/"makeIPTablesUtilChains": ` + value + `/' ` + conf
	}
	setFlag := func(text string) string {
		return "cp -p /etc/default/kubelet /tmp/kept; sed -i 's/^KUBELET_FLAGS=.*/& " + text + "/' /etc/default/kubelet"
	}
	const putBack = "cp -p /tmp/kept /etc/default/kubelet; " + restart
	for _, c := range []struct {
		name, node, do, undo, want, note string
		args                             []string
	}{
		{"file edited, not restarted", "cis-al2", "sleep 1; " + setFile("true"), setFile("false") + "; " + restart, "fail restart-pending - true", "after the kubelet started", nil},
		{"file edited and restarted", "cis-al2", setFile("true") + "; " + restart, setFile("false") + "; " + restart, "pass explicit true true", conf, nil},
		{"quoted boolean", "cis-al2", setFile(`"true"`), setFile("false") + "; " + restart, "fail wont-start - -", conf, nil},
		{"flag added, not restarted", aks, setFlag(flag + "=false"), putBack, "fail latent true false", "/etc/default/kubelet:1", nil},
		{"flag added and restarted", aks, setFlag(flag+"=false") + "; " + restart, putBack, "fail flag-false false false", "/etc/default/kubelet:1", nil},
		{"colon, not restarted", aks, setFlag(flag + ":true"), putBack, "fail wont-start true -", "unknown flag", nil},
		{"colon, restarted", aks, setFlag(flag+":true") + "; " + restart + "; sleep 4", putBack, "unknown crash-loop nil -", "unknown flag", nil},
		{"stopped", aks, "systemctl stop kubelet", restart, "unknown no-kubelet nil true", "inactive/dead", nil},
		{"masked", "cis-al2", "systemctl stop kubelet; mv /etc/systemd/system/kubelet.service /tmp/; systemctl mask kubelet",
			"systemctl unmask kubelet; mv /tmp/kubelet.service /etc/systemd/system/; " + restart, "unknown unit-masked nil -", "masked", nil},
		{"the benchmark's variable", aks, `printf '[Service]\nEnvironment="KUBELET_ARGS=` + flag + `=false"\n' > /etc/systemd/system/kubelet.service.d/10-kubelet-args.conf; ` + restart,
			"rm /etc/systemd/system/kubelet.service.d/10-kubelet-args.conf; " + restart, "pass default true true", "KUBELET_ARGS", nil},
		{"drop-in loses to the environment file", aks, `printf '[Service]\nEnvironment="KUBELET_FLAGS=` + flag + `=false"\n' > /etc/systemd/system/kubelet.service.d/90-x.conf; ` + restart,
			"rm /etc/systemd/system/kubelet.service.d/90-x.conf; " + restart, "pass default true true", "replaces the whole variable", nil},
		{"daemon-reload missing", "cis-al2", `sed -i 's/^Environment=.KUBELET_EXTRA_ARGS=/&` + flag + `=true /' /etc/systemd/system/kubelet.service.d/30-kubelet-extra-args.conf`,
			`sed -i 's/` + flag + `=true //' /etc/systemd/system/kubelet.service.d/30-kubelet-extra-args.conf; ` + restart, "fail restart-pending false true", "daemon-reload is missing", nil},
		{"a second kubelet", aks, "cp /bin/sleep /tmp/kubelet; systemd-run --unit=stray /tmp/kubelet 1000", "systemctl stop stray", "unknown several-kubelets nil true", "stray.service", nil},
		{"an editor in the process list", aks, "systemd-run --unit=editor bash -c 'exec -a \"vim kubelet.conf\" sleep 1000'", "systemctl stop editor", "pass default true true", "", nil},
		{"without root", "cis-al2", "true", "true", "fail file-false false false", "", []string{"--no-become"}},
		{"without root, unit closed", aks, "true", "true", "pass default true -", "kubelet.service could not be read", []string{"--no-become"}},
		{"without root, file closed", "aks-config-12345678-vmss00000a", "true", "true", "unknown unreadable - -", "kubeletconfig.json", []string{"--no-become"}},
		{"hidepid, without root", "cis-al2", "mount -o remount,hidepid=2 /proc", "mount -o remount,hidepid=0 /proc", "unknown unreadable nil false", "may not be seen", []string{"--no-become"}},
		{"hidepid, as root", "cis-al2", "mount -o remount,hidepid=2 /proc", "mount -o remount,hidepid=0 /proc", "fail file-false false false", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := o.lab.Node(c.node)
			defer func() {
				if _, err := n.Run(ctx, c.undo, nil); err != nil {
					t.Fatal(err)
				}
				settled(t, n)
			}()
			settled(t, n)
			if _, err := n.Run(ctx, c.do, nil); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(c.do, restart) {
				settled(t, n)
			}
			_, rep := o.audit(t, append([]string{"--limit", c.node}, c.args...)...)
			h := rep.Hosts[0]
			if got := summary(h); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %s, want %s\n%s\n%q", got, c.want, h.Message, h.Notes)
			}
			if text := h.Message + " " + strings.Join(h.Notes, " "); !strings.Contains(text, c.note) {
				t.Errorf("neither message nor notes say %q: %s", c.note, text)
			}
		})
	}
}

// settled waits until the node's kubelet answers.
func settled(t *testing.T, n *real.Node) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if out, err := n.Run(ctx, "curl -s --max-time 2 http://127.0.0.1:10248/healthz || true", nil); err == nil && out == "ok" {
			return
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			t.Fatalf("the kubelet of %s does not come back", n.Name)
		}
	}
}
