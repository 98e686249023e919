package report

import "fleet/audit"

// Exit codes of every command. The highest that applies wins, whatever the
// output format.
const (
	// ExitOK: every selected host is as wanted; hosts the control does not
	// concern count as such.
	ExitOK = 0
	// ExitFail: at least one host is not as wanted, or its change was refused
	// or rolled back.
	ExitFail = 1
	// ExitUsage: the command line, the inventory or the configuration is wrong;
	// nothing was contacted. Given by the caller, a report never yields it.
	ExitUsage = 2
	// ExitIncomplete: at least one host could not be told or was not reached.
	ExitIncomplete = 3
	// ExitInterrupted: the run was interrupted and what was known by then was
	// reported.
	ExitInterrupted = 130
)

// commandRollback is the command whose hosts are as wanted when their old
// files are back, whatever the control says of those.
const commandRollback = "rollback"

// ExitCode is the exit code of a run. It is computed from the hosts, so that
// neither an output format nor a summary read from a file can change it.
//
// A run that looks or changes wants every host to pass, or not to be
// concerned; a change that is only planned, was refused, failed or did not
// stay is ExitFail even so. A rollback wants every host's old files back.
func ExitCode(r Report) int {
	code := ExitOK
	if r.Run.Interrupted {
		code = ExitInterrupted
	}
	for _, h := range r.Hosts {
		if r.Run.Command == commandRollback {
			code = max(code, rollbackCode(h))
			continue
		}
		code = max(code, statusCode(h.Status), changeCode(h.Change))
	}
	return code
}

func statusCode(s audit.Status) int {
	switch s {
	case audit.StatusPass, audit.StatusNotApplicable:
		return ExitOK
	case audit.StatusFail:
		return ExitFail
	}
	return ExitIncomplete
}

func changeCode(c *Change) int {
	if c == nil {
		return ExitOK
	}
	switch c.Outcome {
	case OutcomeUnchanged, OutcomeChanged:
		return ExitOK
	case OutcomeUnknown, OutcomeNotReached:
		return ExitIncomplete
	}
	return ExitFail
}

// rollbackCode judges one host of a rollback. A host of which nothing is told
// was not reached.
func rollbackCode(h Host) int {
	if h.Change == nil {
		return ExitIncomplete
	}
	switch h.Change.Outcome {
	case OutcomeRolledBack, OutcomeUnchanged:
		return ExitOK
	case OutcomeUnknown, OutcomeNotReached:
		return ExitIncomplete
	}
	return ExitFail
}
