package remote

import (
	"errors"
	"fmt"
	"strings"
)

// truth is the answer to "does this block apply": no, yes, or only ssh(1)
// itself could tell.
type truth int

const (
	no truth = iota
	maybe
	yes
)

// scope is the block a line is in.
type scope struct {
	applies truth
	why     string // of maybe: the place and the criterion we do not evaluate
}

func (s scope) and(o scope) scope {
	if o.applies < s.applies {
		return o
	}
	return s
}

// evaluation walks an ssh_config for one host and keeps the values that
// apply, the first of each.
type evaluation struct {
	alias string   // what ssh(1) would be given
	names []string // what Host lines are tested against
	user  string   // set by command line or inventory, "" when not
	host  string   // address set by the inventory, "" when not
	local Options

	final     bool // this is the pass for "Match final"
	wantFinal bool

	values  map[string]configLine // the two proxy keywords share the key "proxy"
	lists   map[string][]configLine
	ignored []configLine // lines that apply but that we do not honour
	err     *Error
}

func newEvaluation(o Options, r request) *evaluation {
	e := &evaluation{
		alias: r.host.Name, names: []string{r.host.Name}, user: r.user, local: o,
		values: make(map[string]configLine), lists: make(map[string][]configLine),
	}
	if e.user == "" {
		e.user = r.host.User
	}
	if r.host.Address != r.host.Name {
		e.host = r.host.Address
		e.names = append(e.names, r.host.Address)
	}
	return e
}

// kind says what a directive means to us.
type kind int

const (
	unused kind = iota // nothing to do with reaching or trusting a host
	single             // the first value counts
	list               // values add up
	deaf               // it matters, but we do not honour it
)

func kindOf(keyword string) kind {
	switch keyword {
	case "hostname", "user", "port", "addressfamily", "identitiesonly", "identityagent", "userknownhostsfile",
		"globalknownhostsfile", "stricthostkeychecking", "hostkeyalias", "hashknownhosts", "connecttimeout",
		"serveraliveinterval", "serveralivecountmax", "proxyjump", "proxycommand", "tag",
		"canonicalizehostname", "canonicaldomains":
		return single
	case "identityfile", "certificatefile":
		return list
	case "revokedhostkeys", "knownhostscommand", "bindaddress", "bindinterface", "hostkeyalgorithms",
		"pubkeyauthentication", "pubkeyacceptedalgorithms", "pkcs11provider":
		return deaf
	}
	return unused
}

// takesMany tells the directives with more than one argument.
func takesMany(keyword string) bool {
	switch keyword {
	case "userknownhostsfile", "globalknownhostsfile", "canonicaldomains", "proxycommand":
		return true
	}
	return false
}

// evaluate hears the files in order, and once more when a "Match final" asks
// for it.
func (c *sshConfig) evaluate(e *evaluation) *evaluation {
	e.pass(c.files)
	if e.wantFinal {
		e.final = true
		e.pass(c.files)
	}
	if l, ok := e.values["canonicalizehostname"]; ok && !strings.EqualFold(l.args[0], "no") && len(e.values["canonicaldomains"].args) > 0 {
		e.fail(l.pos(), "CanonicalizeHostname is not supported; give the full name as HostName or in the inventory")
	}
	return e
}

func (e *evaluation) pass(files []configFile) {
	for _, f := range files {
		e.walk(f.lines, scope{applies: yes})
	}
}

// walk applies the lines of one file. Nothing in it applies unless outer
// does, the block that includes the file.
func (e *evaluation) walk(lines []configLine, outer scope) {
	here := outer
	for _, l := range lines {
		switch {
		case l.keyword == "host" || l.keyword == "match":
			if l.err != nil {
				e.fail(l.pos(), "%s: %v", l.keyword, l.err)
				return
			}
			here = outer.and(e.block(l))
		case here.applies == no:
		case l.keyword == "include" && l.err == nil:
			for _, f := range l.include {
				e.walk(f.lines, here)
			}
		default:
			e.apply(l, here)
		}
	}
}

func (e *evaluation) block(l configLine) scope {
	if l.keyword == "host" {
		if matchWords(e.names, l.args) {
			return scope{applies: yes}
		}
		return scope{}
	}
	s, err := e.match(l)
	if err != nil {
		e.fail(l.pos(), "Match: %v", err)
	}
	return s
}

// apply takes one directive in a block that applies or may apply.
func (e *evaluation) apply(l configLine, here scope) {
	slot, what := l.keyword, kindOf(l.keyword)
	if slot == "proxyjump" || slot == "proxycommand" {
		slot = "proxy" // whichever comes first rules the other out
	}
	_, taken := e.values[slot]
	switch {
	case what == unused || taken:
	case what == deaf:
		if !e.final {
			e.ignored = append(e.ignored, l)
		}
	case l.err != nil:
		e.fail(l.pos(), "%s: %v", l.keyword, l.err)
	case here.applies == maybe:
		e.fail(l.pos(), "%s is set in a block that applies or not by %s, which is not evaluated", l.keyword, here.why)
	case len(l.args) > 1 && !takesMany(l.keyword):
		e.fail(l.pos(), "%s: extra argument %q", l.keyword, l.args[1])
	case what == list:
		e.lists[slot] = append(e.lists[slot], l)
	default:
		e.values[slot] = l
	}
}

func (e *evaluation) fail(pos, format string, args ...any) {
	if e.err == nil {
		e.err = &Error{Reason: CodeConfig, Msg: pos + ": " + fmt.Sprintf(format, args...)}
	}
}

// match evaluates a Match line (readconf.c, match_cfg_line). A criterion that
// needs a command to be run, or the network, makes the block a maybe, unless
// another criterion rules it out.
func (e *evaluation) match(l configLine) (scope, error) {
	result := scope{applies: yes}
	rest := l.rest
	for n := 0; ; n++ {
		var word string
		word, rest = splitKeyword(rest)
		if word == "" || word[0] == '#' {
			if n == 0 {
				return scope{}, errors.New("criteria missing")
			}
			return result, nil
		}
		name, negated := strings.CutPrefix(strings.ToLower(word), "!")
		if name == "all" {
			next, _ := splitKeyword(rest)
			if n > 1 || next != "" && next[0] != '#' {
				return scope{}, errors.New("\"all\" cannot be combined with other criteria")
			}
			return result.and(decided(true, negated)), nil
		}
		if name == "final" || name == "canonical" {
			e.wantFinal = e.wantFinal || name == "final"
			result = result.and(decided(e.final, negated))
			continue
		}
		var arg string
		arg, rest = splitKeyword(rest)
		if arg == "" || arg[0] == '#' {
			return scope{}, fmt.Errorf("%q needs an argument", word)
		}
		s, err := e.criterion(l, name, arg, negated)
		if err != nil {
			return scope{}, err
		}
		result = result.and(s)
	}
}

func decided(holds, negated bool) scope {
	if holds != negated {
		return scope{applies: yes}
	}
	return scope{}
}

func (e *evaluation) criterion(l configLine, name, arg string, negated bool) (scope, error) {
	switch name {
	case "host":
		return decided(matchList(strings.ToLower(e.hostname()), strings.ToLower(arg)), negated), nil
	case "originalhost":
		return decided(matchList(strings.ToLower(e.alias), strings.ToLower(arg)), negated), nil
	case "user":
		return decided(matchList(e.loginName(), arg), negated), nil
	case "localuser":
		return decided(matchList(e.local.LocalUser, arg), negated), nil
	case "tagged":
		return decided(matchList(e.first("tag"), arg), negated), nil
	case "sessiontype":
		return decided(matchList("exec", strings.ToLower(arg)), negated), nil
	case "exec", "localnetwork", "version", "command":
		return scope{applies: maybe, why: fmt.Sprintf("\"Match %s\" at %s", name, l.pos())}, nil
	}
	return scope{}, fmt.Errorf("unknown criterion %q", printable([]byte(name)))
}

func (e *evaluation) first(keyword string) string {
	if l, ok := e.values[keyword]; ok {
		return l.args[0]
	}
	return ""
}

// hostname is the name "Match host" tests: what HostName has made of the
// alias by now.
func (e *evaluation) hostname() string {
	switch name := e.first("hostname"); {
	case e.host != "":
		return e.host
	case name != "":
		return strings.NewReplacer("%%", "%", "%h", e.alias).Replace(name)
	}
	return e.alias
}

func (e *evaluation) loginName() string {
	switch name := e.first("user"); {
	case e.user != "":
		return e.user
	case name != "":
		return name
	}
	return e.local.LocalUser
}
