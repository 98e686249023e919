package kubelet

import (
	"bytes"
	"maps"
	"path"
	"slices"
	"strings"
)

// Bounds of EditArgs, for what a node sends may be any size: how many ways it
// tries out, each of which reads the unit again, and to how many of the
// variables that are split last it thinks of appending.
const (
	editTries  = 64
	editPlaces = 16
)

// EditArgs works out the smallest change of unit, drop-in and environment files
// after which the unit's command line gives flag=value, and proves it on the
// changed files. Where the flag stands in whatever spelling it is corrected in
// the file that really sets it; where it does not, it is appended to the
// variable that ExecStart= splits last, else to an earlier one, else to
// ExecStart= itself. Of the arguments and variables nothing else changes.
//
// Files for which editable is false stay as they are; nil stands for all below
// /etc, /var/lib, /opt and /usr/local. No edits and no error means that the
// command line gives the value already. The error is always an *EditError.
func (m Manager) EditArgs(unit string, d Disk, s Setting, value any, editable func(path string) bool) ([]FileEdit, error) {
	text, ok := editText(value)
	if !ok || !editPlain(text) {
		return nil, editErrorf(EditCannot, "cannot edit the arguments of %s: the value %v would need quotes", unit, value)
	}
	if editable == nil {
		editable = editableByDefault
	}
	e := argsEditor{manager: m, unit: unit, setting: s, value: value, flag: "--" + s.Flag + "=" + text, editable: editable, tries: editTries}
	c, err := e.run(d)
	if err != nil {
		return nil, err
	}
	return fileEdits(d, c.disk), nil
}

// editableByDefault knows the directories that are the administrator's: vendor
// and runtime directories are written by somebody else.
func editableByDefault(name string) bool {
	name = path.Clean(name)
	return slices.ContainsFunc([]string{"/etc/", "/var/lib/", "/opt/", "/usr/local/"}, func(dir string) bool {
		return strings.HasPrefix(name, dir)
	})
}

// fileEdits lists the files that differ, by path.
func fileEdits(before, after Disk) []FileEdit {
	var edits []FileEdit
	for _, p := range slices.Sorted(maps.Keys(after.Files)) {
		if old, now := before.Files[p].Data, after.Files[p].Data; !bytes.Equal(old, now) {
			edits = append(edits, FileEdit{p, old, now})
		}
	}
	return edits
}

// argsEditor works on one command line.
type argsEditor struct {
	manager  Manager
	unit     string
	setting  Setting
	value    any
	flag     string // "--flag=value"
	editable func(string) bool
	tries    int
}

// attempt is one way to change files, and the arguments that come of it.
type attempt struct {
	changes   map[string][]change // by path
	variables map[string]bool     // that may change
	want      []string
}

// run changes the disk step by step until the command line gives the value.
func (e *argsEditor) run(d Disk) (command, *EditError) {
	c, err := e.manager.command(e.unit, d)
	if err != nil {
		return c, err
	}
	c, kept := e.correct(c)
	given, err := e.given(c)
	switch {
	case given:
		return c, nil
	case err != nil && err.code == EditWouldNotStart && kept.chokes:
		return c, kept.why
	case err != nil:
		return c, err
	}
	if next, ok := e.add(c); ok {
		return next, nil
	}
	switch {
	case e.tries <= 0:
		return c, editErrorf(EditCannot, "cannot edit the arguments of %s: there are too many uses of the flag and of variables; change it by hand", e.unit)
	case kept.why != nil:
		return c, kept.why
	}
	return c, e.noPlace(c)
}

// given tells whether the kubelet would start with the flag at the value. An
// error says why it would not start or why that is not known.
func (e *argsEditor) given(c command) (bool, *EditError) {
	st := e.accepted(c.start)
	r := Resolve(e.setting, st, c.disk)
	switch {
	case r.Fatal != nil:
		return false, editErrorf(EditWouldNotStart, "cannot edit the arguments of %s: the kubelet would not start: %s", e.unit, r.Fatal.Message)
	case r.Blocked != nil:
		return false, editErrorf(EditUnreadable, "cannot edit the arguments of %s: %s", e.unit, r.Blocked.Message)
	case len(r.Need) > 0:
		return false, editNeed(r.Need)
	}
	return r.Source.Kind == SourceFlag && r.Value == e.value, nil
}

// accepted leaves out the arguments that the table of flags does not know and
// that a running kubelet lives with.
func (e *argsEditor) accepted(st Start) Start {
	st.Args = slices.Clone(st.Args)
	for range e.manager.Accepted {
		fatal := ParseArgs(e.setting, st).Fatal
		if fatal == nil || !strings.HasPrefix(fatal.Message, "unknown ") || !slices.Contains(e.manager.Accepted, fatal.Source.Text) {
			break
		}
		st.Args = slices.DeleteFunc(st.Args, func(a Arg) bool { return a.Text == fatal.Source.Text })
	}
	return st
}

// uncorrected is why uses of the flag stayed that say otherwise.
type uncorrected struct {
	why    *EditError
	chokes bool // the kubelet does not start with one of them
}

// correct corrects every use of the flag that says otherwise, first to last,
// until the value is given.
func (e *argsEditor) correct(c command) (command, uncorrected) {
	var kept uncorrected
	stay := 0 // so many uses that say otherwise stay
	for {
		if given, _ := e.given(c); given {
			return c, kept
		}
		uses := slices.DeleteFunc(flagUses(e.setting, c.start), func(u flagUse) bool {
			value, _ := c.alone(e.setting, u)
			return value == e.value
		})
		if stay >= len(uses) || e.tries <= 0 {
			return c, kept
		}
		next, err := e.correctOne(c, uses[stay])
		if err != nil {
			_, chokes := c.alone(e.setting, uses[stay])
			kept = uncorrected{err, kept.chokes || chokes}
			stay++
			continue
		}
		c = next
	}
}

// correctOne corrects one use of the flag.
func (e *argsEditor) correctOne(c command, u flagUse) (command, *EditError) {
	locked := ""
	for _, a := range e.corrections(c, u) {
		if p := e.locked(c, a); p != "" {
			locked = p
			continue
		}
		if next, ok := e.try(c, a); ok {
			return next, nil
		}
	}
	at := argvSource(c.start.Args[u.index])
	if locked != "" {
		return c, editErrorf(EditNotEditable, "cannot edit the arguments of %s: %s is set in %s, which is not to be edited; override it below /etc", e.unit, unitShow(at.Text), unitShow(locked))
	}
	return c, editErrorf(EditCannot, "cannot edit the arguments of %s: %s cannot be changed safely in %s; change it by hand", e.unit, unitShow(at.Text), unitShow(place(at.Path, at.Line)))
}

// locked is a file of an attempt that may not be changed, "" for none. Of a
// symlink the target counts too.
func (e *argsEditor) locked(c command, a attempt) string {
	for _, p := range slices.Sorted(maps.Keys(a.changes)) {
		if p == "" {
			return "systemd's own environment"
		}
		target := c.disk.Files[p].Target
		if target != "" && !path.IsAbs(target) {
			target = path.Join(path.Dir(p), target)
		}
		if !e.editable(p) || target != "" && !e.editable(target) {
			return p
		}
	}
	return ""
}

// try makes an attempt and reads the command line again.
func (e *argsEditor) try(c command, a attempt) (command, bool) {
	if e.tries--; e.tries < 0 {
		return c, false
	}
	d := Disk{Files: maps.Clone(c.disk.Files), Dirs: c.disk.Dirs}
	for p, changes := range a.changes {
		f := d.Files[p]
		data, ok := applyChanges(f.Data, changes)
		if !ok {
			return c, false
		}
		f.Data = data
		d.Files[p] = f
	}
	now, err := e.manager.command(e.unit, d)
	return now, err == nil && c.onlyArgs(now, a.want, a.variables)
}

// corrections are the ways to correct one use, best first: letter by letter,
// which leaves quotes and continuations as they are, else the word as a whole.
func (e *argsEditor) corrections(c command, u flagUse) []attempt {
	var ways []attempt
	w := c.word(u.index)
	for _, replace := range [](func(*attempt)){
		func(a *attempt) { a.rewrite(w, c.start.Args[u.index].Text, e.flag) },
		func(a *attempt) { a.replace(w, e.flag) },
	} {
		for _, blanks := range []bool{true, false} {
			a := attempt{changes: map[string][]change{}, variables: map[string]bool{}, want: e.corrected(c, u)}
			replace(&a)
			if u.words == 2 {
				a.remove(c.word(u.index+1), blanks)
			} else if !blanks {
				break
			}
			ways = append(ways, a)
		}
	}
	return ways
}

// corrected are the arguments after a use was corrected. Another use that is
// written with the same bytes, because a variable is expanded twice, is
// corrected with it.
func (e *argsEditor) corrected(c command, u flagUse) []string {
	texts := c.texts()
	uses := flagUses(e.setting, c.start)
	for _, other := range slices.Backward(uses) {
		if other.words == u.words && c.word(other.index).sameBytes(c.word(u.index)) {
			texts = slices.Replace(texts, other.index, other.index+other.words, e.flag)
		}
	}
	return texts
}

// sameBytes tells whether two words are written with the same bytes.
func (w commandWord) sameBytes(o commandWord) bool {
	return w.in.file == o.in.file && w.in.begin == o.in.begin && w.raw == o.raw
}

// change notes a change of the file of a text.
func (a *attempt) change(t unitText, variable string, c change) {
	p := ""
	if t.file != nil {
		p = t.file.path
	}
	if n := len(a.changes[p]); n > 0 && c.text == "" && a.changes[p][n-1].span == c.span {
		return // another byte of one escape
	}
	a.changes[p] = append(a.changes[p], c)
	if variable != "" {
		a.variables[variable] = true
	}
}

// rewrite turns a word into another by changing only the letters between the
// beginning and the end that both have in common.
func (a *attempt) rewrite(w commandWord, old, text string) {
	same := 0
	for same < min(len(old), len(text)) && old[same] == text[same] {
		same++
	}
	tail := 0
	for tail < min(len(old), len(text))-same && old[len(old)-1-tail] == text[len(text)-1-tail] {
		tail++
	}
	insert := text[same : len(text)-tail]
	at := 0
	for _, p := range w.parts {
		for i := range p.b {
			switch {
			case at >= same && at < len(old)-tail:
				a.change(p.unitText, p.variable, change{span{p.at[i].start(), p.at[i].end()}, insert})
				insert = ""
			case at == same-1 && same+tail == len(old):
				a.change(p.unitText, p.variable, change{span{p.at[i].end(), p.at[i].end()}, insert})
			}
			at++
		}
	}
}

// replace puts a text in the place of a word and its quotes.
func (a *attempt) replace(w commandWord, text string) {
	for i := w.raw.start; i < w.raw.end; i++ {
		a.change(w.in, w.variable, change{span{w.in.at[i].start(), w.in.at[i].end()}, text})
		text = ""
	}
}

// remove takes a word out, with the blanks in front of it unless they are what
// a line goes on with.
func (a *attempt) remove(w commandWord, blanks bool) {
	for i := w.raw.start - 1; blanks && i >= 0; i-- {
		at := w.in.at[i]
		if c := w.in.b[i]; c != ' ' && c != '\t' || at.end() != at.start()+1 {
			break
		}
		a.change(w.in, w.variable, change{span{at.start(), at.end()}, ""})
	}
	a.replace(w, "")
}

// add appends the flag at the first place where that gives the value.
func (e *argsEditor) add(c command) (command, bool) {
	for _, a := range e.additions(c) {
		if e.locked(c, a) != "" {
			continue
		}
		if next, ok := e.try(c, a); ok {
			if given, _ := e.given(next); given {
				return next, true
			}
		}
	}
	return c, false
}

// additions are the ways to append the flag, best first: to the variable that
// is split last, to earlier ones, to ExecStart= itself.
func (e *argsEditor) additions(c command) []attempt {
	var ways []attempt
	for _, p := range slices.Backward(c.trace.places[max(0, len(c.trace.places)-editPlaces):]) {
		v := c.trace.env.vars[p.variable]
		if v == nil || v.value.file == nil {
			continue
		}
		for _, ins := range insertions(p.variable, v, e.flag) {
			at := p.words.end - c.skip
			if ins.first {
				at = p.words.start - c.skip
			}
			a := attempt{changes: map[string][]change{}, variables: map[string]bool{}, want: e.added(c, at)}
			for _, ch := range ins.changes {
				a.change(v.value, p.variable, ch)
			}
			ways = append(ways, a)
		}
	}
	text := c.trace.text
	end := text.at[c.trace.last.end-1].end()
	a := attempt{changes: map[string][]change{}, want: e.added(c, len(c.start.Args))}
	a.change(text, "", change{span{end, end}, " " + e.flag})
	return append(ways, a)
}

// added are the arguments with the flag at a position.
func (e *argsEditor) added(c command, at int) []string {
	texts := c.texts()
	return slices.Insert(texts, max(0, min(at, len(texts))), e.flag)
}

// insertion is a way to write a word into a variable.
type insertion struct {
	first   bool // in front of what is there
	changes []change
}

// insertions are the ways to write a word into a variable: as it is, with
// quotes that an unquoted assignment in a unit needs then, or in front, which
// helps where the value ends within quotes of its own.
func insertions(name string, v *envVar, flag string) []insertion {
	t := v.value
	insert := func(at int, text string) change { return change{span{at, at}, text} }
	if len(t.b) == 0 {
		ways := []insertion{{changes: []change{insert(v.after, flag)}}}
		if at, ok := insideQuotes(t.file.text, v.after); ok && !v.unit {
			ways = append([]insertion{{changes: []change{insert(at, flag)}}}, ways...)
		}
		return ways
	}
	end, start := t.at[len(t.b)-1].end(), t.at[0].start()
	gap := " "
	if unitBlank(t.b[len(t.b)-1]) {
		gap = ""
	}
	plain := insertion{changes: []change{insert(end, gap+flag)}}
	first := insertion{first: true, changes: []change{insert(start, flag+" ")}}
	if !v.unit {
		return []insertion{plain, first}
	}
	ways := []insertion{plain}
	if head := v.after - len(name) - 1; head >= 0 && head <= end && end <= len(t.file.text) && !strings.ContainsAny(t.file.text[head:end], `"'\`) {
		ways = append(ways, insertion{changes: []change{insert(head, `"`), insert(end, gap+flag+`"`)}})
	}
	return append(ways,
		insertion{changes: []change{insert(end, `"`+gap+flag+`"`)}}, first,
		insertion{first: true, changes: []change{insert(start, `"`+flag+` "`)}},
	)
}

// insideQuotes is the offset behind the quote that opens an empty value.
func insideQuotes(text string, at int) (int, bool) {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t') {
		at++
	}
	if at < len(text) && (text[at] == '"' || text[at] == '\'') {
		return at + 1, true
	}
	return 0, false
}

// noPlace says why the flag could not be appended.
func (e *argsEditor) noPlace(c command) *EditError {
	locked := ""
	ways := e.additions(c)
	for _, a := range ways {
		if locked = e.locked(c, a); locked != "" {
			continue
		}
		if len(ways) == 1 {
			return editErrorf(EditNoVariable, "cannot edit the arguments of %s: ExecStart= expands no variable that a file sets and takes no flag itself; change it by hand", e.unit)
		}
		return editErrorf(EditCannot, "cannot edit the arguments of %s: the flag cannot be added safely; change it by hand", e.unit)
	}
	return editErrorf(EditNotEditable, "cannot edit the arguments of %s: they are written in %s, which is not to be edited; override ExecStart= below /etc", e.unit, unitShow(locked))
}
