package audit

import (
	"time"

	"fleet/kubelet"
)

// Status is the verdict on one host.
type Status string

// The four verdicts. StatusUnknown is "could not tell" and is never folded
// into pass or fail; StatusNotApplicable is a host the control does not
// concern.
const (
	StatusPass          Status = "pass"
	StatusFail          Status = "fail"
	StatusUnknown       Status = "unknown"
	StatusNotApplicable Status = "not-applicable"
)

// Finding is what was found out about one host.
type Finding struct {
	Status  Status `json:"status"`
	Reason  string `json:"reason"`  // stable code, see Reasons
	Message string `json:"message"` // one line: what was found and where
	Hint    string `json:"hint"`    // what to do next, "" for a plain pass

	// The witnesses. Nil means that the witness was not heard: the host was
	// not reached, or nobody asked.
	Running *Witness `json:"running"`
	Next    *Witness `json:"next"`
	Live    *Witness `json:"live,omitempty"`

	Node Node `json:"node"`

	// Notes are further facts worth a line each: masked layers, unused files,
	// lenient decoding. Never needed to understand the verdict.
	Notes []string `json:"notes,omitempty"`

	Evidence []Evidence `json:"evidence"`
}

// Witness is one reading of the setting.
type Witness struct {
	// Value is the value in effect: true, false, or nil when it could not be
	// told; Problem then says why.
	Value   any            `json:"value"`
	Source  kubelet.Source `json:"source"`
	Problem string         `json:"problem,omitempty"`
}

// Node is what the host said of itself; empty fields were not learnt.
type Node struct {
	Hostname       string     `json:"hostname"`
	OS             string     `json:"os"` // PRETTY_NAME of os-release
	BootID         string     `json:"boot_id"`
	KubeletVersion string     `json:"kubelet_version"`
	KubeletPID     int        `json:"kubelet_pid"`
	KubeletStarted *time.Time `json:"kubelet_started"` // nil when no kubelet runs
	Config         string     `json:"config"`          // file of --config in use, "" when none
	ConfigDir      string     `json:"config_dir"`      // directory of --config-dir in use, "" when none
	Unit           string     `json:"unit"`            // systemd unit that runs the kubelet
}

// Evidence is one exhibit: a command of the benchmark's audit procedure and
// what it printed on the host, bounded, secrets masked, control characters
// still as the host sent them (every writer escapes for its own format).
type Evidence struct {
	Command string `json:"command"`
	Exit    int    `json:"exit"`
	Stdout  string `json:"stdout"`
}
