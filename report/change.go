package report

import (
	"fmt"
	"slices"
	"strings"

	"fleet/audit"
)

// fate is what became of a host in a run that changes hosts: its outcome,
// together with what the control says of the host afterwards. Lower is worse.
type fate int

const (
	fateFailedAfter fate = iota
	fateUnknown
	fateChangedUnknown
	fateChangedFails
	fateUndone
	fateFailedBefore
	fateRefused
	fateFails
	fateNotReached
	fatePlanned
	fatePlannedBack
	fateChanged
	fateRolledBack
	fateNotApplicable
	fateNothingToUndo
	fateCompliant
)

// fates tells each fate of one host and of many. What a run is for is named
// first in its verdict.
var fates = [...]struct {
	one, many string
	aim       bool
}{
	fateFailedAfter:    {one: "FAILED after its change", many: "FAILED after their change"},
	fateUnknown:        {one: "is UNKNOWN", many: "are UNKNOWN"},
	fateChangedUnknown: {one: "was changed and is UNKNOWN since", many: "were changed and are UNKNOWN since"},
	fateChangedFails:   {one: "was changed and still FAILS", many: "were changed and still FAIL"},
	fateUndone:         {one: "was rolled back", many: "were rolled back"},
	fateFailedBefore:   {one: "FAILED before its change", many: "FAILED before their change"},
	fateRefused:        {one: "was refused", many: "were refused"},
	fateFails:          {one: "was left as it is and FAILS", many: "were left as they are and FAIL"},
	fateNotReached:     {one: "was not reached", many: "were not reached"},
	fatePlanned:        {one: "would be changed", many: "would be changed", aim: true},
	fatePlannedBack:    {one: "would be rolled back", many: "would be rolled back", aim: true},
	fateChanged:        {one: "was changed", many: "were changed", aim: true},
	fateRolledBack:     {one: "was rolled back", many: "were rolled back", aim: true},
	fateNotApplicable:  {one: "is not applicable", many: "are not applicable"},
	fateNothingToUndo:  {one: "had nothing to roll back", many: "had nothing to roll back"},
	fateCompliant:      {one: "was compliant already", many: "were compliant already"},
}

// fateOf is what became of a host in a run of the command.
func fateOf(h Host, command string) fate {
	rollback := command == commandRollback
	if h.Change == nil {
		if rollback {
			return fateNotReached
		}
		return fateOfUntouched(h.Status)
	}
	switch h.Change.Outcome {
	case OutcomeUnchanged:
		if rollback {
			return fateNothingToUndo
		}
		return fateOfUntouched(h.Status)
	case OutcomePlanned:
		if rollback {
			return fatePlannedBack
		}
		return fatePlanned
	case OutcomeChanged:
		return fateOfChanged(h.Status)
	case OutcomeRolledBack:
		if rollback {
			return fateRolledBack
		}
		return fateUndone
	case OutcomeRefused:
		return fateRefused
	case OutcomeFailedBeforeChange:
		return fateFailedBefore
	case OutcomeFailedAfterChange:
		return fateFailedAfter
	case OutcomeNotReached:
		return fateNotReached
	}
	return fateUnknown
}

func fateOfUntouched(s audit.Status) fate {
	switch s {
	case audit.StatusPass:
		return fateCompliant
	case audit.StatusNotApplicable:
		return fateNotApplicable
	case audit.StatusFail:
		return fateFails
	}
	return fateUnknown
}

func fateOfChanged(s audit.Status) fate {
	switch s {
	case audit.StatusPass, audit.StatusNotApplicable:
		return fateChanged
	case audit.StatusFail:
		return fateChangedFails
	}
	return fateChangedUnknown
}

// changes reports whether the report is of a run that changes hosts.
func (r Report) changes() bool {
	return r.Run.Command == commandRollback || slices.ContainsFunc(r.Hosts, func(h Host) bool { return h.Change != nil })
}

// verdict tells the report in one sentence.
func (r Report) verdict() string {
	if r.changes() && len(r.Hosts) > 0 {
		return r.ChangeVerdict()
	}
	return Verdict(Summarise(r.Hosts))
}

// ChangeVerdict tells in one sentence what became, or would become, of the
// hosts of a run that changes them: what the run is for, then the rest, the
// worst first.
func (r Report) ChangeVerdict() string {
	var counts [len(fates)]int
	for _, h := range r.Hosts {
		counts[fateOf(h, r.Run.Command)]++
	}
	var parts []string
	for _, aim := range []bool{true, false} {
		for f, n := range counts {
			if n == 0 || fates[f].aim != aim {
				continue
			}
			if n == len(r.Hosts) {
				return all(n) + " " + pick(n, fates[f].one, fates[f].many) + "."
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, pick(n, fates[f].one, fates[f].many)))
		}
	}
	if len(parts) == 0 {
		return "No hosts: nothing was changed."
	}
	return fmt.Sprintf("Of %d hosts, %s.", len(r.Hosts), strings.Join(parts, ", "))
}

// rank orders the hosts of a report, the worst first.
func (r Report) rank() func(Host) int {
	if !r.changes() {
		return func(h Host) int { return statusRank(h.Status) }
	}
	return func(h Host) int { return int(fateOf(h, r.Run.Command))*4 + statusRank(h.Status) }
}

// outcomeWord is the outcome as the text formats show it: what needs somebody
// at once is in capitals.
func outcomeWord(c *Change) string {
	if c == nil {
		return none
	}
	word := clean(string(c.Outcome), maxPlace)
	switch c.Outcome {
	case OutcomeUnknown, OutcomeFailedBeforeChange, OutcomeFailedAfterChange:
		return strings.ToUpper(word)
	}
	return orDash(word)
}

const changeLabel = "change"

// changeText is what is said of a host's change beside its outcome and what
// the finding says already, not yet clean.
func changeText(h Host) string {
	c := newsOf(h)
	return withFacts(c.Message, named("reason", c.Reason), named("method", c.Method))
}

// fullChangeText is changeText with all that is known, but for the diff.
func fullChangeText(h Host) string {
	c := newsOf(h)
	facts := []string{named("reason", c.Reason), named("method", c.Method)}
	if c.Wave > 0 {
		facts = append(facts, fmt.Sprintf("wave %d", c.Wave))
	}
	if c.Restarted && c.Outcome != OutcomePlanned {
		facts = append(facts, "kubelet restarted")
	}
	if c.Seconds > 0 {
		facts = append(facts, fmt.Sprintf("took %.1fs", c.Seconds))
	}
	return withFacts(c.Message, append(facts, named("backup", c.Backup))...)
}

// newsOf is a host's change without what needs no saying.
func newsOf(h Host) Change {
	if h.Change == nil || h.Change.Outcome == OutcomeUnchanged && h.Change.Message+h.Change.Reason == "" {
		return Change{}
	}
	c := *h.Change
	if c.Message == h.Message {
		c.Message = ""
	}
	if c.Reason == h.Reason {
		c.Reason = ""
	}
	return c
}

func named(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

// withFacts writes "text (fact, fact)", leaving out what is empty.
func withFacts(text string, facts ...string) string {
	said := strings.Join(slices.DeleteFunc(facts, func(f string) bool { return f == "" }), ", ")
	switch {
	case text == "" || said == "":
		return text + said
	}
	return text + " (" + said + ")"
}

// settled reports whether nobody has to do anything about a change, nor read
// of it.
func settled(c *Change) bool {
	return c == nil || c.Hint == "" && (c.Outcome == OutcomeUnchanged || c.Outcome == OutcomeChanged)
}

// changeStep is what to do next where the change says so, or by its outcome.
func changeStep(c *Change) string {
	switch {
	case c == nil:
		return ""
	case c.Hint != "":
		return clean(c.Hint, maxMessage)
	case c.Outcome == OutcomePlanned:
		return "run the same command without --dry-run to make the change"
	case c.Outcome == OutcomeNotReached:
		return "mend what ended the run, then run again with --limit run:last:not-reached"
	}
	return ""
}
