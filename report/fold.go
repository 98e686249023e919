package report

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"fleet/audit"
	"fleet/kubelet"
)

// group is hosts with the same finding, in inventory order.
type group struct {
	hosts []Host
	from  []place // of each host, host-specific parts taken out
	value string
}

// groupKey is what makes findings the same: the verdict, the values, the text
// that decides and where it stands (but not on which line), and what to do.
// Host-specific parts are taken out of each. For a pass, which nobody has to
// act on, the layer is enough.
type groupKey struct {
	status        audit.Status
	reason, value string
	kind          kubelet.SourceKind
	path, hint    string

	outcome              Outcome
	method, changeReason string
}

// groups folds hosts by their finding and outcome: the worst first, then the
// most hosts, then inventory order.
func groups(r Report) []group {
	index := map[groupKey]int{}
	var out []group
	for _, h := range r.Hosts {
		from := decidedBy(h.Finding, r.Control.Expected)
		from.path = general(from.path, h)
		key := groupKey{
			status: h.Status,
			reason: h.Reason,
			value:  value(h.Finding),
			kind:   from.kind,
			path:   from.path,
			hint:   general(nextStep(h), h),
		}
		if h.Status == audit.StatusPass {
			key.path = ""
		}
		if c := h.Change; c != nil {
			key.outcome, key.method, key.changeReason = c.Outcome, c.Method, c.Reason
		}
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, group{value: key.value})
		}
		out[i].hosts = append(out[i].hosts, h)
		out[i].from = append(out[i].from, from)
	}
	rank := r.rank()
	slices.SortStableFunc(out, func(a, b group) int {
		return cmp.Or(
			cmp.Compare(rank(a.hosts[0]), rank(b.hosts[0])),
			cmp.Compare(len(b.hosts), len(a.hosts)),
		)
	})
	return out
}

// Folder turns host names into ranges, as inventory.Fold does.
type folder func(names []string) []string

func groupRows(gs []group, changes bool, fold folder) []row {
	rows := make([]row, len(gs))
	for i, g := range gs {
		h := g.hosts[0]
		hint := nextStep(h)
		if len(g.hosts) > 1 {
			hint = clean(general(hint, h), maxMessage)
		}
		rows[i] = row{
			cells: append(firstCells(h, strconv.Itoa(len(g.hosts)), changes),
				orDash(clean(h.Reason, maxPlace)),
				g.value,
				g.place(),
			),
			brief: quiet(h),
			details: []detail{
				{label: "hosts", text: g.names(fold)},
				{text: g.common(func(h Host) string { return h.Message }), quiet: quiet(h)},
				{label: changeLabel, text: g.common(changeText)},
				{label: nextLabel, text: hint},
			},
		}
	}
	return rows
}

// place names where the value of all the group's hosts comes from, as far as
// they agree.
func (g group) place() string {
	p := g.from[0]
	paths := map[string]bool{}
	for _, other := range g.from {
		paths[other.path] = true
		if other.line != p.line {
			p.line = 0
		}
	}
	if len(paths) > 1 {
		return fmt.Sprintf("%s in %d places", place{kind: p.kind}, len(paths))
	}
	return p.String()
}

// maxPassing is how many bytes of names are shown of hosts that pass and were
// not touched. Hosts that need somebody, or were changed, are named all.
const maxPassing = 200

func (g group) maxNames() int {
	h := g.hosts[0]
	if h.Status == audit.StatusPass && (h.Change == nil || h.Change.Outcome == OutcomeUnchanged) {
		return maxPassing
	}
	return maxRange
}

func (g group) names(fold folder) string {
	names := make([]string, len(g.hosts))
	for i, h := range g.hosts {
		names[i] = h.Name
	}
	shown, size := []string(nil), 0
	ranges := fold(names)
	for i, s := range ranges {
		s = clean(s, maxRange)
		size += len(s)
		if size > g.maxNames() && len(ranges) > 1 {
			shown = append(shown, fmt.Sprintf("(and %d more, see -o wide)", len(ranges)-i))
			break
		}
		shown = append(shown, s)
	}
	return strings.Join(shown, " ")
}

// common is a text of the group's hosts without its host-specific parts; where
// the texts differ even so, it is one of them with the host it is of.
func (g group) common(text func(Host) string) string {
	h := g.hosts[0]
	if len(g.hosts) == 1 {
		return clean(text(h), maxMessage)
	}
	first := general(text(h), h)
	for _, other := range g.hosts[1:] {
		if general(text(other), other) != first {
			return clean(h.Name, maxName) + ", for one: " + clean(text(h), maxMessage)
		}
	}
	return clean(first, maxMessage)
}

var fingerprint = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{16,}=?`)

// general takes out of s what is of this one host: its names, its address, its
// boot id, the kubelet's process id and key fingerprints.
func general(s string, h Host) string {
	s = replaceWord(s, h.Name, "HOST")
	s = replaceWord(s, h.Node.Hostname, "HOST")
	s = replaceWord(s, h.Address, "ADDRESS")
	s = replaceWord(s, h.Node.BootID, "BOOT-ID")
	if pid := h.Node.KubeletPID; pid > 0 {
		s = replaceWord(s, "/proc/"+strconv.Itoa(pid), "/proc/PID")
		s = replaceWord(s, "pid "+strconv.Itoa(pid), "pid PID")
	}
	return fingerprint.ReplaceAllString(s, "SHA256:...")
}

// replaceWord replaces every occurrence of word in s that is not a part of a
// longer name.
func replaceWord(s, word, with string) string {
	if word == "" || !strings.Contains(s, word) {
		return s
	}
	var b strings.Builder
	for done := 0; ; {
		i := strings.Index(s[done:], word)
		if i < 0 {
			b.WriteString(s[done:])
			return b.String()
		}
		start, end := done+i, done+i+len(word)
		b.WriteString(s[done:start])
		if joinsBefore(s[:start], word) || joinsAfter(s[end:]) {
			b.WriteString(word)
		} else {
			b.WriteString(with)
		}
		done = end
	}
}

// joinsBefore reports whether word continues a name that ends before. A word
// that begins with a slash is a path and begins where it stands.
func joinsBefore(before, word string) bool {
	r, n := utf8.DecodeLastRuneInString(before)
	if n == 0 || word[0] == '/' {
		return false
	}
	if r == '.' {
		r, _ = utf8.DecodeLastRuneInString(before[:len(before)-n])
		return nameRune(r)
	}
	return nameRune(r)
}

func joinsAfter(after string) bool {
	r, n := utf8.DecodeRuneInString(after)
	if n == 0 {
		return false
	}
	if r == '.' {
		r, _ = utf8.DecodeRuneInString(after[n:])
		return r != utf8.RuneError && nameRune(r)
	}
	return nameRune(r)
}

func nameRune(r rune) bool {
	return r == '-' || r == '_' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
