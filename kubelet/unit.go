package kubelet

import (
	"path"
	"slices"
	"strings"
)

// unitSuffix is the type this file knows.
const unitSuffix = ".service"

// unitWarningsMax bounds Unit.Warnings.
const unitWarningsMax = 64

// unitSearchPath lists the unit directories of the system manager, strongest
// first (systemd.unit(5), src/basic/path-lookup.c). /lib comes before /usr/lib
// because the two differ only where /usr is split, and there systemd is built
// with /lib as its own directory.
func unitSearchPath() []string {
	return []string{
		"/etc/systemd/system.control",
		"/run/systemd/system.control",
		"/run/systemd/transient",
		"/run/systemd/generator.early",
		"/etc/systemd/system",
		"/etc/systemd/system.attached",
		"/run/systemd/system",
		"/run/systemd/system.attached",
		"/run/systemd/generator",
		"/usr/local/lib/systemd/system",
		"/lib/systemd/system",
		"/usr/lib/systemd/system",
		"/run/systemd/generator.late",
	}
}

// Manager is what a unit's meaning depends on beside the files on disk: the
// running system manager. The zero value is a recent systemd of which nothing
// else is known.
type Manager struct {
	// Version is systemd's version, 252, or 0 when unknown. Below 254 a comment
	// in an environment file goes on after a backslash at the end of its line.
	Version int
	// Specifiers holds values only the node knows, by letter: 'H' for the host
	// name, 'm' for the machine id, ... Nil is fine.
	Specifiers map[byte]string
	// Environment holds "NAME=value" entries as `systemctl show-environment`
	// prints them, the weakest layer of a service's environment. Nil is fine.
	Environment []string

	// Kubelet is the version of the kubelet that the unit starts, "" when
	// unknown, and Accepted holds arguments that a running kubelet of it lives
	// with although the table of flags may not know them. Both serve EditArgs,
	// which looks further than systemd.
	Kubelet  string
	Accepted []string
}

// Unit is a service unit as systemd would load it from disk after a
// daemon-reload: the fragment and its drop-ins merged (systemd.unit(5)).
type Unit struct {
	Name     string   // as asked for, with its suffix
	ID       string   // the name it is known by, another one for an alias
	Fragment string   // path of the unit file, "" when there is none
	DropIns  []string // in the order they are read; a later one wins
	Masked   bool

	Type             string // as systemd would settle it: "simple" when unset
	User             string // "" means root
	WorkingDirectory string // "" when unset, "~" for the user's home
	RootDirectory    string // RootDirectory= or RootImage=, "" when unset
	// Conditions are the ConditionXxx= settings in force. When they do not hold
	// the start is skipped, and systemctl calls that success.
	Conditions []Condition
	// Asserts are the AssertXxx= settings in force. When one does not hold the
	// start fails.
	Asserts []Condition

	Fatal    *Fatal   // systemd would refuse the unit
	Blocked  *Fatal   // a file the answer needs could not be read
	Need     []string // paths that were not looked at; one that ends in / is wanted as a listing
	Warnings []string // one line each, what systemd would log and ignore

	manager  Manager
	exec     []execCommand // ExecStart=
	execAt   Source        // the last ExecStart= that was read, good or bad
	execStop []execCommand // ExecStop=
	restart  string
	busName  bool
	remain   bool // RemainAfterExit=
	success  bool // SuccessAction= other than none
	cwdMaybe bool // WorkingDirectory=-, a missing directory is fine
	cwdAt    Source
	rootAt   Source
	env      []unitText // Environment= assignments, NAME=value, in order
	envFiles []envFileRef
	passEnv  []string // PassEnvironment=
	unsetEnv []string // UnsetEnvironment=, names and assignments
}

// Condition is one ConditionXxx= or AssertXxx= setting.
type Condition struct {
	Name   string // "ConditionPathExists"
	Value  string // as written, with | and ! in front
	Source Source
}

// UnitPaths lists what LoadUnit wants to see for a unit of this name: files,
// the places of the fragment, and dirs, those of drop-ins. Directories are
// wanted as listings, and so is the content of each *.conf in them.
func UnitPaths(name string) (files, dirs []string) {
	name = unitFullName(name)
	for _, n := range unitNames(name) {
		for _, dir := range unitSearchPath() {
			files = append(files, dir+"/"+n)
		}
	}
	return files, unitDropInDirs(name)
}

// LoadUnit reads the unit as a systemd of unknown version would.
func LoadUnit(name string, d Disk) Unit { return Manager{}.LoadUnit(name, d) }

// LoadUnit reads a service unit from disk the way this manager would after a
// daemon-reload. Need, Blocked and Fatal tell when it could not.
func (m Manager) LoadUnit(name string, d Disk) Unit {
	name = unitFullName(name)
	u := Unit{Name: name, ID: name, manager: m}
	if !unitNameValid(name) {
		u.Fatal = &Fatal{Message: "Unit name " + unitShow(name) + " is not valid."}
		return u
	}
	l := unitLoader{u: &u, d: d}
	if l.fragment() && !u.Masked {
		l.dropIns()
	}
	if len(u.Need) > 0 {
		u.Need = unitSorted(u.Need)
		u.Fatal, u.Blocked = nil, nil
	}
	if u.Fatal == nil && u.Blocked == nil && len(u.Need) == 0 {
		u.settleType()
		u.Fatal = u.verify()
	}
	return u
}

// warn adds a warning once, and none beyond the bound.
func (u *Unit) warn(message string) {
	if len(u.Warnings) < unitWarningsMax && !slices.Contains(u.Warnings, message) {
		u.Warnings = append(u.Warnings, message)
	}
}

func (u *Unit) warnAt(s Source, message string) {
	u.warn(unitMessageAt(s, message))
}

func (u *Unit) need(path string) { u.Need = append(u.Need, path) }

// unitLoader fills a Unit from a Disk.
type unitLoader struct {
	u *Unit
	d Disk
}

// fragment finds and reads the unit file.
func (l unitLoader) fragment() bool {
	p, found := l.find(l.u.Name)
	if len(l.u.Need) > 0 {
		return false
	}
	if !found {
		l.u.Fatal = &Fatal{Message: "Unit " + l.u.Name + " not found."}
		return false
	}
	l.u.Fragment = p
	f := l.d.Files[p]
	if masked, ok := l.readable(f); masked || !ok {
		l.u.Masked = masked
		return ok
	}
	if err := l.apply(p, f.Data); err != nil {
		l.u.Fatal = &Fatal{
			Message: "Unit " + l.u.Name + " has a bad unit file setting: " + err.message,
			Source:  err.source,
		}
		return false
	}
	return true
}

// readable sorts out a fragment that has no content to read.
func (l unitLoader) readable(f File) (masked, ok bool) {
	at := Source{Kind: SourceFlag, Path: f.Path}
	switch {
	case unitIsNull(f) || f.State == StatePresent && len(f.Data) == 0:
		l.u.Fatal = &Fatal{Message: "Unit " + l.u.Name + " is masked.", Source: at}
		return true, true
	case f.State == StatePresent:
		return false, true
	case f.State == StateMissing: // a symlink that leads nowhere
		l.u.Fatal = &Fatal{Message: "Unit " + l.u.Name + " not found.", Source: at}
	case f.irregular():
		l.u.Fatal = &Fatal{Message: "Unit " + l.u.Name + " failed to load properly: Is a directory", Source: at}
	default:
		l.u.Blocked = unitBlocked(f)
	}
	return false, false
}

// find finds the file of a unit under its own name, else under its template's,
// and settles the name the unit is known by (src/basic/unit-file.c,
// unit_file_find_fragment).
func (l unitLoader) find(name string) (p string, found bool) {
	for _, n := range unitNames(name) {
		if p, found = l.resolve(n); found {
			l.u.ID = unitInstantiate(path.Base(p), unitInstance(name))
			return p, true
		}
		if len(l.u.Need) > 0 {
			break
		}
	}
	return "", false
}

// resolve follows aliases to a file, as unit_ids_map_get() of the same file
// does: a few at most, and from an instance to its template.
func (l unitLoader) resolve(id string) (p string, found bool) {
	const followMax = 8
	next, found := l.lookup(id)
	for range followMax {
		if !found || path.IsAbs(next) {
			return next, found
		}
		for _, n := range unitNames(next) {
			if p, found = l.lookup(n); found {
				break
			}
		}
		next = p
	}
	return "", false
}

// lookup finds the strongest entry of a name: the absolute path of a file, or
// the name it is an alias of.
func (l unitLoader) lookup(name string) (entry string, found bool) {
	for _, dir := range unitSearchPath() {
		p := dir + "/" + name
		f, looked := l.d.Files[p]
		switch {
		case !looked:
			l.u.need(p)
			continue
		case f.Target != "":
			if alias, kind := unitLink(dir, name, f.Target); kind == unitAlias {
				return alias, true
			} else if kind == unitLinked {
				return p, true
			}
		case f.State != StateMissing && !f.irregular():
			return p, true
		}
	}
	return "", false
}

type unitLinkKind int

const (
	unitRejected unitLinkKind = iota // systemd ignores the symlink
	unitLinked                       // a unit file or mask outside of the search path
	unitAlias                        // another unit's name
)

// unitLink tells what a symlink in a unit directory is: an alias when it leads
// to another unit in the search path, a linked unit file when it leads
// elsewhere (src/basic/unit-file.c, unit_file_resolve_symlink). A link to the
// same name in another unit directory is ignored.
func unitLink(dir, name, target string) (alias string, kind unitLinkKind) {
	if !path.IsAbs(target) {
		target = dir + "/" + target
	}
	target = path.Clean(target)
	if !slices.ContainsFunc(unitSearchPath(), func(p string) bool { return strings.HasPrefix(target, p+"/") }) {
		return "", unitLinked
	}
	alias = path.Base(target)
	if alias == name || !unitNameValid(alias) || !unitMayAlias(name, alias) {
		return "", unitRejected
	}
	return alias, unitAlias
}

// unitMayAlias wants plain names to lead to plain ones, templates to templates,
// instances to the same instance or to a template.
func unitMayAlias(name, alias string) bool {
	if unitIsInstance(name) {
		return strings.Contains(alias, "@") &&
			(unitInstance(alias) == "" || unitInstance(alias) == unitInstance(name))
	}
	return strings.Contains(name, "@") == strings.Contains(alias, "@") && !unitIsInstance(alias)
}

// dropIns reads every drop-in. An error ends one file only, the unit still
// loads (src/core/load-dropin.c).
func (l unitLoader) dropIns() {
	dirs := unitDropInDirs(l.u.ID, l.u.Name)
	for _, p := range l.dropInFiles(dirs) {
		f, looked := l.d.Files[p]
		if !looked {
			l.u.need(p)
			continue
		}
		l.u.DropIns = append(l.u.DropIns, p)
		if unitIsNull(f) || f.State == StateMissing {
			continue
		}
		if f.irregular() {
			l.u.warn(p + ": not a regular file; ignored")
			continue
		}
		if f.State != StatePresent {
			l.u.Blocked = unitBlocked(f)
			continue
		}
		if err := l.apply(p, f.Data); err != nil {
			l.u.warnAt(err.source, err.message+"; systemd ignores the rest of this drop-in")
		}
	}
}

// dropInFiles picks the *.conf files: of each name the one in the strongest
// directory, in the order of the names (src/basic/conf-files.c).
func (l unitLoader) dropInFiles(dirs []string) []string {
	byName := map[string]string{}
	for _, dir := range dirs {
		for _, p := range l.list(dir) {
			name := path.Base(p)
			if _, have := byName[name]; !have && strings.HasSuffix(name, ".conf") && name[0] != '.' {
				byName[name] = p
			}
		}
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = byName[name]
	}
	return names
}

// list is the direct content of a drop-in directory, symlinks to a directory
// followed once.
func (l unitLoader) list(dir string) []string {
	d, looked := l.d.Dirs[dir]
	if !looked {
		l.u.need(dir + "/")
		return nil
	}
	if d.State == StateNotRegular || slices.Contains(d.Entries, dir) {
		return l.listLink(dir)
	}
	if d.State == StateUnreadable {
		l.u.Blocked = &Fatal{Message: dir + " could not be listed", Source: Source{Kind: SourceFlag, Path: dir}}
	}
	return unitChildren(dir, d)
}

func (l unitLoader) listLink(dir string) []string {
	f, looked := l.d.Files[dir]
	if !looked {
		l.u.need(dir)
		return nil
	}
	if f.Target == "" {
		return nil
	}
	target := f.Target
	if !path.IsAbs(target) {
		target = path.Dir(dir) + "/" + target
	}
	target = path.Clean(target)
	d, looked := l.d.Dirs[target]
	if !looked {
		l.u.need(target + "/")
	}
	return unitChildren(target, d)
}

func unitChildren(dir string, d Dir) []string {
	var children []string
	for _, p := range d.Entries {
		if d.State == StatePresent && path.Dir(p) == dir {
			children = append(children, p)
		}
	}
	return children
}

// apply merges one file into the unit.
func (l unitLoader) apply(p string, data []byte) *unitSyntaxError {
	parsed := unitParse(p, data)
	for _, w := range parsed.warnings {
		l.u.warn(w)
	}
	for _, s := range parsed.settings {
		if failure := l.u.set(s); failure != "" {
			return &unitSyntaxError{failure, s.value.source()}
		}
	}
	return parsed.err
}

// unitIsNull tells a mask: a symlink to /dev/null, or that device.
func unitIsNull(f File) bool { return f.Target == "/dev/null" || f.Path == "/dev/null" }

// unitBlocked says why a file that exists could not be used.
func unitBlocked(f File) *Fatal {
	message := f.Path + " could not be read"
	if f.State == StateTooLarge {
		message = f.Path + " is too large to be read"
	}
	if f.irregular() {
		message = f.Path + " is not a regular file"
	}
	return &Fatal{Message: message, Source: Source{Kind: SourceFlag, Path: f.Path}}
}

func unitSorted(paths []string) []string {
	slices.Sort(paths)
	return slices.Compact(paths)
}
