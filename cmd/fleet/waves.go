package main

import (
	"context"
	"fmt"
	"time"

	"fleet/audit"
	"fleet/inventory"
	"fleet/remediate"
	"fleet/report"
	"fleet/runner"
)

// deal deals the hosts that have something to be done out to waves.
func (w *work) deal() []remediate.Wave {
	var candidates []remediate.Candidate
	sizes := map[string]int{}
	for _, t := range w.hosts {
		sizes[pool(t.host)]++
		if t.todo() {
			candidates = append(candidates, remediate.Candidate{Name: t.host.Name, Pool: pool(t.host)})
		}
	}
	waves := remediate.Waves(candidates, w.batches, w.perPool, sizes)
	for _, wave := range waves {
		for _, c := range wave.Hosts {
			w.target(c.Name).wave = wave.Number
		}
	}
	return waves
}

// todo tells that the host waits for its turn.
func (t *target) todo() bool {
	return t.err == nil && t.stopped == "" && t.result == nil && (t.found.plan.Ready() || t.found.leftover != "")
}

func (w *work) target(name string) *target { return w.byName[name] }

// pool is the agent pool that a host belongs to, by the labels of AKS, EKS and
// GKE.
func pool(h inventory.Host) string {
	for _, key := range []string{"agentpool", "kubernetes.azure.com/agentpool", "eks.amazonaws.com/nodegroup", "cloud.google.com/gke-nodepool"} {
		if p := h.Labels[key]; p != "" {
			return p
		}
	}
	return ""
}

// counts is how the hosts came out so far.
func (w *work) counts() remediate.Counts {
	var c remediate.Counts
	for _, t := range w.hosts {
		switch {
		case t.err != nil:
			c.Unreachable++
		case t.todo(), t.stopped != "":
			c.Left++
		case t.result == nil && t.found.finding.Status == audit.StatusUnknown:
			c.Unknown++
		case t.result == nil: // as wanted, or refused by its plan: nothing was tried
		case t.result.Outcome == remediate.OutcomeChanged, t.cleared():
			c.Good++
		case t.result.Outcome == remediate.OutcomeUnknown:
			c.Unknown++
		default:
			c.Failed++
		}
	}
	return c
}

// cleared tells a host on which an interrupted run was rolled back, as its plan
// said. It has to be run again, and nothing speaks against the others.
func (t *target) cleared() bool {
	return t.found.leftover != "" && t.result.Outcome == remediate.OutcomeRolledBack
}

// stop takes the turn from every host that has not had it.
func (w *work) stop(waves []remediate.Wave, code, why string) {
	for _, wave := range waves {
		for _, c := range wave.Hosts {
			if t := w.target(c.Name); t.todo() {
				t.stopped, t.code = why, code
			}
		}
	}
	w.record.note("", "stopped", why)
	fmt.Fprintf(w.env.stderr, "fleet: %s\n", why)
}

// turn is one wave: its hosts at once, then the soak, then the gate.
func (w *work) turn(wave remediate.Wave, waves []remediate.Wave) {
	var hosts []inventory.Host
	for _, c := range wave.Hosts {
		if t := w.target(c.Name); t.todo() {
			hosts = append(hosts, t.host)
		}
	}
	if len(hosts) == 0 {
		return
	}
	if w.fan.interrupted() {
		w.stop(waves, "not-reached", "interrupted")
		return
	}
	w.record.note("", "wave", fmt.Sprintf("%d: %s", wave.Number, plural(len(hosts), "host")))
	fmt.Fprintf(w.env.stderr, "wave %d of %d: %s\n", wave.Number, len(waves), plural(len(hosts), "host"))
	for _, r := range each(w.fan.within(max(w.timing.Limit(), assignLimit)+time.Minute), hosts, w.apply) {
		w.take(r)
	}
	if wave.Number < len(waves) || w.live != nil {
		w.settled(hosts)
	}
	if why := w.gate.Why(w.counts()); why != "" && wave.Number < len(waves) && !w.fan.interrupted() {
		w.stop(waves, "budget", why)
	}
}

// within gives the same hosts another deadline.
func (f *fanOut) within(d time.Duration) *fanOut {
	longer, conn := *f, *f.conn
	conn.timeout = d
	longer.conn = &conn
	return &longer
}

// apply changes one host.
func (w *work) apply(ctx context.Context, h inventory.Host) (remediate.Result, error) {
	t := w.target(h.Name)
	host := remediate.Host{
		Dial: func(ctx context.Context) (remediate.Session, error) {
			conn, err := w.fan.dialer.Dial(ctx, h)
			if err != nil {
				return nil, err
			}
			return shell{conn, h.Become, w.fan.password}, nil
		},
		Audit: func(ctx context.Context, s remediate.Session) (audit.Finding, error) { return w.verify(ctx, s.(shell)) },
		Note:  func(step, text string) { w.record.note(h.Name, step, text) },
	}
	if t.found.assign != nil && t.found.leftover == "" {
		return w.assign(ctx, t), nil
	}
	if t.found.leftover != "" {
		run := remediate.Run{ID: t.found.leftover, Owner: w.run.Owner}
		return remediate.Recover(ctx, host, run, t.found.finding, w.timing), nil
	}
	return remediate.Apply(ctx, host, t.found.plan, w.run, w.timing), nil
}

// take files what became of a host. The runner's own errors (a deadline, an
// interrupt) say nothing of the node.
func (w *work) take(r runner.Result[remediate.Result]) {
	t := w.target(r.Host.Name)
	t.took += r.Duration
	switch {
	case r.Err != nil && r.Started.IsZero():
		t.stopped, t.code = r.Err.Error(), "not-reached"
	case r.Err != nil:
		t.result = &remediate.Result{Outcome: remediate.OutcomeUnknown, Reason: "left-behind",
			Message: r.Err.Error() + "; the node ends the change by itself, and keeps it only if it was confirmed"}
		if t.found.assign != nil {
			t.result.Message = r.Err.Error() + "; what the API server was asked for may stay: fleet rollback --run " + w.about + " takes it back"
		}
	default:
		t.result = &r.Value
	}
	if t.result != nil {
		w.record.note(t.host.Name, "outcome", string(t.result.Outcome)+" "+t.result.Reason+" "+t.result.Message)
		c := w.changeOf(t)
		fmt.Fprintf(w.env.stderr, "%s: %s\n", t.host.Name, report.Clean(string(c.Outcome)+": "+c.Message))
	}
}

// settled looks after the changed hosts of a wave before the next one starts:
// the cluster has to call their nodes Ready, where the API server is known, and
// after the soak they have to pass once more. One that does not counts as
// failed.
func (w *work) settled(hosts []inventory.Host) {
	changed := w.changed(hosts)
	if w.live != nil {
		for _, r := range each(w.fan.within(w.timing.Health+time.Minute), changed, w.isReady) {
			w.relapsed(w.target(r.Host.Name), "node-not-ready", nil, r.Err)
		}
	}
	if w.soak <= 0 || w.gate.Closed(w.counts()) {
		return
	}
	select {
	case <-time.After(w.soak):
	case <-w.fan.signals.stop:
		return
	}
	for _, r := range each(w.fan, w.changed(hosts), w.look) {
		t := w.target(r.Host.Name)
		if r.Err != nil {
			r.Value = audit.Unreached(r.Err)
		} else if !w.holds(t, r.Value) {
			r.Err = fmt.Errorf("after the soak: %s", r.Value.Message)
		}
		w.relapsed(t, "not-effective", &r.Value, r.Err)
	}
}

// changed are the hosts whose change stayed so far.
func (w *work) changed(hosts []inventory.Host) []inventory.Host {
	var out []inventory.Host
	for _, h := range hosts {
		if t := w.target(h.Name); t.result != nil && t.result.Outcome == remediate.OutcomeChanged {
			out = append(out, h)
		}
	}
	return out
}

// holds tells whether a look at a changed host still shows what its plan
// promised.
func (w *work) holds(t *target, f audit.Finding) bool {
	switch {
	case t.found.leftover != "" || t.found.assign != nil && f.Next != nil && f.Next.Value == nil:
		return f.Status != audit.StatusUnknown
	case f.Next == nil || f.Next.Value != t.found.plan.Expect:
		return false
	}
	return !t.found.plan.Restart || f.Running != nil && f.Running.Value == t.found.plan.Expect
}

// relapsed files a changed host that did not stay well; without an error it
// did.
func (w *work) relapsed(t *target, reason string, f *audit.Finding, err error) {
	if err == nil {
		return
	}
	w.record.note(t.host.Name, reason, err.Error())
	t.result.Outcome, t.result.Reason, t.result.Message = remediate.OutcomeFailedAfterChange, reason, err.Error()
	if f != nil {
		t.result.Finding = f
	}
	fmt.Fprintf(w.env.stderr, "%s: %s\n", t.host.Name, report.Clean(err.Error()))
}

// isReady waits for one node of the cluster; a host of which no node is known
// is not held up.
func (w *work) isReady(ctx context.Context, h inventory.Host) (struct{}, error) {
	t := w.target(h.Name)
	if t.found.node == "" {
		w.record.note(h.Name, "ready", "no node of the cluster is known to be this host")
		return struct{}{}, nil
	}
	var started time.Time
	if f := t.result.Finding; t.result.Restarted && f != nil && f.Node.KubeletStarted != nil {
		started = *f.Node.KubeletStarted
	}
	return struct{}{}, w.ready(ctx, t.found.node, started)
}

// look audits one host.
func (w *work) look(ctx context.Context, h inventory.Host) (audit.Finding, error) {
	conn, err := w.fan.dialer.Dial(ctx, h)
	if err != nil {
		return audit.Finding{}, err
	}
	defer conn.Close()
	return w.verify(ctx, shell{conn, h.Become, w.fan.password})
}

// Close makes a shell a session of remediate.
func (s shell) Close() error { return s.conn.Close() }
