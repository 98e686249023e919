package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleet/audit"
	"fleet/inventory"
	"fleet/kubelet"
)

// TextOptions fit the text formats to where they are read. The zero value
// suits a file or a pipe.
type TextOptions struct {
	Width int  // columns of the terminal, 0: lines as long as they need to be
	Color bool // colour the status words; they always stand there as words too
}

// foldAbove is the number of hosts up to which the table has a line for each.
const foldAbove = 30

// WriteTable writes the default text report: the verdict in one sentence, then
// the hosts, worst first, each with its value, where that comes from and, when
// it is not a pass, what to do next. Of a run that changes hosts, sentence and
// lines tell how that came out. Above 30 hosts, hosts with the same finding
// and outcome share a line and are named as ranges.
func WriteTable(w io.Writer, r Report, o TextOptions) error {
	t := newSheet(r, o, "REASON", "VALUE", "FROM")
	if len(r.Hosts) > foldAbove {
		t.heads[1] = "HOSTS"
		t.stacked = true
		t.rows = groupRows(groups(r), r.changes(), inventory.Fold)
	} else {
		t.rows = tableRows(r)
	}
	return writeText(w, r, t, t.stacked)
}

// newSheet is a sheet with the columns that name a host and what became of it,
// and the given ones behind them.
func newSheet(r Report, o TextOptions, more ...string) sheet {
	t := sheet{options: o, heads: []string{"STATUS", "HOST"}}
	if r.changes() {
		t.heads = append(t.heads, "CHANGE")
	}
	t.kept = len(t.heads)
	t.heads = append(t.heads, more...)
	return t
}

// WriteWide writes a line per host with all that is known of it, and the diff
// of its change below; hosts are never folded.
func WriteWide(w io.Writer, r Report, o TextOptions) error {
	return writeText(w, r, wideSheet(r, o), false)
}

func writeText(w io.Writer, r Report, t sheet, folded bool) error {
	b := bufio.NewWriter(w) // keeps the first error until Flush
	t.printVerdict(b, r.verdict())
	t.print(b, requirement(r.Control))
	if len(t.rows) > 0 {
		fmt.Fprintln(b)
		t.write(b)
	}
	fmt.Fprintln(b)
	if folded {
		t.print(b, "Hosts with the same finding share a line and HOST stands for each of them; -o wide has a line for each, -o json everything.")
	}
	if t.wide {
		t.print(b, meaning(r.Control))
	}
	t.print(b, origin(r.Run))
	return b.Flush()
}

// Verdict tells a summary in one sentence, the worst first.
func Verdict(s Summary) string {
	switch {
	case s.Total == 0:
		return "No hosts: nothing was checked."
	case s.Pass == s.Total:
		return all(s.Total) + pick(s.Total, " passes.", " pass.")
	case s.Fail == s.Total:
		return all(s.Total) + pick(s.Total, " FAILS.", " FAIL.")
	case s.NotApplicable == s.Total:
		return all(s.Total) + pick(s.Total, " is", " are") + " not applicable: nothing was checked."
	case s.Unknown == s.Total:
		return all(s.Total) + pick(s.Total, " is", " are") + " UNKNOWN: nothing could be told."
	}
	var parts []string
	add := func(n int, one, many string) {
		if n > 0 {
			parts = append(parts, strconv.Itoa(n)+" "+pick(n, one, many))
		}
	}
	add(s.Fail, "FAILS", "FAIL")
	add(s.Unknown, "is UNKNOWN", "are UNKNOWN")
	add(s.Pass, "passes", "pass")
	add(s.NotApplicable, "is not applicable", "are not applicable")
	return fmt.Sprintf("Of %d hosts, %s.", s.Total, strings.Join(parts, ", "))
}

func all(n int) string {
	return pick(n, "1 host", fmt.Sprintf("All %d hosts", n))
}

func pick(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// requirement says what was demanded of the hosts.
func requirement(c Control) string {
	s := fmt.Sprintf("Wanted: %s = %s", clean(cmp.Or(c.Key, c.ID), maxPlace), cleanValue(c.Expected))
	if b := newestBenchmarks(c.Benchmarks); len(b) > 0 {
		s += " (" + strings.Join(b, ", ") + ")"
	}
	return s
}

// newestBenchmarks names the control in the newest version of each benchmark;
// versions stand behind the last dash, "cis-aks-1.8".
func newestBenchmarks(benchmarks map[string]string) []string {
	type edition struct{ version, name string }
	newest := map[string]edition{}
	for _, name := range slices.Sorted(maps.Keys(benchmarks)) {
		family, version := name, ""
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			family, version = name[:i], name[i+1:]
		}
		if best, ok := newest[family]; !ok || compareVersions(version, best.version) > 0 {
			newest[family] = edition{version, name}
		}
	}
	var out []string
	for _, family := range slices.Sorted(maps.Keys(newest)) {
		name := newest[family].name
		out = append(out, clean(name, maxPlace)+" "+clean(benchmarks[name], maxPlace))
	}
	return out
}

// compareVersions compares dotted numbers, anything else as text.
func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		if errX != nil || errY != nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(m, n)
	})
}

// meaning is what a reader should know about the control besides its verdict.
//
// Since Kubernetes 1.28 the setting only governs a chain that tells other
// components which iptables the node uses (kubernetes/kubernetes PR 119374,
// comment on MakeIPTablesUtilChains in k8s.io/kubelet config/v1beta1).
func meaning(c Control) string {
	if c.Key != "makeIPTablesUtilChains" {
		return ""
	}
	return "Since Kubernetes 1.28 this setting only makes the kubelet create the KUBE-IPTABLES-HINT chain: a FAIL may have no visible effect on traffic."
}

// origin says where the report comes from.
func origin(r Run) string {
	s := fmt.Sprintf("Run %s: fleet %s %s, inventory %s, started %s, took %s",
		orDash(clean(r.ID, maxPlace)), clean(r.Version, maxPlace), clean(r.Command, maxPlace),
		orDash(clean(r.Inventory, maxPlace)), r.Started.UTC().Format(time.RFC3339), took(r))
	return strings.Join(strings.Fields(s), " ")
}

func took(r Run) string {
	d := r.Finished.Sub(r.Started)
	if d < 0 {
		return none
	}
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func orDash(s string) string { return cmp.Or(s, none) }

// statusRank orders statuses, the worst first.
func statusRank(s audit.Status) int {
	switch s {
	case audit.StatusFail:
		return 0
	case audit.StatusNotApplicable:
		return 2
	case audit.StatusPass:
		return 3
	}
	return 1 // unknown, and anything that is no status
}

// statusWord is the status as the text formats show it: what needs somebody is
// in capitals, so that it stands out without colour too.
func statusWord(s audit.Status) string {
	switch s {
	case audit.StatusPass, audit.StatusNotApplicable:
		return string(s)
	case audit.StatusFail:
		return "FAIL"
	}
	return "UNKNOWN"
}

func worstFirst(r Report) []Host {
	rank := r.rank()
	return slices.SortedStableFunc(slices.Values(r.Hosts), func(a, b Host) int { return cmp.Compare(rank(a), rank(b)) })
}

func tableRows(r Report) []row {
	rows := make([]row, len(r.Hosts))
	for i, h := range worstFirst(r) {
		cells := append(firstCells(h, clean(h.Name, maxName), r.changes()),
			orDash(clean(h.Reason, maxPlace)),
			value(h.Finding),
			decidedBy(h.Finding, r.Control.Expected).String(),
		)
		rows[i] = row{
			cells: cells,
			brief: quiet(h),
			details: []detail{
				{text: clean(h.Message, maxMessage), quiet: quiet(h)},
				{label: changeLabel, text: clean(changeText(h), maxMessage)},
				{label: nextLabel, text: nextStep(h)},
			},
		}
	}
	return rows
}

// firstCells are the cells of the columns of newSheet, who being the host or
// the number of hosts.
func firstCells(h Host, who string, changes bool) []string {
	cells := []string{statusWord(h.Status), orDash(who)}
	if changes {
		cells = append(cells, outcomeWord(h.Change))
	}
	return cells
}

// quiet reports whether nobody needs to read more of a host than its line.
func quiet(h Host) bool {
	return h.Status == audit.StatusPass && h.Hint == "" && settled(h.Change)
}

const nextLabel = "do next"

// nextStep is what to do about a host: the hint of its change or its own, or, so that no line leaves
// the reader alone, the general advice for its status.
func nextStep(h Host) string {
	if step := changeStep(h.Change); step != "" {
		return step
	}
	if hint := clean(h.Hint, maxMessage); hint != "" {
		return hint
	}
	switch h.Status {
	case audit.StatusPass:
		return ""
	case audit.StatusNotApplicable:
		return "nothing; leave the host out of the inventory to silence this line"
	case audit.StatusFail:
		return "fleet audit --limit " + clean(h.Name, maxName) + " -o json shows the evidence"
	}
	return "remove the cause, then fleet audit --limit " + clean(h.Name, maxName)
}

// value tells the setting's value in one cell: one word where every witness
// heard agrees with the running kubelet, otherwise each witness by name. A
// question mark is a value that could not be determined.
func value(f audit.Finding) string {
	var parts []string
	agree := f.Running != nil
	for _, w := range []struct {
		name    string
		witness *audit.Witness
	}{{"now", f.Running}, {"next", f.Next}, {"live", f.Live}} {
		if w.witness == nil {
			continue
		}
		parts = append(parts, w.name+" "+cleanValue(w.witness.Value))
		agree = agree && w.witness.Value == f.Running.Value
	}
	switch {
	case len(parts) == 0:
		return none
	case agree:
		return cleanValue(f.Running.Value)
	}
	return strings.Join(parts, ", ")
}

func cleanValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "?"
	case string:
		return clean(strconv.Quote(v), maxPlace)
	}
	return clean(fmt.Sprint(v), maxPlace)
}

// place is where a value comes from.
type place struct {
	kind kubelet.SourceKind
	path string
	line int
}

// decidedBy is the place that decided the verdict: that of the first witness
// with another value than the expected one for a fail, otherwise that of the
// first witness that knows the value. A flag is shown where it is written
// rather than as it stands in /proc, when the next start sets it likewise.
func decidedBy(f audit.Finding, expected any) place {
	var chosen *audit.Witness
	for _, w := range []*audit.Witness{f.Running, f.Next, f.Live} {
		if w == nil {
			continue
		}
		if f.Status == audit.StatusFail && w.Value != expected || f.Status != audit.StatusFail && w.Value != nil {
			chosen = w
			break
		}
		if chosen == nil {
			chosen = w
		}
	}
	if chosen == nil {
		return place{}
	}
	if n := f.Next; n != nil && chosen == f.Running && strings.HasPrefix(chosen.Source.Path, "/proc/") &&
		n.Source.Kind == chosen.Source.Kind && n.Value == chosen.Value {
		chosen = n
	}
	return placeOf(chosen.Source)
}

func placeOf(s kubelet.Source) place { return place{s.Kind, s.Path, s.Line} }

func (p place) String() string {
	s := clean(string(p.kind), maxPlace)
	if p.path != "" {
		s += " " + clean(p.path, maxPlace)
		if p.line > 0 {
			s += ":" + strconv.Itoa(p.line)
		}
	}
	return orDash(strings.TrimSpace(s))
}
