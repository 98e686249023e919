package remediate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet/audit"
)

// Session is one connection to a host.
type Session interface {
	audit.Shell
	Close() error
}

// Host is how a change reaches one host and looks at it.
type Host struct {
	// Dial opens a fresh connection.
	Dial func(ctx context.Context) (Session, error)
	// Audit looks and judges, as fleet audit does: there is no second notion of
	// what is right.
	Audit func(ctx context.Context, s Session) (audit.Finding, error)
	// Note is told each step, for the operator's record; nil is fine.
	Note func(step, text string)
}

func (h Host) note(step, text string) {
	if h.Note != nil {
		h.Note(step, text)
	}
}

// Outcome says how the change of one host ended.
type Outcome string

// The outcomes that Apply gives; see the report for their meaning.
const (
	OutcomeChanged            Outcome = "changed"
	OutcomeRolledBack         Outcome = "rolled-back"
	OutcomeFailedBeforeChange Outcome = "failed-before-change"
	OutcomeFailedAfterChange  Outcome = "failed-after-change"
	OutcomeUnknown            Outcome = "unknown"
)

// Result is what became of one host.
type Result struct {
	Outcome   Outcome
	Reason    string // "" for a change that was made
	Message   string // one line
	Backup    string // folder on the host, "" when nothing was backed up
	Restarted bool
	Duration  time.Duration    // from the start on the node to its verified end
	Evidence  []audit.Evidence // the commands that ran on the node and what they said
	Finding   *audit.Finding   // of the last look at the host, nil when it could not be looked at
}

// Limit is the longest that Apply takes with this timing: the change, the wait
// for its confirmation, and the roll-back, with what the link costs.
func (t Timing) Limit() time.Duration {
	t = t.withDefaults()
	return 4*t.Health + 2*t.HealthyFor + t.Confirm + 2*time.Minute
}

// Apply makes a planned change on one host and stays with it until the node
// says how it ended. The change itself is the node's: it commits only when the
// audit over a fresh connection shows the wanted value, and rolls back by itself
// when no word comes. When ctx ends, Apply returns at once with what is known;
// the node goes on by itself to one of the two ends.
func Apply(ctx context.Context, h Host, p Plan, run Run, t Timing) Result {
	t = t.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, t.Limit())
	defer cancel()
	a := attempt{host: h, run: run, timing: t, expect: p.Expect, staged: !p.Restart, restart: p.Restart, live: p.Live}
	defer a.hangUp()
	begun := time.Now()
	result := a.apply(ctx, p)
	result.Duration = time.Since(begun)
	return result
}

// attempt is the work on one change.
type attempt struct {
	host    Host
	run     Run
	timing  Timing
	expect  any
	staged  bool // the restart is left to somebody else
	restart bool
	live    bool // the live configuration has to show the value

	session Session // nil when there is none
	finding *audit.Finding
}

func (a *attempt) apply(ctx context.Context, p Plan) Result {
	if err := a.connect(ctx); err != nil {
		return failedBefore(err)
	}
	a.host.note("start", p.Summary)
	err := a.start(ctx, p)
	var refused *nodeError
	switch {
	case errors.As(err, &refused):
		return failedBefore(refused)
	case err != nil:
		a.host.note("start-lost", err.Error())
		a.hangUp()
	}
	// Where the answer was lost the run is fenced: either it has begun, or it
	// never will.
	j, err := a.follow(ctx, attendance{fence: err != nil})
	if err != nil {
		return a.lost(ctx, err)
	}
	if j.state == stateWaiting {
		if j, err = a.conclude(ctx); err != nil {
			return a.lost(ctx, err)
		}
	}
	return a.result(ctx, j)
}

func (a *attempt) start(ctx context.Context, p Plan) error {
	ctx, cancel := context.WithTimeout(ctx, visitLimit)
	defer cancel()
	return start(ctx, a.session, p, a.run, a.timing)
}

// failedBefore is a change that did not begin.
func failedBefore(err error) Result {
	r := Result{Outcome: OutcomeFailedBeforeChange, Reason: "start-lost", Message: err.Error()}
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		r.Reason = coded.Code()
	}
	return r
}

func (a *attempt) connect(ctx context.Context) error {
	if a.session != nil {
		return nil
	}
	s, err := a.host.Dial(ctx)
	if err != nil {
		return err
	}
	a.session = s
	return nil
}

func (a *attempt) hangUp() {
	if a.session != nil {
		_ = a.session.Close()
		a.session = nil
	}
}

// patience is how long one visit waits on the node. It is short, so that a
// link that froze is noticed while the node still waits for its confirmation.
const patience = 10 * time.Second

// follow attends to the run until it waits for fleet or has ended, over as many
// connections as that takes. The error is the last one of the link, when ctx
// ended first.
func (a *attempt) follow(ctx context.Context, visitor attendance) (journal, error) {
	visitor.run, visitor.patience = a.run, patience
	wait, left := 250*time.Millisecond, 0
	for {
		j, err := a.visit(ctx, visitor)
		switch {
		case err != nil:
			a.host.note("link", err.Error())
			a.hangUp()
			if !pause(ctx, wait) {
				return j, err
			}
			wait = min(2*wait, 5*time.Second)
			continue
		case j.state.ended(), j.state == stateWaiting && visitor.word == "":
			a.host.note(string(j.state), j.message)
			return j, nil
		case !j.held:
			if left++; left > 2 {
				return j, nil
			}
			a.leftBehind(j, &visitor)
		}
		wait = 250 * time.Millisecond
		if ctx.Err() != nil {
			return j, context.Cause(ctx)
		}
	}
}

// leftBehind deals with a run that nobody sees to: one without a journal is
// fenced, so that it never begins; any other is taken up again, to be rolled
// back unless it had been confirmed.
func (a *attempt) leftBehind(j journal, visitor *attendance) {
	if j.state == stateNone {
		visitor.fence = true
		return
	}
	a.host.note("left-behind", string(j.state))
	visitor.resume = true
	if visitor.word == "" {
		visitor.word, visitor.reason, visitor.message = "abort", "interrupted", "the supervisor was ended while it was "+string(j.state)
	}
}

// visitLimit bounds one visit: its patience and what the link costs.
const visitLimit = patience + 15*time.Second

func (a *attempt) visit(ctx context.Context, visitor attendance) (journal, error) {
	ctx, cancel := context.WithTimeout(ctx, visitLimit)
	defer cancel()
	if err := a.connect(ctx); err != nil {
		return journal{}, err
	}
	return visit(ctx, a.session, visitor)
}

// pause waits, and reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// conclude verifies a healthy change over a fresh connection and tells the node
// to keep it or to undo it.
func (a *attempt) conclude(ctx context.Context) (journal, error) {
	word := a.verdict(ctx)
	a.host.note(word.word, word.message)
	return a.follow(ctx, word)
}

// verdict audits the host until the finding decides, or it is time to send the
// last word, which has to arrive while the node still waits for one. The live
// configuration may lag behind the node's own word, so that it is asked again;
// anything else decides at once.
func (a *attempt) verdict(ctx context.Context) attendance {
	limited, cancel := context.WithTimeout(ctx, a.timing.Confirm*3/4)
	defer cancel()
	var last attendance
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		finding, err := a.freshAudit(limited)
		switch {
		case err == nil:
			a.finding = &finding
			last = a.judge(finding)
		case last.word == "" || limited.Err() == nil: // a look that was cut off tells nothing new
			last = attendance{word: "abort", reason: "verify-failed", message: "cannot look at the node again: " + err.Error()}
		}
		if err == nil && (last.word == "confirm" || !a.effective(finding)) || !pause(limited, wait) {
			return last
		}
	}
}

// freshAudit looks at the host over a connection of its own, which stays the
// attempt's.
func (a *attempt) freshAudit(ctx context.Context) (audit.Finding, error) {
	a.hangUp()
	if err := a.connect(ctx); err != nil {
		return audit.Finding{}, err
	}
	finding, err := a.host.Audit(ctx, a.session)
	finding.Notes = slices.DeleteFunc(finding.Notes, func(note string) bool {
		return strings.Contains(note, a.run.ID) // whoever reads the report knows of this run
	})
	if err != nil {
		a.hangUp()
	}
	return finding, err
}

// judge turns a finding into the word for the node.
func (a *attempt) judge(f audit.Finding) attendance {
	switch {
	case !a.effective(f):
		return attendance{word: "abort", reason: "not-effective", message: f.Reason + ": " + f.Message}
	case !a.shown(f):
		return attendance{word: "abort", reason: "live-differs", message: "the live configuration does not show it: " + liveProblem(f)}
	}
	return attendance{word: "confirm", reason: "confirmed", message: f.Message}
}

// effective tells whether the node itself shows what the plan promised: of a
// restarted kubelet its value, now and at the next start; of a staged change the
// value of the next start.
func (a *attempt) effective(f audit.Finding) bool {
	if f.Next == nil || f.Next.Value != a.expect {
		return false
	}
	return a.staged || f.Running != nil && f.Running.Value == a.expect
}

// shown tells whether the API server's view agrees. A plan by the live
// configuration demands that it was heard; any other only that it does not say
// otherwise.
func (a *attempt) shown(f audit.Finding) bool {
	if f.Live == nil || f.Live.Value == nil {
		return !a.live
	}
	return a.staged || f.Live.Value == a.expect
}

func liveProblem(f audit.Finding) string {
	switch {
	case f.Live == nil:
		return "nobody asked"
	case f.Live.Value == nil:
		return f.Live.Problem
	}
	return fmt.Sprintf("it says %v", f.Live.Value)
}

// result tells what the journal's last state comes to.
func (a *attempt) result(ctx context.Context, j journal) Result {
	r := Result{Reason: j.reason, Message: j.message, Evidence: j.evidence, Finding: a.finding}
	switch j.state {
	case stateCommitted:
		r.Outcome, r.Reason, r.Restarted = OutcomeChanged, "", a.restart
	case stateRefused:
		r.Outcome = OutcomeFailedBeforeChange
		return r
	case stateRolledBack:
		r.Outcome, r.Restarted = OutcomeRolledBack, a.restart
	case stateRollbackFailed:
		r.Outcome, r.Restarted = OutcomeFailedAfterChange, a.restart
	case stateNone:
		r.Outcome, r.Reason, r.Message = OutcomeFailedBeforeChange, "start-lost", "the change did not begin, and it never will"
		return r
	default:
		r.Outcome, r.Reason = OutcomeUnknown, "wrong-state"
		r.Message = fmt.Sprintf("the run's journal on the node stands at %q and nobody sees to it", j.state)
	}
	r.Backup = "/var/lib/fleet/runs/" + a.run.ID
	if r.Outcome != OutcomeChanged || r.Finding == nil {
		a.lookAgain(ctx, &r)
	}
	return r
}

// lookAgain audits a host on which the change did not stay, or which has not
// been looked at since, so that the report shows the host as it is now.
func (a *attempt) lookAgain(ctx context.Context, r *Result) {
	if finding, err := a.freshAudit(ctx); err == nil {
		r.Finding = &finding
	} else {
		r.Finding = nil
	}
}

// lost is the end of an attempt whose host does not answer any more.
func (a *attempt) lost(ctx context.Context, err error) Result {
	r := Result{Outcome: OutcomeUnknown, Reason: "link-lost", Finding: nil}
	r.Message = "the link was lost (" + oneLine(err.Error()) + "); the node keeps the change only if it was confirmed, and otherwise rolls back by itself"
	if errors.Is(context.Cause(ctx), context.Canceled) {
		r.Reason = "left-behind"
		r.Message = "fleet was interrupted; the node ends the change by itself, and keeps it only if it was confirmed"
	}
	return r
}

// Recover ends a run that was left behind on a host: it is kept when the host
// passes the audit as it is now, and rolled back otherwise.
func Recover(ctx context.Context, h Host, run Run, f audit.Finding, t Timing) Result {
	t = t.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, t.Limit())
	defer cancel()
	a := attempt{host: h, run: run, timing: t, restart: true}
	defer a.hangUp()
	begun := time.Now()
	visitor := attendance{resume: true, word: "abort", reason: "interrupted", message: "the run had been interrupted"}
	if f.Status == audit.StatusPass {
		visitor.word, visitor.reason, visitor.message = "confirm", "confirmed", "the node passes the audit"
	}
	j, err := a.follow(ctx, visitor)
	if err != nil {
		return a.lost(ctx, err)
	}
	r := a.result(ctx, j)
	r.Duration = time.Since(begun)
	return r
}
