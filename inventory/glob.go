package inventory

import (
	"iter"
	"strings"
)

// glob is a pattern in which * stands for any text and ? for one character,
// after its ranges have been written out. Brackets are always ranges, never
// character classes. Letters match in either case, as host names do.
type glob []string

func newGlob(pattern string) (glob, error) {
	patterns, err := Expand(pattern)
	if err != nil {
		return nil, err
	}
	for i := range patterns {
		patterns[i] = strings.ToLower(patterns[i])
	}
	return patterns, nil
}

// any reports whether one of the patterns matches a host name.
func (g glob) any(name string) bool {
	name = strings.ToLower(name)
	for _, pattern := range g {
		if wildcard(pattern, name) {
			return true
		}
	}
	return false
}

// wildcard matches text against a pattern with * and ?, in time proportional
// to the product of their lengths at worst.
func wildcard(pattern, text string) bool {
	p, t := 0, 0
	star, resume := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// maxNear is the number of near misses an error names.
const maxNear = 3

// nearest finds the names closest to a word that may be a slip of one of
// them: at most three, closest first, in order of appearance where equally
// close.
func nearest(word string, names iter.Seq[string]) []string {
	if len(word) > maxHostName {
		return nil
	}
	word = strings.ToLower(word)
	limit := max(1, min(3, len(word)/3))
	found := make([][]string, limit+1)
	for name := range names {
		if d := editDistance(word, strings.ToLower(name), limit); d <= limit && len(found[d]) < maxNear {
			found[d] = append(found[d], name)
		}
	}
	var near []string
	for _, names := range found {
		near = append(near, names...)
	}
	return near[:min(len(near), maxNear)]
}

// editDistance counts the insertions, deletions and substitutions of bytes
// between two words (Levenshtein); a count above limit may come out as any
// number above limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, best := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
			best = min(best, row[j+1])
		}
		if best > limit {
			return limit + 1
		}
	}
	return row[len(b)]
}
