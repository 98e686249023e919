package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/configz"
	"fleet/inventory"
	"fleet/remediate"
	"fleet/report"
	"fleet/runner"
)

// changing is what the commands that change hosts have in common: which hosts,
// in which waves, and how long a node may take.
type changing struct {
	env    environment
	hosts  selection
	conn   connection
	output output

	batch, poolLimit string
	soak             time.Duration
	maxFailures      int
	yes, dryRun      bool
	timing           remediate.Timing

	batches []remediate.Share
	perPool remediate.Share
	live    *configz.Client // nil when no API server was named
}

func (c *changing) flags(cmd *cobra.Command) {
	c.hosts.flags(cmd, c.env)
	c.conn.flags(cmd, auditTimeout)
	c.output.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&c.dryRun, "dry-run", false, "show the plan and stop")
	f.BoolVarP(&c.yes, "yes", "y", false, "do not ask; needed where there is no terminal")
	f.StringVar(&c.batch, "batch", "1,5,10%", "hosts in each wave: `N` or N%, a list; the last repeats; a percentage is of the hosts to change, rounded down, at least 1")
	f.StringVar(&c.poolLimit, "pool-limit", "25%", "at most `N` or N% of an agent pool in one wave, rounded down, at least 1")
	f.DurationVar(&c.soak, "soak", 0, "wait so long after each wave, then look at its hosts again")
	f.IntVar(&c.maxFailures, "max-failures", 1, "stop when `N` hosts have failed; unreachable and unknown ones count, also those met while planning")
	f.DurationVar(&c.timing.Health, "health-timeout", remediate.DefaultHealth, "how long a kubelet may take to prove itself after its restart, before the node rolls back")
	f.DurationVar(&c.timing.HealthyFor, "healthy-for", remediate.DefaultHealthyFor, "how long it has to be healthy in a row")
	f.DurationVar(&c.timing.Confirm, "confirm-timeout", remediate.DefaultConfirm, "how long a healthy node waits for the confirmation over a fresh connection, before it rolls back")
}

func (c *changing) check() error {
	if err := c.conn.check(); err != nil {
		return err
	}
	if err := c.output.check(); err != nil {
		return err
	}
	var err error
	if c.batches, err = remediate.ParseShares(c.batch); err != nil {
		return usageError{fmt.Errorf("--batch: %w", err)}
	}
	if c.perPool, err = remediate.ParseShare(c.poolLimit); err != nil {
		return usageError{fmt.Errorf("--pool-limit: %w", err)}
	}
	switch {
	case c.maxFailures < 1:
		return usageError{fmt.Errorf("--max-failures %d: the first failure has to stop the run at the latest with 1", c.maxFailures)}
	case c.soak < 0:
		return usageError{fmt.Errorf("--soak %s: must not be negative", c.soak)}
	case c.timing.Health <= 0 || c.timing.HealthyFor <= 0 || c.timing.Confirm <= 0:
		return usageError{errors.New("--health-timeout, --healthy-for and --confirm-timeout must be more than nothing")}
	case c.timing.HealthyFor >= c.timing.Health:
		return usageError{fmt.Errorf("--healthy-for %s does not fit into --health-timeout %s", c.timing.HealthyFor, c.timing.Health)}
	}
	return nil
}

// proposal is what the planning round found out about one host.
type proposal struct {
	finding  audit.Finding
	plan     remediate.Plan
	leftover string      // id of an interrupted run to end first, in place of the plan
	assign   *assignment // a change through the API server, in place of the plan's files
	node     string      // name of the Node object, "" when it is not known
}

// diff is what will be changed.
func (p proposal) diff() string {
	if p.assign != nil {
		return p.assign.diff()
	}
	return p.plan.Diff()
}

// propose plans one host over an open connection.
type propose func(ctx context.Context, s shell, h inventory.Host) (proposal, error)

// verify looks at one host after its change.
type verify func(ctx context.Context, s shell) (audit.Finding, error)

// work is one run that changes hosts.
type work struct {
	*changing
	command string
	fan     *fanOut
	record  *recorder
	run     remediate.Run
	started time.Time
	inv     string
	verify  verify
	about   string // the run that hints speak of: this one, or the one to undo

	hosts []*target
	gate  remediate.Gate
}

// target is one selected host on its way through the run.
type target struct {
	host    inventory.Host
	found   proposal
	err     error // the host could not be looked at
	wave    int
	result  *remediate.Result // nil until it was changed
	stopped string            // why it had no turn
	took    time.Duration
}

// run is the journey of every change: plan, show, ask, waves, report.
// about is the run to undo, "" for none.
func (c *changing) run(command, about string, propose propose, verify verify) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.hosts.cluster.given() {
		live, err := c.hosts.cluster.open()
		if err != nil {
			return err
		}
		c.live = live
	}
	inv, hosts, err := c.hosts.hosts(c.env)
	if err != nil {
		return err
	}
	fan, err := c.conn.fanOut(c.env, hosts)
	if err != nil {
		return err
	}
	defer fan.close()
	w := &work{
		changing: c, command: command, fan: fan, started: time.Now(), inv: inventoryName(inv), verify: verify,
		gate: remediate.Gate{MaxFailures: c.maxFailures},
	}
	w.run = remediate.Run{ID: runID(w.started), Owner: owner(c.env)}
	w.about = cmp.Or(about, w.run.ID)
	w.plan(hosts, propose)
	if c.dryRun {
		return w.showOnly()
	}
	return w.change()
}

// showOnly is a dry run: the plan as text, or the report in any other format.
func (w *work) showOnly() error {
	waves := w.deal()
	if w.output.chosen.Name == report.Formats()[0].Name {
		w.output.chosen.Write = func(out io.Writer, rep report.Report, o report.TextOptions) error {
			fmt.Fprintf(out, "A dry run: nothing is changed.\n\n")
			return w.writePlan(out, rep, waves, o)
		}
	}
	return w.output.deliver(w.env, w.report(), w.fan.interrupted())
}

// writePlan writes what will be done, and in which waves.
func (w *work) writePlan(out io.Writer, rep report.Report, waves []remediate.Wave, o report.TextOptions) error {
	if err := report.WritePlan(out, rep, o); err != nil || len(waves) == 0 {
		return err
	}
	fmt.Fprintln(out)
	return remediate.WriteWaves(out, waves, func(names []string) string {
		return report.Clean(strings.Join(inventory.Fold(names), ","))
	})
}

// owner names whoever runs fleet, for people who find a node held.
func owner(env environment) string {
	hostname, _ := os.Hostname()
	return env.localUser() + "@" + hostname
}

// plan looks at every host. Nothing is changed.
func (w *work) plan(hosts []inventory.Host, propose propose) {
	results := each(w.fan, hosts, func(ctx context.Context, h inventory.Host) (proposal, error) {
		if finding, ok := audit.Exempt(h.Labels); ok {
			return proposal{finding: finding, plan: remediate.Plan{Nothing: true, Summary: finding.Message}}, nil
		}
		conn, err := w.fan.dialer.Dial(ctx, h)
		if err != nil {
			return proposal{}, err
		}
		defer conn.Close()
		if finding, ok := audit.ExemptServer(conn.ServerVersion()); ok {
			return proposal{finding: finding, plan: remediate.Plan{Nothing: true, Summary: finding.Message}}, nil
		}
		return propose(ctx, shell{conn, h.Become, w.fan.password}, h)
	})
	w.hosts = make([]*target, len(results))
	for i, r := range results {
		w.hosts[i] = &target{host: r.Host, found: r.Value, err: r.Err, took: r.Duration}
		if r.Err != nil {
			w.hosts[i].found.finding = audit.Unreached(r.Err)
		}
	}
}

// change asks, and changes the hosts wave by wave.
func (w *work) change() error {
	waves := w.deal()
	if len(waves) == 0 {
		return w.output.deliver(w.env, w.report(), w.fan.interrupted())
	}
	record, err := newRecorder(w.env, w.run.ID)
	if err != nil {
		return usageError{fmt.Errorf("%w; nothing was changed", err)}
	}
	defer record.close()
	w.record = record
	if err := w.show(waves); err != nil {
		return err
	}
	if why := w.gate.Why(w.counts()); why != "" {
		w.stop(waves, why)
	} else if w.fan.interrupted() {
		w.stop(waves, "interrupted before anything was changed")
	} else if err := w.ask(); err != nil {
		return err
	}
	for _, wave := range waves {
		w.turn(wave, waves)
	}
	w.record.note("", "finished", "")
	return w.output.deliver(w.env, w.report(), w.fan.interrupted())
}

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

func (w *work) target(name string) *target {
	for _, t := range w.hosts {
		if t.host.Name == name {
			return t
		}
	}
	return nil
}

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

// show shows the plan and the waves, and keeps them.
func (w *work) show(waves []remediate.Wave) error {
	rep := w.report()
	if err := w.record.plan(rep); err != nil {
		return usageError{fmt.Errorf("cannot record the plan: %w; nothing was changed", err)}
	}
	width, _ := terminal(w.env.stderr)
	return w.writePlan(w.env.stderr, rep, waves, report.TextOptions{Width: width})
}

func (w *work) ask() error {
	if w.yes {
		return nil
	}
	n := 0
	for _, t := range w.hosts {
		if t.todo() {
			n++
		}
	}
	fmt.Fprintln(w.env.stderr)
	return askNumber(w.env, n)
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
		case t.result.Outcome == remediate.OutcomeChanged:
			c.Good++
		case t.result.Outcome == remediate.OutcomeUnknown:
			c.Unknown++
		default:
			c.Failed++
		}
	}
	return c
}

// stop takes the turn from every host that has not had it.
func (w *work) stop(waves []remediate.Wave, why string) {
	for _, wave := range waves {
		for _, c := range wave.Hosts {
			if t := w.target(c.Name); t.todo() {
				t.stopped = why
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
		w.stop(waves, "interrupted")
		return
	}
	w.record.note("", "wave", fmt.Sprintf("%d: %s", wave.Number, plural(len(hosts), "host")))
	fmt.Fprintf(w.env.stderr, "wave %d of %d: %s\n", wave.Number, len(waves), plural(len(hosts), "host"))
	for _, r := range each(w.fan.within(w.timing.Limit()+time.Minute), hosts, w.apply) {
		w.take(r)
	}
	if wave.Number < len(waves) || w.live != nil {
		w.settled(hosts)
	}
	if why := w.gate.Why(w.counts()); why != "" && wave.Number < len(waves) {
		w.stop(waves, why)
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
		t.stopped = r.Err.Error()
	case r.Err != nil:
		t.result = &remediate.Result{Outcome: remediate.OutcomeUnknown, Reason: "left-behind",
			Message: r.Err.Error() + "; the node ends the change by itself, and keeps it only if it was confirmed"}
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
	node := w.target(h.Name).found.node
	if node == "" {
		w.record.note(h.Name, "ready", "no node of the cluster is known to be this host")
		return struct{}{}, nil
	}
	return struct{}{}, w.ready(ctx, node)
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

// report is the run as far as it has come.
func (w *work) report() report.Report {
	hosts := make([]report.Host, len(w.hosts))
	for i, t := range w.hosts {
		hosts[i] = report.Host{
			Name: t.host.Name, Address: t.host.Address, Labels: t.host.Labels,
			Finding: t.finding(), Change: w.changeOf(t), DurationMS: t.took.Milliseconds(),
		}
	}
	return report.New(report.Run{
		ID: w.run.ID, Command: w.command, Started: w.started.UTC(), Finished: time.Now().UTC(),
		Version: versionText(), Inventory: w.inv,
	}, audit.MakeIPTablesUtilChains, hosts)
}

// finding is the last that is known of the host. Of one whose change came to
// nobody knows what, nothing is known.
func (t *target) finding() audit.Finding {
	switch {
	case t.result == nil:
		return t.found.finding
	case t.result.Finding != nil:
		f := *t.result.Finding
		f.Evidence = append(f.Evidence, t.result.Evidence...)
		return f
	case t.result.Outcome == remediate.OutcomeFailedBeforeChange:
		return t.found.finding
	}
	_, hint := remediate.Explain(t.result.Reason, t.host.Name, "")
	return audit.Finding{
		Status: audit.StatusUnknown, Reason: t.result.Reason, Message: t.result.Message, Hint: hint,
		Node: t.found.finding.Node, Evidence: t.result.Evidence,
	}
}

// changeOf is what the report says of the host's change.
func (w *work) changeOf(t *target) *report.Change {
	plan := t.found.plan
	c := &report.Change{Method: string(plan.Method), Diff: t.found.diff(), Wave: t.wave, Message: plan.Summary}
	switch {
	case t.err != nil:
		c.Outcome, c.Reason, c.Message = report.OutcomeFailedBeforeChange, t.found.finding.Reason, "could not be looked at; nothing was changed"
		if t.found.finding.Reason == "not-reached" {
			c.Outcome = report.OutcomeNotReached
		}
	case t.result != nil:
		w.ended(c, t)
	case t.stopped != "":
		c.Outcome, c.Reason, c.Message = report.OutcomeNotReached, "budget", t.stopped
	case t.found.leftover != "":
		c.Outcome, c.Message = report.OutcomePlanned, "end the interrupted run "+t.found.leftover+": keep it if the node passes, roll it back otherwise"
	case plan.Nothing:
		c.Outcome = report.OutcomeUnchanged
	case plan.Refused != nil:
		c.Outcome, c.Reason, c.Message = report.OutcomeRefused, plan.Refused.Code, plan.Refused.Message
	default:
		c.Outcome, c.Restarted = report.OutcomePlanned, plan.Restart
	}
	if c.Reason != "" && c.Hint == "" {
		_, c.Hint = remediate.Explain(c.Reason, t.host.Name, w.about)
	}
	return c
}

// ended fills in what the node says of its change.
func (w *work) ended(c *report.Change, t *target) {
	r := t.result
	c.Outcome, c.Reason = report.Outcome(r.Outcome), r.Reason
	c.Backup, c.Restarted, c.Seconds = r.Backup, r.Restarted, r.Duration.Seconds()
	switch {
	case r.Outcome != remediate.OutcomeChanged:
		c.Message = r.Message
	case t.found.leftover != "":
		c.Message = "the interrupted run " + t.found.leftover + " was finished"
	}
	if w.command != "rollback" {
		return
	}
	// Of a rollback, "changed" is the wanted end, and one that did not stay left
	// the host as it was: changed by the earlier run.
	switch r.Outcome {
	case remediate.OutcomeChanged:
		c.Outcome = report.OutcomeRolledBack
	case remediate.OutcomeRolledBack:
		c.Outcome, c.Message = report.OutcomeFailedAfterChange, "the rollback did not stay, the host is as before it: "+r.Message
	}
}
