package lab

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// systemd plays the service manager of one node: it knows the units and the
// processes and keeps the files the stand-ins read in step with them.
type systemd struct {
	n         *node
	mu        sync.Mutex
	units     map[string]*unit
	processes []Process
	nextPID   int
	starts    int                 // invocations so far, for InvocationID
	published map[string]string   // what the state directory holds, by name
	tagged    map[string][]string // lines of logger, by tag
	past      map[string][]string // journals of units that were unloaded, by name
	finished  []*job              // and nobody told yet
}

// unit is what systemd holds of one unit in memory.
type unit struct {
	name, description string
	typ, restart      string
	restartAfter      time.Duration
	fragment          string
	dropIns           []string
	environment       []string
	envFiles          []string
	execStart         string // as written, unexpanded
	fileState         string
	needReload        bool
	skipped           bool // a condition kept the last start from happening
	loadError         string

	load, active, sub, result string
	mainPID, lastPID          int
	controlPID                int    // of ExecStartPre=
	health                    string // what healthz answers, "" when nothing listens
	restarts                  int
	code, status              int // ExecMainCode and ExecMainStatus
	started                   time.Time
	invocation                string
	journal                   []string
	snapshot                  map[string]string    // unit files as loaded, by path
	loaded                    map[string]time.Time // and when they had been written

	turn      int  // acts so far; what is due of an earlier one is void
	pending   *job // a start whose ExecStartPre= still run
	limit     startLimit
	flush     bool // the next start begins NRestarts anew
	bySession bool // a crash loop that goes round with every session
	transient *transient
}

// newSystemd is the node as it is when the fleet starts.
func newSystemd(n *node, start layout) *systemd {
	s := &systemd{n: n, units: map[string]*unit{}, tagged: map[string][]string{}, past: map[string][]string{}, nextPID: 50000}
	h := fnv.New32a()
	h.Write([]byte(n.spec.Name))
	pid := 1200 + int(h.Sum32()%2000)
	s.processes = append(usual(), start.processes...)
	s.processes = append(s.processes, n.spec.Processes...)
	for i := range s.processes {
		if s.processes[i].Started.IsZero() {
			s.processes[i].Started = n.fleet.now.Add(-ageKubelet)
		}
	}
	s.units["containerd.service"] = s.simpleUnit("containerd.service", "containerd container runtime", "/usr/lib/systemd/system/containerd.service", 611)
	if n.spec.Shape == ShapeK3s {
		u := s.simpleUnit("k3s-agent.service", "Lightweight Kubernetes", "/etc/systemd/system/k3s-agent.service", 977)
		u.typ = "notify"
		s.units[u.name] = u
	}
	if start.exe != "" {
		s.units[unitName] = s.kubeletUnit(start, pid)
	}
	return s
}

func (s *systemd) simpleUnit(name, description, fragment string, pid int) *unit {
	u := &unit{name: name, description: description, typ: "simple", restart: "always", restartAfter: 5 * time.Second, fragment: fragment,
		fileState: "enabled", load: "loaded", active: "active", sub: "running", result: "success",
		mainPID: pid, lastPID: pid, started: s.n.fleet.now.Add(-ageKubelet), limit: startLimit{interval: 10 * time.Second, burst: 5}}
	u.invocation = s.newInvocation()
	return u
}

// kubeletUnit is the kubelet's unit and, unless it is down, its process.
func (s *systemd) kubeletUnit(start layout, pid int) *unit {
	u := s.simpleUnit(unitName, "Kubelet", unitPath, pid)
	u.envFiles, u.environment = start.envFiles, start.environment
	s.loadFiles(u, false)
	argv := append([]string{start.exe}, start.args...)
	p := Process{PID: pid, PPID: 1, Argv: argv, Exe: start.exe, Cwd: start.cwd, Comm: "kubelet",
		Env: append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "INVOCATION_ID=" + u.invocation}, start.env...), Started: u.started}
	switch s.n.spec.State {
	case StateStopped:
		u.active, u.sub, u.mainPID, u.code = "inactive", "dead", 0, 1
	case StateMasked:
		u.load, u.fileState, u.active, u.sub, u.mainPID = "masked", "masked", "inactive", "dead", 0
		u.loadError = `org.freedesktop.systemd1.UnitMasked "Unit kubelet.service is masked."`
		u.dropIns = nil
	case StateCrashLoop:
		u.crash("exit-code")
		u.restarts, u.bySession = 411, true
		u.log(s.n.spec.Name, u.started, "kubelet", reasonOf(s.n.spec.Set))
	case StateTwo:
		second := p
		second.PID, second.Argv, second.Exe = pid+77, []string{"/usr/local/bin/kubelet", "--config=/var/lib/kubelet/config.yaml"}, "/usr/local/bin/kubelet"
		second.Cgroup = "user.slice/user-0.slice/session-9.scope"
		s.processes = append(s.processes, p, second)
	case StateReplaced:
		p.Exe += " (deleted)"
		s.processes = append(s.processes, p)
	default:
		s.processes = append(s.processes, p)
	}
	if u.mainPID != 0 {
		u.health = healthOK
		u.log(s.n.spec.Name, u.started, "systemd", "Started kubelet.service - Kubelet.")
	}
	return u
}

// crash puts a unit between two attempts to start.
func (u *unit) crash(result string) {
	u.active, u.sub, u.result = "activating", "auto-restart", result
	u.mainPID, u.code, u.status, u.health = 0, 1, 1, ""
}

// reasonOf is the last line a kubelet logs that cannot start with these layers.
func reasonOf(l Layers) string {
	if len(l.Flags) > 0 {
		return fmt.Sprintf(`E1122 03:00:00.000000    4242 run.go:72] "command failed" err="failed to parse kubelet flag: unknown flag: %s"`, l.Flags[len(l.Flags)-1])
	}
	return `E1122 03:00:00.000000    4242 run.go:72] "command failed" err="failed to run Kubelet: running with swap on is not supported"`
}

func (u *unit) log(host string, at time.Time, ident, message string) {
	pid := u.lastPID
	if ident == "systemd" {
		pid = 1
	}
	u.journal = append(u.journal, journalLine(host, at, ident, pid, message))
}

func journalLine(host string, at time.Time, ident string, pid int, message string) string {
	return fmt.Sprintf("%s %s %s[%d]: %s", at.UTC().Format("Jan 02 15:04:05"), host, ident, pid, message)
}

// log adds a line of now to the unit's journal.
func (s *systemd) log(u *unit, ident, message string) {
	u.log(s.n.spec.Name, time.Now(), ident, message)
}

func (s *systemd) newInvocation() string {
	s.starts++
	return hex.EncodeToString(s.n.digest(fmt.Sprintf("invocation-%d", s.starts))[:16])
}

// unitDirs are the directories of system units, strongest first (systemd.unit(5)).
func unitDirs() []string {
	return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"}
}

// loadFiles reads the unit's files as a daemon-reload would. Files written
// later than the kubelet's start are left out unless all is set: systemd has
// not seen them.
func (s *systemd) loadFiles(u *unit, all bool) {
	u.snapshot, u.loaded, u.dropIns, u.needReload = map[string]string{}, map[string]time.Time{}, nil, false
	late := s.n.late()
	seen := map[string]bool{}
	u.fragment = ""
	for _, dir := range unitDirs() {
		if p := dir + "/" + u.name; u.fragment == "" && s.take(u, p, all, late) {
			u.fragment = p
		}
		names, _ := filepath.Glob(s.n.host(dir+"/"+u.name+".d") + "/*.conf")
		for _, name := range names {
			base := filepath.Base(name)
			if p := dir + "/" + u.name + ".d/" + base; !seen[base] && s.take(u, p, all, late) {
				seen[base] = true
				u.dropIns = append(u.dropIns, p)
			}
		}
	}
	slices.SortFunc(u.dropIns, func(a, b string) int { return cmp.Compare(path.Base(a), path.Base(b)) })
	u.execStart = lastExecStart(u)
	u.loadService()
}

// take reads one unit file into the snapshot; false when it is absent, or
// newer than what systemd has loaded.
func (s *systemd) take(u *unit, p string, all bool, late map[string]string) bool {
	before, isLate := late[p]
	if isLate && !all {
		u.needReload = true
		if before == "" {
			return false
		}
		u.snapshot[p], u.loaded[p] = before, time.Time{}
		return true
	}
	data, err := os.ReadFile(s.n.host(p))
	if err != nil {
		return false
	}
	u.snapshot[p], u.loaded[p] = string(data), s.n.writtenAt(p)
	return true
}

// late are the files edited since the kubelet's start, with the text they had
// then, "" for those that did not exist.
func (n *node) late() map[string]string {
	out := map[string]string{}
	if n.spec.Later != nil {
		before, after := layoutOf(n.spec, n.spec.Set), layoutOf(n.spec, *n.spec.Later)
		for p, data := range after.files {
			if before.files[p] != data {
				out[p] = before.files[p]
			}
		}
	}
	for _, f := range n.spec.Files {
		if f.Later {
			out[f.Path] = layoutOf(n.spec, n.spec.Set).files[f.Path]
		}
	}
	return out
}

// lastExecStart is the command of the last ExecStart= of the loaded files, on
// one line and without quotes, as systemctl show has it.
func lastExecStart(u *unit) string {
	command := ""
	for _, p := range append([]string{u.fragment}, u.dropIns...) {
		text := strings.ReplaceAll(u.snapshot[p], "\\\n", " ")
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "ExecStart="); ok {
				command = strings.Join(strings.Fields(strings.ReplaceAll(rest, `"`, "")), " ")
			}
		}
	}
	return command
}

// publish writes everything the stand-ins read. The caller holds s.mu or is
// alone.
func (s *systemd) publish() error {
	defer s.tell()
	if s.published == nil {
		s.published = map[string]string{}
		if err := s.n.linkShared(); err != nil {
			return err
		}
	}
	for _, p := range s.processes {
		dir := s.n.host("/proc")
		if _, err := os.Lstat(fmt.Sprintf("%s/%d", dir, p.PID)); p.PSOnly || err == nil {
			continue
		}
		if err := writeProc(dir, p, s.n.fleet.booted()); err != nil {
			return err
		}
	}
	if err := s.publishTable(); err != nil {
		return err
	}
	for _, u := range s.units {
		if err := s.publishUnit(u); err != nil {
			return err
		}
	}
	for tag, journal := range s.tagged {
		if err := s.putJournal("journal/@"+tag, journal); err != nil {
			return err
		}
	}
	return s.put("healthz", s.healthz()+"\n")
}

func (s *systemd) publishTable() error {
	list := slices.Clone(s.processes)
	for _, p := range passing() {
		p.Started = s.n.fleet.now
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
	return s.put("ps", psTable(s.n.fleet.now, list))
}

func (s *systemd) publishUnit(u *unit) error {
	base := "units/" + u.name
	files := map[string]string{
		base + ".show":   u.show(s.n.fleet.booted()),
		base + ".status": u.statusText(),
		base + ".files":  lines(append([]string{u.fragment}, u.dropIns...)),
	}
	for name, data := range files {
		if err := s.put(name, data); err != nil {
			return err
		}
	}
	return s.publishJournal(u)
}

func (s *systemd) publishJournal(u *unit) error {
	if len(u.journal) == 0 {
		return nil
	}
	return s.putJournal("journal/"+u.name, u.journal)
}

func (s *systemd) putJournal(name string, journal []string) error {
	cat := make([]string, len(journal))
	for i, line := range journal {
		_, cat[i], _ = strings.Cut(line, "]: ")
	}
	if err := s.put(name+".short", lines(journal)); err != nil {
		return err
	}
	return s.put(name+".cat", lines(cat))
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}

// put writes a file of the state directory if its text is new, in one step for
// those who read it meanwhile.
func (s *systemd) put(name, data string) error {
	before, had := s.published[name]
	if had && before == data {
		return nil
	}
	s.published[name] = data
	file := s.n.stateDir() + "/" + name
	if !had {
		return os.WriteFile(file, []byte(data), 0o644)
	}
	if err := os.WriteFile(file+".new", []byte(data), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// touch is what passes while nobody looks: files may have been edited, and the
// crash loop a node was specified with goes round once more with every session,
// so that what is seen does not depend on the clock.
func (s *systemd) touch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[unitName]
	if u == nil {
		return nil
	}
	if stale := s.stale(u); u.sub == "auto-restart" && u.bySession {
		u.restarts++
		s.log(u, "systemd", fmt.Sprintf("kubelet.service: Scheduled restart job, restart counter is at %d.", u.restarts))
		if last := u.lastFailure(); last != "" {
			u.journal = append(u.journal, last)
		}
	} else if stale == u.needReload {
		return nil
	} else {
		u.needReload = stale
	}
	return s.publishUnit(u)
}

// lastFailure is the last line the kubelet itself wrote.
func (u *unit) lastFailure() string {
	for _, line := range slices.Backward(u.journal) {
		if strings.Contains(line, "command failed") {
			return line
		}
	}
	return ""
}
