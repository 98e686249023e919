package kubelet

import (
	"path"
	"slices"
	"strings"
)

// envFileRef is one EnvironmentFile= setting.
type envFileRef struct {
	path     string // absolute, may be a glob pattern
	optional bool   // written with a leading "-"
	source   Source
}

// envOverriddenMax bounds the assignments a Variable tells of.
const envOverriddenMax = 32

// envTable is the environment a service is started with, as far as the unit
// sets it.
type envTable struct {
	vars map[string]*envVar
}

type envVar struct {
	value unitText
	after int          // offset behind the equals sign in the file of the value
	unit  bool         // set by Environment= rather than in a file of its own
	unset bool         // taken away by UnsetEnvironment=
	all   []Assignment // weakest first
}

// set adds an assignment that beats the ones before it.
func (t *envTable) set(name string, value unitText, after int) {
	v := t.vars[name]
	if v == nil {
		v = &envVar{}
		t.vars[name] = v
	}
	v.value, v.after, v.unit = value, after, false
	v.all = append(v.all, Assignment{Value: value.String(), Source: value.source()})
}

// setAssignment adds NAME=value.
func (t *envTable) setAssignment(a unitText) {
	name, _, _ := strings.Cut(a.String(), "=")
	value := a.slice(len(name)+1, len(a.b))
	value.begin = a.begin
	t.set(name, value, a.at[len(name)].end())
	t.vars[name].unit = true
}

// get returns the value of a variable that is set.
func (t *envTable) get(name string) (unitText, bool) {
	v := t.vars[name]
	if v == nil || v.unset {
		return unitText{}, false
	}
	return v.value, true
}

// unset follows env_match() of systemd's src/basic/env-util.c: a name takes
// the variable away, NAME=value only when it has that value.
func (t *envTable) unset(pattern string) {
	name, value, assignment := strings.Cut(pattern, "=")
	v := t.vars[name]
	if v != nil && (!assignment || v.value.String() == value) {
		v.unset = true
	}
}

// size is the bytes the variables take at exec, longest is the longest of
// them, both with their NUL.
func (t *envTable) size() (total, longest int) {
	for name, v := range t.vars {
		if n := len(name) + len(v.value.b) + 2; !v.unset {
			total += n
			longest = max(longest, n)
		}
	}
	return total, longest
}

// variable describes one variable for the reader of a Launch.
func (t *envTable) variable(name string) Variable {
	v := t.vars[name]
	if v == nil {
		return Variable{Name: name}
	}
	all := v.all
	if len(all) > envOverriddenMax {
		all = all[len(all)-envOverriddenMax:]
	}
	all = slices.Clone(all)
	slices.Reverse(all)
	if v.unset {
		return Variable{Name: name, Overridden: all}
	}
	return Variable{Name: name, Set: true, Value: all[0].Value, Source: all[0].Source, Overridden: all[1:]}
}

// environment merges what the unit sets, weakest first: the manager's own
// environment, Environment=, the environment files; then UnsetEnvironment=
// takes away (src/core/execute.c). It stops at a file that keeps the service
// from starting.
func (u *Unit) environment(d Disk, l *Launch) *envTable {
	t := &envTable{vars: map[string]*envVar{}}
	for _, e := range u.loginEnvironment() {
		t.setAssignment(unitTextOf(e))
	}
	for _, e := range u.manager.Environment {
		if envAssignmentValid([]byte(e)) {
			t.setAssignment(unitTextOf(e))
		}
	}
	for _, e := range u.env {
		t.setAssignment(e)
	}
	for _, ref := range u.envFiles {
		u.environmentFile(ref, d, l, t)
	}
	for _, pattern := range u.unsetEnv {
		t.unset(pattern)
	}
	return t
}

// loginEnvironment is what systemd adds for a service with User= or
// WorkingDirectory=~, the weakest layer of all (build_environment in
// src/core/execute.c). Of other accounts than root only the node knows it.
func (u *Unit) loginEnvironment() []string {
	switch {
	case u.User == "root" || u.User == "0":
		return []string{"HOME=/root", "LOGNAME=root", "USER=root"}
	case u.User == "" && u.WorkingDirectory == "~":
		return []string{"HOME=/root"}
	}
	return nil
}

// environmentFile follows exec_context_load_environment() for one setting.
func (u *Unit) environmentFile(ref envFileRef, d Disk, l *Launch, t *envTable) {
	paths, found := ref.expand(d, l)
	if !found && !ref.optional {
		l.fail(Fatal{envLoadFailure(ref.path, "No such file or directory"), ref.source})
	}
	for _, p := range paths {
		f, looked := d.Files[p]
		if !looked {
			l.Need = append(l.Need, p)
			continue
		}
		entries, failure := u.environmentEntries(f, l)
		if failure != "" && !ref.optional {
			l.fail(Fatal{envLoadFailure(p, failure), ref.source})
		}
		for _, e := range entries {
			t.set(e.name, e.value, e.after)
		}
	}
}

func envLoadFailure(path, why string) string {
	return "Failed to load environment files: " + unitShow(path) + ": " + why
}

// environmentEntries reads one environment file. Names that are not valid are
// left out, a file that cannot be taken whole gives nothing.
func (u *Unit) environmentEntries(f File, l *Launch) (entries []envEntry, failure string) {
	switch {
	case unitIsNull(f):
		return nil, ""
	case f.State == StateMissing:
		return nil, "No such file or directory"
	case f.State != StatePresent:
		l.block(unitBlocked(f))
		return nil, ""
	}
	v := u.manager.Version
	p, failure := envParse(f.Path, f.Data, v > 0 && v < 254)
	if failure != "" {
		return nil, failure
	}
	if p.versionMatters && v == 0 {
		l.warn(f.Path + ": a comment ends in a backslash: systemd before 254 takes the next line into the comment")
	}
	for _, e := range p.entries {
		if envNameValid([]byte(e.name)) {
			entries = append(entries, e)
		} else {
			l.warn(envInvalid(e))
		}
	}
	return entries, ""
}

func envInvalid(e envEntry) string {
	s := e.value.source()
	hint := ""
	if strings.HasPrefix(e.name, "export ") {
		hint = " (an environment file knows no export)"
	}
	return unitMessageAt(s, "Ignoring invalid environment assignment '"+unitShow(e.name)+"='"+hint)
}

// expand resolves the glob pattern of the setting; found is false when nothing
// matches.
func (r envFileRef) expand(d Disk, l *Launch) (paths []string, found bool) {
	if !envIsPattern(r.path) {
		p := envUnescape(r.path)
		if f, looked := d.Files[p]; looked && f.State == StateMissing {
			return nil, false
		}
		return []string{p}, true
	}
	base := envPatternBase(r.path)
	dir, looked := d.Dirs[base]
	switch {
	case !looked:
		l.Need = append(l.Need, base+"/")
		return nil, true
	case dir.State == StateUnreadable:
		l.block(&Fatal{Message: base + " could not be listed", Source: r.source})
		return nil, true
	}
	for _, p := range dir.Entries {
		if dir.State == StatePresent && envGlob(r.path, p) {
			paths = append(paths, p)
		}
	}
	return unitSorted(paths), len(paths) > 0
}

// envIsPattern tells whether glob(3) would look for matches.
func envIsPattern(p string) bool {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '*', '?':
			return true
		case '[':
			if strings.IndexByte(p[i:], ']') > 0 {
				return true
			}
		}
	}
	return false
}

// envUnescape drops the backslashes glob(3) drops.
func envUnescape(p string) string {
	var out strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '\\' && i+1 < len(p) {
			i++
		}
		out.WriteByte(p[i])
	}
	return out.String()
}

// envPatternBase is the longest leading directory without a pattern.
func envPatternBase(p string) string {
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if !envIsPattern(dir) {
			return envUnescape(dir)
		}
	}
}

// envGlob matches a path component by component, as glob(3) does.
func envGlob(pattern, p string) bool {
	patterns, parts := strings.Split(pattern, "/"), strings.Split(p, "/")
	if len(patterns) != len(parts) {
		return false
	}
	for i := range parts {
		if strings.HasPrefix(parts[i], ".") && !strings.HasPrefix(patterns[i], ".") || !envMatch(patterns[i], parts[i]) {
			return false
		}
	}
	return true
}

// envMatch is fnmatch(3) within one component. It walks back only to the last
// star, so its time is bounded by the product of the lengths.
func envMatch(pattern, s string) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		if i < len(pattern) && pattern[i] == '*' {
			star, mark = i, j
			i++
			continue
		}
		if n := envMatchOne(pattern[i:], s[j]); n > 0 {
			i, j = i+n, j+1
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		i, j = star+1, mark
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// envMatchOne matches one byte against the head of a pattern and returns the
// length of that head, 0 for no match.
func envMatchOne(pattern string, c byte) int {
	if pattern == "" {
		return 0
	}
	switch pattern[0] {
	case '?':
		return 1
	case '[':
		if n, match, ok := envBracket(pattern, c); ok {
			if match {
				return n
			}
			return 0
		}
	case '\\':
		if len(pattern) > 1 {
			if pattern[1] == c {
				return 2
			}
			return 0
		}
	}
	if pattern[0] == c {
		return 1
	}
	return 0
}

// envBracket matches a bracket expression; ok is false when it is not closed
// and the bracket stands for itself.
func envBracket(pattern string, c byte) (n int, match, ok bool) {
	i := 1
	negate := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negate {
		i++
	}
	for first := i; i < len(pattern); i++ {
		if pattern[i] == ']' && i > first {
			return i + 1, match != negate, true
		}
		low := pattern[i]
		high := low
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			high = pattern[i+2]
			i += 2
		}
		match = match || c >= low && c <= high
	}
	return 0, false, false
}
