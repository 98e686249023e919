package lab

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// transient is what systemd-run was told of a unit, and its process.
type transient struct {
	argv, env   []string
	onFailure   bool // Restart=on-failure
	always      bool // Restart=always
	mainOnly    bool // KillMode=process
	collect     bool
	stopTimeout time.Duration
	success     []string // SuccessExitStatus=
	prevent     []string // RestartPreventExitStatus=
	stopping    bool     // somebody asked for the end
	stopped     *job     // who waits for it
}

// runDetached starts a command as a transient unit: a child of the simulator,
// without a terminal, its output in the journal. The words are settings
// (NAME=VALUE as of systemd-run's -p, and "collect", "setenv" and
// "description"), then "--" and the command.
func (s *systemd) runDetached(name string, words []string) answer {
	if u := s.units[name]; u != nil {
		return refuse(1, "Failed to start transient service unit: Unit %s was already loaded or has a fragment file.", name)
	}
	i := slices.Index(words, "--")
	if i < 0 || i+1 == len(words) {
		return refuse(64, "lab: systemd-run %q is not simulated", words)
	}
	program, err := s.n.lookPath(words[i+1])
	if err != nil {
		return refuse(1, "Failed to find executable %s: No such file or directory", words[i+1])
	}
	u := s.simpleUnit(name, strings.Join(words[i+1:], " "), "/run/systemd/transient/"+name, 0)
	u.restart, u.fileState, u.restartAfter = "no", "transient", 100*time.Millisecond
	u.transient = &transient{argv: append([]string{program}, words[i+2:]...), stopTimeout: 90 * time.Second}
	for _, w := range words[:i] {
		name, value, _ := strings.Cut(w, "=")
		if message := u.assign(name, value); message != "" {
			return refuse(1, "%s", message)
		}
	}
	u.execStart, u.journal = strings.Join(words[i+1:], " "), s.past[name]
	if err := s.launch(u); err != nil {
		return refuse(1, "Failed to start transient service unit: %v", err)
	}
	s.units[name] = u
	return answer{}
}

// assign takes one setting of systemd-run; what it returns is a complaint.
// Settings that mean nothing to a simulated node are taken and do nothing.
func (u *unit) assign(name, value string) (complaint string) {
	t := u.transient
	var err error
	switch name {
	case "collect":
		t.collect = true
	case "CollectMode":
		t.collect = value == "inactive-or-failed"
	case "description", "Description":
		u.description = value
	case "setenv", "Environment":
		t.env = append(t.env, value)
	case "Restart":
		u.restart, t.onFailure, t.always = value, value == "on-failure", value == "always"
		if !slices.Contains([]string{"no", "on-failure", "always"}, value) {
			return "lab: systemd-run -p Restart=" + value + " is not simulated"
		}
	case "RestartSec":
		u.restartAfter, err = timeSpan(value)
	case "TimeoutStopSec":
		t.stopTimeout, err = timeSpan(value)
	case "KillMode":
		t.mainOnly = value == "process"
	case "StartLimitIntervalSec", "StartLimitInterval":
		u.limit.interval, err = timeSpan(value)
	case "StartLimitBurst":
		u.limit.burst, err = strconv.Atoi(value)
	case "SuccessExitStatus":
		t.success = strings.Fields(value)
	case "RestartPreventExitStatus":
		t.prevent = strings.Fields(value)
	case "Type", "SyslogIdentifier", "StandardInput", "StandardOutput", "StandardError", "Nice", "IOSchedulingClass", "CPUSchedulingPolicy",
		"OOMScoreAdjust", "OOMPolicy", "UMask", "DefaultDependencies", "Slice", "TimeoutStartSec", "IgnoreSIGPIPE", "SendSIGHUP", "LimitNOFILE", "TasksMax",
		"WorkingDirectory", "RefuseManualStop", "Before", "After", "Conflicts":
	default:
		return "Unknown assignment: " + name + "=" + value
	}
	if err != nil {
		return fmt.Sprintf("Failed to parse %s= value: %s", name, value)
	}
	return ""
}

// launch starts the unit's process.
func (s *systemd) launch(u *unit) error {
	n := s.n
	u.limit.allow(time.Now())
	u.invocation = s.newInvocation()
	cmd := exec.Command(u.transient.argv[0], u.transient.argv[1:]...)
	cmd.Env = slices.Concat(n.environ(n.root()), []string{"LAB_UID=0", "LAB_UNIT=" + u.name, "USER=root", "LOGNAME=root", "INVOCATION_ID=" + u.invocation}, u.transient.env)
	cmd.Dir = n.root()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer w.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if err := n.fleet.launch(cmd, n.modesCount()); err != nil {
		r.Close()
		return err
	}
	pid := cmd.Process.Pid
	u.mainPID, u.lastPID, u.started = pid, pid, time.Now()
	u.active, u.sub, u.result, u.code, u.status = "active", "running", "success", 0, 0
	s.log(u, "systemd", "Started "+u.name+" - "+u.description+".")
	invocation := u.invocation
	recorded := make(chan struct{})
	n.fleet.wg.Go(func() {
		s.record(u, r)
		close(recorded)
	})
	n.fleet.wg.Go(func() {
		cmd.Wait() // the state says more than the error
		n.fleet.forget(pid)
		if !u.transient.mainOnly {
			s.endRest(invocation, u.transient.stopTimeout)
			<-recorded // nobody is left who could print
		}
		s.ended(u, cmd.ProcessState)
	})
	return nil
}

// record puts what a unit prints into the journal, line by line.
func (s *systemd) record(u *unit, from *os.File) {
	defer from.Close()
	for lines := bufio.NewScanner(from); lines.Scan(); {
		s.mu.Lock()
		s.log(u, filepath.Base(u.transient.argv[0]), lines.Text())
		s.publish() // the fleet may be closing; nobody is left to tell
		s.mu.Unlock()
	}
}

// endRest ends what is left of a unit's control group when its main process has
// gone, as systemd does before it lets the unit end or start again.
func (s *systemd) endRest(invocation string, within time.Duration) {
	const step = 10 * time.Millisecond
	for waited := time.Duration(0); s.signal(invocation, syscall.SIGTERM) > 0 && waited < within; waited += step {
		if !s.n.after(step) {
			return
		}
	}
	s.signal(invocation, syscall.SIGKILL)
}

// signal signals the processes of one invocation of a unit of this node: nodes
// of one name in two fleets count their invocations alike.
func (s *systemd) signal(invocation string, sig syscall.Signal) int {
	return signalMarked(sig, "INVOCATION_ID="+invocation, "LAB_ROOT="+s.n.root())
}

// ended is the end of a transient unit's process, and what systemd makes of it.
func (s *systemd) ended(u *unit, state *os.ProcessState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.publish() // the fleet may be closing; nobody is left to tell
	t := u.transient
	clean := u.exited(state)
	u.mainPID, u.active, u.sub = 0, "inactive", "dead"
	switch {
	case t.stopping:
		u.result = "success"
	case u.status != 0 && slices.Contains(t.prevent, strconv.Itoa(u.status)):
		u.fail(clean)
	case t.always || (t.onFailure && !clean):
		u.active, u.sub = "activating", "auto-restart"
		s.later(u, u.restartAfter, func() { s.again(u) })
		return
	default:
		u.fail(clean)
	}
	s.finish(t.stopped, answer{})
	t.stopped = nil
	if u.active == "inactive" || t.collect {
		s.unload(u)
	}
}

func (u *unit) fail(clean bool) {
	if !clean {
		u.active, u.sub = "failed", "failed"
	}
}

// exited takes over how a process ended; true when systemd calls that clean
// (systemd.service(5), SuccessExitStatus=).
func (u *unit) exited(state *os.ProcessState) (clean bool) {
	ws, _ := state.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		u.code, u.status, u.result = 2, int(ws.Signal()), "signal"
		clean = slices.Contains([]syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE}, ws.Signal())
	} else {
		u.code, u.status, u.result = 1, state.ExitCode(), "exit-code"
		clean = u.status == 0 || slices.Contains(u.transient.success, strconv.Itoa(u.status))
	}
	if clean {
		u.result = "success"
	}
	return clean
}

// again is the automatic restart of a transient unit.
func (s *systemd) again(u *unit) {
	u.restarts++
	s.log(u, "systemd", fmt.Sprintf("%s: Scheduled restart job, restart counter is at %d.", u.name, u.restarts))
	probe := u.limit // launch counts the start
	if !probe.allow(time.Now()) {
		s.tooOften(u)
		if u.transient.collect {
			s.unload(u)
		}
		return
	}
	if err := s.launch(u); err != nil {
		u.active, u.sub, u.result = "failed", "failed", "resources"
	}
}

// unload forgets a unit that has ended. Its journal stays, and a later unit of
// the name goes on with it.
func (s *systemd) unload(u *unit) {
	s.supersede(u)
	delete(s.units, u.name)
	s.past[u.name] = u.journal
	for _, suffix := range []string{".show", ".status", ".files"} {
		name := "units/" + u.name + suffix
		delete(s.published, name)
		os.Remove(s.n.stateDir() + "/" + name)
	}
	s.publishJournal(u) // the fleet may be closing; nobody is left to tell
}

// transientVerb is systemctl for a transient unit.
func (s *systemd) transientVerb(u *unit, verb string, args []string) (answer, *job) {
	switch {
	case verb == "stop":
		return s.stopTransient(u)
	case verb == "kill" && len(args) == 2:
		sig, err := strconv.Atoi(args[0])
		if err != nil {
			return refuse(1, "Failed to parse signal string %s.", args[0]), nil
		}
		if args[1] == "main" && u.mainPID != 0 {
			syscall.Kill(u.mainPID, syscall.Signal(sig))
		} else if args[1] == "all" {
			s.signal(u.invocation, syscall.Signal(sig))
		}
		return answer{}, nil
	}
	return refuse(64, "lab: systemctl %s %s is not simulated", verb, u.name), nil
}

// stopTransient asks the unit's processes to end, and after TimeoutStopSec makes
// them.
func (s *systemd) stopTransient(u *unit) (answer, *job) {
	s.supersede(u)
	if u.mainPID == 0 {
		s.unload(u)
		return answer{}, nil
	}
	t, pid := u.transient, u.mainPID
	t.stopping = true
	u.active, u.sub = "deactivating", "stop-sigterm"
	if t.stopped == nil {
		t.stopped = &job{done: make(chan struct{})}
	}
	if t.mainOnly {
		syscall.Kill(pid, syscall.SIGTERM)
	} else {
		s.signal(u.invocation, syscall.SIGTERM)
	}
	s.later(u, t.stopTimeout, func() {
		if u.mainPID == pid {
			u.sub = "stop-sigkill"
			s.signal(u.invocation, syscall.SIGKILL)
		}
	})
	return answer{}, t.stopped
}

// lookPath finds a program as a session of the node would. The shell of the
// node is the one the fleet was given.
func (n *node) lookPath(name string) (string, error) {
	if name == "/bin/sh" || name == "/usr/bin/sh" || name == "sh" {
		return n.fleet.opts.Shell, nil
	}
	if strings.Contains(name, "/") {
		_, err := exec.LookPath(name)
		return name, err
	}
	for _, dir := range []string{"bin", "sudo", "tools"} {
		p := filepath.Join(n.fleet.opts.Dir, dir, name)
		if _, err := exec.LookPath(p); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("find %s: not on the simulated node", name)
}
