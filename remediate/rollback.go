package remediate

import (
	"context"
	"fmt"

	"fleet/audit"
	"fleet/kubelet"
)

// Past is what a node keeps of an earlier run.
type Past struct {
	run     Run
	journal journal
}

// Recall asks a node for an earlier run: its journal, its files as they were,
// and as they are now.
func Recall(ctx context.Context, sh audit.Shell, run Run) (Past, error) {
	j, err := visit(ctx, sh, attendance{run: run, bring: true})
	return Past{run: run, journal: j}, err
}

// NewRollback plans to undo an earlier run on one host: the backups go back to
// where they came from, unless a file has been changed since. It is pure. The
// result is a plan like any other: shown, applied and verified the same way.
func NewRollback(c audit.Control, f audit.Facts, past Past) Plan {
	p := planner{control: c, facts: f, basis: c.Basis(f), options: Options{}}
	if r := past.refusal(f); r != nil {
		return p.refuse("", r)
	}
	var edits []kubelet.FileEdit
	var undone *Refusal // a file of several may be back already
	for _, file := range past.journal.files {
		edit, r := file.undo()
		if r != nil && r.Code == "nothing-to-undo" {
			undone = r
			continue
		}
		if r != nil {
			return p.refuse("", r)
		}
		if r := p.writable(file.path); r != nil {
			return p.refuse("", r)
		}
		edits = append(edits, edit)
	}
	if len(edits) == 0 {
		return p.refuse("", undone)
	}
	return p.restoring(edits, past)
}

// refusal tells why there is nothing to undo.
func (p Past) refusal(f audit.Facts) *Refusal {
	if r := busy(f); r != nil {
		return r
	}
	switch {
	case f.UID != 0:
		return refusal("not-root", "the node was looked at as user %d", f.UID)
	case p.journal.state == stateNone:
		return refusal("no-such-run", "the node knows nothing of run %s", p.run.ID)
	case p.journal.state != stateCommitted:
		return refusal("nothing-to-undo", "run %s ended as %s here", p.run.ID, p.journal.state)
	case len(p.journal.files) == 0:
		return refusal("nothing-to-undo", "run %s changed no file here, it only restarted the kubelet", p.run.ID)
	}
	return nil
}

// undo is the edit that brings the backup back.
func (f pastFile) undo() (kubelet.FileEdit, *Refusal) {
	switch {
	case f.backup == nil || digest(f.backup) != f.old:
		return kubelet.FileEdit{}, refusal("no-such-run", "the backup of %s is gone or damaged", f.path)
	case digest(f.now) == f.old:
		return kubelet.FileEdit{}, refusal("nothing-to-undo", "%s is what it was before that run", f.path)
	case digest(f.now) != f.new:
		return kubelet.FileEdit{}, refusal("changed-since", "%s has been changed since that run", f.path)
	}
	return kubelet.FileEdit{Path: f.path, Old: f.now, New: f.backup}, nil
}

// restoring is the plan for the edits: what they will come to is worked out as
// for any other plan, whatever that is, as long as the kubelet would start.
func (p planner) restoring(edits []kubelet.FileEdit, past Past) Plan {
	facts := withEdits(p.facts, edits)
	next := p.control.Basis(facts).Next
	switch {
	case next.Fatal != nil:
		return p.refuse("", refusal("would-not-start", "with the old bytes the kubelet would not start: %s", next.Fatal.Message))
	case next.Value == nil:
		return p.refuse("", refusal("unreadable-file", "what the old bytes would give cannot be worked out"))
	}
	unit := p.basis.Unit
	if past.journal.unit != "" {
		unit = past.journal.unit
	}
	plan := Plan{Unit: unit, Files: edits, Restart: true, Expect: next.Value, Healthz: healthz(facts)}
	plan.Summary = fmt.Sprintf("put back what run %s changed (the value will be %v), then restart %s", past.run.ID, next.Value, unit)
	return plan
}
