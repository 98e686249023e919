package kubelet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits of execve(2) on Linux with the default 8 MiB stack: the bytes of all
// arguments and variables, and of one of them with its NUL.
const (
	execArgsMax = 2 << 20
	execArgMax  = 128 << 10
)

// execConfigDirAlpha is the variable a kubelet below 1.30 wants to see before
// it takes --config-dir (KEP-3983).
const execConfigDirAlpha = "KUBELET_CONFIG_DROPIN_DIR_ALPHA"

// Launch is what systemd would execute at the next start of a unit, or why it
// would not.
type Launch struct {
	// Exe is the executable as systemd looks it up: an absolute path, or a
	// plain name for its built-in search path.
	Exe string
	// Argv0 is the first argument, Exe unless ExecStart= says otherwise.
	Argv0 string
	// Start is set when Fatal and Blocked are nil and Need is empty. A Cwd of
	// "" is a home directory the files do not tell.
	Start Start

	Fatal    *Fatal   // would not start
	Blocked  *Fatal   // a file the answer needs could not be read
	Need     []string // as in Unit
	Warnings []string // the unit's and those of its environment files

	// Expands holds the variables ExecStart= refers to, in order, each time it
	// does, up to a bound. The last one that carries a flag wins over those
	// before it.
	Expands []Variable
	// Unused holds the variables that are set and not referred to, by name. A
	// kubelet flag in one of them has no effect.
	Unused []Variable
}

// Variable is one environment variable of a service.
type Variable struct {
	Name   string
	Set    bool
	Value  string // possibly secret; not for reports as a whole
	Source Source // the assignment in force
	// Overridden lists the assignments that lost, strongest first; for a
	// variable UnsetEnvironment= takes away, all of them.
	Overridden []Assignment
}

// Assignment is one setting of a variable.
type Assignment struct {
	Value  string
	Source Source
}

func (l *Launch) fail(f Fatal) {
	if l.Fatal == nil {
		l.Fatal = &f
	}
}

func (l *Launch) block(f *Fatal) {
	if l.Blocked == nil {
		l.Blocked = f
	}
}

func (l *Launch) warn(message string) {
	if len(l.Warnings) < 2*unitWarningsMax && !slices.Contains(l.Warnings, message) {
		l.Warnings = append(l.Warnings, message)
	}
}

func unitMessageAt(s Source, message string) string {
	return fmt.Sprintf("%s:%d: %s", s.Path, s.Line, message)
}

// Start tells what systemd would execute for ExecStart=, with variables
// expanded (systemd.service(5), COMMAND LINES; src/basic/env-util.c,
// replace_env_argv). Of several commands, which only Type=oneshot allows, it
// takes the last.
func (u Unit) Start(d Disk) Launch { return u.start(d, nil) }

// start is Start, and notes in a trace, unless that is nil, where each word is
// written.
func (u Unit) start(d Disk, trace *commandTrace) Launch {
	l := Launch{Fatal: u.Fatal, Blocked: u.Blocked, Need: u.Need, Warnings: slices.Clone(u.Warnings)}
	if l.done() {
		return l
	}
	if len(u.exec) == 0 {
		l.fail(Fatal{"Service has no ExecStart= setting; nothing would be executed.", Source{Kind: SourceFlag, Path: u.Fragment}})
		return l
	}
	u.checkRoot(&l)
	t := u.environment(d, &l)
	c := u.exec[len(u.exec)-1]
	l.Exe = c.path
	u.checkDisk(d, c, &l)
	if l.settle(); l.done() {
		return l
	}
	u.expand(c, t, &l, trace)
	l.Start.Cwd = u.cwd(d, &l)
	if v, ok := t.get(execConfigDirAlpha); ok {
		l.Start.Env = map[string]string{execConfigDirAlpha: v.String()}
	}
	l.unused(t)
	return l
}

// done tells that there is no start to describe.
func (l *Launch) done() bool { return l.Fatal != nil || l.Blocked != nil || len(l.Need) > 0 }

// settle lets a certain refusal win over what is not yet known.
func (l *Launch) settle() {
	if l.Fatal != nil {
		l.Blocked, l.Need = nil, nil
	}
	l.Need = unitSorted(l.Need)
}

// checkRoot blocks where the kubelet would see another file tree than the
// files at hand.
func (u *Unit) checkRoot(l *Launch) {
	if u.RootDirectory != "" && u.RootDirectory != "/" {
		l.block(&Fatal{"the service runs in the root directory " + unitShow(u.RootDirectory) + ", which is not followed", u.rootAt})
	}
}

// checkDisk refuses where the executable or the working directory is known to
// be missing.
func (u *Unit) checkDisk(d Disk, c execCommand, l *Launch) {
	if f, looked := d.Files[c.path]; looked && f.State == StateMissing {
		l.fail(Fatal{"Failed to locate executable " + unitShow(c.path) + ": No such file or directory", c.source})
	}
	if dir, looked := d.Dirs[u.WorkingDirectory]; looked && dir.State == StateMissing && !u.cwdMaybe {
		l.fail(Fatal{"Changing to the requested working directory failed: No such file or directory", u.cwdAt})
	}
}

// cwd is the directory the service starts in.
func (u *Unit) cwd(d Disk, l *Launch) string {
	switch {
	case u.WorkingDirectory == "":
		return "/"
	case u.WorkingDirectory == "~" && (u.User == "" || u.User == "root" || u.User == "0"):
		return "/root"
	case u.WorkingDirectory == "~":
		l.warn(unitMessageAt(u.cwdAt, "the home directory of user "+unitShow(u.User)+" is known on the node only"))
		return ""
	}
	if dir, looked := d.Dirs[u.WorkingDirectory]; looked && dir.State == StateMissing {
		return "/"
	}
	return u.WorkingDirectory
}

// expand builds the argument list.
func (u *Unit) expand(c execCommand, t *envTable, l *Launch, trace *commandTrace) {
	x := execExpander{env: t, launch: l, trace: trace}
	trace.begin(c, t)
	total, longest := t.size()
	x.add(total, longest)
	for i, word := range c.argv {
		if x.tooLong {
			break
		}
		x.at = commandWord{in: c.text, raw: c.raw[i]}
		if c.noExpand {
			x.part(word, "")
			x.word(word, word.source())
		} else {
			x.expand(word)
		}
	}
	if x.tooLong {
		l.fail(Fatal{"Failed at step EXEC spawning " + unitShow(c.path) + ": Argument list too long", c.source})
		return
	}
	if len(x.args) > 0 {
		l.Argv0, l.Start.Args = x.args[0].Text, x.args[1:]
	}
	for _, v := range l.Expands {
		u.warnUnset(v, l)
	}
}

// warnUnset says where a variable may have a value the unit's files do not
// tell.
func (u *Unit) warnUnset(v Variable, l *Launch) {
	switch {
	case v.Set:
	case slices.Contains(u.passEnv, v.Name):
		l.warn("ExecStart= expands $" + v.Name + ", which PassEnvironment= takes from systemd's own environment; taken as unset")
	case execFromSystemd(v.Name) && len(v.Overridden) == 0:
		l.warn("ExecStart= expands $" + v.Name + ", which systemd sets itself; taken as unset")
	}
}

// execFromSystemd knows the variables systemd gives to services
// (systemd.exec(5), ENVIRONMENT VARIABLES IN SPAWNED PROCESSES).
func execFromSystemd(name string) bool {
	switch name {
	case "PATH", "LANG", "USER", "LOGNAME", "HOME", "SHELL", "TERM", "INVOCATION_ID", "JOURNAL_STREAM",
		"NOTIFY_SOCKET", "MAINPID", "MANAGERPID", "PIDFILE", "WATCHDOG_PID", "WATCHDOG_USEC", "SYSTEMD_EXEC_PID",
		"RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY",
		"CREDENTIALS_DIRECTORY", "LOG_NAMESPACE", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE",
		"FDSTORE", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "TRIGGER_UNIT", "TRIGGER_PATH":
		return true
	}
	return strings.HasPrefix(name, "LC_")
}

// unused lists what is set for nothing.
func (l *Launch) unused(t *envTable) {
	used := map[string]bool{execConfigDirAlpha: true}
	for _, v := range l.Expands {
		used[v.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(t.vars)) {
		if v := t.variable(name); !used[name] && v.Source.Path != "" {
			l.Unused = append(l.Unused, v)
		}
	}
}

// execExpander follows replace_env_argv() and replace_env() of systemd's
// src/basic/env-util.c.
type execExpander struct {
	env     *envTable
	launch  *Launch
	args    []Arg
	total   int
	tooLong bool

	trace *commandTrace
	at    commandWord // the word at work
}

// add counts bytes against the limits of execve.
func (x *execExpander) add(total, longest int) bool {
	x.total += total
	x.tooLong = x.tooLong || x.total > execArgsMax || longest > execArgMax
	return !x.tooLong
}

func (x *execExpander) word(t unitText, origin Source) {
	const pointer = 8
	if x.add(len(t.b)+1+pointer, len(t.b)+1) {
		x.args = append(x.args, Arg{Text: t.String(), Origin: origin})
		if x.trace != nil {
			x.trace.words = append(x.trace.words, x.at)
		}
	}
}

// expand takes one word of ExecStart=. $NAME is only special as a whole word,
// whatever its name is made of, and splits; ${NAME} is replaced anywhere and
// does not.
func (x *execExpander) expand(t unitText) {
	if t.char(0) != '$' || t.char(1) == '{' || t.char(1) == '$' {
		x.inline(t)
		return
	}
	name := string(t.b[1:])
	value, set := x.lookup(name)
	if !set {
		return
	}
	from := len(x.args)
	for pos := 0; pos >= 0 && !x.tooLong; {
		word, raw, next, found, _ := unitWordIn(value, pos, unitRelax)
		if !found {
			break
		}
		x.at = commandWord{in: value, raw: raw, variable: name}
		x.part(word, name)
		x.word(word, word.source())
		pos = next
	}
	x.trace.expanded(name, span{from, len(x.args)})
}

// part notes a piece of the word at work.
func (x *execExpander) part(t unitText, variable string) {
	if x.trace != nil && len(t.b) > 0 {
		x.at.parts = append(x.at.parts, commandPart{t, variable})
	}
}

// lookup gets a variable and notes that ExecStart= refers to it.
func (x *execExpander) lookup(name string) (unitText, bool) {
	const expandsMax = 1024
	if len(x.launch.Expands) < expandsMax {
		x.launch.Expands = append(x.launch.Expands, x.env.variable(name))
	}
	return x.env.get(name)
}

// inline replaces ${NAME} and $$ within a word. A word that is nothing but
// one ${NAME} originates where the variable is set, any other in ExecStart=.
func (x *execExpander) inline(t unitText) {
	out := unitText{begin: t.begin, file: t.file}
	origin := t.source()
	from := 0 // what stands before it is in out
	for i := 0; i+1 < len(t.b); i++ {
		if t.b[i] != '$' {
			continue
		}
		i++ // after a $ that begins nothing, another $ begins nothing either
		switch t.b[i] {
		case '$':
			out.putText(t.slice(from, i))
			x.part(t.slice(from, i), "")
			from = i + 1
		case '{':
			end, closed := execVariableEnd(t, i+1)
			if closed {
				out.putText(t.slice(from, i-1))
				x.part(t.slice(from, i-1), "")
				name := string(t.b[i+1 : end])
				value, set := x.lookup(name)
				if set && i == 1 && end+1 == len(t.b) {
					origin = value.source()
				}
				out.putText(value)
				x.part(value, name)
				from = end + 1
			}
			i = end
		}
		if len(out.b) > execArgMax {
			x.tooLong = true
			return
		}
	}
	out.putText(t.slice(from, len(t.b)))
	x.part(t.slice(from, len(t.b)), "")
	x.word(out, origin)
}

// execVariableEnd finds the brace that closes a name begun at pos. A colon
// before it makes the whole unsupported syntax that stays as it is.
func execVariableEnd(t unitText, pos int) (end int, closed bool) {
	for i := pos; i < len(t.b); i++ {
		if t.b[i] == '}' || t.b[i] == ':' {
			return i, t.b[i] == '}'
		}
	}
	return len(t.b), false
}
