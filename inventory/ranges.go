package inventory

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxHosts is the largest number of hosts an inventory, a range or a --limit
// file may name.
const MaxHosts = 100_000

// maxPattern is the longest name with ranges, in bytes. A host name has at
// most 253 (RFC 1035); the rest is room for brackets.
const maxPattern = 8 << 10

// Longest digits of a range that are sure to fit into a uint64.
const (
	maxDecimalDigits = 18 // 10^18 < 2^63
	maxBase36Digits  = 12 // 36^12 < 2^63
)

// Expand writes out the ranges of a name: "node[08:10]" gives node08, node09
// and node10. A name without brackets is its own expansion.
//
// A bracket holds parts separated by commas, at least one of them a range:
//
//	part  = value | low:high | low:high:step
//
// Both ends of a range are included and step is decimal. A range whose ends
// are all digits counts in decimal. With a letter in either end it counts in
// base 36, the digits 0-9 then a-z in lower case: so Azure numbers the
// computers of a scale set, in six places ("{prefix}{base-36-instance-id}",
// learn.microsoft.com, "Understand names and instance IDs for Virtual Machine
// Scale Set VMs"), and Kubernetes writes node names in lower case. So [1:9] is
// nine names, [8:b] is 8, 9, a, b; [08:0b] the same in two places; [a:z] is
// the 26 letters; [09:0b] counts 09, 0a, 0b, and [09:11] counts 09, 10, 11.
//
// Ends of equal length keep that length with zeros in front. Ends of different
// length are only for decimal numbers without leading zeros that do not touch
// another digit of the name: vmss00000[8:12] is refused, because vmss0000012
// is hardly meant. Several brackets give every combination, the last one
// changing fastest. An expansion beyond [MaxHosts] names is refused.
func Expand(name string) ([]string, error) {
	if !strings.ContainsAny(name, "[]") {
		return []string{name}, nil
	}
	if len(name) > maxPattern {
		return nil, rangeError(name, fmt.Sprintf("stand in a name of more than %d bytes", maxPattern))
	}
	segments, err := parseRanges(name)
	if err != nil {
		return nil, err
	}
	total := uint64(1)
	for _, s := range segments {
		n := s.count()
		if n > MaxHosts || total*n > MaxHosts {
			return nil, rangeError(name, fmt.Sprintf("name more than %d hosts", MaxHosts))
		}
		total *= n
	}
	names := []string{""}
	for _, s := range segments {
		names = s.appendTo(names)
	}
	return names, nil
}

// rangeError is a fault in the ranges of a name; the caller adds the place.
func rangeError(name, problem string) error {
	return fmt.Errorf("the ranges of %q %s", clip(name), problem)
}

// segment is a piece of a name: literal text, then the parts of the bracket
// that follows it. The last segment of a name has no parts.
type segment struct {
	literal string
	parts   []rangePart
}

// rangePart counts from low to high by step in base, each number padded with
// zeros to width; width 0 means no padding.
type rangePart struct {
	low, high, step uint64
	base, width     int
}

func (r rangePart) count() uint64 { return (r.high-r.low)/r.step + 1 }

func (r rangePart) text(v uint64) string {
	s := strconv.FormatUint(v, r.base)
	if len(s) < r.width {
		s = strings.Repeat("0", r.width-len(s)) + s
	}
	return s
}

// count is the number of texts a segment stands for. It stays small enough to
// multiply: an over-long part counts as one more than is allowed.
func (s segment) count() uint64 {
	if s.parts == nil {
		return 1
	}
	n := uint64(0)
	for _, p := range s.parts {
		n += min(p.count(), MaxHosts+1)
		if n > MaxHosts {
			return MaxHosts + 1
		}
	}
	return n
}

func (s segment) appendTo(prefixes []string) []string {
	out := make([]string, 0, uint64(len(prefixes))*s.count())
	for _, prefix := range prefixes {
		prefix += s.literal
		if s.parts == nil {
			out = append(out, prefix)
			continue
		}
		for _, p := range s.parts {
			for i := range p.count() {
				out = append(out, prefix+p.text(p.low+i*p.step))
			}
		}
	}
	return out
}

// parseRanges takes a name apart at its brackets.
func parseRanges(name string) ([]segment, error) {
	var segments []segment
	rest := name
	for {
		open := strings.IndexAny(rest, "[]")
		if open < 0 {
			return append(segments, segment{literal: rest}), nil
		}
		if rest[open] == ']' {
			return nil, rangeError(name, "have a ] without its [")
		}
		inner, after, ok := strings.Cut(rest[open+1:], "]")
		if !ok {
			return nil, rangeError(name, "have a [ without its ]")
		}
		parts, problem := parseBracket(inner)
		touches := endsInDigit(rest[:open]) || startsWithDigit(after) ||
			open == 0 && len(segments) > 0 || strings.HasPrefix(after, "[")
		if problem == "" && touches && uneven(parts) {
			problem = fmt.Sprintf("are of unequal length beside another digit or range at [%s]; write every end equally long: [08:12], or [8:c] when base 36 is meant", clip(inner))
		}
		if problem != "" {
			return nil, rangeError(name, problem)
		}
		segments = append(segments, segment{rest[:open], parts})
		rest = after
	}
}

// parseBracket reads the inside of one bracket, or says what is wrong with it.
func parseBracket(inner string) ([]rangePart, string) {
	if !strings.ContainsAny(inner, ":,") {
		if strings.Contains(inner, "-") {
			return nil, fmt.Sprintf("use a dash at [%s]; write %s", clip(inner), "["+clip(strings.ReplaceAll(inner, "-", ":"))+"]")
		}
		return nil, fmt.Sprintf("lack low:high at [%s]; a range is written [low:high]", clip(inner))
	}
	var parts []rangePart
	for text := range strings.SplitSeq(inner, ",") {
		p, problem := parsePart(text)
		if problem != "" {
			return nil, problem
		}
		parts = append(parts, p)
	}
	return parts, ""
}

func parsePart(text string) (rangePart, string) {
	ends := strings.Split(text, ":")
	if len(ends) > 3 {
		return rangePart{}, fmt.Sprintf("have more than low:high:step at %q", clip(text))
	}
	low, high, step := ends[0], ends[0], uint64(1)
	if len(ends) > 1 {
		high = ends[1]
	}
	p, problem := parseEnds(low, high)
	if problem != "" {
		return rangePart{}, problem
	}
	if len(ends) == 3 {
		var err error
		if step, err = strconv.ParseUint(ends[2], 10, 63); err != nil || step == 0 {
			return rangePart{}, fmt.Sprintf("have the step %q, which is not a positive number", clip(ends[2]))
		}
	}
	p.step = step
	return p, ""
}

// parseEnds reads the two ends of a range and decides base and padding.
func parseEnds(low, high string) (rangePart, string) {
	for _, end := range []string{low, high} {
		if problem := checkEnd(end); problem != "" {
			return rangePart{}, problem
		}
	}
	p := rangePart{base: 10}
	if !allDigits(low + high) {
		p.base = 36
	}
	longest := maxDecimalDigits
	if p.base == 36 {
		longest = maxBase36Digits
	}
	if max(len(low), len(high)) > longest {
		return rangePart{}, fmt.Sprintf("have an end longer than %d digits", longest)
	}
	p.low, _ = strconv.ParseUint(low, p.base, 64)
	p.high, _ = strconv.ParseUint(high, p.base, 64)
	return p.padded(low, high)
}

func (r rangePart) padded(low, high string) (rangePart, string) {
	switch {
	case r.low > r.high:
		return r, fmt.Sprintf("run backwards at %s:%s", low, high)
	case len(low) == len(high):
		r.width = len(low)
	case r.base == 36:
		return r, fmt.Sprintf("count in base 36 at %s:%s with ends of different length; write both equally long", low, high)
	case low[0] == '0' && len(low) > 1, high[0] == '0':
		return r, fmt.Sprintf("are padded with zeros at %s:%s but the ends differ in length; write both equally long", low, high)
	}
	return r, ""
}

func checkEnd(end string) string {
	if end == "" {
		return "have an empty end; a range is written [low:high]"
	}
	for i := range len(end) {
		c := end[i]
		switch {
		case isDigit(c), 'a' <= c && c <= 'z':
		case 'A' <= c && c <= 'Z':
			return fmt.Sprintf("have the capital letter %q; base-36 digits are written in lower case", string(c))
		case c == '-' && strings.Trim(end, "-") == end:
			return fmt.Sprintf("use a dash at %q; write [low:high]", clip(end))
		default:
			return fmt.Sprintf("have %q, which is neither a number nor a base-36 number", clip(end))
		}
	}
	return ""
}

// uneven reports whether the parts of a bracket give texts of different
// length.
func uneven(parts []rangePart) bool {
	for _, p := range parts {
		if p.width == 0 || p.width != parts[0].width {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func endsInDigit(s string) bool     { return s != "" && isDigit(s[len(s)-1]) }
func startsWithDigit(s string) bool { return s != "" && isDigit(s[0]) }

// clip shortens a text from outside for a message.
func clip(s string) string {
	const longest = 80
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "..."
}
