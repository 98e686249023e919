package kubelet

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// unitTextLimit bounds the source line kept with an origin, in bytes.
const unitTextLimit = 8 << 10

// unitFile is a unit, drop-in or environment file cut into the lines its
// origins point at.
type unitFile struct {
	path  string
	lines []string
}

// source is the origin of what stands on the given 1-based line.
func (f *unitFile) source(line int32) Source {
	s := Source{Kind: SourceFlag}
	if f == nil {
		return s
	}
	s.Path, s.Line = f.path, int(line)
	if line >= 1 && int(line) <= len(f.lines) {
		s.Text = f.lines[line-1]
	}
	if len(s.Text) > unitTextLimit {
		s.Text = s.Text[:unitTextLimit]
	}
	return s
}

// unitText is a piece of a file that remembers, byte by byte, the line it was
// written on, through continuations, unquoting and specifiers.
type unitText struct {
	b    []byte
	at   []int32
	line int32 // where the piece begins, also when it is empty
	file *unitFile
}

func (t unitText) String() string { return string(t.b) }

func (t unitText) source() Source { return t.file.source(t.line) }

// char is the byte at i, or 0 past the end, as a C string has it.
func (t unitText) char(i int) byte {
	if i < len(t.b) {
		return t.b[i]
	}
	return 0
}

// slice is t[from:to] as a text of its own.
func (t unitText) slice(from, to int) unitText {
	s := unitText{b: t.b[from:to:to], at: t.at[from:to:to], line: t.line, file: t.file}
	if len(s.at) > 0 {
		s.line = s.at[0]
	} else if from < len(t.at) {
		s.line = t.at[from]
	}
	return s
}

// put appends one byte written on the given line.
func (t *unitText) put(c byte, line int32) {
	t.b = append(t.b, c)
	t.at = append(t.at, line)
}

// putString appends a string all of which stems from one line.
func (t *unitText) putString(s string, line int32) {
	for i := 0; i < len(s); i++ {
		t.put(s[i], line)
	}
}

// putText appends another piece with its lines.
func (t *unitText) putText(s unitText) {
	t.b = append(t.b, s.b...)
	t.at = append(t.at, s.at...)
}

// trim drops blanks at both ends, as strstrip() of systemd does.
func (t unitText) trim() unitText {
	from, to := 0, len(t.b)
	for from < to && unitBlank(t.b[from]) {
		from++
	}
	for to > from && unitBlank(t.b[to-1]) {
		to--
	}
	return t.slice(from, to)
}

// unitTextOf makes a text of one line out of nowhere, for tests and for the
// environment of the manager.
func unitTextOf(s string, line int32, f *unitFile) unitText {
	t := unitText{line: line, file: f}
	t.putString(s, line)
	return t
}

// unitBlank tells whether c is in WHITESPACE of systemd's string-util.h.
func unitBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// unitUTF8 is utf8_is_valid() of systemd: UTF-8 without Unicode's
// noncharacters (src/basic/utf8.c, unichar_is_valid).
func unitUTF8(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			return false
		}
		if r >= 0xFDD0 && r <= 0xFDEF || r&0xFFFE == 0xFFFE {
			return false
		}
		b = b[n:]
	}
	return true
}

// unitShow makes hostile text fit for a message: one line, bounded.
func unitShow(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// The ways a line may end, as bits (src/basic/fileio.c, categorize_eol).
const (
	unitEOLNewline = 1 << iota
	unitEOLReturn
	unitEOLZero
)

func unitEOL(c byte) int {
	switch c {
	case '\n':
		return unitEOLNewline
	case '\r':
		return unitEOLReturn
	case 0:
		return unitEOLZero
	}
	return 0
}

// unitReadLine is read_line() of systemd: a line ends at \n, \r or NUL or at a
// combination of them in which none comes twice, so that \r\n and \n\r are one
// end. It returns the line and the offset after its end.
func unitReadLine(data []byte, pos int) (line []byte, next int) {
	start, end, seen := pos, -1, 0
	for ; pos < len(data); pos++ {
		eol := unitEOL(data[pos])
		if seen&unitEOLZero != 0 || eol == 0 && seen != 0 || eol&seen != 0 {
			break
		}
		if eol != 0 && end < 0 {
			end = pos
		}
		seen |= eol
	}
	if end < 0 {
		end = pos
	}
	return data[start:end], pos
}

// unitLines cuts data at the ends of line unit files know.
func unitLines(data []byte) [][]byte {
	var lines [][]byte
	for pos := 0; pos < len(data); {
		var line []byte
		line, pos = unitReadLine(data, pos)
		lines = append(lines, line)
	}
	return lines
}

// unitNewFile keeps the lines of a file for its origins.
func unitNewFile(path string, lines [][]byte) *unitFile {
	f := &unitFile{path: path, lines: make([]string, len(lines))}
	for i, l := range lines {
		f.lines[i] = string(bytes.TrimRight(l, "\r\n"))
	}
	return f
}
