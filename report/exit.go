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
	// reported. Given by the caller.
	ExitInterrupted = 130
)

// ExitCode is the exit code of a finished run: ExitOK, ExitFail or
// ExitIncomplete. It is computed from the hosts, so that neither an output
// format nor a summary read from a file can change it.
func ExitCode(r Report) int {
	code := ExitOK
	for _, h := range r.Hosts {
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
	case OutcomeUnchanged, OutcomeChanged, OutcomePlanned:
		return ExitOK
	case OutcomeUnknown, OutcomeNotReached:
		return ExitIncomplete
	}
	return ExitFail
}
