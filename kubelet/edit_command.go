package kubelet

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// commandTrace is where a command line is written. A nil one notes nothing.
type commandTrace struct {
	words  []commandWord // argv, with its first element
	places []commandPlace
	text   unitText // the value of ExecStart=
	last   span     // its last word there
	env    *envTable
}

// commandWord is one word of a command line.
type commandWord struct {
	parts    []commandPart
	in       unitText // what it was cut from: ExecStart= or a variable's value
	raw      span     // its bytes there, with quotes
	variable string   // the variable it was cut from, "" for ExecStart=
}

// commandPart is a piece of a word: of ExecStart= when variable is "".
type commandPart struct {
	unitText
	variable string
}

// commandPlace is one $VARIABLE of ExecStart= and the words it was split into.
type commandPlace struct {
	variable string
	words    span
}

func (t *commandTrace) begin(c execCommand, env *envTable) {
	if t != nil {
		t.text, t.last, t.env = c.text, c.raw[len(c.raw)-1], env
	}
}

func (t *commandTrace) expanded(variable string, words span) {
	if t != nil {
		t.places = append(t.places, commandPlace{variable, words})
	}
}

// command is a unit's command line as the files of a disk give it.
type command struct {
	disk   Disk
	launch Launch
	trace  commandTrace
	start  Start // what the kubelet is given
	skip   int   // words in front of its arguments
}

// command works out the command line of a unit, or why there is none.
func (m Manager) command(unit string, d Disk) (command, *EditError) {
	c := command{disk: d}
	u := m.LoadUnit(unit, d)
	c.launch = u.start(d, &c.trace)
	l := c.launch
	switch {
	case len(l.Need) > 0:
		return c, editNeed(l.Need)
	case l.Blocked != nil:
		return c, editErrorf(EditUnreadable, "cannot edit the arguments of %s: %s", unit, l.Blocked.Message)
	case l.Fatal != nil:
		return c, editErrorf(EditWouldNotStart, "cannot edit the arguments of %s: systemd would not start it: %s", unit, l.Fatal.Message)
	}
	name := path.Base(l.Exe)
	args, ok := KubeletArgs(append([]Arg{{Text: name}}, l.Start.Args...))
	if !ok || name != "kubelet" && name != "hyperkube" {
		return c, editErrorf(EditCannot, "cannot edit the arguments of %s: it runs %s, whose arguments are not followed; change it by hand", unit, unitShow(l.Exe))
	}
	c.start = l.Start
	c.start.Args, c.start.Version = args, m.Kubelet
	c.skip = len(c.trace.words) - len(args)
	return c, nil
}

func editNeed(need []string) *EditError {
	e := editErrorf(EditNeed, "cannot edit the arguments: not looked at: %s", strings.Join(need, ", "))
	e.need = need
	return e
}

// word is where an argument of the kubelet is written.
func (c command) word(i int) commandWord { return c.trace.words[c.skip+i] }

// texts are the arguments of the kubelet.
func (c command) texts() []string {
	texts := make([]string, len(c.start.Args))
	for i, a := range c.start.Args {
		texts[i] = a.Text
	}
	return texts
}

// onlyArgs tells whether a command line has the wanted arguments, and nothing
// else is different from c: program, directory, warnings, and all variables but
// some.
func (c command) onlyArgs(now command, want []string, variables map[string]bool) bool {
	a, b := c.launch, now.launch
	same := a.Exe == b.Exe && a.Argv0 == b.Argv0 && a.Start.Cwd == b.Start.Cwd &&
		maps.Equal(a.Start.Env, b.Start.Env) && slices.Equal(a.Warnings, b.Warnings) &&
		c.skip == now.skip && slices.Equal(want, now.texts())
	return same && c.trace.env.equalBut(now.trace.env, variables)
}

// equalBut tells whether two environments differ in no variable but some.
func (t *envTable) equalBut(other *envTable, variables map[string]bool) bool {
	if len(t.vars) != len(other.vars) {
		return false
	}
	for name, v := range t.vars {
		o := other.vars[name]
		if o == nil || o.unset != v.unset || !variables[name] && o.value.String() != v.value.String() {
			return false
		}
	}
	return true
}

// flagUse is one use of a flag on a command line, in whatever spelling, and how
// many words it takes.
type flagUse struct{ index, words int }

// flagUses finds the words that are meant to set a flag and stand where the
// kubelet looks for a flag. A word that follows a boolean flag and could be its
// value belongs to the use, although the kubelet chokes on it.
func flagUses(s Setting, st Start) []flagUse {
	p := argvParser{setting: s, release: releaseOf(st.Version), version: st.Version, args: st.Args}
	var uses []flagUse
	for i := 0; i < len(st.Args) && st.Args[i].Text != "--"; {
		value, valued, ok := flagNamed(st.Args[i].Text, s.Flag)
		if !ok {
			i = p.step(i)
			continue
		}
		u := flagUse{i, 1}
		if i+1 < len(st.Args) && flagTakes(s, value, valued, st.Args[i+1].Text) {
			u.words = 2
		}
		uses = append(uses, u)
		i += u.words
	}
	return uses
}

// flagNamed tells whether a word is meant to be a flag: any dashes or none, any
// case, underscores, an equals sign or a colon behind it, quotes that were meant
// for a shell. It is not when its value has blanks within.
func flagNamed(word, flag string) (value string, valued, ok bool) {
	const quotes, dashes = `"'`, "-\u2010\u2011\u2012\u2013\u2014\u2212"
	bare := strings.Trim(word, quotes+" \t\r\n")
	name := strings.TrimLeft(bare, dashes)
	if i := strings.IndexAny(name, "=:"); i >= 0 {
		name, value, valued = name[:i], strings.Trim(name[i+1:], quotes+" \t\r\n"), true
	}
	name = strings.ToLower(strings.ReplaceAll(strings.Trim(name, quotes+" \t"), "_", "-"))
	return value, valued, name == flag && !strings.ContainsAny(value, " \t\r\n")
}

// flagTakes tells whether the word behind a flag is its value, or is meant to be.
func flagTakes(s Setting, value string, valued bool, next string) bool {
	if _, isBool := s.Default.(bool); !isBool {
		return (!valued || value == "") && !strings.HasPrefix(next, "-")
	}
	switch strings.ToLower(strings.Trim(next, `"' `)) {
	case "true", "false", "t", "f", "yes", "no", "y", "n", "on", "off", "1", "0":
		return true
	}
	return false
}

// alone is the value that a use of the flag gives when it stands alone, nil for
// none, and whether the kubelet would choke on it.
func (c command) alone(s Setting, u flagUse) (value any, chokes bool) {
	st := c.start
	st.Args = c.start.Args[u.index : u.index+u.words]
	p := ParseArgs(s, st)
	if p.Fatal != nil || len(p.Occurrences) != 1 {
		return nil, true
	}
	return p.Occurrences[0].Value, false
}
