//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"fleet/lab/real"
	"fleet/report"
)

// liveLab is the name of the lab that is audited through its API server.
const liveLab = "live"

// liveOperator is an operator with a kubectl.
type liveOperator struct {
	operator
	kubectl string
}

// TestLiveConfigurationOfRealNodes audits nodes in every shape with a real API
// server as the witness, by kubeconfig and by a real kubectl proxy.
func TestLiveConfigurationOfRealNodes(t *testing.T) {
	kubectl, err := real.Kubectl(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	lab, err := real.Up(ctx, real.Options{Name: liveLab, Log: os.Stderr})
	t.Cleanup(func() {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if err := real.Down(down, liveLab); err != nil {
			t.Errorf("cannot clean up, run make lab-down: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	o := liveOperator{newOperator(t, lab), kubectl}
	t.Run("kubeconfig", func(t *testing.T) { o.everyWitness(t, "--kubeconfig", lab.Kubeconfig()) })
	t.Run("kubectl proxy", func(t *testing.T) { o.everyWitness(t, "--api-url", o.proxy(t)) })
	t.Run("live only", o.liveOnly)
	t.Run("live only through kubectl proxy", o.liveOnlyByProxy)
	t.Run("cluster as inventory", o.clusterAsInventory)
	t.Run("permissions", o.permissions)
	t.Run("wrong identity", o.wrongIdentity)
	t.Run("stopped kubelet", o.stoppedKubelet)
	t.Run("changed and not restarted", o.restartPending)
}

// kube runs kubectl as the administrator and returns what it prints.
func (o liveOperator) kube(t *testing.T, args ...string) string {
	t.Helper()
	cmd := o.lab.Command(ctx, append([]string{o.kubectl, "--kubeconfig", o.lab.Kubeconfig()}, args...)...)
	cmd.Env = []string{"HOME=" + o.home, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// proxy starts a kubectl proxy and returns its URL.
func (o liveOperator) proxy(t *testing.T) string {
	t.Helper()
	alive, stop := context.WithCancel(ctx)
	cmd := o.lab.Command(alive, o.kubectl, "--kubeconfig", o.lab.Kubeconfig(), "proxy", "--port=0")
	cmd.Env = []string{"HOME=" + o.home, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	_, address, ok := strings.Cut(strings.TrimSpace(line), "Starting to serve on ")
	if err != nil || !ok {
		t.Fatalf("kubectl proxy says %q, %v", line, err)
	}
	return "http://" + address
}

// everyWitness wants the third witness to say of every node what its kubelet
// says itself, and no verdict to change by it.
func (o liveOperator) everyWitness(t *testing.T, args ...string) {
	_, without := o.audit(t)
	code, rep := o.audit(t, args...)
	if code != report.ExitFail {
		t.Errorf("exit code %d, want %d", code, report.ExitFail)
	}
	for i, h := range rep.Hosts {
		want := liveValue(t, o.lab.Node(h.Name))
		if h.Live == nil || h.Live.Value != want {
			t.Errorf("%s: live %+v, the kubelet itself says %v; %q", h.Name, h.Live, want, h.Notes)
		}
		if h.Live != nil && h.Live.Source.Path != "/api/v1/nodes/"+h.Name+"/proxy/configz" {
			t.Errorf("%s: asked %s", h.Name, h.Live.Source.Path)
		}
		if before := without.Hosts[i]; summary(before) != summary(h) {
			t.Errorf("%s: %s without the third witness, %s with it: %s", h.Name, summary(before), summary(h), h.Message)
		}
	}
}

// liveOnly asks the API server alone, in a home without an inventory, so that
// the hosts are the cluster's nodes.
func (o liveOperator) liveOnly(t *testing.T) {
	code, out := o.fleet(t, "", "audit", "--live-only", "--kubeconfig", o.lab.Kubeconfig(), "-o", "json")
	o.wantLive(t, code, out, len(o.lab.Nodes))
}

func (o liveOperator) liveOnlyByProxy(t *testing.T) {
	code, out := o.fleet(t, "", "audit", "--live-only", "-i", o.lab.Inventory(), "--api-url", o.proxy(t), "-o", "json")
	o.wantLive(t, code, out, len(o.lab.Nodes))
}

// wantLive demands a verdict by the live value for so many nodes.
func (o liveOperator) wantLive(t *testing.T, code int, out string, count int) {
	t.Helper()
	rep, err := report.Decode(strings.NewReader(out))
	if err != nil {
		t.Fatalf("exit code %d: %v\n%s", code, err, out)
	}
	if code != report.ExitFail || len(rep.Hosts) != count {
		t.Errorf("exit code %d, %d hosts, want %d and %d", code, len(rep.Hosts), report.ExitFail, count)
	}
	for _, h := range rep.Hosts {
		want := "fail live-false nil nil"
		if liveValue(t, o.lab.Node(h.Name)) == true {
			want = "pass live nil nil"
		}
		if summary(h) != want || h.Node.KubeletVersion != real.KubernetesVersion {
			t.Errorf("%s: %s of a kubelet %s, want %s: %s", h.Name, summary(h), h.Node.KubeletVersion, want, h.Message)
		}
	}
}

// clusterAsInventory takes the nodes, their addresses and their labels from
// the API server and audits them over SSH.
func (o liveOperator) clusterAsInventory(t *testing.T) {
	o.kube(t, "label", "node", "cis-al2", "kubernetes.azure.com/agentpool=al2", "topology.kubernetes.io/zone=1", "--overwrite")
	code, out := o.fleet(t, "", "hosts", "-i", "cluster:kubernetes.azure.com/agentpool=al2", "--kubeconfig", o.lab.Kubeconfig(), "-o", "json")
	var hosts []struct {
		Name, Address string
		Labels        map[string]string
		Groups        []string
	}
	if err := json.Unmarshal([]byte(out), &hosts); err != nil || code != 0 || len(hosts) != 1 {
		t.Fatalf("exit code %d, %v:\n%s", code, err, out)
	}
	n, h := o.lab.Node("cis-al2"), hosts[0]
	if h.Name != n.Name || h.Address != n.Address || h.Labels["agentpool"] != "al2" || h.Labels["topology.kubernetes.io/zone"] != "1" || len(h.Groups) != 1 {
		t.Errorf("got %+v, want the node %s at %s", h, n.Name, n.Address)
	}
	piped, _ := o.fleet(t, o.kube(t, "get", "nodes", "-o", "json"), "hosts", "-i", "-", "-o", "name")
	_, names := o.fleet(t, "", "hosts", "-i", "cluster", "--kubeconfig", o.lab.Kubeconfig(), "-o", "name")
	_, want := o.fleet(t, o.kube(t, "get", "nodes", "-o", "json"), "hosts", "-i", "-", "-o", "name")
	if piped != 0 || names != want {
		t.Errorf("the cluster gives\n%s, kubectl get nodes\n%s", names, want)
	}
	code, out = o.fleet(t, "", "audit", "-i", "cluster", "--limit", "agentpool=al2", "--kubeconfig", o.lab.Kubeconfig(), "--user", real.LoginUser,
		"--identity", o.lab.Key(), "--known-hosts", o.lab.KnownHosts(), "--ssh-config", "none", "-o", "wide")
	if code != report.ExitFail || !strings.Contains(out, "file-false") || !strings.Contains(out, "live /api/v1/nodes/cis-al2/proxy/configz") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// permissions audits with a service account: without rights, and with those of
// examples/rbac.yaml.
func (o liveOperator) permissions(t *testing.T) {
	o.kube(t, "create", "serviceaccount", "fleet-auditor", "--namespace", "kube-system")
	bearer := strings.TrimSpace(o.kube(t, "create", "token", "fleet-auditor", "--namespace", "kube-system"))
	restricted := o.kubeconfigFor(t, bearer)
	const host = "cis-al2"
	check := func(what, problem string, value any) {
		t.Helper()
		_, rep := o.audit(t, "--limit", host, "--kubeconfig", restricted)
		h := rep.Hosts[0]
		if summary(h) != "fail file-false false false" {
			t.Errorf("%s: SSH's verdict is gone: %s %s", what, summary(h), h.Message)
		}
		if h.Live == nil || h.Live.Value != value || !strings.HasPrefix(h.Live.Problem, problem) || problem == "" && h.Live.Problem != "" {
			t.Errorf("%s: live %+v, want %v %s", what, h.Live, value, problem)
		}
		if text, err := json.Marshal(rep); err != nil || strings.Contains(string(text), bearer) {
			t.Errorf("%s: the token is in the report (%v)", what, err)
		}
	}
	check("without rights", "configz-forbidden", nil)
	o.kube(t, "create", "clusterrole", "look", "--verb=get,list", "--resource=nodes")
	o.kube(t, "create", "clusterrolebinding", "look", "--clusterrole=look", "--serviceaccount=kube-system:fleet-auditor")
	check("nodes without proxy", "configz-forbidden", nil)
	o.kube(t, "create", "clusterrole", "fine", "--verb=get", "--resource=nodes/configz")
	o.kube(t, "create", "clusterrolebinding", "fine", "--clusterrole=fine", "--serviceaccount=kube-system:fleet-auditor")
	check("nodes/configz, which the API server does not ask for", "configz-forbidden", nil)
	o.kube(t, "delete", "clusterrolebinding", "look", "fine")
	example, err := filepath.Abs("../examples/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o.kube(t, "apply", "-f", example)
	check("the example's rights", "", false)
	o.kube(t, "delete", "-f", example)
	wrong := o.kubeconfigFor(t, "no-token-of-this-cluster")
	_, rep := o.audit(t, "--limit", host, "--kubeconfig", wrong)
	if l := rep.Hosts[0].Live; l == nil || !strings.HasPrefix(l.Problem, "configz-unauthenticated") {
		t.Errorf("a wrong token: %+v", l)
	}
}

// kubeconfigFor is the administrator's kubeconfig with another token.
func (o liveOperator) kubeconfigFor(t *testing.T, bearer string) string {
	t.Helper()
	data, err := os.ReadFile(o.lab.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	config["users"] = []any{map[string]any{"name": "admin", "user": map[string]any{"token": bearer}}}
	if data, err = yaml.Marshal(config); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wrongIdentity gives a node another boot id than the one its kubelet told the
// cluster, as the node of that name in another cluster has, or this one just
// after a reboot; the kubelet's next start tells the cluster.
func (o liveOperator) wrongIdentity(t *testing.T) {
	n := o.lab.Node("al2023")
	look := func() report.Host {
		_, rep := o.audit(t, "--limit", n.Name, "--kubeconfig", o.lab.Kubeconfig())
		return rep.Hosts[0]
	}
	// Below the node's own id lies that of the machine the lab runs on.
	if _, err := n.Run(ctx, "umount /proc/sys/kernel/random/boot_id", nil); err != nil {
		t.Fatal(err)
	}
	if h := look(); h.Live == nil || h.Live.Value != nil || !strings.HasPrefix(h.Live.Problem, "identity-mismatch") || summary(h) != "fail drop-in-false false false" {
		t.Errorf("%s, live %+v", summary(h), h.Live)
	}
	if _, err := n.Run(ctx, "systemctl restart kubelet", nil); err != nil {
		t.Fatal(err)
	}
	settled(t, n)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		h := look()
		if h.Live != nil && h.Live.Value == false {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node is still another machine: %+v", h.Live)
		}
	}
}

// stoppedKubelet asks for a node whose kubelet does not listen.
func (o liveOperator) stoppedKubelet(t *testing.T) {
	n := o.lab.Node("kubeadm")
	defer settled(t, n)
	defer func() {
		if _, err := n.Run(ctx, "systemctl start kubelet", nil); err != nil {
			t.Error(err)
		}
	}()
	if _, err := n.Run(ctx, "systemctl stop kubelet", nil); err != nil {
		t.Fatal(err)
	}
	_, rep := o.audit(t, "--limit", n.Name, "--kubeconfig", o.lab.Kubeconfig())
	h := rep.Hosts[0]
	if !strings.HasPrefix(summary(h), "unknown no-kubelet nil true") || h.Live == nil || h.Live.Value != nil {
		t.Errorf("%s, live %+v", summary(h), h.Live)
	}
	code, out := o.fleet(t, "", "audit", "--live-only", "-i", "cluster", "--limit", n.Name, "--kubeconfig", o.lab.Kubeconfig(), "-o", "json")
	rep, err := report.Decode(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if h := rep.Hosts[0]; code != report.ExitIncomplete || h.Status != "unknown" || h.Reason != "configz-unavailable" {
		t.Errorf("exit code %d, %s %s", code, summary(h), h.Message)
	}
}

// restartPending changes files under a running kubelet: what it runs with
// cannot be read from them any more, but it says so itself.
func (o liveOperator) restartPending(t *testing.T) {
	n := o.lab.Node("cis-al2")
	const conf = "/etc/kubernetes/kubelet/kubelet-config.json"
	set := func(value string) {
		t.Helper()
		if _, err := n.Run(ctx, fmt.Sprintf(`sleep 1.2; sed -i 's/"makeIPTablesUtilChains": [a-z]*/"makeIPTablesUtilChains": %s/' %s`, value, conf), nil); err != nil {
			t.Fatal(err)
		}
	}
	look := func(want, message string) {
		t.Helper()
		_, rep := o.audit(t, "--limit", n.Name, "--kubeconfig", o.lab.Kubeconfig())
		h := rep.Hosts[0]
		if summary(h) != want || !strings.Contains(h.Message, message) {
			t.Errorf("got %s, want %s with %q: %s", summary(h), want, message, h.Message)
		}
	}
	set("true")
	look("fail restart-pending - true", "the running kubelet has false by its live configuration")
	set("false")
	look("fail file-false - false", conf)
	if _, err := n.Run(ctx, "systemctl restart kubelet", nil); err != nil {
		t.Fatal(err)
	}
	settled(t, n)
	look("fail file-false false false", conf)
}
