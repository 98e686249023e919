package lab

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// act does what a stand-in asks for.
func (s *systemd) act(words []string) answer {
	switch {
	case len(words) >= 2 && words[0] == "systemctl":
		s.mu.Lock()
		defer s.mu.Unlock()
		a := s.systemctl(words[1], words[2:])
		if err := s.publish(); err != nil {
			return refuse(64, "lab: publish the state: %v", err)
		}
		return a
	case len(words) >= 3 && words[0] == "systemd-run":
		return s.runDetached(words[1], words[2:])
	}
	return refuse(64, "lab: the request %q is not simulated", words)
}

func (s *systemd) systemctl(verb string, args []string) answer {
	if verb == "daemon-reload" {
		for _, u := range s.units {
			if len(u.snapshot) > 0 {
				s.reload(u)
			}
		}
		return answer{}
	}
	if len(args) != 1 {
		return refuse(64, "lab: systemctl %s %q is not simulated", verb, args)
	}
	u := s.units[args[0]]
	if u == nil {
		return refuse(5, "Failed to %s %s: Unit %s not found.", verb, args[0], args[0])
	}
	if verb == "reset-failed" {
		return s.resetFailed(u)
	}
	if u.name != unitName {
		return refuse(64, "lab: systemctl %s %s is not simulated", verb, u.name)
	}
	switch verb {
	case "stop":
		return s.stop(u)
	case "start":
		if u.active == "active" {
			return answer{}
		}
		return s.start(u, verb)
	case "restart":
		return s.start(u, verb)
	}
	return refuse(64, "lab: systemctl %s is not simulated", verb)
}

// reload is a daemon-reload as far as one unit goes.
func (s *systemd) reload(u *unit) {
	s.loadFiles(u, true)
	s.refresh(u)
}

func (s *systemd) resetFailed(u *unit) answer {
	if u.active == "failed" {
		u.active, u.sub = "inactive", "dead"
	}
	u.restarts, u.result = 0, "success"
	return answer{}
}

func (s *systemd) stop(u *unit) answer {
	if err := s.endMain(u); err != nil {
		return refuse(64, "lab: stop the kubelet: %v", err)
	}
	u.active, u.sub, u.result, u.code, u.status = "inactive", "dead", "success", 1, 0
	u.log(s.n.spec.Name, time.Now(), "systemd", "Stopped kubelet.service - Kubelet.")
	return answer{}
}

// endMain ends the unit's process.
func (s *systemd) endMain(u *unit) error {
	if u.mainPID == 0 {
		return nil
	}
	pid := u.mainPID
	u.mainPID = 0
	s.processes = slices.DeleteFunc(s.processes, func(p Process) bool { return p.PID == pid })
	return s.n.removeProc(pid)
}

// start starts the kubelet anew. As with Type=simple it succeeds once there is
// a process, whatever becomes of that.
func (s *systemd) start(u *unit, verb string) answer {
	next := s.nextStart(u)
	switch {
	case u.load == "masked":
		return refuse(1, "Failed to %s %s: Unit %s is masked.", verb, u.name, u.name)
	case next.refused != "":
		return refuse(1, "Failed to %s %s: Unit %s has a bad unit file setting.\nESee system logs and 'systemctl status %s' for details.", verb, u.name, u.name, u.name)
	}
	if err := s.endMain(u); err != nil {
		return refuse(64, "lab: stop the kubelet: %v", err)
	}
	u.started, u.invocation, u.restarts, u.result = time.Now(), s.newInvocation(), 0, "success"
	u.skipped = next.skipped
	if next.skipped {
		u.active, u.sub = "inactive", "dead"
		return answer{}
	}
	s.nextPID += 13
	u.lastPID = s.nextPID
	if next.failed != "" {
		u.crash(0)
		u.result = "resources"
		u.log(s.n.spec.Name, u.started, "systemd", "kubelet.service: "+next.failed)
		return refuse(1, "Job for %s failed because of unavailable resources or another system error.", u.name)
	}
	if next.fatal != "" {
		u.crash(1)
		u.log(s.n.spec.Name, u.started, "kubelet", `E1122 03:00:00.000000    4242 run.go:72] "command failed" err="`+next.fatal+`"`)
		return answer{}
	}
	u.mainPID, u.active, u.sub, u.code, u.status = u.lastPID, "active", "running", 0, 0
	u.log(s.n.spec.Name, u.started, "systemd", "Started kubelet.service - Kubelet.")
	s.processes = append(s.processes, Process{PID: u.mainPID, PPID: 1, Argv: next.argv, Exe: next.argv[0], Cwd: next.cwd, Comm: "kubelet",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "INVOCATION_ID=" + u.invocation}, Started: u.started})
	return answer{}
}

// runDetached starts a command as a transient unit: a child of the simulator,
// without a terminal, its output in the journal.
func (s *systemd) runDetached(name string, argv []string) answer {
	n := s.n
	s.mu.Lock()
	if u := s.units[name]; u != nil && u.active == "active" {
		s.mu.Unlock()
		return refuse(1, "Failed to start transient service unit: Unit %s was already loaded or has a fragment file.", name)
	}
	s.mu.Unlock()
	program, err := n.lookPath(argv[0])
	if err != nil {
		return refuse(1, "Failed to find executable %s: No such file or directory", argv[0])
	}
	cmd := exec.Command(program, argv[1:]...)
	cmd.Env = append(n.environ(n.root()), "LAB_UID=0", "USER=root", "LOGNAME=root")
	cmd.Dir = n.root()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := n.fleet.launch(cmd, false); err != nil {
		return refuse(1, "Failed to start transient service unit: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.simpleUnit(name, strings.Join(argv, " "), "/run/systemd/transient/"+name, cmd.Process.Pid)
	u.restart, u.fileState, u.started = "no", "transient", time.Now()
	s.units[name] = u
	n.fleet.wg.Go(func() {
		cmd.Wait()
		n.fleet.forget(cmd.Process.Pid)
		s.ended(u, cmd.ProcessState.ExitCode(), out.String())
	})
	if err := s.publishUnit(u); err != nil {
		return refuse(64, "lab: publish the state: %v", err)
	}
	return answer{}
}

// lookPath finds a program as a session of the node would.
func (n *node) lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range []string{"bin", "sudo", "tools"} {
		p := filepath.Join(n.fleet.opts.Dir, dir, name)
		if _, err := exec.LookPath(p); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("find %s: not on the simulated node", name)
}

// ended records the end of a transient unit.
func (s *systemd) ended(u *unit, exit int, output string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.mainPID, u.code, u.status = 0, 1, exit
	u.active, u.sub = "inactive", "dead"
	if exit != 0 {
		u.active, u.sub, u.result = "failed", "failed", "exit-code"
	}
	for line := range strings.Lines(output) {
		u.log(s.n.spec.Name, time.Now(), "sh", strings.TrimRight(line, "\n"))
	}
	s.publishUnit(u) // the fleet may be closing; nobody is left to tell
}
