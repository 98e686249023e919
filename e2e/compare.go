package e2e

import (
	"encoding/json"
	"fmt"
	"slices"

	"fleet/lab/real/judge"
)

// Record is a layout with the word of the real systemd and kubelet on it.
type Record struct {
	Name   string       `json:"name"` // what it came from: a seed, or what it shows
	Layout judge.Layout `json:"layout"`
	Truth  Truth        `json:"truth"`
}

// Truth is what is kept of a verdict.
type Truth struct {
	Exec    bool           `json:"exec"`
	Argv    []string       `json:"argv,omitempty"` // nil when nobody saw it
	Cwd     string         `json:"cwd,omitempty"`
	Kubelet bool           `json:"kubelet"` // a kubelet was asked, not only systemd
	Started bool           `json:"started"`
	Values  map[string]any `json:"values,omitempty"`
	Reason  string         `json:"reason,omitempty"`
}

// TruthOf picks what is compared out of a kubelet's verdict.
func TruthOf(v judge.Verdict) (Truth, error) {
	t := Truth{Exec: v.Exec, Argv: v.Argv, Cwd: v.Cwd, Kubelet: true, Started: v.Started, Reason: v.Reason}
	if !v.Started {
		return t, nil
	}
	var config map[string]any
	if err := json.Unmarshal(v.Config, &config); err != nil {
		return t, fmt.Errorf("cannot read the answer of /configz: %w", err)
	}
	t.Values = map[string]any{}
	for _, s := range Settings() {
		t.Values[s.Key] = config[s.Key]
	}
	return t, nil
}

// UnitTruthOf picks what is compared out of a verdict of systemd alone.
func UnitTruthOf(v judge.Verdict) Truth {
	return Truth{Exec: v.Exec, Argv: v.Argv, Cwd: v.Cwd, Reason: v.Reason}
}

// Compare lists where a reading differs from the truth, nothing when they
// agree. The wording of reasons is not compared.
func Compare(r Reading, t Truth) []string {
	if r.Open != "" {
		return []string{"the reading does not end: " + r.Open}
	}
	var diffs []string
	differ := func(what string, ours, theirs any) {
		diffs = append(diffs, fmt.Sprintf("%s: read %v, is %v", what, ours, theirs))
	}
	if t.Exec && !r.Exec || !t.Kubelet && r.Exec != t.Exec {
		differ("executes", say(r.Exec, r.Reason), say(t.Exec, t.Reason))
		return diffs
	}
	if t.Exec && !slices.Equal(r.Argv, t.Argv) {
		differ("argv", fmt.Sprintf("%q", r.Argv), fmt.Sprintf("%q", t.Argv))
	}
	if t.Exec && r.Cwd != t.Cwd {
		differ("working directory", r.Cwd, t.Cwd)
	}
	if !t.Kubelet {
		return diffs
	}
	if r.Started != t.Started {
		differ("starts", say(r.Started, r.Reason), say(t.Started, t.Reason))
		return diffs
	}
	for _, s := range Settings() {
		if t.Started && fmt.Sprint(r.Values[s.Key]) != fmt.Sprint(t.Values[s.Key]) {
			differ(s.Key, r.Values[s.Key], t.Values[s.Key])
		}
	}
	return diffs
}

func say(yes bool, reason string) string {
	if yes {
		return "yes"
	}
	return "no (" + reason + ")"
}
