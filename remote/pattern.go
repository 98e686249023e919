package remote

import "strings"

// matchPattern matches * and ? as ssh(1) does (match.c, match_pattern): ? is
// exactly one byte, * any number, everything else stands for itself.
func matchPattern(s, pattern string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, mark = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}

// matchList matches a comma list of patterns; one that is negated with ! and
// matches rules the whole list out (match.c, match_pattern_list).
func matchList(s, list string) bool {
	found := false
	for _, p := range strings.Split(list, ",") {
		p, negated := strings.CutPrefix(p, "!")
		if !matchPattern(s, p) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matchWords is the test of a Host line: any of the names matches a pattern
// and none of them a negated one.
func matchWords(names, patterns []string) bool {
	found := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		for _, name := range names {
			if !matchPattern(name, p) {
				continue
			}
			if negated {
				return false
			}
			found = true
		}
	}
	return found
}
