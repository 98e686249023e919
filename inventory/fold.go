package inventory

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Fold writes a set of names as few patterns with ranges: the inverse of
// [Expand]. Expanding the result gives exactly the names of the set, each
// once. A name that holds a bracket, which no inventory accepts, is passed
// through as it is.
//
// Names fold where they differ in one number: the six base-36 places at the
// end of a scale set's computer name (aks-np1-12345678-vmss00000a,
// akswin00000a), otherwise the last run of digits before the first dot, or
// the last octet of an IPv4 address. Patterns come in the order in which
// their first name appears; numbers within a pattern ascend.
func Fold(names []string) []string {
	var families []*family
	index := map[familyKey]*family{}
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		key, number := splitNumber(name)
		f := index[key]
		if f == nil {
			f = &family{familyKey: key}
			index[key] = f
			families = append(families, f)
		}
		f.numbers = append(f.numbers, number)
	}
	var out []string
	for _, f := range families {
		out = f.appendPatterns(out)
	}
	return out
}

// familyKey is what the names of a range have in common. A name that cannot
// fold is a family of its own, with all its text in prefix.
type familyKey struct {
	prefix, suffix string
	single         bool
}

type family struct {
	familyKey
	numbers []string
}

// maxFoldParts bounds one pattern, so that it stays below the longest that
// Expand reads.
const maxFoldParts = 128

// scaleSetName matches the computer names AKS gives to the nodes of a scale
// set: Linux "aks-POOL-ID-vmss" and Windows "aks" with a pool of at most six
// characters, then the six places of the instance.
var scaleSetName = regexp.MustCompile(`^(?:.*vmss|aks[a-z0-9]{1,6})([0-9a-z]{6})$`)

// splitNumber finds the number a name folds by.
func splitNumber(name string) (familyKey, string) {
	single := familyKey{prefix: name, single: true}
	if len(name) > 1024 || strings.ContainsAny(name, "[]:%") {
		return single, ""
	}
	if m := scaleSetName.FindStringSubmatchIndex(name); m != nil {
		return familyKey{prefix: name[:m[2]], suffix: name[m[3]:]}, name[m[2]:m[3]]
	}
	end := len(name)
	if first, _, dotted := strings.Cut(name, "."); dotted && strings.ContainsAny(first, "0123456789") && !looksLikeIPv4(name) {
		end = len(first)
	}
	for end > 0 && !isDigit(name[end-1]) {
		end--
	}
	start := end
	for start > 0 && isDigit(name[start-1]) {
		start--
	}
	if start == end || end-start > maxDecimalDigits {
		return single, ""
	}
	return familyKey{prefix: name[:start], suffix: name[end:]}, name[start:end]
}

// appendPatterns adds the patterns of a family: one for each width that has
// padded or base-36 numbers, one for the plain decimal numbers that remain.
func (f *family) appendPatterns(out []string) []string {
	if f.single {
		return append(out, f.prefix)
	}
	padded := map[int]bool{}
	for _, n := range f.numbers {
		if len(n) > 1 && n[0] == '0' || !allDigits(n) {
			padded[len(n)] = true
		}
	}
	byWidth := map[int][]string{} // 0: plain decimal
	for _, n := range f.numbers {
		w := 0
		if padded[len(n)] {
			w = len(n)
		}
		byWidth[w] = append(byWidth[w], n)
	}
	for _, w := range sortedKeys(byWidth) {
		numbers := byWidth[w]
		prefix := f.prefix
		if w > 0 {
			zeros := commonZeros(numbers)
			prefix += strings.Repeat("0", zeros)
			numbers = trimFirst(numbers, zeros)
		}
		out = appendChunks(out, prefix, f.suffix, foldNumbers(numbers))
	}
	return out
}

// appendChunks writes the runs of one family as patterns of bounded length.
func appendChunks(out []string, prefix, suffix string, runs []run) []string {
	for chunk := range slices.Chunk(runs, maxFoldParts) {
		if len(chunk) == 1 && chunk[0].low == chunk[0].high {
			out = append(out, prefix+chunk[0].low+suffix)
			continue
		}
		parts := make([]string, len(chunk))
		for i, r := range chunk {
			parts[i] = r.text()
		}
		out = append(out, prefix+"["+strings.Join(parts, ",")+"]"+suffix)
	}
	return out
}

// run is a stretch of consecutive numbers, low to high.
type run struct{ low, high string }

func (r run) text() string {
	if r.low == r.high {
		return r.low
	}
	return r.low + ":" + r.high
}

// foldNumbers finds the runs among numbers that are all of one width, or all
// plain decimal. A run with a letter in an end counts in base 36, any other
// in decimal, as Expand will read it.
func foldNumbers(numbers []string) []run {
	slices.SortFunc(numbers, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	var runs []run
	for _, r := range base36Runs(numbers) {
		for _, piece := range readable(r, numbers) {
			last := len(runs) - 1
			if last >= 0 && allDigits(runs[last].low+runs[last].high+piece.low+piece.high) &&
				value(runs[last].high, 10)+1 == value(piece.low, 10) {
				runs[last].high = piece.high
				continue
			}
			runs = append(runs, piece)
		}
	}
	return runs
}

// base36Runs finds the longest stretches that are consecutive in base 36.
func base36Runs(sorted []string) []run {
	var runs []run
	for i, n := range sorted {
		last := len(runs) - 1
		if i > 0 && len(n) == len(runs[last].high) && len(n) <= maxBase36Digits &&
			value(runs[last].high, 36)+1 == value(n, 36) {
			runs[last].high = n
			continue
		}
		runs = append(runs, run{n, n})
	}
	return runs
}

// readable splits a base-36 run whose two ends are all digits, such as 09 to
// 10 by way of 0a to 0z: Expand would count it in decimal. The tail after the
// last letter is decimal; the rest ends in a letter.
func readable(r run, sorted []string) []run {
	if !allDigits(r.low+r.high) || len(r.low) != len(r.high) ||
		value(r.high, 36)-value(r.low, 36) == value(r.high, 10)-value(r.low, 10) {
		return []run{r}
	}
	end, _ := slices.BinarySearchFunc(sorted, r.high, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	tail := end
	for allDigits(sorted[tail-1]) {
		tail--
	}
	return []run{{r.low, sorted[tail-1]}, {sorted[tail], r.high}}
}

// value reads a number of at most maxDecimalDigits or maxBase36Digits digits.
func value(s string, base int) uint64 {
	v, _ := strconv.ParseUint(s, base, 64)
	return v
}

// commonZeros counts the leading zeros that all numbers of one width share,
// leaving at least one digit.
func commonZeros(numbers []string) int {
	n := len(numbers[0]) - 1
	for _, s := range numbers {
		n = min(n, len(s)-len(strings.TrimLeft(s, "0")))
	}
	return n
}

func trimFirst(numbers []string, n int) []string {
	out := make([]string, len(numbers))
	for i, s := range numbers {
		out[i] = s[n:]
	}
	return out
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
