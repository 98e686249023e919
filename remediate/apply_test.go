package remediate_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fleet/audit"
	"fleet/inventory"
	"fleet/lab"
	"fleet/remediate"
	"fleet/remote"
)

const (
	configPath = "/etc/default/kubeletconfig.json"
	flagsPath  = "/etc/default/kubelet"
)

var control = audit.MakeIPTablesUtilChains

// quick is a timing that tests can wait for.
var quick = remediate.Timing{Health: 20 * time.Second, HealthyFor: time.Second, Confirm: 20 * time.Second}

// hasty is one for nodes that nobody will confirm.
var hasty = remediate.Timing{Health: 20 * time.Second, HealthyFor: time.Second, Confirm: 4 * time.Second}

// world is one simulated node and the way to it.
type world struct {
	lab.Node
	t      *testing.T
	dialer *remote.Dialer
	host   inventory.Host
}

// wrong is a node that says false in its configuration file.
func wrong(name string) lab.NodeSpec {
	return lab.NodeSpec{Name: name, Shape: lab.ShapeAKSFile, Set: lab.Layers{File: "false"}}
}

func newWorld(t *testing.T, spec lab.NodeSpec, shell string) *world {
	t.Helper()
	dir := t.TempDir()
	fleet, err := lab.Start(t.Context(), lab.Options{Dir: dir, Nodes: []lab.NodeSpec{spec}, Shell: shell})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	if err := fleet.WriteInventory(dir); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.Load(filepath.Join(dir, "nodes.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, err := fleet.Node(spec.Name)
	if err != nil {
		t.Fatal(err)
	}
	dialer, err := remote.NewDialer(remote.Options{
		SSHConfig: "none", KnownHosts: []string{filepath.Join(dir, "known_hosts")}, Home: dir, ConnectTimeout: 10 * time.Second,
		Warn: func(string, ...any) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialer.Close() })
	return &world{Node: node, t: t, dialer: dialer, host: inv.Hosts[0]}
}

// TestMain lets more tests run at a time than there are cores: they wait more
// than they work.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// session makes a connection what remediate asks for.
type session struct{ *remote.Conn }

func (s session) Sh(ctx context.Context, script []byte) (audit.Answer, error) {
	out, err := s.Run(ctx, remote.Command{Line: "sh -s", Stdin: script, Become: inventory.BecomeSudo})
	return audit.Answer{Stdout: out.Stdout, Stderr: out.Stderr, Exit: out.Exit}, err
}

func (w *world) reach() remediate.Host {
	return remediate.Host{
		Dial: func(ctx context.Context) (remediate.Session, error) {
			conn, err := w.dialer.Dial(ctx, w.host)
			if err != nil {
				return nil, err
			}
			return session{conn}, nil
		},
		Audit: func(ctx context.Context, s remediate.Session) (audit.Finding, error) {
			facts, err := audit.Probe(ctx, s, control)
			if err != nil {
				return audit.Finding{}, err
			}
			return control.Judge(facts, audit.Policy{}, nil), nil
		},
	}
}

// look probes and judges the node, as soon as it lets somebody in.
func (w *world) look() (audit.Facts, audit.Finding) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		facts, err := w.probe()
		if err == nil {
			return facts, control.Judge(facts, audit.Policy{}, nil)
		}
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
}

func (w *world) probe() (audit.Facts, error) {
	s, err := w.reach().Dial(w.t.Context())
	if err != nil {
		return audit.Facts{}, err
	}
	defer s.Close()
	return audit.Probe(w.t.Context(), s, control)
}

func (w *world) plan(methods ...remediate.Method) remediate.Plan {
	w.t.Helper()
	facts, finding := w.look()
	p := remediate.NewPlan(control, facts, finding, remediate.Options{Methods: methods})
	if !p.Ready() {
		w.t.Fatalf("nothing to do: %+v", p.Refused)
	}
	return p
}

func (w *world) read(name string) string {
	w.t.Helper()
	data, err := w.ReadFile(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

// sh runs a command on the node as root.
func (w *world) sh(command string) {
	w.t.Helper()
	s, err := w.reach().Dial(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	if a, err := s.Sh(w.t.Context(), []byte(command)); err != nil {
		w.t.Fatalf("%s: %v %s", command, err, a.Stderr)
	}
}

// quiet waits until no supervisor is there any more.
func (w *world) quiet() {
	w.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if u := w.Unit("fleet-change.service"); u == nil || u["ActiveState"] == "inactive" || u["ActiveState"] == "failed" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal("the supervisor does not end")
		}
	}
}

// leftovers are files that a change must not leave behind.
func (w *world) leftovers() []string {
	var out []string
	_ = filepath.WalkDir(filepath.Join(w.Root(), "etc"), func(name string, _ os.DirEntry, _ error) error {
		if strings.HasPrefix(filepath.Base(name), ".fleet-") {
			out = append(out, name)
		}
		return nil
	})
	return out
}

func run(id string) remediate.Run {
	return remediate.Run{ID: "20261101-030000-" + id, Owner: "tester@here"}
}

// sound demands that the node is wholly old or wholly new: the bytes, and a
// kubelet that runs with them.
func (w *world) sound(p remediate.Plan) (isNew bool) {
	w.t.Helper()
	file := p.Files[0]
	switch now := w.read(file.Path); now {
	case string(file.New):
		isNew = true
	case string(file.Old):
	default:
		w.t.Errorf("%s is neither old nor new:\n%s", file.Path, now)
	}
	if left := w.leftovers(); len(left) > 0 {
		w.t.Errorf("left behind: %q", left)
	}
	_, finding := w.look()
	if want := isNew; finding.Running == nil || finding.Running.Value != want {
		w.t.Errorf("the file is new: %v, but the kubelet: %s %s %+v", isNew, finding.Reason, finding.Message, finding.Running)
	}
	return isNew
}

// TestApply makes one change on nodes that behave well and badly.
func TestApply(t *testing.T) {
	t.Parallel()
	onlyTrue := func(b lab.Behaviour) lab.NodeSpec {
		spec := wrong("node")
		b.Only = "true"
		spec.Kubelet = b
		return spec
	}
	flags := lab.NodeSpec{Name: "node", Set: lab.Layers{Flags: []string{"--make-iptables-util-chains=false"}}}
	colon := lab.NodeSpec{Name: "node", State: lab.StateCrashLoop, Set: lab.Layers{Flags: []string{"--make-iptables-util-chains:true"}}}
	full := wrong("node")
	full.DiskFull = lab.Places{"/etc/default"}
	for _, c := range []struct {
		name    string
		spec    lab.NodeSpec
		method  remediate.Method
		before  func(w *world) // after the plan was made
		outcome remediate.Outcome
		reason  string
		message string // a part of it
	}{
		{name: "file", spec: wrong("node"), method: "file", outcome: remediate.OutcomeChanged},
		{name: "args", spec: flags, method: "args", outcome: remediate.OutcomeChanged},
		{name: "colon in a crash loop", spec: colon, method: "auto", outcome: remediate.OutcomeChanged},
		{name: "slow start", spec: onlyTrue(lab.Behaviour{SlowStart: 3 * time.Second}), method: "file", outcome: remediate.OutcomeChanged},
		{name: "healthz lags", spec: onlyTrue(lab.Behaviour{HealthAfter: 3 * time.Second}), method: "file", outcome: remediate.OutcomeChanged},
		{name: "never healthy", spec: onlyTrue(lab.Behaviour{HealthAfter: lab.Never}), method: "file",
			outcome: remediate.OutcomeRolledBack, reason: "unhealthy", message: "healthz"},
		{name: "dies at once", spec: onlyTrue(lab.Behaviour{DieAfter: 300 * time.Millisecond}), method: "file",
			outcome: remediate.OutcomeRolledBack, reason: "kubelet-restarts"},
		{name: "the restart has no effect", spec: onlyTrue(lab.Behaviour{Ineffective: true}), method: "file",
			outcome: remediate.OutcomeRolledBack, reason: "not-effective"},
		{name: "file changed since the plan", spec: wrong("node"), method: "file",
			before: func(w *world) {
				w.t.Helper()
				if err := w.WriteFile(configPath, []byte(w.read(configPath)+"\n")); err != nil {
					w.t.Fatal(err)
				}
			},
			outcome: remediate.OutcomeFailedBeforeChange, reason: "file-changed", message: configPath},
		{name: "disk full", spec: full, method: "file", outcome: remediate.OutcomeFailedBeforeChange, reason: "disk-full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.spec, "")
			p := w.plan(c.method)
			if c.before != nil {
				c.before(w)
			}
			r := remediate.Apply(t.Context(), w.reach(), p, run("aaaa"), quick)
			if r.Outcome != c.outcome || r.Reason != c.reason || !strings.Contains(r.Message, c.message) {
				t.Errorf("got %s %q %q, want %s %q %q", r.Outcome, r.Reason, r.Message, c.outcome, c.reason, c.message)
			}
			w.quiet()
			if c.before != nil {
				return
			}
			if isNew := w.sound(p); isNew != (c.outcome == remediate.OutcomeChanged) {
				t.Errorf("%s, but the file is new: %v", r.Outcome, isNew)
			}
			if c.outcome == remediate.OutcomeChanged {
				commands(t, r.Evidence)
			}
		})
	}
}

// commands demands the benchmark's own commands in the evidence.
func commands(t *testing.T, evidence []audit.Evidence) {
	t.Helper()
	want := []string{"systemctl daemon-reload", "systemctl restart kubelet.service", "systemctl status kubelet -l"}
	for i, e := range evidence {
		if i < len(want) && (e.Command != want[i] || e.Exit != 0) {
			t.Errorf("evidence %d is %q with %d, want %q", i, e.Command, e.Exit, want[i])
		}
	}
	if len(evidence) != len(want) {
		t.Errorf("%d exhibits, want %d", len(evidence), len(want))
	}
}

// TestApplyInEveryShell runs the node's scripts under every shell at hand.
func TestApplyInEveryShell(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dash", "bash", "busybox"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue // a machine for the unit tests may lack it; the end-to-end run does not
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shell := path
			if name == "busybox" {
				shell = filepath.Join(t.TempDir(), "sh") // an applet is chosen by its name
				if err := os.Symlink(path, shell); err != nil {
					t.Fatal(err)
				}
			}
			w := newWorld(t, wrong("node"), shell)
			p := w.plan("file")
			if r := remediate.Apply(t.Context(), w.reach(), p, run("aaaa"), quick); r.Outcome != remediate.OutcomeChanged {
				t.Errorf("got %s %q %q", r.Outcome, r.Reason, r.Message)
			}
			w.sound(p)
		})
	}
}

// TestNobodyConfirms changes a node that fleet cannot look at afterwards.
func TestNobodyConfirms(t *testing.T) {
	t.Parallel()
	t.Run("the audit fails", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, wrong("node"), "")
		p := w.plan("file")
		host := w.reach()
		host.Audit = func(context.Context, remediate.Session) (audit.Finding, error) {
			return audit.Finding{}, errors.New("no answer")
		}
		r := remediate.Apply(t.Context(), host, p, run("aaaa"), hasty)
		if r.Outcome != remediate.OutcomeRolledBack || r.Reason != "verify-failed" && r.Reason != "no-confirmation" {
			t.Errorf("got %s %q %q", r.Outcome, r.Reason, r.Message)
		}
		if w.quiet(); w.sound(p) {
			t.Error("the change stayed")
		}
	})
	t.Run("the link is gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, wrong("node"), "")
		p := w.plan("file")
		host := w.reach()
		host.Note = func(step, _ string) {
			if step == "waiting" {
				w.Refuse(12 * time.Second)
			}
		}
		r := remediate.Apply(t.Context(), host, p, run("aaaa"), hasty)
		if r.Outcome != remediate.OutcomeRolledBack || r.Reason != "no-confirmation" {
			t.Errorf("got %s %q %q", r.Outcome, r.Reason, r.Message)
		}
		if w.quiet(); w.sound(p) {
			t.Error("the change stayed")
		}
	})
	t.Run("fleet is interrupted", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, wrong("node"), "")
		p := w.plan("file")
		ctx, cancel := context.WithCancel(t.Context())
		host := w.reach()
		host.Audit = func(context.Context, remediate.Session) (audit.Finding, error) {
			cancel()
			return audit.Finding{}, ctx.Err()
		}
		r := remediate.Apply(ctx, host, p, run("aaaa"), hasty)
		if r.Outcome != remediate.OutcomeUnknown || r.Reason != "left-behind" {
			t.Errorf("got %s %q %q", r.Outcome, r.Reason, r.Message)
		}
		if w.quiet(); w.sound(p) {
			t.Error("the change stayed")
		}
	})
}

// TestTwoOperators changes one node from two sides at once.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrong("node"), "")
	p := w.plan("file")
	begun := make(chan struct{}, 1)
	host := w.reach()
	host.Note = func(step, _ string) {
		if step == "waiting" {
			begun <- struct{}{}
			time.Sleep(time.Second)
		}
	}
	var first remediate.Result
	var group sync.WaitGroup
	group.Go(func() {
		first = remediate.Apply(t.Context(), host, p, run("aaaa"), quick)
		close(begun)
	})
	<-begun
	facts, finding := w.look()
	late := remediate.NewPlan(control, facts, finding, remediate.Options{Methods: []remediate.Method{"file"}})
	second := remediate.Apply(t.Context(), w.reach(), p, remediate.Run{ID: "20261101-030001-bbbb", Owner: "other@there"}, quick)
	group.Wait()
	if first.Outcome != remediate.OutcomeChanged {
		t.Errorf("the first: %s %q %q", first.Outcome, first.Reason, first.Message)
	}
	if second.Outcome != remediate.OutcomeFailedBeforeChange || second.Reason != "node-locked" || !strings.Contains(second.Message, "tester@here") {
		t.Errorf("the second: %s %q %q", second.Outcome, second.Reason, second.Message)
	}
	if late.Ready() {
		t.Errorf("a plan made meanwhile: %+v", late)
	}
	w.sound(p)
}

// TestTheLinkIsCut cuts the node off at random moments of a change. Whatever
// happens, the node ends old or new, Apply tells truthfully which, and it never
// hangs.
func TestTheLinkIsCut(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 12 {
		at := time.Duration(random.Int64N(int64(9 * time.Second)))
		deaf := time.Duration(random.Int64N(int64(4 * time.Second)))
		t.Run(fmt.Sprintf("%02d after %v for %v", i, at.Round(time.Millisecond), deaf.Round(time.Millisecond)), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, wrong("node"), "")
			p := w.plan("file")
			time.AfterFunc(at, func() { w.Refuse(deaf) })
			r := remediate.Apply(t.Context(), w.reach(), p, run("aaaa"), quick)
			w.quiet()
			isNew := w.sound(p)
			if isNew != (r.Outcome == remediate.OutcomeChanged) || r.Outcome == remediate.OutcomeUnknown {
				t.Errorf("the file is new: %v, and the outcome is %s %q %q", isNew, r.Outcome, r.Reason, r.Message)
			}
		})
	}
}

// TestCutInTheFirstBytes cuts the very session that begins the change, in the
// middle of its script and of its answer.
func TestCutInTheFirstBytes(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]lab.Cut{
		"first bytes in": {In: 100}, "half the script": {In: 8 << 10}, "first bytes out": {Out: 1}, "just begun": {After: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, wrong("node"), "")
			p := w.plan("file")
			w.OnSession(func(n int, _ string) lab.Cut {
				if n == 1 {
					return cut
				}
				return lab.Cut{}
			})
			r := remediate.Apply(t.Context(), w.reach(), p, run("aaaa"), quick)
			w.quiet()
			if isNew := w.sound(p); isNew != (r.Outcome == remediate.OutcomeChanged) || r.Outcome == remediate.OutcomeUnknown {
				t.Errorf("the file is new: %v, and the outcome is %s %q %q", isNew, r.Outcome, r.Reason, r.Message)
			}
		})
	}
}

// TestTheSupervisorIsKilled kills it at random moments; systemd starts it
// again, and it undoes what it had begun.
func TestTheSupervisorIsKilled(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{200, 600, 1200, 2500, 4000} {
		t.Run((step * time.Millisecond).String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, wrong("node"), "")
			p := w.plan("file")
			time.AfterFunc(step*time.Millisecond, func() { _ = w.KillUnit("fleet-change.service") })
			r := remediate.Apply(t.Context(), w.reach(), p, run("aaaa"), quick)
			w.quiet()
			if isNew := w.sound(p); isNew != (r.Outcome == remediate.OutcomeChanged) || r.Outcome == remediate.OutcomeUnknown {
				t.Errorf("the file is new: %v, and the outcome is %s %q %q", isNew, r.Outcome, r.Reason, r.Message)
			}
		})
	}
}

// TestRollback undoes a run, and refuses where the file has changed since.
func TestRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrong("node"), "")
	p := w.plan("file")
	if r := remediate.Apply(t.Context(), w.reach(), p, run("aaaa"), quick); r.Outcome != remediate.OutcomeChanged {
		t.Fatalf("got %s %q %q", r.Outcome, r.Reason, r.Message)
	}
	recall := func(id string) remediate.Plan {
		s, err := w.reach().Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		past, err := remediate.Recall(t.Context(), s, run(id))
		if err != nil {
			t.Fatal(err)
		}
		facts, _ := w.look()
		return remediate.NewRollback(control, facts, past)
	}
	if back := recall("zzzz"); back.Refused == nil || back.Refused.Code != "no-such-run" {
		t.Errorf("of a run that never was: %+v", back)
	}
	back := recall("aaaa")
	if !back.Ready() || back.Expect != false || len(back.Files) != 1 {
		t.Fatalf("the plan: %+v %+v", back, back.Refused)
	}
	if err := w.WriteFile(configPath, []byte(w.read(configPath)+" ")); err != nil {
		t.Fatal(err)
	}
	if later := recall("aaaa"); later.Refused == nil || later.Refused.Code != "changed-since" {
		t.Errorf("of a file changed since: %+v", later)
	}
	if err := w.WriteFile(configPath, p.Files[0].New); err != nil {
		t.Fatal(err)
	}
	if r := remediate.Apply(t.Context(), w.reach(), back, run("bbbb"), quick); r.Outcome != remediate.OutcomeChanged {
		t.Errorf("got %s %q %q", r.Outcome, r.Reason, r.Message)
	}
	if w.sound(p) {
		t.Error("the change stayed")
	}
	if again := recall("aaaa"); again.Refused == nil || again.Refused.Code != "nothing-to-undo" {
		t.Errorf("a second time: %+v", again)
	}
}

// TestStaged writes the files and leaves the restart to somebody else.
func TestStaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrong("node"), "")
	facts, finding := w.look()
	p := remediate.NewPlan(control, facts, finding, remediate.Options{Methods: []remediate.Method{"file"}, NoRestart: true})
	pid := w.KubeletPID()
	r := remediate.Apply(t.Context(), w.reach(), p, run("aaaa"), quick)
	if r.Outcome != remediate.OutcomeChanged || r.Restarted || w.KubeletPID() != pid {
		t.Errorf("got %s %q %q, restarted %v", r.Outcome, r.Reason, r.Message, r.Restarted)
	}
	if _, finding = w.look(); finding.Reason != "restart-pending" {
		t.Errorf("then the audit says %s", finding.Reason)
	}
}

// TestRecover ends a run whose supervisor is gone for good.
func TestRecover(t *testing.T) {
	t.Parallel()
	for _, passes := range []bool{true, false} {
		t.Run(fmt.Sprintf("the node passes: %v", passes), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, wrong("node"), "")
			p := w.plan("file")
			w.interrupt(p)
			facts, finding := w.look()
			if len(facts.Changes) != 1 || facts.Changes[0].Held || facts.Changes[0].Run != run("aaaa").ID || facts.Changes[0].Owner != "tester@here" {
				t.Fatalf("the probe says %+v", facts.Changes)
			}
			if !passes {
				finding.Status = audit.StatusFail
			}
			r := remediate.Recover(t.Context(), w.reach(), run("aaaa"), finding, quick)
			w.quiet()
			if isNew := w.sound(p); isNew != passes || isNew != (r.Outcome == remediate.OutcomeChanged) {
				t.Errorf("the file is new: %v, and the outcome is %s %q %q", isNew, r.Outcome, r.Reason, r.Message)
			}
			if facts, _ = w.look(); len(facts.Changes) != 0 {
				t.Errorf("still unfinished: %+v", facts.Changes)
			}
		})
	}
}

// interrupt leaves a change behind that waits for a confirmation, with nobody
// to see to it, as a node that lost its power does.
func (w *world) interrupt(p remediate.Plan) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	host := w.reach()
	host.Note = func(step, _ string) {
		if step == "waiting" {
			cancel()
		}
	}
	slow := quick
	slow.Confirm = 5 * time.Minute
	remediate.Apply(ctx, host, p, run("aaaa"), slow)
	state := "/var/lib/fleet/runs/" + run("aaaa").ID + "/state"
	before := w.read(state)
	if !strings.HasPrefix(before, "waiting") {
		w.t.Fatalf("the journal says %q", before)
	}
	// A supervisor that is told to end would roll back, and one that is killed is
	// started again: without its script that comes to nothing, until it is stopped.
	script := filepath.Join(w.Root(), "var/lib/fleet/runs", run("aaaa").ID, "supervisor.sh")
	if err := errors.Join(os.Rename(script, script+".away"), w.KillUnit("fleet-change.service")); err != nil {
		w.t.Fatal(err)
	}
	w.sh("systemctl stop fleet-change.service")
	w.quiet()
	if err := os.Rename(script+".away", script); err != nil {
		w.t.Fatal(err)
	}
}
