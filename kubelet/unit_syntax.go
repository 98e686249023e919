package kubelet

import (
	"bytes"
	"fmt"
	"strings"
)

// unitLineMax is LONG_LINE_MAX of systemd, in bytes: a longer line, alone or
// put together from continuations, ends the reading of its file.
const unitLineMax = 1 << 20

// unitBOM is the UTF-8 byte order mark; systemd drops the first one that
// begins a line.
const unitBOM = "\xEF\xBB\xBF"

// unitSetting is one assignment of a unit file.
type unitSetting struct {
	section, key string
	value        unitText
}

// unitSyntaxError ends the reading of a file. What stands before it counts.
type unitSyntaxError struct {
	message string
	source  Source
}

// unitParser follows config_parse() and parse_line() of systemd's
// src/shared/conf-parser.c with the sections of a service unit.
type unitParser struct {
	file     *unitFile
	section  string
	ignored  bool // below a header that is not for a service
	bomSeen  bool
	settings []unitSetting
	warnings []string
	err      *unitSyntaxError
}

// unitParse reads a unit file or drop-in. The settings that come before an
// error are returned with it.
func unitParse(path string, data []byte) *unitParser {
	p := &unitParser{file: unitNewFile(path, data, unitStarts(data))}
	var open *unitText // the continuation so far
	for pos := 0; pos < len(data); {
		raw, next := unitReadLine(data, pos)
		if open = p.line(raw, pos, next, open); p.err != nil {
			return p
		}
		pos = next
	}
	if open != nil {
		p.logical(*open)
	}
	return p
}

// line takes one physical line, which begins at pos and whose end ends at
// next, and returns the continuation that is open after it. Comments are
// skipped inside a continuation too.
func (p *unitParser) line(raw []byte, pos, next int, open *unitText) *unitText {
	if len(raw) >= unitLineMax {
		p.fail(pos, "Line too long")
		return nil
	}
	if c := bytes.TrimLeft(raw, " \t\n\r"); len(c) > 0 && (c[0] == '#' || c[0] == ';') {
		return open
	}
	begin := pos
	if !p.bomSeen && bytes.HasPrefix(raw, []byte(unitBOM)) {
		raw, pos, p.bomSeen = raw[len(unitBOM):], pos+len(unitBOM), true
	}
	if open == nil {
		open = &unitText{begin: begin, file: p.file}
	} else if len(open.b)+len(raw) > unitLineMax {
		p.fail(begin, "Continuation line too long")
		return nil
	}
	open.putRaw(raw, pos)
	if unitContinues(raw) {
		last := len(open.b) - 1
		open.b[last], open.at[last] = ' ', unitSpan(pos+len(raw)-1, next)
		return open
	}
	p.logical(*open)
	return nil
}

// unitContinues tells whether the line ends in a backslash that no backslash
// before it escapes.
func unitContinues(line []byte) bool {
	n := 0
	for n < len(line) && line[len(line)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// logical takes a whole line: a section header, an assignment or neither.
func (p *unitParser) logical(t unitText) {
	t = t.trim()
	switch {
	case len(t.b) == 0:
	case !unitUTF8(t.b):
		p.fail(t.begin, "String is not UTF-8 clean")
	case t.b[0] == '[':
		p.header(t)
	case p.section == "":
		if !p.ignored {
			p.warn(t.begin, "Assignment outside of section. Ignoring.")
		}
	default:
		p.assignment(t)
	}
}

func (p *unitParser) header(t unitText) {
	if t.b[len(t.b)-1] != ']' {
		p.fail(t.begin, "Invalid section header '"+unitShow(t.String())+"'")
		return
	}
	name := ""
	if len(t.b) > 1 {
		name = string(t.b[1 : len(t.b)-1])
	}
	if !unitSafe(name) {
		p.fail(t.begin, "Bad characters in section header '"+unitShow(t.String())+"'")
		return
	}
	p.section, p.ignored = "", false
	if name == "Unit" || name == "Service" || name == "Install" {
		p.section = name
		return
	}
	p.ignored = true
	if !strings.HasPrefix(name, "X-") {
		p.warn(t.begin, "Unknown section '"+unitShow(name)+"'. Ignoring.")
	}
}

func (p *unitParser) assignment(t unitText) {
	eq := bytes.IndexByte(t.b, '=')
	switch {
	case eq < 0:
		p.warn(t.begin, "Missing '=', ignoring line.")
	case eq == 0:
		p.warn(t.begin, "Missing key name before '=', ignoring line.")
	default:
		key, value := t.slice(0, eq).trim(), t.slice(eq+1, len(t.b)).trim()
		if len(value.b) == 0 {
			value.begin = t.begin
		}
		p.settings = append(p.settings, unitSetting{p.section, key.String(), value})
	}
}

func (p *unitParser) fail(offset int, message string) {
	p.err = &unitSyntaxError{message, p.file.source(offset)}
}

func (p *unitParser) warn(offset int, message string) {
	p.warnings = append(p.warnings, fmt.Sprintf("%s:%d: %s", p.file.path, p.file.line(offset), message))
}

// unitSafe is string_is_safe() of systemd: no control characters, quotes or
// backslashes.
func unitSafe(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == '"' || r == '\'' || r == '\\'
	})
}

// unitWordFlags select how unitWord takes a word; it always unquotes.
type unitWordFlags uint8

const (
	unitCUnescape     unitWordFlags = 1 << iota // C escapes; an unknown one is an error
	unitRelax                                   // an open quote or trailing backslash ends the word
	unitUnescapeRelax                           // unknown escapes stay as they are
)

// unitWord follows extract_first_word() of systemd's
// src/basic/extract-word.c with EXTRACT_UNQUOTE and blanks as separators: it
// takes the first word at pos and returns it with the position of the next
// one, -1 when there is none. found is false when only blanks were left, valid
// is false where systemd answers EINVAL.
func unitWord(in unitText, pos int, flags unitWordFlags) (word unitText, next int, found, valid bool) {
	word, _, next, found, valid = unitWordIn(in, pos, flags)
	return word, next, found, valid
}

// unitWordIn is unitWord, and tells which bytes of the text are the word with
// its quotes.
func unitWordIn(in unitText, pos int, flags unitWordFlags) (word unitText, raw span, next int, found, valid bool) {
	if pos < 0 {
		return word, raw, -1, false, true
	}
	for pos < len(in.b) && unitBlank(in.b[pos]) {
		pos++
	}
	if pos == len(in.b) {
		return word, raw, -1, false, true
	}
	l := unitLexer{in: in, pos: pos, flags: flags, end: len(in.b), out: unitText{begin: in.at[pos].start(), file: in.file}}
	next, valid = l.run()
	return l.out, span{pos, l.end}, next, valid, valid
}

// unitLexer is the state within one word.
type unitLexer struct {
	in    unitText
	pos   int
	flags unitWordFlags
	quote byte // the open quote, or 0
	end   int  // of the word
	out   unitText
}

func (l *unitLexer) run() (next int, valid bool) {
	for ; l.pos < len(l.in.b); l.pos++ {
		c := l.in.b[l.pos]
		switch {
		case c == '\\':
			if l.pos+1 == len(l.in.b) {
				return l.trailingBackslash()
			}
			l.pos++
			if !l.escape() {
				return -1, false
			}
		case l.quote != 0 && c == l.quote:
			l.quote = 0
		case l.quote != 0:
			l.put(c, l.pos)
		case c == '"' || c == '\'':
			l.quote = c
		case unitBlank(c):
			l.end = l.pos
			return l.skipBlanks(), true
		default:
			l.put(c, l.pos)
		}
	}
	return -1, l.quote == 0 || l.flags&unitRelax != 0
}

// put adds a byte that is written from a position up to the one reached.
func (l *unitLexer) put(c byte, from int) { l.out.put(c, l.place(from)) }

func (l *unitLexer) place(from int) unitAt {
	if from == l.pos {
		return l.in.at[from]
	}
	return l.in.at[from].to(l.in.at[l.pos])
}

func (l *unitLexer) trailingBackslash() (next int, valid bool) {
	if l.flags&unitUnescapeRelax != 0 && (l.quote == 0 || l.flags&unitRelax != 0) {
		l.put('\\', l.pos)
		return -1, true
	}
	return -1, l.flags&unitRelax != 0
}

func (l *unitLexer) skipBlanks() int {
	for l.pos < len(l.in.b) && unitBlank(l.in.b[l.pos]) {
		l.pos++
	}
	if l.pos == len(l.in.b) {
		return -1
	}
	return l.pos
}

// escape handles the character after a backslash, in quotes or out of them.
func (l *unitLexer) escape() bool {
	backslash := l.pos - 1
	if l.flags&unitCUnescape == 0 {
		l.put(l.in.b[l.pos], backslash)
		return true
	}
	if b, n := unitUnescape(l.in, l.pos); n > 0 {
		l.pos += n - 1
		l.out.putString(string(b), l.place(backslash))
		return true
	}
	if l.flags&unitUnescapeRelax == 0 {
		return false
	}
	l.out.put('\\', l.in.at[backslash])
	l.put(l.in.b[l.pos], l.pos)
	return true
}

// unitUnescape follows cunescape_one() of systemd's src/basic/escape.c on the
// text after a backslash. n is the number of bytes it takes, 0 for an unknown
// escape.
func unitUnescape(t unitText, pos int) (out []byte, n int) {
	const from, to = "abfnrtv\\\"'s", "\a\b\f\n\r\t\v\\\"' "
	c := t.char(pos)
	if i := strings.IndexByte(from, c); i >= 0 {
		return []byte{to[i]}, 1
	}
	switch {
	case c == 'x':
		v, ok := unitDigits(t, pos+1, 2, 16)
		return unitEscaped(v, ok, 3, []byte{byte(v)})
	case c == 'u':
		v, ok := unitDigits(t, pos+1, 4, 16)
		return unitEscaped(v, ok, 5, unitEncode(v))
	case c == 'U':
		v, ok := unitDigits(t, pos+1, 8, 16)
		return unitEscaped(v, ok && v < 0x110000 && unitUTF8(unitEncode(v)), 9, unitEncode(v))
	case c >= '0' && c <= '7':
		v, ok := unitDigits(t, pos, 3, 8)
		return unitEscaped(v, ok && v <= 255, 3, []byte{byte(v)})
	}
	return nil, 0
}

// unitEscaped refuses NUL, which no escape may produce.
func unitEscaped(v uint32, ok bool, n int, out []byte) ([]byte, int) {
	if !ok || v == 0 {
		return nil, 0
	}
	return out, n
}

func unitDigits(t unitText, pos, count int, base uint32) (v uint32, ok bool) {
	for i := range count {
		d := unitHex(t.char(pos + i))
		if d >= base {
			return 0, false
		}
		v = v*base + d
	}
	return v, true
}

// unitHex is the value of a hexadecimal digit, 255 for anything else.
func unitHex(c byte) uint32 {
	switch {
	case c >= '0' && c <= '9':
		return uint32(c - '0')
	case c >= 'a' && c <= 'f':
		return uint32(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return uint32(c-'A') + 10
	}
	return 255
}

// unitEncode is utf8_encode_unichar() of systemd, which encodes surrogates
// like any other number.
func unitEncode(v uint32) []byte {
	tail := func(shift uint) byte { return 0x80 | byte(v>>shift)&0x3f }
	switch {
	case v < 1<<7:
		return []byte{byte(v)}
	case v < 1<<11:
		return []byte{0xc0 | byte(v>>6), tail(0)}
	case v < 1<<16:
		return []byte{0xe0 | byte(v>>12), tail(6), tail(0)}
	case v < 1<<21:
		return []byte{0xf0 | byte(v>>18), tail(12), tail(6), tail(0)}
	}
	return nil
}
