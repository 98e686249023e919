package report

import (
	"bufio"
	"cmp"
	_ "embed" // the published schema
	"fmt"
	"io"
	"slices"
	"strings"

	"fleet/inventory"
)

// ExecSchemaName names the JSON format of a command run on many hosts, and its
// version.
const ExecSchemaName = "fleet.exec/v1"

//go:embed fleet.exec.v1.schema.json
var execSchemaText string

// ExecSchema returns the JSON Schema (draft 2020-12) of ExecSchemaName. Its
// root describes the document, its $defs/message one line of the stream.
func ExecSchema() string { return execSchemaText }

// Exec is what a command came to on every selected host, in the shape of its
// JSON form. Build it with [NewExec].
type Exec struct {
	Schema  string      `json:"schema"` // ExecSchemaName
	Run     Run         `json:"run"`
	Command string      `json:"command"` // as the hosts' shells read it
	Summary ExecSummary `json:"summary"`
	Hosts   []ExecHost  `json:"hosts"` // every selected host, in inventory order
}

// ExecHost is what the command came to on one host. Where Reason is "" the
// command ran to its end and Exit is set; otherwise it could not be run or its
// end is not known, and the output is what had arrived by then. Output that is
// not UTF-8 has U+FFFD in JSON.
type ExecHost struct {
	Name    string `json:"name"`
	Address string `json:"address"`

	Exit       *int   `json:"exit"`             // 128 and more when Signal is set; nil when Reason is set
	Signal     string `json:"signal,omitempty"` // name of the signal that ended it, without SIG
	Stdout     string `json:"stdout"`
	Stderr     string `json:"stderr"`
	StderrCut  bool   `json:"stderr_cut,omitempty"` // there was more than is kept
	Reason     string `json:"reason,omitempty"`     // stable code, as of a finding
	Message    string `json:"message,omitempty"`    // one line
	Hint       string `json:"hint,omitempty"`       // what to do next
	DurationMS int64  `json:"duration_ms"`
}

// ExecSummary counts the hosts.
type ExecSummary struct {
	Total     int `json:"total"`
	Succeeded int `json:"succeeded"` // exit status 0
	Failed    int `json:"failed"`    // any other, or a signal
	Unknown   int `json:"unknown"`   // could not be run, or its end is not known
}

// NewExec assembles the value. Hosts stay in the order given.
func NewExec(run Run, command string, hosts []ExecHost) Exec {
	x := Exec{Schema: ExecSchemaName, Run: run, Command: command, Hosts: hosts}
	x.Run.Started, x.Run.Finished = run.Started.UTC(), run.Finished.UTC()
	if hosts == nil {
		x.Hosts = []ExecHost{}
	}
	x.Summary.Total = len(hosts)
	for _, h := range hosts {
		switch h.code() {
		case ExitOK:
			x.Summary.Succeeded++
		case ExitFail:
			x.Summary.Failed++
		default:
			x.Summary.Unknown++
		}
	}
	return x
}

// code is what the host alone would make the exit code.
func (h ExecHost) code() int {
	switch {
	case h.Reason != "" || h.Exit == nil:
		return ExitIncomplete
	case *h.Exit != 0 || h.Signal != "":
		return ExitFail
	}
	return ExitOK
}

// ExitCode is the exit code of the run: ExitFail when the command failed on a
// host, ExitIncomplete when it could not be run on one, ExitInterrupted; the
// highest that applies.
func (x Exec) ExitCode() int {
	code := ExitOK
	if x.Run.Interrupted {
		code = ExitInterrupted
	}
	for _, h := range x.Hosts {
		code = max(code, h.code())
	}
	return code
}

// ExecFormat is one output format of fleet exec.
type ExecFormat struct {
	Name  string
	About string
	Write func(io.Writer, Exec, TextOptions) error
}

// ExecFormats lists the formats, the default first.
func ExecFormats() []ExecFormat {
	return []ExecFormat{
		{"text", "hosts with the same result share a block, worst first (default)", WriteExecText},
		{"json", "one document of " + ExecSchemaName, WriteExecJSON},
		{"ndjson", "one JSON message per line: header, hosts, summary", WriteExecNDJSON},
	}
}

// WriteExecJSON writes one indented document. Options are ignored.
func WriteExecJSON(w io.Writer, x Exec, _ TextOptions) error { return writeValue(w, x, "  ") }

// WriteExecNDJSON writes a header, a line for each host and the summary, told
// apart by their keys "schema", "name" and "summary". Options are ignored.
func WriteExecNDJSON(w io.Writer, x Exec, _ TextOptions) error {
	header := struct {
		Schema  string `json:"schema"`
		Run     Run    `json:"run"`
		Command string `json:"command"`
	}{x.Schema, x.Run, x.Command}
	if err := writeValue(w, header, ""); err != nil {
		return err
	}
	for _, h := range x.Hosts {
		if err := writeValue(w, h, ""); err != nil {
			return err
		}
	}
	return writeValue(w, struct {
		Summary ExecSummary `json:"summary"`
	}{x.Summary}, "")
}

// execGroup is hosts on which the command came to the same.
type execGroup struct {
	hosts []ExecHost
}

// execGroups folds hosts whose end and output are the same to the last byte;
// of hosts that could not run it, those with the same reason, host-specific
// parts of the message taken out. The worst come first, then the most hosts.
func execGroups(hosts []ExecHost) []execGroup {
	index := map[ExecHost]int{}
	var out []execGroup
	for _, h := range hosts {
		key := h.general()
		exit := -1
		if h.Exit != nil {
			exit = *h.Exit
		}
		key.DurationMS, key.Exit = int64(exit), nil // a map key must not hold a pointer
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, execGroup{})
		}
		out[i].hosts = append(out[i].hosts, h)
	}
	slices.SortStableFunc(out, func(a, b execGroup) int {
		return cmp.Or(cmp.Compare(execRank(a.hosts[0]), execRank(b.hosts[0])), cmp.Compare(len(b.hosts), len(a.hosts)))
	})
	return out
}

// general is the host without what is of this one host.
func (h ExecHost) general() ExecHost {
	as := Host{Name: h.Name, Address: h.Address}
	h.Message, h.Hint = general(h.Message, as), general(h.Hint, as)
	h.Name, h.Address = "", ""
	return h
}

// execRank puts what failed before what could not be run, as the reports do.
func execRank(h ExecHost) int {
	return map[int]int{ExitFail: 0, ExitIncomplete: 1, ExitOK: 2}[h.code()]
}

// WriteExecText writes a block for all hosts on which the command came to the
// same, the worst first, and last the counts. Output is indented, so that no
// line of it can be taken for one of ours, and control characters are visible.
func WriteExecText(w io.Writer, x Exec, o TextOptions) error {
	b := bufio.NewWriter(w) // keeps the first error until Flush
	t := sheet{options: o}
	for _, g := range execGroups(x.Hosts) {
		g.write(b, t)
		fmt.Fprintln(b)
	}
	t.printVerdict(b, x.Verdict())
	return b.Flush()
}

func (g execGroup) write(b *bufio.Writer, t sheet) {
	h := g.hosts[0]
	if len(g.hosts) > 1 {
		h = h.general()
	}
	names := make([]string, len(g.hosts))
	for i, host := range g.hosts {
		names[i] = host.Name
	}
	head := g.outcome() + " on " + pick(len(names), "1 host", fmt.Sprintf("%d hosts", len(names))) + ": " +
		clean(strings.Join(inventory.Fold(names), " "), maxRange)
	for i, line := range wrap(head, t.widthBut(len(hanging))) {
		if i > 0 {
			line = hanging + line
		} else {
			line = t.colored(line)
		}
		fmt.Fprintln(b, line)
	}
	if h.Reason != "" {
		for _, d := range []detail{{text: clean(h.Message, maxMessage)}, {label: "reason", text: clean(h.Reason, maxPlace)}, {label: nextLabel, text: clean(h.Hint, maxMessage)}} {
			if d.text != "" {
				fmt.Fprintln(b, indent+strings.Join(t.hang(d.String()), "\n"+indent))
			}
		}
	}
	t.writeStream(b, "stdout", h.Stdout, false)
	t.writeStream(b, "stderr", h.Stderr, h.StderrCut)
}

// outcome begins the line of a group, in a word that stands out.
func (g execGroup) outcome() string {
	h := g.hosts[0]
	switch {
	case h.code() == ExitIncomplete:
		return "UNKNOWN"
	case h.Signal != "":
		return "FAILED (signal " + clean(h.Signal, maxPlace) + ")"
	case *h.Exit != 0:
		return fmt.Sprintf("FAILED (exit status %d)", *h.Exit)
	}
	return "ok"
}

// streamIndent is of the heading of a stream; output is indented more.
const streamIndent = "  "

func (t sheet) writeStream(b *bufio.Writer, name, text string, cut bool) {
	if text == "" {
		return
	}
	fmt.Fprintln(b, streamIndent+name+":")
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		lines = append(lines, cleanLine(expandTabs(line), maxRange))
	}
	t.writeBlock(b, row{block: lines, plain: true})
	if cut {
		fmt.Fprintln(b, streamIndent+name+" goes on; no more is kept")
	}
}

// expandTabs writes blanks for tabs, to every eighth column, so that a table
// that a command prints stays one.
func expandTabs(line string) string {
	if !strings.Contains(line, "\t") {
		return line
	}
	var b strings.Builder
	column := 0
	for i, piece := range strings.Split(line, "\t") {
		if i > 0 {
			n := 8 - column%8
			b.WriteString(strings.Repeat(" ", n))
			column += n
		}
		b.WriteString(piece)
		column += columnsOf(piece)
	}
	return b.String()
}

// Verdict tells in one sentence what the command came to.
func (x Exec) Verdict() string {
	s := x.Summary
	switch {
	case s.Total == 0:
		return "No hosts: nothing was run."
	case s.Succeeded == s.Total:
		return "The command succeeded on " + theHosts(s.Total) + "."
	case s.Failed == s.Total:
		return "The command FAILED on " + theHosts(s.Total) + "."
	case s.Unknown == s.Total:
		return "The command's end is UNKNOWN on " + theHosts(s.Total) + "."
	}
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{s.Failed, "FAILED on %d"}, {s.Unknown, "is UNKNOWN on %d"}, {s.Succeeded, "succeeded on %d"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf(p.text, p.n))
		}
	}
	return fmt.Sprintf("Of %d hosts, the command %s.", s.Total, strings.Join(parts, ", "))
}

func theHosts(n int) string { return pick(n, "1 host", fmt.Sprintf("all %d hosts", n)) }
