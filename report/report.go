// Package report knows how a run is told: the report value, its summary, its
// exit code and every output format. It refuses to know how a verdict came
// about, and it never contacts anything.
//
// Everything in a report that came from a host is hostile text. The text
// formats show control, formatting and right-to-left characters as visible
// escapes, one line per value and bounded; the JSON formats escape them.
package report

import (
	"maps"
	"slices"
	"strings"
	"time"

	"fleet/audit"
)

// SchemaName names the JSON format and its version. Fields may be added within
// a version; a field changes its meaning or goes away only with a new one.
const SchemaName = "fleet.report/v1"

// Report is everything one run found out, in the shape of its JSON form. Every
// output format is a function of this value alone. Build it with [New]; write
// its JSON with [WriteJSON], not with json.Marshal, which leaves nil maps null.
type Report struct {
	Schema  string  `json:"schema"` // SchemaName
	Run     Run     `json:"run"`
	Control Control `json:"control"`
	Summary Summary `json:"summary"`
	Hosts   []Host  `json:"hosts"` // every selected host, in inventory order
}

// Run says which run it was.
type Run struct {
	ID        string    `json:"id"`
	Command   string    `json:"command"`  // the subcommand: "audit", "remediate", "rollback"
	Started   time.Time `json:"started"`  // written as RFC 3339 in UTC
	Finished  time.Time `json:"finished"` // likewise; also for an interrupted run
	Version   string    `json:"version"`  // of fleet
	Inventory string    `json:"inventory"`

	Interrupted bool `json:"interrupted,omitempty"` // Ctrl-C ended it before its end
}

// Control is the requirement the hosts were held against: the row of
// audit.Control in its published spelling.
type Control struct {
	ID         string            `json:"id"`
	Title      string            `json:"title"`
	Benchmarks map[string]string `json:"benchmarks"` // benchmark and version -> its number for this control
	Flag       string            `json:"flag"`       // kubelet flag without dashes
	Key        string            `json:"key"`        // key of KubeletConfiguration
	Expected   any               `json:"expected"`   // bool, int64 or string
}

// Host is one selected host and what was found out about it. A host that was
// never reached is here too, with StatusUnknown.
type Host struct {
	Name    string            `json:"name"`    // unique within a report
	Address string            `json:"address"` // what was dialled
	Labels  map[string]string `json:"labels"`  // never null in JSON

	audit.Finding

	// Change is what was done to the host; nil for a run that only looks.
	Change *Change `json:"change,omitempty"`

	DurationMS int64 `json:"duration_ms"` // time spent on the host, 0 when it was never started
}

// Outcome says how a change of one host ended.
type Outcome string

// The outcomes. The two kinds of failure tell whether the host was touched;
// OutcomeUnknown is a lost link that could not be cleared up.
const (
	OutcomeUnchanged          Outcome = "unchanged" // was as wanted already, nothing written
	OutcomePlanned            Outcome = "planned"   // a dry run
	OutcomeChanged            Outcome = "changed"
	OutcomeRolledBack         Outcome = "rolled-back"
	OutcomeRefused            Outcome = "refused"
	OutcomeFailedBeforeChange Outcome = "failed-before-change"
	OutcomeFailedAfterChange  Outcome = "failed-after-change"
	OutcomeUnknown            Outcome = "unknown"
	OutcomeNotReached         Outcome = "not-reached" // the run ended before this host's turn
)

// Change is what was done, or would be done, to one host.
type Change struct {
	Method  string  `json:"method"` // file, args or configz; "" when none was chosen
	Outcome Outcome `json:"outcome"`

	// Reason, Message and Hint tell why a change was refused, failed or did not
	// stay, as those of a finding do; of a change that was made Message says what
	// it was. Reason is "" where the outcome says it all.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"` // one line
	Hint    string `json:"hint,omitempty"`

	Diff      string  `json:"diff"`           // unified, secrets masked, "" when no file differs
	Backup    string  `json:"backup"`         // directory on the host, "" when none was made
	Restarted bool    `json:"restarted"`      // the kubelet was restarted, or would be where the change is only planned
	Seconds   float64 `json:"seconds"`        // from the first write to the verified end
	Wave      int     `json:"wave,omitempty"` // which wave the host belongs to, from 1; 0 for none
}

// Summary counts the hosts of a report by status.
type Summary struct {
	Total         int `json:"total"`
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	Unknown       int `json:"unknown"`
	NotApplicable int `json:"not_applicable"`
}

// New assembles a report. Hosts stay in the order given, which is the
// inventory's.
func New(run Run, c audit.Control, hosts []Host) Report {
	return Report{
		Schema: SchemaName,
		Run:    run,
		Control: Control{
			ID:         c.ID,
			Title:      c.Title,
			Benchmarks: c.Benchmarks,
			Flag:       c.Setting.Flag,
			Key:        c.Setting.Key,
			Expected:   c.Expected,
		},
		Summary: Summarise(hosts),
		Hosts:   hosts,
	}
}

// Summarise counts hosts by status. A status that is none of the four counts
// as unknown: a host must never be missing from the sum.
func Summarise(hosts []Host) Summary {
	s := Summary{Total: len(hosts)}
	for _, h := range hosts {
		switch h.Status {
		case audit.StatusPass:
			s.Pass++
		case audit.StatusFail:
			s.Fail++
		case audit.StatusNotApplicable:
			s.NotApplicable++
		default:
			s.Unknown++
		}
	}
	return s
}

// published returns r as it is written: no nil map or slice where the schema
// promises an object or an array, times in UTC, valid UTF-8 in map keys. r
// itself stays as it is.
func (r Report) published() Report {
	r.Run.Started = r.Run.Started.UTC()
	r.Run.Finished = r.Run.Finished.UTC()
	r.Control.Benchmarks = validKeys(r.Control.Benchmarks)
	hosts := make([]Host, len(r.Hosts))
	for i, h := range r.Hosts {
		hosts[i] = h.published()
	}
	r.Hosts = hosts
	return r
}

func (h Host) published() Host {
	h.Labels = validKeys(h.Labels)
	if h.Evidence == nil {
		h.Evidence = []audit.Evidence{}
	}
	if t := h.Node.KubeletStarted; t != nil {
		utc := t.UTC()
		h.Node.KubeletStarted = &utc
	}
	return h
}

// validKeys returns m without invalid UTF-8 in its keys: encoding/json mends
// each key by itself and so may write the same key twice. It is never nil.
func validKeys(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out[strings.ToValidUTF8(k, "\uFFFD")] = m[k]
	}
	return out
}
