package kubelet

import "strings"

// execCommand is one command of an ExecStart= line, its words unquoted and
// with specifiers resolved but variables not yet expanded.
type execCommand struct {
	path     string
	argv     []unitText
	text     unitText // the whole value of the setting
	raw      []span   // for each word of argv, its bytes in text
	noExpand bool     // prefix ":"
	ignore   bool     // prefix "-"
	source   Source
}

// execAppend follows config_parse_exec() of systemd's src/core/load-fragment.c
// for one assignment: it resets the list or appends each of the commands.
// Those before a fatal one count.
func (u *Unit) execAppend(list []execCommand, s unitSetting) ([]execCommand, string) {
	if len(s.value.b) == 0 {
		return nil, ""
	}
	for pos := 0; pos >= 0; {
		first, raw, next, found := u.execWord(s, pos)
		if !found {
			return list, ""
		}
		pos = next
		if first.String() == ";" {
			continue
		}
		c, stop, failure := u.execFirst(s, first, raw)
		if stop {
			return list, failure
		}
		var more bool
		if pos, more, failure = u.execArgs(&c, s, pos); failure != "" {
			return list, c.unlessIgnored(u, failure)
		}
		if len(c.argv) == 0 {
			return list, c.unlessIgnored(u, "Empty executable name or zeroeth argument")
		}
		list = append(list, c)
		if !more {
			return list, ""
		}
	}
	return list, ""
}

// unlessIgnored turns a failure into a warning for a command with the prefix
// "-".
func (c execCommand) unlessIgnored(u *Unit, failure string) string {
	if c.ignore && failure != "" {
		u.warnAt(c.source, failure+", ignoring")
		return ""
	}
	return failure
}

// execWord takes a word, trying again with unknown escapes kept as they are
// (src/basic/extract-word.c, extract_first_word_and_warn). What still cannot
// be taken has unbalanced quotes.
func (u *Unit) execWord(s unitSetting, pos int) (word unitText, raw span, next int, found bool) {
	word, raw, next, found, valid := unitWordIn(s.value, pos, unitCUnescape)
	if valid {
		return word, raw, next, found
	}
	word, raw, next, found, valid = unitWordIn(s.value, pos, unitCUnescape|unitUnescapeRelax)
	if valid {
		u.warnAt(word.source(), "Ignoring unknown escape sequences in "+s.key+"=")
	} else {
		u.warnAt(s.value.source(), "Unbalanced quoting in "+s.key+"=, ignoring")
	}
	return word, raw, next, found
}

// execFirst takes the prefixes and the path. stop is true when the line ends
// here, with or without a failure.
func (u *Unit) execFirst(s unitSetting, first unitText, raw span) (c execCommand, stop bool, failure string) {
	c.source, c.text = first.source(), s.value
	rest, ownArgv0 := c.prefixes(first)
	p, failure := u.unitSpecifiers(rest, unitPathMax)
	if failure != "" {
		failure = "Failed to resolve unit specifiers in " + s.key + "=: " + failure
	} else {
		failure = execPathFailure(p.String())
	}
	if failure != "" {
		return c, true, c.unlessIgnored(u, failure)
	}
	c.path = unitPathSimplify(p.String())
	if !ownArgv0 {
		c.argv, c.raw = append(c.argv, p), append(c.raw, raw)
	}
	return c, false, ""
}

// prefixes strips "-", "@", ":", "+", "!" and "!!" in any order, none twice,
// the last three only one of them.
func (c *execCommand) prefixes(t unitText) (rest unitText, ownArgv0 bool) {
	privileges := ""
	i := 0
	for ; i < len(t.b); i++ {
		switch ch := t.b[i]; {
		case ch == '-' && !c.ignore:
			c.ignore = true
		case ch == '@' && !ownArgv0:
			ownArgv0 = true
		case ch == ':' && !c.noExpand:
			c.noExpand = true
		case ch == '+' && privileges == "":
			privileges = "+"
		case ch == '!' && (privileges == "" || privileges == "!"):
			privileges += "!"
		default:
			return t.slice(i, len(t.b)), ownArgv0
		}
	}
	return t.slice(i, i), ownArgv0
}

func execPathFailure(p string) string {
	switch {
	case p == "":
		return "Empty path in command line"
	case !unitSafe(p):
		return "Executable name contains special characters: " + unitShow(p)
	case strings.HasSuffix(p, "/"):
		return "Executable path specifies a directory: " + unitShow(p)
	case strings.HasPrefix(p, "/") && unitPathValid(p), execFileName(p):
		return ""
	}
	return "Neither a valid executable name nor an absolute path: " + unitShow(p)
}

func execFileName(p string) bool {
	return p != "." && p != ".." && len(p) <= 255 && !strings.Contains(p, "/")
}

// execArgs takes the words up to the end or to a ";" that stands alone; more
// tells that another command follows.
func (u *Unit) execArgs(c *execCommand, s unitSetting, pos int) (next int, more bool, failure string) {
	for pos >= 0 {
		if after, alone := execAlone(s.value, pos, ";"); alone {
			return after, true, ""
		}
		if after, alone := execAlone(s.value, pos, `\;`); alone {
			c.argv, c.raw = append(c.argv, s.value.slice(pos+1, pos+2)), append(c.raw, span{pos, pos + 2})
			pos = after
			continue
		}
		word, raw, after, found := u.execWord(s, pos)
		if !found {
			return -1, false, "Unbalanced quoting in " + s.key + "="
		}
		pos = after
		resolved, failure := u.unitSpecifiers(word, unitLineMax)
		if failure != "" {
			return -1, false, "Failed to resolve unit specifiers in " + s.key + "=: " + failure
		}
		c.argv, c.raw = append(c.argv, resolved), append(c.raw, raw)
	}
	return -1, false, ""
}

// execAlone tells whether the token stands at pos, unquoted and on its own,
// and where the next word begins.
func execAlone(t unitText, pos int, token string) (next int, alone bool) {
	end := pos + len(token)
	if end > len(t.b) || string(t.b[pos:end]) != token || end < len(t.b) && !unitBlank(t.b[end]) {
		return 0, false
	}
	for end < len(t.b) && unitBlank(t.b[end]) {
		end++
	}
	if end == len(t.b) {
		end = -1
	}
	return end, true
}
