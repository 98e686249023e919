//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"fleet/lab/real"
	"fleet/report"
)

// remedyLab is the name of the lab whose nodes are changed.
const remedyLab = "remedied"

// keepLabs tells that labs stay up after the tests and that a lab which is up
// is taken over, which saves time to whoever writes tests.
func keepLabs() bool { return os.Getenv("FLEET_E2E_KEEP") != "" }

// The nodes by what they are.
const (
	flagsNode   = "aks-flags-12345678-vmss000000"
	configNode  = "aks-config-12345678-vmss00000a"
	cisNode     = "cis-al2"
	dropInNode  = "al2023"
	kubeadmNode = "kubeadm"
	innerNode   = "aks-inner-12345678-vmss000000"
)

// remedyNodes is a node in every shape, one of them behind another, and a pool
// of four for what wants several nodes.
func remedyNodes() []real.Node {
	nodes := real.DefaultNodes()
	for i := range poolSize {
		shape := real.ShapeAKSFlags
		if i%2 == 1 {
			shape = real.ShapeAKSConfig
		}
		nodes = append(nodes, real.Node{Name: poolNode(i), Shape: shape, Labels: map[string]string{"agentpool": "np1"}})
	}
	return nodes
}

const poolSize = 4

func poolNode(i int) string { return fmt.Sprintf("aks-np1-12345678-vmss00000%d", i) }

// openRemedyLab brings the lab up, or takes the one that was kept.
func openRemedyLab(t *testing.T) *real.Lab {
	t.Helper()
	if keepLabs() {
		if lab, err := real.Open(remedyLab); err == nil {
			return lab
		}
	}
	lab, err := real.Up(ctx, real.Options{Name: remedyLab, Nodes: remedyNodes(), Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

// TestRemediation changes nodes with a real kubelet in every shape. Each node
// is one sequence of tests; the sequences run side by side, since most of the
// time is waiting.
func TestRemediation(t *testing.T) {
	lab := openRemedyLab(t)
	o := newOperator(t, lab)
	for _, n := range lab.Nodes {
		if _, err := n.Run(ctx, keepAsShipped, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range []struct {
		name  string
		tests func(patient, *testing.T)
	}{
		{flagsNode, patient.onFlags},
		{configNode, patient.onConfig},
		{cisNode, patient.onCIS},
		{dropInNode, patient.onDropIn},
		{kubeadmNode, patient.onKubeadm},
		{innerNode, patient.onInner},
	} {
		t.Run(node.name, func(t *testing.T) {
			t.Parallel()
			node.tests(o.patient(t, node.name), t)
		})
	}
	t.Run("pool", func(t *testing.T) {
		t.Parallel()
		t.Run("runbook", o.runbook)
		t.Run("staged", o.staged)
		t.Run("waves", o.waves)
		t.Run("undone", o.undone)
		t.Run("cuts", o.strikes)
	})
}

const (
	configFile   = "/etc/default/kubeletconfig.json"             // of AKS
	defaultsFile = "/etc/default/kubelet"                        // of AKS and kubeadm
	cisFile      = "/etc/kubernetes/kubelet/kubelet-config.json" // of the benchmark
	eksFile      = "/etc/kubernetes/kubelet/config.json"         // of AL2023
	eksDropIn    = eksFile + ".d/40-nodeadm.conf"
	kubeadmFile  = "/var/lib/kubelet/config.yaml"
	unitDropIns  = "/etc/systemd/system/kubelet.service.d"

	flagName = "--make-iptables-util-chains"
)

// The scripts that make a node fail.
const (
	configFalse  = `sed -i '1s/{/{\n    "makeIPTablesUtilChains": false,/' ` + configFile + "\n"
	kubeadmFalse = `sed -i 's/\(makeIPTablesUtilChains:\) true/\1 false/' ` + kubeadmFile + "\n"
)

// flagAdded appends words to the flags of an AKS node.
func flagAdded(words string) string {
	return "sed -i 's/^KUBELET_FLAGS=.*/& " + words + "/' " + defaultsFile + "\n"
}

// cure is a way to make one node well, or to be told why not.
type cure struct {
	name    string
	sick    string // script that makes the node fail, "" where it is shipped so
	staged  string // script that comes after the restart
	looping bool   // the kubelet does not stay up before the change
	method  string
	refused string // reason of a refusal, "" when the node is cured
	says    string // part of the message
	file    string // the only file that may differ afterwards
	old     string // the text in it, once,
	new     string // that is replaced by this
}

func (p patient) cures(t *testing.T, cures []cure) {
	for _, c := range cures {
		t.Run(c.name+", "+c.method, func(t *testing.T) {
			p.run(t, asShipped+c.sick+restartKubelet)
			if !c.looping {
				settled(t, p.n)
			}
			p.run(t, c.staged)
			p.cure(t, c)
		})
	}
}

// cure runs fleet remediate on a node that fails.
func (p patient) cure(t *testing.T, c cure) {
	before, process := p.files(t), p.process(t)
	var text string
	if c.file != "" {
		text = p.read(t, c.file)
	}
	r := p.remedy(t, "--method", c.method)
	if c.refused != "" {
		p.refused(t, r, c, before, process)
		return
	}
	if r.code != report.ExitOK || r.change().Outcome != report.OutcomeChanged || !r.change().Restarted {
		t.Fatalf("not cured: %s", r.says())
	}
	if live := p.settle(t); live != true {
		t.Errorf("the kubelet's own configz says %v", live)
	}
	p.unharmed(t, before, c.file)
	p.replaced(t, c, before[c.file], text)
	p.evident(t, r)
	p.idle(t, c.method)
}

// refused demands that nothing was done, and that the reason is told.
func (p patient) refused(t *testing.T, r ran, c cure, before map[string]fileState, process string) {
	t.Helper()
	if r.code != report.ExitFail || r.change().Outcome != report.OutcomeRefused || r.change().Reason != c.refused || !strings.Contains(r.change().Message, c.says) {
		t.Errorf("want refused %s (%s), got %s", c.refused, c.says, r.says())
	}
	p.unharmed(t, before, "")
	if !c.looping && p.process(t) != process {
		t.Errorf("the kubelet or systemd was touched")
	}
}

// replaced demands that of the file nothing but the intended text changed, and
// that it is still the same to everybody who may read it.
func (p patient) replaced(t *testing.T, c cure, was fileState, text string) {
	t.Helper()
	if strings.Count(text, c.old) != 1 {
		t.Fatalf("%s does not have %q once:\n%s", c.file, c.old, text)
	}
	if want, got := strings.Replace(text, c.old, c.new, 1), p.read(t, c.file); got != want {
		t.Errorf("%s is now\n%s\nwant\n%s", c.file, got, want)
	}
	is := p.files(t)[c.file]
	if is.owner != was.owner || is.mode != was.mode || is.links != was.links || is.link != was.link {
		t.Errorf("%s: owner, mode or links changed: %+v, was %+v", c.file, is, was)
	}
	if is.mtime <= was.mtime {
		t.Errorf("%s: its time of change is %s, was %s: nobody can see that it changed", c.file, is.mtime, was.mtime)
	}
}

// evident demands the benchmark's commands, with what they came to, and a
// backup of the old bytes.
func (p patient) evident(t *testing.T, r ran) {
	t.Helper()
	exits := map[string]int{}
	for _, e := range r.host().Evidence {
		exits[e.Command] = e.Exit
	}
	for _, command := range []string{"systemctl daemon-reload", "systemctl restart kubelet.service", "systemctl status kubelet -l"} {
		if exit, ok := exits[command]; !ok || exit != 0 {
			t.Errorf("evidence of %q: there %v, exit code %d", command, ok, exit)
		}
	}
	backup := r.change().Backup
	if out := p.run(t, "cd "+backup+" && sha256sum <old.1 && cut -d ' ' -f 2 files && cat state"); !strings.Contains(out, "committed") {
		t.Errorf("the run's folder %s: %s", backup, out)
	} else if words := strings.Fields(out); words[0] != words[2] {
		t.Errorf("the backup is not of the old bytes: %s", out)
	}
}

// idle demands that a second run touches nothing.
func (p patient) idle(t *testing.T, method string) {
	t.Helper()
	before, process := p.files(t), p.process(t)
	r := p.remedy(t, "--method", method)
	if r.code != report.ExitOK || r.change().Outcome != report.OutcomeUnchanged {
		t.Errorf("the second run: %s", r.says())
	}
	p.unharmed(t, before, "")
	if after := p.process(t); after != process {
		t.Errorf("the second run touched the kubelet or systemd\nbefore %s\nafter %s", process, after)
	}
}

func (p patient) onFlags(t *testing.T) {
	t.Run("bad disks", p.onBadDisks)
	p.cures(t, []cure{
		{name: "flag", sick: flagAdded(flagName + "=false"), method: "args", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
		{name: "flag", sick: flagAdded(flagName + "=false"), method: "auto", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
		{name: "flag", sick: flagAdded(flagName + "=false"), method: "file", refused: "no-config-file", says: "--method args or auto would work"},
		{name: "flag", sick: flagAdded(flagName + "=false"), method: "file,args", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
		{name: "flag in the middle", sick: "sed -i 's/--max-pods/" + flagName + "=false &/' " + defaultsFile, method: "args", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
		{name: "colon on disk", staged: flagAdded(flagName + ":true"), method: "args", file: defaultsFile, old: flagName + ":true", new: flagName + "=true"},
		{name: "colon, looping", sick: flagAdded(flagName + ":true"), looping: true, method: "args", file: defaultsFile, old: flagName + ":true", new: flagName + "=true"},
		{name: "colon, looping", sick: flagAdded(flagName + ":true"), looping: true, method: "auto", file: defaultsFile, old: flagName + ":true", new: flagName + "=true"},
		{name: "space, looping", sick: flagAdded(flagName + " true"), looping: true, method: "args", file: defaultsFile, old: flagName + " true", new: flagName + "=true"},
		{name: "space, on disk", staged: flagAdded(flagName + " false"), method: "auto", file: defaultsFile, old: flagName + " false", new: flagName + "=true"},
		{name: "the benchmark's variable is not read", sick: flagAdded(flagName+"=false") +
			`printf '[Service]\nEnvironment="KUBELET_ARGS=` + flagName + `=false"\n' > ` + unitDropIns + "/10-kubelet-args.conf\n",
			method: "args", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
		{name: "a drop-in loses to the environment file", sick: flagAdded(flagName+"=false") +
			`printf '[Service]\nEnvironment="KUBELET_FLAGS=` + flagName + `=false"\n' > ` + unitDropIns + "/90-local.conf\n",
			method: "args", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
	})
}

func (p patient) onConfig(t *testing.T) {
	t.Run("strangers", p.onStrangers)
	t.Run("trials", p.poisonedConfig)
	const no, yes = `"makeIPTablesUtilChains": false`, `"makeIPTablesUtilChains": true`
	p.cures(t, []cure{
		{name: "file", sick: configFalse, method: "file", file: configFile, old: no, new: yes},
		{name: "file", sick: configFalse, method: "auto", file: configFile, old: no, new: yes},
		{name: "file", sick: configFalse, method: "args", file: defaultsFile, old: "KUBELET_FLAGS=--node-ip=" + p.n.Address, new: "KUBELET_FLAGS=--node-ip=" + p.n.Address + " " + flagName + "=true"},
		{name: "flag over file", sick: configFalse + flagAdded(flagName+"=false"), method: "file", refused: "masked-by-flag", says: "--method args or auto would work"},
		{name: "flag over file", sick: configFalse + flagAdded(flagName+"=false"), method: "auto", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
		{name: "quoted boolean, looping", sick: configFalse + `sed -i 's/Chains": false/Chains": "false"/' ` + configFile + "\n", looping: true, method: "file", file: configFile, old: `"makeIPTablesUtilChains": "false"`, new: yes},
	})
}

func (p patient) onCIS(t *testing.T) {
	t.Run("trials", p.poisonedCIS)
	t.Run("full disks", p.onFullDisks)
	const no, yes = `"makeIPTablesUtilChains": false`, `"makeIPTablesUtilChains": true`
	const args, extra = unitDropIns + "/10-kubelet-args.conf", unitDropIns + "/30-kubelet-extra-args.conf"
	p.cures(t, []cure{
		{name: "file", method: "file", file: cisFile, old: no, new: yes},
		{name: "file", method: "auto", file: cisFile, old: no, new: yes},
		{name: "file", method: "args", file: extra, old: "nodegroup=ng1'", new: "nodegroup=ng1 " + flagName + "=true'"},
		{name: "flag in the benchmark's variable", sick: "sed -i 's/--v=2/& " + flagName + "=false/' " + args + "\n", method: "args", file: args, old: flagName + "=false", new: flagName + "=true"},
		{name: "flag in the last variable", sick: "sed -i 's/=ng1/& " + flagName + "=false/' " + extra + "\n", method: "file", refused: "masked-by-flag", says: extra},
	})
}

func (p patient) onDropIn(t *testing.T) {
	t.Run("trials", p.poisonedDropIn)
	t.Run("supervisor", p.killed)
	const no, yes = `"makeIPTablesUtilChains": false`, `"makeIPTablesUtilChains": true`
	p.cures(t, []cure{
		{name: "drop-in", method: "auto", file: eksDropIn, old: no, new: yes},
		{name: "drop-in", method: "file", refused: "masked-by-drop-in", says: "--method args or auto would work"},
		{name: "drop-in", method: "args", file: "/etc/eks/kubelet/environment", old: "nodegroup=ng2'", new: "nodegroup=ng2 " + flagName + "=true'"},
		{name: "file below a silent drop-in", sick: `sed -i 's/Chains": true/Chains": false/' ` + eksFile + "; sed -i -e 's/Configuration\",/Configuration\"/' -e /makeIP/d " + eksDropIn + "\n",
			method: "file", file: eksFile, old: no, new: yes},
	})
}

func (p patient) onKubeadm(t *testing.T) {
	t.Run("shells", p.shells)
	const no, yes = "makeIPTablesUtilChains: false # as the default", "makeIPTablesUtilChains: true # as the default"
	p.cures(t, []cure{
		{name: "file", sick: kubeadmFalse, method: "file", file: kubeadmFile, old: no, new: yes},
		{name: "file", sick: kubeadmFalse, method: "auto", file: kubeadmFile, old: no, new: yes},
		{name: "file", sick: kubeadmFalse, method: "args", file: defaultsFile, old: "KUBELET_EXTRA_ARGS=", new: "KUBELET_EXTRA_ARGS=" + flagName + "=true"},
		{name: "quoted, looping", sick: kubeadmFalse + `sed -i 's/Chains: false/Chains: "true"/' ` + kubeadmFile + "\n", looping: true, method: "file",
			file: kubeadmFile, old: `makeIPTablesUtilChains: "true" # as the default`, new: yes},
	})
}

func (p patient) onInner(t *testing.T) {
	t.Run("power", p.rebooted)
	p.cures(t, []cure{
		{name: "flag", method: "args", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
		{name: "flag", method: "auto", file: defaultsFile, old: flagName + "=false", new: flagName + "=true"},
	})
}
