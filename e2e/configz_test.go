//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleet/audit"
	"fleet/lab/real"
	"fleet/report"
)

// proofLab is the name of the lab whose nodes are changed with their API server
// as the witness.
const proofLab = "proven"

// proofNodes is a node in every shape that can be reached at once, and a pool of
// two.
func proofNodes() []real.Node {
	nodes := slices.DeleteFunc(real.DefaultNodes(), func(n real.Node) bool { return n.Jump != "" })
	for i, shape := range []string{real.ShapeAKSFlags, real.ShapeAKSConfig} {
		nodes = append(nodes, real.Node{Name: poolNode(i), Shape: shape, Labels: map[string]string{"agentpool": "np1"}})
	}
	return nodes
}

// openProofLab brings the lab up, or takes the one that was kept.
func openProofLab(t *testing.T) *real.Lab {
	t.Helper()
	if keepLabs() {
		if lab, err := real.Open(proofLab); err == nil {
			return lab
		}
	}
	t.Cleanup(func() {
		if keepLabs() {
			return
		}
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if err := real.Down(down, proofLab); err != nil {
			t.Errorf("cannot clean up, run make lab-down: %v", err)
		}
	})
	lab, err := real.Up(ctx, real.Options{Name: proofLab, Nodes: proofNodes(), Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

// TestChangesWithTheLiveConfigurationAsProof changes nodes by each of the
// benchmark's three methods while a real API server watches. The sequences of
// the nodes run side by side, then what concerns all of them.
func TestChangesWithTheLiveConfigurationAsProof(t *testing.T) {
	kubectl, err := real.Kubectl(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	lab := openProofLab(t)
	o := liveOperator{newOperator(t, lab), kubectl}
	for _, n := range lab.Nodes {
		if _, err := n.Run(ctx, keepAsShipped, nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("nodes", func(t *testing.T) {
		for _, node := range []struct {
			name  string
			tests func(witnessed, *testing.T)
		}{
			{flagsNode, witnessed.onFlags},
			{configNode, witnessed.onConfig},
			{cisNode, witnessed.onCIS},
			{dropInNode, witnessed.onDropIn},
			{kubeadmNode, witnessed.onKubeadm},
		} {
			t.Run(node.name, func(t *testing.T) {
				t.Parallel()
				node.tests(o.witnessed(t, node.name), t)
			})
		}
		t.Run("pool", func(t *testing.T) {
			t.Parallel()
			o.gate(t)
		})
	})
	t.Run("cluster as inventory", o.wholeCluster)
}

// witnessed is a patient whose API server is asked as well.
type witnessed struct {
	patient
	o liveOperator
}

func (o liveOperator) witnessed(t *testing.T, name string) witnessed {
	return witnessed{o.patient(t, name), o}
}

// byKubeconfig are the arguments that name the API server.
func (w witnessed) byKubeconfig() []string { return []string{"--kubeconfig", w.lab.Kubeconfig()} }

// sick makes the node fail, so that its API server says so too.
func (w witnessed) sick(t *testing.T, script string) {
	t.Helper()
	w.prepare(t, script)
	if live := w.settle(t); live != false {
		t.Fatalf("the node was to fail, its kubelet says %v", live)
	}
}

// The ways in which the message tells what was done.
const (
	proofOnly = "the live configuration cannot be written on this kubelet, so the layer that decides is changed and /configz is the proof"
	ownMethod = "restart kubelet.service"
)

// proof is one change that has to be seen in the live configuration.
type proof struct {
	method string
	api    []string // how the API server is named
	says   string
	file   string // the only file that may differ
	reason string // of a refusal, "" when the node is made well
}

// prove shows a plan on a node that fails, and carries it out.
func (w witnessed) prove(t *testing.T, c proof) ran {
	t.Helper()
	before, process := w.files(t), w.process(t)
	args := append([]string{"--method", c.method}, c.api...)
	dry := w.remedy(t, append(slices.Clone(args), "--dry-run")...)
	w.unharmed(t, before, "")
	if now := w.process(t); now != process {
		t.Errorf("a dry run touched the kubelet or systemd: %s, was %s", now, process)
	}
	if live := dry.host().Live; live == nil || live.Value != false || dry.host().Status != audit.StatusFail {
		t.Errorf("before: %s, live %+v", dry.host().Status, live)
	}
	if want := report.OutcomePlanned; c.reason == "" && (dry.change().Outcome != want || dry.change().Diff == "" || dry.code != report.ExitFail) {
		t.Errorf("the dry run: %s", dry.says())
	}
	r := w.remedy(t, args...)
	if c.reason != "" {
		w.declined(t, r, c.reason, c.says, before, process)
		return r
	}
	if change := r.change(); r.code != report.ExitOK || change.Outcome != report.OutcomeChanged || !strings.Contains(change.Message, c.says) ||
		(c.says != proofOnly) != !strings.Contains(change.Message, proofOnly) || change.Diff != dry.change().Diff {
		t.Fatalf("not changed as planned, or not said how: %s", r.says())
	}
	if live := r.host().Live; live == nil || live.Value != true || r.host().Status != audit.StatusPass {
		t.Errorf("after: %s, live %+v", r.host().Status, live)
	}
	if live := w.settle(t); live != true {
		t.Errorf("the kubelet itself says %v", live)
	}
	w.unharmed(t, before, c.file)
	return r
}

// declined demands that the host was refused and not touched.
func (w witnessed) declined(t *testing.T, r ran, reason, says string, before map[string]fileState, process string) {
	t.Helper()
	if c := r.change(); r.code != report.ExitFail || c.Outcome != report.OutcomeRefused || c.Reason != reason || !strings.Contains(c.Message, says) || c.Hint == "" {
		t.Errorf("want refused %s (%s), got %s; hint %q", reason, says, r.says(), r.change().Hint)
	}
	w.unharmed(t, before, "")
	if now := w.process(t); now != process {
		t.Errorf("the kubelet or systemd was touched: %s, was %s", now, process)
	}
}

func (w witnessed) onFlags(t *testing.T) {
	sick := flagAdded(flagName + "=false")
	for _, c := range []proof{
		{method: "args", api: w.byKubeconfig(), says: ownMethod, file: defaultsFile},
		{method: "configz", api: w.byKubeconfig(), says: proofOnly, file: defaultsFile},
		{method: "configz", api: []string{"--api-url", w.o.proxy(t)}, says: proofOnly, file: defaultsFile},
		{method: "configz,file", api: w.byKubeconfig(), says: proofOnly, file: defaultsFile},
		{method: "file", api: w.byKubeconfig(), says: "--method args or auto would work", reason: "no-config-file"},
	} {
		t.Run(c.method+" "+c.api[0], func(t *testing.T) {
			w.sick(t, sick)
			w.prove(t, c)
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		r := w.remedy(t, "--method", "configz")
		if r.code != report.ExitUsage || r.out != "" || !strings.Contains(r.stderr, "--kubeconfig or --api-url") {
			t.Errorf("exit code %d\n%s%s", r.code, r.out, r.stderr)
		}
	})
	t.Run("without rights", w.withoutRights)
}

// withoutRights plans with an account that may see nodes, and not what their
// kubelets say.
func (w witnessed) withoutRights(t *testing.T) {
	w.o.kube(t, "create", "serviceaccount", "looker", "--namespace", "kube-system")
	w.o.kube(t, "create", "clusterrole", "looker", "--verb=get,list", "--resource=nodes")
	w.o.kube(t, "create", "clusterrolebinding", "looker", "--clusterrole=looker", "--serviceaccount=kube-system:looker")
	t.Cleanup(func() {
		w.o.kube(t, "delete", "clusterrolebinding/looker", "clusterrole/looker")
		w.o.kube(t, "delete", "serviceaccount", "looker", "--namespace", "kube-system")
	})
	bearer := strings.TrimSpace(w.o.kube(t, "create", "token", "looker", "--namespace", "kube-system"))
	restricted := w.o.kubeconfigFor(t, bearer)
	w.sick(t, flagAdded(flagName+"=false"))
	before, process := w.files(t), w.process(t)
	r := w.remedy(t, "--method", "configz", "--kubeconfig", restricted)
	w.declined(t, r, "configz-forbidden", "--method args or auto would work", before, process)
	r = w.remedy(t, "--method", "configz,args", "--kubeconfig", restricted)
	if r.code != report.ExitOK || r.change().Outcome != report.OutcomeChanged || r.change().Method != "args" || w.settle(t) != true {
		t.Errorf("the next method: %s", r.says())
	}
	if strings.Contains(r.out+r.stderr, bearer) {
		t.Error("the token is in the output")
	}
}

func (w witnessed) onConfig(t *testing.T) {
	for _, c := range []proof{
		{method: "file", api: w.byKubeconfig(), says: ownMethod, file: configFile},
		{method: "args", api: w.byKubeconfig(), says: ownMethod, file: defaultsFile},
		{method: "configz", api: []string{"--api-url", w.o.proxy(t)}, says: proofOnly, file: configFile},
		{method: "auto", api: w.byKubeconfig(), says: ownMethod, file: configFile},
	} {
		t.Run(c.method+" "+c.api[0], func(t *testing.T) {
			w.sick(t, configFalse)
			w.prove(t, c)
		})
	}
	t.Run("rollback", w.undone)
	t.Run("the API server dies", func(t *testing.T) { w.orphaned(t, syscall.SIGKILL, "configz-refused") })
	t.Run("the API server hangs", func(t *testing.T) { w.orphaned(t, syscall.SIGSTOP, "configz-timeout") })
}

// undone takes a change by the live configuration back.
func (w witnessed) undone(t *testing.T) {
	w.sick(t, configFalse)
	before, text := w.files(t), w.read(t, configFile)
	done := w.prove(t, proof{method: "configz", api: w.byKubeconfig(), says: proofOnly, file: configFile})
	back := func() ran {
		return w.fleetJSON(t, slices.Concat([]string{"rollback", "--run", done.report.Run.ID, "--yes", "--limit", w.n.Name}, fast, w.byKubeconfig())...)
	}
	r := back()
	if live := r.host().Live; r.code != report.ExitOK || r.change().Outcome != report.OutcomeRolledBack || live == nil || live.Value != false {
		t.Errorf("%s, live %+v", r.says(), live)
	}
	if live := w.settle(t); live != false {
		t.Errorf("the kubelet itself says %v", live)
	}
	w.unharmed(t, before, configFile) // whose time is new: the kubelet was started after it
	if now := w.read(t, configFile); now != text {
		t.Errorf("%s is\n%s\nand was\n%s", configFile, now, text)
	}
	process := w.process(t)
	if r = back(); r.code != report.ExitOK || r.change().Outcome != report.OutcomeUnchanged || w.process(t) != process {
		t.Errorf("a second time: %s", r.says())
	}
}

// orphaned loses the API server between plan and proof: without the proof the
// change must not stay.
func (w witnessed) orphaned(t *testing.T, signal syscall.Signal, why string) {
	w.sick(t, configFalse)
	before := w.files(t)
	proxy, url := w.o.ownProxy(t)
	u := w.begin(t, "--method", "configz", "--api-url", url, "--healthy-for", "5s")
	w.await(t, "watching")
	if err := proxy.Signal(signal); err != nil {
		t.Fatal(err)
	}
	r := u.end(t)
	if c := r.change(); r.code != report.ExitFail || c.Outcome != report.OutcomeRolledBack || c.Reason != "live-differs" || !strings.Contains(c.Message, why) {
		t.Errorf("want rolled-back live-differs %s, got %s", why, r.says())
	}
	w.quiet(t)
	if live := w.settle(t); live != false {
		t.Errorf("the kubelet itself says %v", live)
	}
	settled(t, w.n)
	w.asBefore(t, before)
}

// ownProxy starts a kubectl proxy of which nobody else makes use.
func (o liveOperator) ownProxy(t *testing.T) (*os.Process, string) {
	t.Helper()
	cmd := o.lab.Command(ctx, o.kubectl, "--kubeconfig", o.lab.Kubeconfig(), "proxy", "--port=0") // ip netns exec becomes kubectl
	cmd.Env = []string{"HOME=" + o.home, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	_, address, ok := strings.Cut(strings.TrimSpace(line), "Starting to serve on ")
	if err != nil || !ok {
		t.Fatalf("kubectl proxy says %q, %v", line, err)
	}
	return cmd.Process, "http://" + address
}

func (w witnessed) onCIS(t *testing.T) {
	for _, method := range []string{"file", "configz"} {
		t.Run(method, func(t *testing.T) {
			w.sick(t, "")
			says := ownMethod
			if method == "configz" {
				says = proofOnly
			}
			w.prove(t, proof{method: method, api: w.byKubeconfig(), says: says, file: cisFile})
		})
	}
	t.Run("another machine", func(t *testing.T) {
		w.sick(t, "umount /proc/sys/kernel/random/boot_id 2>/dev/null || true\n")
		// The kubelet has told the cluster the id of the machine that the lab runs
		// on, which was below; a made-up one over it is that of another.
		w.run(t, "cat /proc/sys/kernel/random/uuid > /run/other-boot && mount --bind /run/other-boot /proc/sys/kernel/random/boot_id")
		before, process := w.files(t), w.process(t)
		r := w.remedy(t, append([]string{"--method", "configz"}, w.byKubeconfig()...)...)
		w.declined(t, r, "identity-mismatch", "boot id", before, process)
		w.run(t, "umount /proc/sys/kernel/random/boot_id")
	})
}

func (w witnessed) onDropIn(t *testing.T) {
	for _, c := range []proof{
		{method: "configz", api: w.byKubeconfig(), says: proofOnly, file: eksDropIn},
		{method: "file", api: w.byKubeconfig(), says: "--method args or auto would work", reason: "masked-by-drop-in"},
		{method: "file,args", api: w.byKubeconfig(), says: ownMethod, file: "/etc/eks/kubelet/environment"},
	} {
		t.Run(c.method, func(t *testing.T) {
			w.sick(t, "")
			w.prove(t, c)
		})
	}
}

func (w witnessed) onKubeadm(t *testing.T) {
	for _, c := range []proof{
		{method: "configz", api: w.byKubeconfig(), says: proofOnly, file: kubeadmFile},
		{method: "args", api: []string{"--api-url", w.o.proxy(t)}, says: ownMethod, file: defaultsFile},
	} {
		t.Run(c.method, func(t *testing.T) {
			w.sick(t, kubeadmFalse)
			w.prove(t, c)
		})
	}
	t.Run("on disk alone", func(t *testing.T) { // a live value that is right already is no proof of the next start
		w.prepare(t, "")
		w.run(t, "sleep 1.2\n"+kubeadmFalse)
		r := w.remedy(t, append([]string{"--method", "configz"}, w.byKubeconfig()...)...)
		if r.code != report.ExitOK || r.change().Outcome != report.OutcomeChanged || w.settle(t) != true {
			t.Errorf("%s", r.says())
		}
	})
}

// atTheNextStart has a script run whenever the kubelet is started.
func atTheNextStart(script string) string {
	return "printf '%s\\n' '[Service]' \"ExecStartPre=/bin/sh -c '" + script + "'\" > " + unitDropIns + "/99-next-start.conf && systemctl daemon-reload\n"
}

// gate changes two nodes one after the other, of which the first may not become
// Ready again.
func (o liveOperator) gate(t *testing.T) {
	first, second := o.witnessed(t, poolNode(0)), o.witnessed(t, poolNode(1))
	for _, c := range []struct {
		name  string
		fault string // comes about at the first node's next start
		mend  string
		code  int
		want  string
		says  string
	}{
		{name: "both Ready", code: report.ExitOK, want: "changed, changed"},
		{name: "no network for pods", // mended by a write: containerd heeds no file that is moved there
			fault: atTheNextStart("mv /etc/cni/net.d/10-loopback.conflist /root/"), mend: "cat /root/10-loopback.conflist > /etc/cni/net.d/10-loopback.conflist",
			code: report.ExitIncomplete, want: "failed-after-change node-not-ready, not-reached budget", says: "cni"},
		{name: "API server out of the kubelet's reach",
			fault: atTheNextStart("iptables -I OUTPUT -p tcp --dport 6443 -j DROP"), mend: "iptables -D OUTPUT -p tcp --dport 6443 -j DROP",
			code: report.ExitIncomplete, want: "failed-after-change node-not-ready, not-reached budget", says: "has not reported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			first.sick(t, flagAdded(flagName+"=false"))
			second.sick(t, configFalse)
			o.ready(t, first, second)
			if c.fault != "" {
				first.run(t, c.fault)
				t.Cleanup(func() {
					first.run(t, c.mend)
					first.prepare(t, "")
					o.ready(t, first)
				})
			}
			r := o.fleetJSON(t, slices.Concat([]string{"remediate", "--yes", "--method", "auto", "--limit", "agentpool=np1", "--batch", "1", "--pool-limit", "100%"},
				fast, []string{"--healthy-for", "8s", "--health-timeout", "30s"}, first.byKubeconfig())...)
			var got []string
			for _, h := range r.report.Hosts {
				got = append(got, strings.TrimSpace(string(h.Change.Outcome)+" "+h.Change.Reason))
			}
			if message := r.change().Message; r.code != c.code || strings.Join(got, ", ") != c.want || !strings.Contains(message, c.says) {
				t.Errorf("exit code %d, %s: %s; want %d, %s, %q\n%s", r.code, strings.Join(got, ", "), message, c.code, c.want, c.says, r.stderr)
			}
			if live := second.settle(t); live != (c.code == report.ExitOK) {
				t.Errorf("the kubelet of the second node says %v", live)
			}
		})
	}
}

// ready waits until the cluster calls nodes Ready.
func (o liveOperator) ready(t *testing.T, nodes ...witnessed) {
	t.Helper()
	for _, w := range nodes {
		o.kube(t, "wait", "--for=condition=Ready", "--timeout=90s", "node/"+w.n.Name)
	}
}

// wholeCluster makes every node fail and then well, with no more than a
// kubeconfig and a login.
func (o liveOperator) wholeCluster(t *testing.T) {
	for name, script := range map[string]string{
		flagsNode: flagAdded(flagName + "=false"), configNode: configFalse, cisNode: "", dropInNode: "", kubeadmNode: kubeadmFalse,
		poolNode(0): flagAdded(flagName + "=false"), poolNode(1): configFalse,
	} {
		w := o.witnessed(t, name)
		w.sick(t, script)
		o.ready(t, w)
	}
	run := func(command string, more ...string) ran {
		t.Helper()
		cmd, out, errs := o.prepared(slices.Concat([]string{command, "-i", "cluster", "--kubeconfig", o.lab.Kubeconfig(), "--user", real.LoginUser,
			"--identity", o.lab.Key(), "--known-hosts", o.lab.KnownHosts(), "--ssh-config", "none", "-o", "json"}, more)...)
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return finished(t, cmd, out, errs)
	}
	r := run("remediate", slices.Concat([]string{"--method", "auto", "--yes", "--batch", "1,100%", "--pool-limit", "100%"}, fast)...)
	if r.code != report.ExitOK || len(r.report.Hosts) != len(o.lab.Nodes) {
		t.Errorf("exit code %d, %d hosts\n%s", r.code, len(r.report.Hosts), r.stderr)
	}
	for _, h := range r.report.Hosts {
		live := liveValue(t, o.lab.Node(h.Name))
		if h.Change.Outcome != report.OutcomeChanged || h.Live == nil || h.Live.Value != true || live != true {
			t.Errorf("%s: %s %s, live %+v, the kubelet itself says %v", h.Name, h.Change.Outcome, h.Change.Message, h.Live, live)
		}
	}
	if r = run("audit"); r.code != report.ExitOK || r.report.Summary.Pass != len(o.lab.Nodes) {
		t.Errorf("afterwards: exit code %d, %+v", r.code, r.report.Summary)
	}
	if r = run("remediate", "--method", "configz", "--yes"); r.code != report.ExitOK || fmt.Sprint(outcomes(r.report)) != fmt.Sprint(map[report.Outcome]int{report.OutcomeUnchanged: len(o.lab.Nodes)}) {
		t.Errorf("again: exit code %d, %v", r.code, outcomes(r.report))
	}
}

// outcomes counts how the hosts of a run ended.
func outcomes(rep report.Report) map[report.Outcome]int {
	count := map[report.Outcome]int{}
	for _, h := range rep.Hosts {
		count[h.Change.Outcome]++
	}
	return count
}
