package audit

import (
	"strconv"
	"strings"
	"time"

	"fleet/frame"
	"fleet/kubelet"
)

// Facts is what a probe brought back of one node: what was there, without a
// word about what it means.
type Facts struct {
	UID      int    // the user the probe ran as; 0 is root
	Hostname string // uname -n
	Kernel   string // uname -s -r -m
	BootID   string
	Machine  string // /etc/machine-id, the machineID of the Node object
	Init     string // name of process 1
	Now      time.Time
	// Precise is false when Now has whole seconds only.
	Precise bool
	Booted  time.Time // zero when not known

	Manager   kubelet.Manager      // the running systemd
	Units     map[string]UnitState // what systemd has in memory, by unit name
	ShowError string               // output of a `systemctl show` that failed
	Processes []Process            // in the order of the process table
	Disk      kubelet.Disk
	Owners    map[string]Owner
	Journal   []string // last lines of the unit's journal, when no kubelet runs
	Evidence  []Evidence
	Changes   []Change // fleet's own runs on the node that have not ended
}

// Change is a run of fleet that changes the node, or was left behind.
type Change struct {
	Run     string
	Owner   string // who began it, "" when not known
	State   string // of its journal: "changing", "waiting", ...
	Message string
	Held    bool // a supervisor sees to it; otherwise it was interrupted
}

// Describe says it in one sentence.
func (c Change) Describe() string {
	by := ""
	if c.Owner != "" {
		by = " by " + c.Owner
	}
	if c.Held {
		return "a change is under way: run " + c.Run + by + " (" + c.State + ")"
	}
	return "run " + c.Run + by + " was interrupted while it was " + c.State + "; fleet remediate or fleet rollback ends it"
}

// Owner is whom a file belongs to.
type Owner struct {
	Mode     string // octal, "600"
	User     string
	Links    int  // names of the file on disk, 0 when not known
	ReadOnly bool // root may not write to it
}

// UnitState is the properties of one unit as `systemctl show` names them.
type UnitState map[string]string

// MainPID is the unit's main process, 0 when none runs.
func (u UnitState) MainPID() int { return atoi(u["MainPID"]) }

// Restarts is systemd's count of automatic restarts since the unit was last
// started by hand (systemd 235 and later).
func (u UnitState) Restarts() int { return atoi(u["NRestarts"]) }

// Process is one process that may be a kubelet.
type Process struct {
	PID     int
	Parent  int
	Comm    string
	Exe     string // link text of /proc/PID/exe, "" when it may not be read
	Cwd     string
	PIDNS   string        // link text of /proc/PID/ns/pid, "" when it may not be read
	Argv    []kubelet.Arg // nil when it may not be read
	Started time.Time     // zero when not known
	Unit    string        // systemd unit by its control group, "" when in none
	Version string        // what the executable says of itself, "" when not asked
	Env     map[string]string
}

// factsOf reads a whole answer. Sections it does not know are ignored.
func factsOf(sections []frame.Section) Facts {
	f := Facts{
		Units:  map[string]UnitState{},
		Disk:   kubelet.Disk{Files: map[string]kubelet.File{}, Dirs: map[string]kubelet.Dir{}},
		Owners: map[string]Owner{},
	}
	for _, s := range sections {
		f.add(s)
	}
	for _, s := range sections {
		switch s.Name {
		case "times":
			f.addTimes(s.Body)
		case "supervisor":
			f.addSupervisor(s.Body)
		}
	}
	for _, s := range sections {
		if s.Name == "closed" {
			f.addClosed(s.Body)
		}
	}
	return f
}

func (f *Facts) add(s frame.Section) {
	switch s.Name {
	case "id":
		f.addIdentity(s.Body)
	case "file":
		f.addFile(s)
	case "dir":
		state, dir, _ := strings.Cut(s.Args, " ")
		f.Disk.Dirs[dir] = kubelet.Dir{Path: dir, State: kubelet.FileState(state)}
	case "entries":
		f.addEntries(s.Body)
	case "manager":
		f.addManager(s.Body)
	case "show":
		f.addUnits(s.Body)
	case "journal":
		f.Journal = nonEmptyLines(s.Body)
	case "exhibit":
		exit, command, _ := strings.Cut(s.Args, " ")
		f.Evidence = append(f.Evidence, Evidence{Command: command, Exit: atoi(exit), Stdout: string(s.Body)})
	case "change", "change-owner":
		f.addChange(s)
	case "process", "cmdline", "stat", "cgroup", "version", "environ":
		f.addProcess(s)
	}
}

func (f *Facts) addIdentity(body []byte) {
	kv := keyValues(body, " ")
	f.UID = atoi(kv["uid"])
	if words := strings.Fields(kv["uname"]); len(words) >= 4 {
		f.Hostname = words[1]
		f.Kernel = strings.Join([]string{words[0], words[2], words[3]}, " ")
	}
	f.BootID = kv["/proc/sys/kernel/random/boot_id"]
	f.Machine = kv["/etc/machine-id"]
	f.Init = kv["/proc/1/comm"]
	f.Now, f.Precise = parseNow(kv["now"])
	up, _, _ := strings.Cut(kv["/proc/uptime"], " ")
	if seconds, err := strconv.ParseFloat(up, 64); err == nil && !f.Now.IsZero() && seconds >= 0 && seconds < 1e10 {
		f.Booted = f.Now.Add(-time.Duration(seconds * float64(time.Second)))
	}
}

// parseNow reads `date +%s.%N`; busybox has no %N and leaves the field empty
// or prints the letter.
func parseNow(s string) (now time.Time, precise bool) {
	whole, frac, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, false
	}
	nanos, err := strconv.ParseInt(frac, 10, 64)
	if err != nil || len(frac) != 9 || nanos < 0 {
		return time.Unix(seconds, 0).UTC(), false
	}
	return time.Unix(seconds, nanos).UTC(), true
}

// fileLimit is the probe's own: a body of this length was cut.
const fileLimit = 524288

func (f *Facts) addFile(s frame.Section) {
	state, name, _ := strings.Cut(s.Args, " ")
	link, data, _ := strings.Cut(string(s.Body), "\n")
	file := kubelet.File{Path: name, State: kubelet.FileState(state)}
	if link != "-" {
		file.Target = link
	}
	if file.State == kubelet.StatePresent {
		file.Data = []byte(data)
		if len(data) >= fileLimit {
			file.State = kubelet.StateTooLarge
		}
	}
	f.Disk.Files[name] = file
}

// addEntries files the paths of one find below the directories they were
// found in. The paths begin with "./".
func (f *Facts) addEntries(body []byte) {
	for _, line := range nonEmptyLines(body) {
		entry := strings.TrimPrefix(line, ".")
		for name, dir := range f.Disk.Dirs {
			if strings.HasPrefix(entry, strings.TrimSuffix(name, "/")+"/") {
				dir.Entries = append(dir.Entries, entry)
				f.Disk.Dirs[name] = dir
			}
		}
	}
}

// addManager reads what a unit's meaning depends on beside the files: the
// manager's version and environment, and the values of specifiers.
func (f *Facts) addManager(body []byte) {
	kv := keyValues(body, "=")
	digits, _, _ := strings.Cut(kv["Version"], " ")
	digits, _, _ = strings.Cut(digits, ".")
	digits, _, _ = strings.Cut(digits, "-")
	f.Manager.Version = atoi(digits)
	for word := range strings.FieldsSeq(kv["Environment"]) {
		f.Manager.Environment = append(f.Manager.Environment, unescapeShow(word))
	}
}

// unescapeShow undoes systemctl's escaping of a blank or a line feed inside a
// list's element, \x20 and \x0a.
func unescapeShow(word string) string {
	for i := 0; i+3 < len(word); i++ {
		if word[i] != '\\' || word[i+1] != 'x' {
			continue
		}
		if n, err := strconv.ParseUint(word[i+2:i+4], 16, 8); err == nil {
			word = word[:i] + string([]byte{byte(n)}) + word[i+4:]
		}
	}
	return word
}

// specifiers gives the values of systemd's specifiers that are the host's own
// (systemd.unit(5)).
func (f Facts) specifiers() map[byte]string {
	short, _, _ := strings.Cut(f.Hostname, ".")
	out := map[byte]string{'H': f.Hostname, 'l': short, 'm': f.Machine, 'b': strings.ReplaceAll(f.BootID, "-", "")}
	if words := strings.Fields(f.Kernel); len(words) == 3 {
		out['v'] = words[1]
	}
	for letter, value := range out {
		if value == "" {
			delete(out, letter)
		}
	}
	return out
}

// addUnits reads `systemctl show A B ...`: blocks of properties, a blank line
// between them, in the order of the names.
func (f *Facts) addUnits(body []byte) {
	text, exit, _ := strings.Cut(string(body), "\nexit ")
	for block := range strings.SplitSeq(text, "\n\n") {
		u := UnitState(keyValues([]byte(block), "="))
		if id := u["Id"]; id != "" {
			f.Units[id] = u
		}
	}
	if atoi(strings.TrimSpace(exit)) != 0 || len(f.Units) == 0 {
		f.ShowError = strings.TrimSpace(text)
	}
}

func (f *Facts) addProcess(s frame.Section) {
	pid := atoi(s.Args)
	i := 0
	for i < len(f.Processes) && f.Processes[i].PID != pid {
		i++
	}
	if i == len(f.Processes) {
		if s.Name != "cmdline" && s.Name != "process" {
			return // of a process that could not be seen
		}
		f.Processes = append(f.Processes, Process{PID: pid})
	}
	p := &f.Processes[i]
	switch s.Name {
	case "process":
		kv := keyValues(s.Body, " ")
		p.Comm, p.Exe, p.Cwd, p.PIDNS = kv["comm"], kv["exe"], kv["cwd"], kv["pidns"]
	case "cmdline":
		p.Argv = kubelet.SplitCmdline("/proc/"+strconv.Itoa(pid)+"/cmdline", s.Body)
	case "stat":
		p.Parent, p.Started = parseStat(string(s.Body), f.Booted)
	case "cgroup":
		p.Unit = unitOfCgroup(string(s.Body))
	case "version":
		p.Version = kubeletVersion(string(s.Body))
	case "environ":
		p.Env = keyValues(s.Body, "=")
	}
}

// addChange reads one entry of a run's journal, or who began the run.
func (f *Facts) addChange(s frame.Section) {
	first, rest, _ := strings.Cut(string(s.Body), "\n")
	if s.Name == "change" {
		word, _, _ := strings.Cut(first, " ")
		f.Changes = append(f.Changes, Change{Run: clip(s.Args, 64), State: clip(word, 32), Message: firstLine(rest)})
		return
	}
	if n := len(f.Changes); n > 0 && f.Changes[n-1].Run == s.Args {
		f.Changes[n-1].Owner = clip(strings.TrimSpace(first), 128)
	}
}

// addSupervisor marks the run that a supervisor sees to: its unit is described
// as "fleet run ID by OWNER".
func (f *Facts) addSupervisor(body []byte) {
	kv := keyValues(body, "=")
	words := strings.Fields(kv["Description"])
	if kv["ActiveState"] == "" || kv["ActiveState"] == "inactive" || kv["ActiveState"] == "failed" || len(words) < 3 {
		return
	}
	for i := range f.Changes {
		f.Changes[i].Held = f.Changes[i].Run == words[2]
	}
}

func (f *Facts) addClosed(body []byte) {
	for _, name := range nonEmptyLines(body) {
		owner := f.Owners[name]
		owner.ReadOnly = true
		f.Owners[name] = owner
	}
}

// clockTick is USER_HZ, the unit of starttime in /proc/PID/stat; it is 100 on
// every architecture that Kubernetes runs on.
const clockTick = time.Second / 100

// parseStat reads the parent (field 4) and the start time (field 22) of
// /proc/PID/stat. The second field may hold anything, so fields are counted
// from the last parenthesis (proc(5)).
func parseStat(stat string, booted time.Time) (parent int, started time.Time) {
	_, rest, ok := cutLast(stat, ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, time.Time{}
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil || ticks < 0 || ticks > 1e11 || booted.IsZero() {
		return atoi(fields[1]), time.Time{}
	}
	return atoi(fields[1]), booted.Add(time.Duration(ticks) * clockTick)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

// unitOfCgroup finds the system service in /proc/PID/cgroup: the systemd
// hierarchy of cgroup v1 or the only one of v2. Below slices, the first group
// counts when it is a service; containers and what users run are in none.
func unitOfCgroup(text string) string {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || fields[1] != "" && fields[1] != "name=systemd" {
			continue
		}
		for group := range strings.SplitSeq(strings.Trim(fields[2], "/"), "/") {
			switch {
			case strings.HasSuffix(group, ".slice"):
			case strings.HasSuffix(group, ".service") && !strings.HasPrefix(group, "user@"):
				return group
			default:
				return ""
			}
		}
	}
	return ""
}

// kubeletVersion reads the answer of `kubelet --version`, "Kubernetes v1.34.4".
func kubeletVersion(s string) string {
	for word := range strings.FieldsSeq(s) {
		if len(word) > 1 && word[0] == 'v' && word[1] >= '0' && word[1] <= '9' {
			return clip(word, 64)
		}
	}
	return ""
}

// addTimes reads the lines of `stat -c %y|%z|%a|%U|%s|%h|%n`.
func (f *Facts) addTimes(body []byte) {
	for _, line := range nonEmptyLines(body) {
		fields := strings.SplitN(line, "|", 7)
		if len(fields) != 7 {
			continue
		}
		name := strings.TrimPrefix(fields[6], ".")
		f.Owners[name] = Owner{Mode: fields[2], User: fields[3], Links: atoi(fields[5])}
		if file, ok := f.Disk.Files[name]; ok {
			file.Modified, file.Changed = parseStatTime(fields[0]), parseStatTime(fields[1])
			f.Disk.Files[name] = file
		}
		if dir, ok := f.Disk.Dirs[name]; ok {
			dir.Modified = parseStatTime(fields[0])
			f.Disk.Dirs[name] = dir
		}
	}
}

// parseStatTime reads the human form of stat's times under TZ=UTC0, with the
// zone (coreutils) or without it (busybox).
func parseStatTime(s string) time.Time {
	s = strings.TrimSpace(strings.TrimSuffix(s, " +0000"))
	t, err := time.Parse("2006-01-02 15:04:05.999999999", s)
	if err != nil {
		return time.Time{}
	}
	return t
}

func nonEmptyLines(body []byte) []string {
	var out []string
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// atoi reads a number that was sent by a node; anything else is 0.
func atoi(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return 0
	}
	return n
}
