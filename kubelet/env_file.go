package kubelet

import (
	"bytes"
	"strings"
)

// envState is a state of parse_env_file_internal() in systemd's
// src/basic/env-file.c.
type envState uint8

const (
	envPreKey envState = iota
	envKey
	envPreValue
	envValue
	envValueEscape
	envSingleQuote
	envDoubleQuote
	envDoubleQuoteEscape
	envComment
	envCommentEscape
)

// envParser reads an environment file by that state machine. It is not a
// shell's: there is no export, no expansion, # begins a comment only where a
// name could begin, and a quote inside an unquoted value is a plain character.
type envParser struct {
	state envState
	pos   int // offset of the byte that is looked at
	// commentsGoOn: a backslash at the end of a comment takes the next line
	// into it, as before systemd 254.
	commentsGoOn bool
	// versionMatters is set where that makes a difference.
	versionMatters bool

	key      unitText
	keyEnd   int // length without trailing blanks, -1 when there are none
	value    unitText
	valueEnd int
	after    int // offset behind the equals sign
	entries  []envEntry
	file     *unitFile
}

// envEntry is one NAME=value of the file, the name not yet checked.
type envEntry struct {
	name  string
	value unitText // begins where the name does
	after int      // offset behind the equals sign
}

// envParse reads an environment file. failure is "" or why systemd takes none
// of it, in the words of the C library.
func envParse(path string, data []byte, commentsGoOn bool) (p *envParser, failure string) {
	p = &envParser{commentsGoOn: commentsGoOn, file: unitNewFile(path, data, envStarts(data))}
	p.key.file, p.value.file = p.file, p.file
	if bytes.IndexByte(data, 0) >= 0 {
		return p, "Bad message"
	}
	for i, c := range data {
		p.pos = i
		p.step(c)
	}
	p.finish()
	for _, e := range p.entries {
		if !unitUTF8([]byte(e.name)) || !unitUTF8(e.value.b) {
			return p, unitInvalid
		}
	}
	return p, ""
}

// envStarts lists the offsets of the lines, which end at \n, \r\n or \r.
func envStarts(data []byte) []int32 {
	starts := []int32{0}
	for i, c := range data {
		if c == '\n' || c == '\r' && !(i+1 < len(data) && data[i+1] == '\n') {
			starts = append(starts, int32(i+1))
		}
	}
	return starts
}

// here is the place of the byte that is looked at and of a number of bytes
// before it that belong to it.
func (p *envParser) here(before int) unitAt { return unitSpan(p.pos-before, p.pos+1) }

func (p *envParser) step(c byte) {
	newline := c == '\n' || c == '\r'
	switch p.state {
	case envPreKey:
		p.preKey(c)
	case envKey:
		p.inKey(c, newline)
	case envPreValue:
		p.preValue(c, newline)
	case envValue:
		p.inValue(c, newline)
	case envValueEscape:
		p.state = envValue
		if !newline {
			p.value.put(c, p.here(1))
		}
	case envSingleQuote, envDoubleQuote:
		p.quoted(c)
	case envDoubleQuoteEscape:
		p.quotedEscape(c)
	case envComment:
		if c == '\\' {
			p.state = envCommentEscape
		} else if newline {
			p.state = envPreKey
		}
	case envCommentEscape:
		p.commentEscape(newline)
	}
}

func (p *envParser) preKey(c byte) {
	if c == '#' || c == ';' {
		p.state = envComment
	} else if !unitBlank(c) {
		p.state, p.keyEnd = envKey, -1
		p.key = unitText{begin: p.pos, file: p.file}
		p.key.put(c, p.here(0))
	}
}

func (p *envParser) inKey(c byte, newline bool) {
	switch {
	case newline:
		p.state = envPreKey
	case c == '=':
		p.state, p.valueEnd, p.after = envPreValue, -1, p.pos+1
		p.value = unitText{begin: p.key.begin, file: p.file}
	default:
		p.keyEnd = envBlankEnd(p.keyEnd, c, len(p.key.b))
		p.key.put(c, p.here(0))
	}
}

// envBlankEnd keeps where the run of blanks began that ends a text.
func envBlankEnd(end int, c byte, length int) int {
	if !unitBlank(c) {
		return -1
	}
	if end < 0 {
		return length
	}
	return end
}

func (p *envParser) preValue(c byte, newline bool) {
	switch {
	case newline:
		p.push(false)
	case c == '\'':
		p.state = envSingleQuote
	case c == '"':
		p.state = envDoubleQuote
	case c == '\\':
		p.state = envValueEscape
	case !unitBlank(c):
		p.state = envValue
		p.value.put(c, p.here(0))
	}
}

func (p *envParser) inValue(c byte, newline bool) {
	switch {
	case newline:
		p.push(true)
	case c == '\\':
		p.state, p.valueEnd = envValueEscape, -1
	default:
		p.valueEnd = envBlankEnd(p.valueEnd, c, len(p.value.b))
		p.value.put(c, p.here(0))
	}
}

func (p *envParser) quoted(c byte) {
	switch {
	case c == '\'' && p.state == envSingleQuote, c == '"' && p.state == envDoubleQuote:
		p.state = envPreValue
	case c == '\\' && p.state == envDoubleQuote:
		p.state = envDoubleQuoteEscape
	default:
		p.value.put(c, p.here(0))
	}
}

func (p *envParser) quotedEscape(c byte) {
	p.state = envDoubleQuote
	switch {
	case strings.IndexByte("\"\\`$", c) >= 0:
		p.value.put(c, p.here(1))
	case c != '\n':
		p.value.put('\\', unitSpan(p.pos-1, p.pos))
		p.value.put(c, p.here(0))
	}
}

func (p *envParser) commentEscape(newline bool) {
	p.state = envComment
	if newline {
		p.versionMatters = true
		if !p.commentsGoOn {
			p.state = envPreKey
		}
	}
}

// push ends an assignment; trim drops the blanks at the end of the value,
// which only an unquoted one loses.
func (p *envParser) push(trim bool) {
	p.state = envPreKey
	name := p.key.b
	if p.keyEnd >= 0 {
		name = name[:p.keyEnd]
	}
	if trim && p.valueEnd >= 0 {
		p.value = p.value.slice(0, p.valueEnd)
	}
	p.value.begin = p.key.begin
	p.entries = append(p.entries, envEntry{string(name), p.value, p.after})
}

// finish takes an assignment that the end of the file ends, open quotes and
// all.
func (p *envParser) finish() {
	switch p.state {
	case envPreValue, envValueEscape, envSingleQuote, envDoubleQuote, envDoubleQuoteEscape:
		p.push(false)
	case envValue:
		p.push(true)
	}
}

// envNameValid is env_name_is_valid() of systemd's src/basic/env-util.c.
func envNameValid(b []byte) bool {
	for i, c := range b {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(b) > 0
}

// envAssignmentValid is env_assignment_is_valid() of the same file.
func envAssignmentValid(b []byte) bool {
	name, value, ok := bytes.Cut(b, []byte("="))
	return ok && envNameValid(name) && unitUTF8(value) && len(b) <= unitEnvMax-1
}

// envShowName is the name of an assignment, fit for a message.
func envShowName(t unitText) string {
	name, _, _ := bytes.Cut(t.b, []byte("="))
	return unitShow(string(name))
}
