package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/configz"
	"fleet/inventory"
	"fleet/remediate"
	"fleet/report"
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
	f.Lookup("timeout").Usage = "limit for each look at a host; a change has --health-timeout and --confirm-timeout"
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

	hosts  []*target
	byName map[string]*target
	gate   remediate.Gate
}

// target is one selected host on its way through the run.
type target struct {
	host    inventory.Host
	found   proposal
	err     error // the host could not be looked at
	wave    int
	result  *remediate.Result // nil until it was changed
	stopped string            // why it had no turn, "" when it had, or may yet have
	code    string            // the reason that goes with it
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
	w.hosts, w.byName = make([]*target, len(results)), make(map[string]*target, len(results))
	for i, r := range results {
		w.hosts[i] = &target{host: r.Host, found: r.Value, err: r.Err, took: r.Duration}
		if r.Err != nil {
			w.hosts[i].found.finding = audit.Unreached(r.Err)
		}
		w.byName[r.Host.Name] = w.hosts[i]
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
		w.stop(waves, "budget", why)
	} else if w.fan.interrupted() {
		w.stop(waves, "not-reached", "interrupted before anything was changed")
	} else if err := w.ask(); err != nil {
		record.forget()
		return err
	}
	for _, wave := range waves {
		w.turn(wave, waves)
	}
	w.record.note("", "finished", "")
	defer w.undoHint()
	return w.output.deliver(w.env, w.report(), w.fan.interrupted())
}

// undoHint tells how to take back what was changed.
func (w *work) undoHint() {
	undoable := func(t *target) bool {
		return t.result != nil && t.result.Outcome == remediate.OutcomeChanged && t.found.leftover == ""
	}
	if w.command == "remediate" && slices.ContainsFunc(w.hosts, undoable) {
		fmt.Fprintf(w.env.stderr, "to undo what was changed: fleet rollback --run %s\n", w.run.ID)
	}
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
	answer := make(chan error, 1)
	go func() { answer <- askNumber(w.env, n) }()
	select {
	case err := <-answer:
		return err
	case <-w.fan.signals.stop: // Ctrl-C is an answer too
		fmt.Fprintln(w.env.stderr, "fleet: nothing was changed")
		return verdictError{report.ExitInterrupted}
	}
}
