package kubelet

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// unitTextLimit bounds the source line kept with an origin, in bytes.
const unitTextLimit = 8 << 10

// unitFile is a unit, drop-in or environment file and where its lines begin,
// for the origins that point into it.
type unitFile struct {
	path   string
	text   string
	starts []int32 // offset of each line
}

// line is the 1-based line an offset lies on.
func (f *unitFile) line(offset int) int {
	i, found := slices.BinarySearch(f.starts, int32(offset))
	if found {
		return i + 1
	}
	return max(i, 1)
}

// source is the origin of what stands at an offset.
func (f *unitFile) source(offset int) Source {
	s := Source{Kind: SourceFlag}
	if f == nil {
		return s
	}
	s.Path, s.Line = f.path, f.line(offset)
	if s.Line <= len(f.starts) {
		s.Text = f.lineText(s.Line - 1)
	}
	if len(s.Text) > unitTextLimit {
		s.Text = s.Text[:unitTextLimit]
	}
	return s
}

// lineText is the line of a 0-based number without its end.
func (f *unitFile) lineText(i int) string {
	text := f.text[f.starts[i]:]
	if i+1 < len(f.starts) {
		text = f.text[f.starts[i]:f.starts[i+1]]
	}
	return strings.TrimRight(text, "\r\n\x00")
}

// unitAt is where a byte of a text stands in its file: the offset and the
// number of bytes it is written with, which is more than one for an escape or
// a specifier. All bytes of what an escape or specifier stands for share one.
type unitAt uint32

// A unitAt holds offsets below unitAtMax, more than a node's file is taken
// with, and lengths up to unitAtLong; a length of 0 is one that does not fit.
const (
	unitAtBits = 6
	unitAtLong = 1<<unitAtBits - 1
	unitAtMax  = 1 << (32 - unitAtBits)
)

// unitSpan is the place of the bytes from an offset to another.
func unitSpan(from, to int) unitAt {
	if from >= unitAtMax {
		return (unitAtMax - 1) << unitAtBits
	}
	if to-from > unitAtLong {
		to = from
	}
	return unitAt(from)<<unitAtBits | unitAt(to-from)
}

func (a unitAt) start() int { return int(a >> unitAtBits) }
func (a unitAt) end() int   { return a.start() + int(a&unitAtLong) }

// to is the place of everything from a to b.
func (a unitAt) to(b unitAt) unitAt {
	if a.start() == a.end() || b.start() == b.end() {
		return unitSpan(a.start(), a.start())
	}
	return unitSpan(a.start(), b.end())
}

// unitText is a piece of a file that remembers, byte by byte, where it was
// written, through continuations, unquoting and specifiers.
type unitText struct {
	b     []byte
	at    []unitAt
	begin int // offset of the piece, also when it is empty
	file  *unitFile
}

func (t unitText) String() string { return string(t.b) }

func (t unitText) source() Source { return t.file.source(t.begin) }

// char is the byte at i, or 0 past the end, as a C string has it.
func (t unitText) char(i int) byte {
	if i < len(t.b) {
		return t.b[i]
	}
	return 0
}

// slice is t[from:to] as a text of its own.
func (t unitText) slice(from, to int) unitText {
	s := unitText{b: t.b[from:to:to], at: t.at[from:to:to], begin: t.begin, file: t.file}
	if len(s.at) > 0 {
		s.begin = s.at[0].start()
	} else if from < len(t.at) {
		s.begin = t.at[from].start()
	}
	return s
}

// put appends one byte written at a place.
func (t *unitText) put(c byte, at unitAt) {
	t.b = append(t.b, c)
	t.at = append(t.at, at)
}

// putString appends a string all of which stems from one place.
func (t *unitText) putString(s string, at unitAt) {
	for i := 0; i < len(s); i++ {
		t.put(s[i], at)
	}
}

// putRaw appends bytes as they stand in the file from an offset on.
func (t *unitText) putRaw(raw []byte, offset int) {
	t.b = append(t.b, raw...)
	t.at = slices.Grow(t.at, len(raw))
	for i := range raw {
		t.at = append(t.at, unitSpan(offset+i, offset+i+1))
	}
}

// putText appends another piece with its places.
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

// unitTextOf makes a text out of nowhere, for tests and for the environment of
// the manager.
func unitTextOf(s string) unitText {
	t := unitText{}
	t.putRaw([]byte(s), 0)
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

// unitNewFile keeps what origins need of a file whose lines begin at the
// given offsets.
func unitNewFile(path string, data []byte, starts []int32) *unitFile {
	return &unitFile{path: path, text: string(data), starts: starts}
}

// unitStarts lists the offsets of the lines of a unit file.
func unitStarts(data []byte) []int32 {
	var starts []int32
	for pos := 0; pos < len(data); _, pos = unitReadLine(data, pos) {
		starts = append(starts, int32(pos))
	}
	return starts
}
