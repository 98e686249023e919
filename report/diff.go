package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxDiffLines is how many lines of one diff the text formats show.
const maxDiffLines = 200

// diffBlock is a diff, line by line, safe to show. A line that is too long is
// cut; of one that takes another's place, and of that other, the part around
// the difference is shown.
func diffBlock(diff string) []string {
	if diff == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(diff, "\n"), "\n")
	partner := partners(lines)
	var out []string
	for i, line := range lines {
		if i == maxDiffLines {
			return append(out, fmt.Sprintf("(%d more lines; -o json has them)", len(lines)-i))
		}
		if p := partner[i]; p >= 0 && (tooLong(line) || tooLong(lines[p])) {
			out = append(out, excerpt(line, lines[p]))
			continue
		}
		out = append(out, cleanLine(line, maxMessage))
	}
	return out
}

func tooLong(line string) bool { return utf8.RuneCountInString(line) > maxMessage }

// partners tells for each line of a diff the index of the line whose place it
// takes, or which takes its place, -1 for none. The first line of a run of "-"
// belongs to the first of the run of "+" behind it, and so on.
func partners(lines []string) []int {
	out := slices.Repeat([]int{-1}, len(lines))
	var taken, put []int
	pair := func() {
		for i := range min(len(taken), len(put)) {
			out[taken[i]], out[put[i]] = put[i], taken[i]
		}
		taken, put = nil, nil
	}
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "-"):
			if len(put) > 0 {
				pair()
			}
			taken = append(taken, i)
		case strings.HasPrefix(line, "+"):
			put = append(put, i)
		case strings.HasPrefix(line, `\`): // "\ No newline at end of file", of the line before
		default:
			pair()
		}
	}
	pair()
	return out
}

// How many bytes of a long line an excerpt shows.
const (
	excerptHead    = 32  // its beginning, which tells what the line is
	excerptContext = 64  // on both sides of the difference
	excerptChange  = 200 // at both ends of a difference that is long itself
	excerptGap     = 24  // a gap that is not longer is shown instead
)

// excerpt shows of a line the part in which it differs from the other, with
// what stands around it, and says how much is left out. Both begin with the
// sign of a diff, which is no difference.
func excerpt(line, other string) string {
	from, to := difference(line, other)
	var b strings.Builder
	begin, end := 0, 0 // of the text to be written next
	for _, part := range [][2]int{
		{0, excerptHead},
		{from - excerptContext, min(from+excerptChange, to)},
		{max(to-excerptChange, from), to + excerptContext},
		{len(line), len(line)},
	} {
		start := runeStart(line, part[0])
		if start-end > excerptGap {
			b.WriteString(cleanLine(line[begin:end], end-begin))
			fmt.Fprintf(&b, "...(%d bytes)...", start-end)
			begin = start
		}
		end = max(end, runeStart(line, part[1]))
	}
	b.WriteString(cleanLine(line[begin:end], end-begin))
	return b.String()
}

// difference is the range of a line that the other does not have there: what
// is left without the beginning and the end they have in common. The first
// byte, the sign, is not compared.
func difference(line, other string) (from, to int) {
	shorter := min(len(line), len(other))
	from = 1
	for from < shorter && line[from] == other[from] {
		from++
	}
	from = runeStart(line, from)
	ends := 0
	for ends < shorter-from && line[len(line)-1-ends] == other[len(other)-1-ends] {
		ends++
	}
	for ends > 0 && !utf8.RuneStart(line[len(line)-ends]) {
		ends--
	}
	return from, len(line) - ends
}

// runeStart is i, moved into s, or the place before it where the character
// begins that i is in the middle of.
func runeStart(s string, i int) int {
	i = max(0, min(i, len(s)))
	for start := i - 1; start >= max(0, i-utf8.UTFMax+1); start-- {
		if _, n := utf8.DecodeRuneInString(s[start:]); start+n > i {
			return start
		}
	}
	return i
}
