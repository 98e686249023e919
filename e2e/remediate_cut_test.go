//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet/audit"
	"fleet/lab/real"
	"fleet/report"
)

// under is a fleet command that is under way.
type under struct {
	cmd       *exec.Cmd
	out, errs *bytes.Buffer
}

// begin starts fleet remediate on the node alone.
func (p patient) begin(t *testing.T, args ...string) *under {
	t.Helper()
	cmd, out, errs := p.prepared(slices.Concat([]string{"remediate", "--yes", "--limit", p.n.Name, "-o", "json"}, fast, args, p.access())...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() }) // one that has ended is as wanted
	return &under{cmd, out, errs}
}

// end waits for the command.
func (u *under) end(t *testing.T) ran {
	t.Helper()
	var exit *exec.ExitError
	if err := u.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return finished(t, u.cmd, u.out, u.errs)
}

// stands is where the newest run on the node stands, "" for none.
func (p patient) stands(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(p.run(t, "cd /var/lib/fleet/runs 2>/dev/null && head -n 1 $(ls | tail -n 1)/state 2>/dev/null || true"))
}

// await waits until the newest run on the node stands at one of the states.
func (p patient) await(t *testing.T, states ...string) {
	t.Helper()
	var now string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		now, _, _ = strings.Cut(p.stands(t), " ")
		if slices.Contains(states, now) {
			return
		}
	}
	t.Fatalf("the run on %s stands at %q, not at %q", p.n.Name, now, states)
}

// harm is a way in which a change is disturbed. It gets random numbers for how
// long it lasts.
type harm struct {
	name string
	do   func(p patient, t *testing.T, u *under, random *rand.Rand)
}

// onTheNode is a harm that is a script on the node, with a random length of
// time in seconds as $1.
func onTheNode(name, script string) harm {
	return harm{name, func(p patient, t *testing.T, _ *under, random *rand.Rand) {
		p.run(t, fmt.Sprintf("set -- %d.%d\n%s", random.IntN(6), random.IntN(10), script))
	}}
}

// linkHarms cut the connection, or end one of its two sides.
func linkHarms() []harm {
	return []harm{
		onTheNode("sessions killed", "pkill -KILL -f '^sshd: "+real.LoginUser+"' || true"),
		onTheNode("packets dropped", "for c in INPUT:--dport OUTPUT:--sport; do iptables -I ${c%:*} -p tcp ${c#*:} 22 -j DROP; done; sleep $1\n"+
			"for c in INPUT:--dport OUTPUT:--sport; do iptables -D ${c%:*} -p tcp ${c#*:} 22 -j DROP; done"),
		onTheNode("link down", "ip link set eth0 down; sleep $1; ip link set eth0 up"),
		{"client killed", func(_ patient, t *testing.T, u *under, _ *rand.Rand) {
			if err := u.cmd.Process.Kill(); err != nil && !strings.Contains(err.Error(), "finished") {
				t.Error(err)
			}
		}},
	}
}

// supervisorHarms end the supervisor on the node.
func supervisorHarms() []harm {
	return []harm{
		onTheNode("supervisor killed", "systemctl kill --signal=KILL fleet-change.service 2>/dev/null || true"),
		onTheNode("supervisor killed twice", "systemctl kill --signal=KILL fleet-change.service; sleep 1.$(( ${1%.*} )); systemctl kill --signal=KILL fleet-change.service 2>/dev/null || true"),
		onTheNode("supervisor stopped", "systemctl stop fleet-change.service 2>/dev/null || true"),
	}
}

// struck is a node on which changes are disturbed: whatever happens, it is in
// one of two states.
type struck struct {
	patient
	method   string
	sick     string // makes the node fail
	file     string // the file that is changed
	old, new string // its bytes
}

// newStruck finds out what the two states are.
func newStruck(t *testing.T, p patient) struck {
	t.Helper()
	s := struck{patient: p, method: "auto", file: defaultsFile}
	from, to := flagName+"=false", flagName+"=true"
	switch p.n.Shape {
	case real.ShapeAKSFlags:
		if p.n.Jump == "" { // it is shipped so
			s.sick = flagAdded(flagName + "=false")
		}
	case real.ShapeAKSConfig:
		s.sick, s.file, from, to = configFalse, configFile, `Chains": false`, `Chains": true`
	case real.ShapeEKSAL2:
		s.file, from, to = cisFile, `Chains": false`, `Chains": true`
	case real.ShapeKubeadm:
		s.sick, s.file, from, to = kubeadmFalse, kubeadmFile, "Chains: false", "Chains: true"
	case real.ShapeAL2023:
		s.file, from, to = eksDropIn, `Chains": false`, `Chains": true`
	}
	p.prepare(t, s.sick)
	s.old = p.read(t, s.file)
	s.new = strings.Replace(s.old, from, to, 1)
	return s
}

// strike disturbs one change and holds the node against the two states.
func (s struck) strike(t *testing.T, random *rand.Rand, harms []harm) string {
	t.Helper()
	s.prepare(t, s.sick)
	before := s.files(t)
	h := harms[random.IntN(len(harms))]
	delay := time.Duration(random.IntN(9000)) * time.Millisecond
	u := s.begin(t, "--method", s.method)
	time.Sleep(delay)
	stood := s.stands(t)
	h.do(s.patient, t, u, random)
	r := u.end(t)
	s.quiet(t)
	where := fmt.Sprintf("%s after %s, when the run stood at %q: %s", h.name, delay, stood, r.says())
	state := s.either(t, before, where)
	s.told(t, r, state, where)
	s.next(t, where)
	return fmt.Sprintf("%s after %s at %q: %s, %s", h.name, delay, stood, r.change().Outcome, state)
}

// either demands that the node is in the old or the new state, and says in
// which.
func (s struck) either(t *testing.T, before map[string]fileState, where string) string {
	t.Helper()
	s.unharmed(t, s.withLeftovers(t, before), s.file)
	live := s.settle(t)
	text := s.read(t, s.file)
	switch {
	case text == s.old && live == false:
		s.asBefore(t, s.withLeftovers(t, before))
		return "old"
	case text == s.new && live == true:
		return "new"
	}
	t.Errorf("between: the kubelet says %v and the file is old %v, new %v\n%s\n%s", live, text == s.old, text == s.new, where, s.evidence())
	return "between"
}

// unfinished lists the runs that have not ended and that nobody sees to.
func (p patient) unfinished(t *testing.T) string {
	t.Helper()
	return p.run(t, "grep -sE '^(checking|changing|restarting|watching|waiting|rolling-back) ' /var/lib/fleet/runs/*/state || true")
}

// withLeftovers adds the temporary files of a run that has not ended, which
// nothing but the next run can tidy up.
func (p patient) withLeftovers(t *testing.T, files map[string]fileState) map[string]fileState {
	t.Helper()
	if p.unfinished(t) == "" {
		return files
	}
	all := maps.Clone(files)
	for path, f := range p.files(t) {
		if strings.Contains(path, "/.fleet-") {
			all[path] = f
		}
	}
	return all
}

// evidence is what the node keeps of the newest run, for whoever has to find
// out what went wrong.
func (p patient) evidence() string {
	out, _ := p.n.Run(ctx, "cd /var/lib/fleet/runs && cd $(ls | tail -n 1) && ls && cat state log; systemctl status fleet-change kubelet --no-pager -n 0", nil)
	return out
}

// told demands that the report of the disturbed command, if there is one, is
// true: it may say that it does not know, but nothing that is not so.
func (s struck) told(t *testing.T, r ran, state, where string) {
	t.Helper()
	if len(r.report.Hosts) == 0 {
		return
	}
	switch c := r.change(); c.Outcome {
	case report.OutcomeChanged:
		if state != "new" || r.code != report.ExitOK {
			t.Errorf("fleet says changed, the node is %s\n%s", state, where)
		}
	case report.OutcomeRolledBack, report.OutcomeFailedBeforeChange, report.OutcomeRefused:
		if state != "old" || r.code == report.ExitOK {
			t.Errorf("fleet says %s, the node is %s\n%s", c.Outcome, state, where)
		}
	case report.OutcomeUnknown:
		if r.code != report.ExitIncomplete {
			t.Errorf("fleet does not know, and ends with %d\n%s", r.code, where)
		}
	default:
		t.Errorf("fleet says %s\n%s", c.Outcome, where)
	}
}

// next demands that the next audit tells the truth, and that the next change
// makes the node well.
func (s struck) next(t *testing.T, where string) {
	t.Helper()
	live, text := s.live(), s.read(t, s.file)
	_, rep := s.audit(t, "--limit", s.n.Name)
	h := rep.Hosts[0]
	if h.Running == nil || h.Running.Value != live || h.Next == nil || h.Next.Value != (text == s.new) {
		t.Errorf("the audit says %s, the kubelet %v, and the file is new: %v\n%s", summary(h), live, text == s.new, where)
	}
	if want := live == true; (h.Status == audit.StatusPass) != want {
		t.Errorf("the audit says %s, the kubelet %v\n%s", summary(h), live, where)
	}
	left := s.unfinished(t)
	r := s.remedy(t, "--method", s.method)
	if left != "" && r.code != report.ExitOK { // that run was ended; a new one makes the change
		r = s.remedy(t, "--method", s.method)
	}
	if r.code != report.ExitOK || s.read(t, s.file) != s.new || s.settle(t) != true {
		t.Errorf("the next change did not make the node well: %s\n%s\n%s", r.says(), where, s.evidence())
	}
	if left := s.unfinished(t); left != "" {
		t.Errorf("a run is still unfinished: %s\n%s", left, where)
	}
	for path := range s.files(t) {
		if strings.Contains(path, "/.fleet-") {
			t.Errorf("%s was left behind\n%s", path, where)
		}
	}
}

// strikes disturbs one change after the other, on each of the pool's nodes a
// part of them. $FLEET_E2E_SEED and $FLEET_E2E_CUTS choose.
func (o operator) strikes(t *testing.T) {
	seed := number(t, "FLEET_E2E_SEED", uint64(time.Now().Unix()))
	cuts := int(number(t, "FLEET_E2E_CUTS", 40))
	t.Logf("%d cuts of the connection; again with FLEET_E2E_SEED=%d", cuts, seed)
	for i := range poolSize {
		t.Run(poolNode(i), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			s := newStruck(t, o.patient(t, poolNode(i)))
			for n := i; n < cuts; n += poolSize {
				t.Run(fmt.Sprint(n), func(t *testing.T) { t.Log(s.strike(t, random, linkHarms())) })
			}
		})
	}
}

// killed ends the supervisor at random moments.
func (p patient) killed(t *testing.T) {
	seed := number(t, "FLEET_E2E_SEED", uint64(time.Now().Unix()))
	t.Logf("again with FLEET_E2E_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 99))
	s := newStruck(t, p)
	for n := range int(number(t, "FLEET_E2E_KILLS", 10)) {
		t.Run(fmt.Sprint(n), func(t *testing.T) { t.Log(s.strike(t, random, supervisorHarms())) })
	}
}

// rebooted shuts a node down, or cuts its power, in the middle of a change.
func (p patient) rebooted(t *testing.T) {
	s := newStruck(t, p)
	for _, c := range []struct {
		name   string
		reboot func(*real.Node, context.Context) error
		alone  bool // fleet is killed with it
		at     string
	}{
		{"reboot", (*real.Node).Reboot, false, "watching"},
		{"power cut", (*real.Node).PowerCut, false, "watching"},
		{"power cut, and fleet with it", (*real.Node).PowerCut, true, "watching"},
		{"power cut at the restart, and fleet with it", (*real.Node).PowerCut, true, "restarting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.prepare(t, s.sick)
			before := s.files(t)
			u := s.begin(t, "--method", s.method, "--healthy-for", "20s")
			s.await(t, c.at, "watching")
			if c.alone {
				u.cmd.Process.Kill() // it runs
			}
			if err := c.reboot(s.n, ctx); err != nil {
				t.Fatal(err)
			}
			r := u.end(t)
			s.quiet(t)
			state := s.either(t, before, c.name+": "+r.says())
			s.told(t, r, state, c.name)
			s.next(t, c.name)
			t.Logf("%s %s, %s", r.change().Outcome, r.change().Reason, state)
		})
	}
}
