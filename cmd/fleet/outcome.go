package main

import (
	"time"

	"fleet/audit"
	"fleet/remediate"
	"fleet/report"
)

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
		c.Outcome, c.Reason, c.Message = report.OutcomeNotReached, t.code, t.stopped
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
