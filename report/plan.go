package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"

	"fleet/inventory"
)

// WritePlan writes what a run would do, before it does anything: the hosts
// that would not be changed and why, then those that would, each with the
// diff and what is restarted, and last the counts, nearest to the question
// that may follow. Hosts of which the same is to be told share an entry, with
// HOST for the name of each where a text holds it.
func WritePlan(w io.Writer, r Report, o TextOptions) error {
	b := bufio.NewWriter(w) // keeps the first error until Flush
	t := sheet{options: o, heads: []string{"PLAN", "HOSTS", "METHOD", "REASON"}, kept: 2, stacked: true}
	for _, g := range planGroups(r) {
		t.rows = append(t.rows, g.planRow(r.Run.Command, inventory.Fold))
	}
	t.print(b, requirement(r.Control))
	if len(t.rows) > 0 {
		fmt.Fprintln(b)
		t.write(b)
	}
	fmt.Fprintln(b)
	t.printVerdict(b, r.ChangeVerdict())
	return b.Flush()
}

// planKey is what makes two hosts' entries in a plan the same, host-specific
// parts taken out. Of hosts that need nothing the word is all.
type planKey struct {
	word, method, reason, changeReason string
	message, hint, diff, restarts      string
}

func planKeyOf(h Host, command string) planKey {
	key := planKey{word: planWord(h, command)}
	if planIdle(h, command) {
		return key
	}
	key.reason = h.Reason
	key.message = general(planMessage(h), h)
	key.hint = general(planStep(h), h)
	if c := h.Change; c != nil {
		key.method, key.changeReason, key.diff, key.restarts = c.Method, c.Reason, general(c.Diff, h), restarts(h)
	}
	return key
}

// planGroups folds the hosts of a plan: what a run is for comes last, before
// it the worst first.
func planGroups(r Report) []group {
	index := map[planKey]int{}
	var out []group
	for _, h := range r.Hosts {
		key := planKeyOf(h, r.Run.Command)
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, group{})
		}
		out[i].hosts = append(out[i].hosts, h)
	}
	slices.SortStableFunc(out, func(a, b group) int {
		x, y := fateOf(a.hosts[0], r.Run.Command), fateOf(b.hosts[0], r.Run.Command)
		return cmp.Or(compareBool(fates[x].aim, fates[y].aim), cmp.Compare(x, y), cmp.Compare(len(b.hosts), len(a.hosts)))
	})
	return out
}

// compareBool puts false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (g group) planRow(command string, fold folder) row {
	h := g.hosts[0]
	r := row{
		cells: []string{planWord(h, command), strconv.Itoa(len(g.hosts)), none, orDash(clean(h.Reason, maxPlace))},
		details: []detail{
			{label: "hosts", text: g.names(fold)},
			{text: g.common(planMessage)},
			{label: nextLabel, text: g.common(planStep)},
		},
	}
	if planIdle(h, command) {
		r.cells[3], r.details = none, r.details[:1]
		return r
	}
	if c := h.Change; c != nil {
		r.cells[2] = orDash(clean(c.Method, maxPlace))
		r.cells[3] = orDash(clean(cmp.Or(c.Reason, r.cells[3]), maxPlace))
		r.details = append(r.details, detail{label: "restarts", text: restarts(h)})
		r.block = diffBlock(g.diff())
	}
	return r
}

// planIdle reports whether a run has nothing to do on a host and nobody has
// to do anything about it.
func planIdle(h Host, command string) bool {
	f := fateOf(h, command)
	return f == fateCompliant || f == fateNothingToUndo
}

// planWord says in a word what a plan has for a host.
func planWord(h Host, command string) string {
	switch fateOf(h, command) {
	case fatePlanned:
		return "change"
	case fatePlannedBack:
		return "roll back"
	case fateRefused:
		return "REFUSED"
	case fateCompliant:
		return "compliant"
	case fateNothingToUndo:
		return "nothing"
	}
	if h.Change != nil && h.Change.Outcome != OutcomeUnchanged {
		return outcomeWord(h.Change)
	}
	return statusWord(h.Status)
}

// planMessage is what the plan says of a host, else what the audit found.
func planMessage(h Host) string {
	if h.Change != nil && h.Change.Message != "" {
		return h.Change.Message
	}
	return h.Message
}

// planStep is what to do about a host the run will not change.
func planStep(h Host) string {
	if h.Change != nil && h.Change.Outcome == OutcomePlanned {
		return clean(h.Change.Hint, maxMessage)
	}
	return nextStep(h)
}

// restarts says what a planned change restarts, "" where nothing is planned.
func restarts(h Host) string {
	switch {
	case h.Change.Outcome != OutcomePlanned:
		return ""
	case h.Change.Restarted:
		return clean(cmp.Or(h.Node.Unit, "the kubelet"), maxPlace)
	}
	return "nothing; the change takes effect when the kubelet is started again"
}

// diff is the diff of the group's hosts, as it is where they agree to the
// letter.
func (g group) diff() string {
	h := g.hosts[0]
	for _, other := range g.hosts[1:] {
		if other.Change.Diff != h.Change.Diff {
			return general(h.Change.Diff, h)
		}
	}
	return h.Change.Diff
}
