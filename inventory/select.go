package inventory

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Sources are where a selection finds names outside the inventory. Select
// itself does no I/O; a nil function makes its pattern an error.
type Sources struct {
	// ReadFile reads the file of an @file pattern; os.ReadFile outside tests.
	ReadFile func(path string) ([]byte, error)
	// Run gives the names of the hosts of a stored run that have a status
	// ("failed", "unknown", ...). A name that the inventory no longer has
	// makes the pattern an error; a caller that would rather go on leaves it
	// out, and says so.
	Run func(id, status string) ([]string, error)
}

// Select chooses hosts by patterns, each possibly several separated by commas:
//
//	NAME            a host, in either case, or a group of that name
//	10.224.0.4      a host by its address
//	aks-np1-*       a glob over host names: * is any text, ? one character
//	vmss00000[8:b]  a range as in [Expand]: the hosts that lie in it
//	all             every host, unless a group has that name
//	label=value     hosts with that label; the value may be a glob
//	@file           the names, ranges and globs in a file, one to a line, # comments
//	run:ID:STATUS   hosts with that status in a stored run
//	!PATTERN        not these; it wins over everything else, wherever it stands
//
// Without patterns, or with exclusions only, the choice starts from every
// host. The result keeps the order of the inventory. A pattern that matches
// nothing is an error that names near misses, and so is an empty result: what
// was meant to be excluded, or included, was misspelt.
func (inv *Inventory) Select(patterns []string, src Sources) ([]Host, error) {
	if len(patterns) == 0 {
		return slices.Clone(inv.Hosts), nil
	}
	s := newSelector(inv, src)
	chosen := make([]bool, len(inv.Hosts))
	excluded := make([]bool, len(inv.Hosts))
	included := false
	for _, list := range patterns {
		for _, pattern := range splitPatterns(list) {
			rest, exclude := strings.CutPrefix(pattern, "!")
			set := chosen
			if exclude {
				set = excluded
			} else {
				included = true
			}
			s.pattern(strings.TrimSpace(rest), set)
		}
	}
	if err := s.err(); err != nil {
		return nil, err
	}
	var out []Host
	for i, h := range inv.Hosts {
		if (chosen[i] || !included) && !excluded[i] {
			out = append(out, h)
		}
	}
	if len(out) == 0 {
		return nil, &Error{Msg: fmt.Sprintf("the selection %q leaves no host", clip(strings.Join(patterns, ","))), Hint: "an exclusion with ! wins over every other pattern"}
	}
	return out, nil
}

// splitPatterns splits at commas outside brackets.
func splitPatterns(s string) []string {
	var out []string
	start, inside := 0, false
	for i := range len(s) {
		switch s[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ',':
			if !inside {
				out = append(out, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	return append(out, strings.TrimSpace(s[start:]))
}

// selector resolves patterns against one inventory.
type selector struct {
	problems
	inv     *Inventory
	src     Sources
	names   map[string]int   // lower-case name -> index
	groups  map[string][]int // group -> indices
	address map[string][]int // canonical address -> indices
	work    int              // names of ranges and comparisons of globs so far
}

func newSelector(inv *Inventory, src Sources) *selector {
	s := &selector{inv: inv, src: src, names: map[string]int{}, groups: map[string][]int{}, address: map[string][]int{}}
	for i, h := range inv.Hosts {
		s.names[strings.ToLower(h.Name)] = i
		a := canonicalAddress(h.Address)
		s.address[a] = append(s.address[a], i)
		for _, g := range h.Groups {
			s.groups[g] = append(s.groups[g], i)
		}
	}
	return s
}

// pattern marks the hosts that one pattern matches.
func (s *selector) pattern(pattern string, set []bool) {
	switch {
	case pattern == "":
		s.addf(0, "leave --limit out to choose every host", "a host pattern is empty")
	case pattern[0] == '!':
		s.addf(0, "", "the pattern %q has more than one !", "!"+clip(pattern))
	case pattern[0] == '@':
		s.fromFile(pattern[1:], set)
	case strings.HasPrefix(pattern, "run:"):
		s.fromRun(pattern, set)
	case strings.Contains(pattern, "="):
		s.byLabel(pattern, set)
	default:
		s.byName(pattern, Position{}, set)
	}
}

// byName marks hosts by name, range, glob, group or address. The position is
// where a file has the pattern.
func (s *selector) byName(pattern string, at Position, set []bool) {
	wild := strings.ContainsAny(pattern, "*?")
	switch {
	case wild:
		s.byGlob(pattern, at, set)
	case strings.ContainsAny(pattern, "[]"):
		s.byRange(pattern, at, set)
	default:
		found := s.exact(pattern)
		if len(found) == 0 {
			s.missing(pattern, at)
		}
		mark(set, found)
	}
}

// exact finds hosts by name, group, the word all, or address.
func (s *selector) exact(pattern string) []int {
	if i, ok := s.names[strings.ToLower(pattern)]; ok {
		return []int{i}
	}
	if group := s.groups[pattern]; group != nil {
		return group
	}
	if pattern == groupReserved {
		return slices.Collect(indices(len(s.inv.Hosts)))
	}
	return s.address[canonicalAddress(strings.Trim(pattern, "[]"))]
}

func indices(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func mark(set []bool, indices []int) {
	for _, i := range indices {
		set[i] = true
	}
}

func (s *selector) byRange(pattern string, at Position, set []bool) {
	if address := s.exact(pattern); address != nil { // an IPv6 address in brackets
		mark(set, address)
		return
	}
	names, err := Expand(pattern)
	if err != nil {
		s.fault(at, "", err.Error())
		return
	}
	if s.work += len(names); s.work > maxGlobWork {
		s.fault(at, "give the names instead", "the patterns have too many ranges")
		return
	}
	found := false
	for _, name := range names {
		if i, ok := s.names[strings.ToLower(name)]; ok {
			set[i], found = true, true
		}
	}
	if !found {
		s.fault(at, s.sample(), fmt.Sprintf("no host of the inventory lies in the range %q", clip(pattern)))
	}
}

func (s *selector) byGlob(pattern string, at Position, set []bool) {
	match, err := newGlob(pattern)
	if err != nil {
		s.fault(at, "", err.Error())
		return
	}
	if s.work += len(match) * len(s.inv.Hosts); s.work > maxGlobWork {
		s.fault(at, "give the names instead", "the patterns have too many globs")
		return
	}
	found := false
	for i, h := range s.inv.Hosts {
		if match.any(h.Name) {
			set[i], found = true, true
		}
	}
	if !found {
		s.fault(at, s.sample(), fmt.Sprintf("the pattern %q matches no host", clip(pattern)))
	}
}

func (s *selector) byLabel(pattern string, set []bool) {
	key, value, _ := strings.Cut(pattern, "=")
	match := strings.Contains(value, "*") || strings.Contains(value, "?")
	found, known := false, false
	for i, h := range s.inv.Hosts {
		have, ok := h.Labels[key]
		known = known || ok
		if ok && (have == value || match && wildcard(value, have)) {
			set[i], found = true, true
		}
	}
	switch {
	case found:
	case known:
		s.addf(0, nearHint(nearest(value, s.labelValues(key)), "no other value is near"), "no host has the label %q", clip(pattern))
	default:
		s.addf(0, nearHint(nearest(key, s.labelKeys()), ""), "no host has a label %q", clip(key))
	}
}

// fromFile marks the hosts that a file names.
func (s *selector) fromFile(path string, set []bool) {
	if s.src.ReadFile == nil {
		s.addf(0, "", "the pattern %q cannot be used here", "@"+clip(path))
		return
	}
	if problem := checkPrintable(path); problem != "" || path == "" {
		s.addf(0, "write @FILE", "the file name %q %s", clip(path), cmp.Or(problem, "is empty"))
		return
	}
	data, err := s.src.ReadFile(path)
	switch {
	case err != nil:
		s.fault(Position{File: path}, "", "cannot read the file of host names: "+reason(err))
		return
	case len(data) > maxYAMLBytes:
		s.fault(Position{File: path}, "", fmt.Sprintf("the file of host names is larger than %d MiB", maxYAMLBytes>>20))
		return
	}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	number, named := 0, false
	for lines.Scan() {
		number++
		pattern := strings.TrimSpace(withoutComment(lines.Text()))
		if pattern == "" {
			continue
		}
		named = true
		if s.byName(strings.TrimPrefix(pattern, "node/"), Position{path, number}, set); s.more > 0 || len(s.list) > maxReported {
			return
		}
	}
	switch {
	case lines.Err() != nil:
		s.fault(Position{path, number + 1}, "write one host name to a line", "the line is too long")
	case !named:
		s.fault(Position{File: path}, "", "the file of host names is empty")
	}
}

// fromRun marks the hosts that have a status in a stored run.
func (s *selector) fromRun(pattern string, set []bool) {
	id, status, ok := strings.Cut(strings.TrimPrefix(pattern, "run:"), ":")
	if !ok || id == "" || status == "" {
		s.addf(0, "write run:ID:STATUS, such as run:last:failed", "the pattern %q lacks the run or the status", clip(pattern))
		return
	}
	if s.src.Run == nil {
		s.addf(0, "", "the pattern %q cannot be used here", clip(pattern))
		return
	}
	names, err := s.src.Run(id, status)
	if err != nil {
		s.addf(0, "", "cannot resolve %q: %v", clip(pattern), err)
		return
	}
	if len(names) == 0 {
		s.addf(0, "", "no host of the run has this status: %q", clip(pattern))
	}
	var gone []string
	for _, name := range names {
		i, ok := s.names[strings.ToLower(name)]
		if !ok {
			gone = append(gone, name)
			continue
		}
		set[i] = true
	}
	if len(gone) > 0 {
		s.addf(0, "give the inventory of that run", "%q names %s that the inventory does not have: %s", clip(pattern), count(len(gone), "host"), clip(strings.Join(Fold(gone), ", ")))
	}
}

// missing reports a name that is nothing in the inventory.
func (s *selector) missing(pattern string, at Position) {
	hint := s.sample()
	if len(s.list) < maxReported {
		hint = nearHint(nearest(pattern, s.everyName()), hint)
	}
	if label := s.labelWith(pattern); label != "" {
		hint = "did you mean " + label + "?"
	}
	s.fault(at, hint, fmt.Sprintf("%q is neither a host nor a group of the inventory", clip(pattern)))
}

// labelWith names a label with this value, "" when there is none.
func (s *selector) labelWith(value string) string {
	for _, h := range s.inv.Hosts {
		for _, key := range slices.Sorted(maps.Keys(h.Labels)) {
			if h.Labels[key] == value {
				return key + "=" + value
			}
		}
	}
	return ""
}

// fault records an error at a place of a file, or at none.
func (s *selector) fault(at Position, hint, msg string) {
	s.file = at.File
	s.addf(at.Line, hint, "%s", msg)
	s.file = ""
}

// sample tells what the inventory does hold.
func (s *selector) sample() string {
	n := len(s.inv.Hosts)
	if n == 0 {
		return "the inventory is empty"
	}
	return fmt.Sprintf("the inventory %s has %s, the first is %s", s.inv.Name, count(n, "host"), s.inv.Hosts[0].Name)
}

func nearHint(near []string, otherwise string) string {
	if len(near) == 0 {
		return otherwise
	}
	return "did you mean " + strings.Join(near, ", ") + "?"
}

// everyName goes through host and group names.
func (s *selector) everyName() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, h := range s.inv.Hosts {
			if !yield(h.Name) {
				return
			}
		}
		for _, g := range s.inv.GroupNames() {
			if !yield(g) {
				return
			}
		}
	}
}

func (s *selector) labelKeys() iter.Seq[string] {
	return distinct(s.inv.Hosts, func(h Host, yield func(string)) {
		for k := range h.Labels {
			yield(k)
		}
	})
}

func (s *selector) labelValues(key string) iter.Seq[string] {
	return distinct(s.inv.Hosts, func(h Host, yield func(string)) {
		if v, ok := h.Labels[key]; ok {
			yield(v)
		}
	})
}

// distinct collects what each host yields, sorted, each once.
func distinct(hosts []Host, of func(Host, func(string))) iter.Seq[string] {
	seen := map[string]bool{}
	var out []string
	for _, h := range hosts {
		of(h, func(s string) {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		})
	}
	slices.Sort(out)
	return slices.Values(out)
}
