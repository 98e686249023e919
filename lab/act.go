package lab

import (
	"slices"
	"time"
)

// act does what a stand-in asks for. A start that takes its time is waited for
// without the lock, so that the node goes on meanwhile.
func (s *systemd) act(words []string) answer {
	a, j := s.begin(words)
	if j == nil {
		return a
	}
	select {
	case <-j.done:
		return j.answer
	case <-s.n.fleet.stopped.Done():
		return refuse(1, "lab: the fleet is closing")
	}
}

func (s *systemd) begin(words []string) (answer, *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, j := s.request(words)
	if err := s.publish(); err != nil {
		return refuse(64, "lab: publish the state: %v", err), nil
	}
	return a, j
}

func (s *systemd) request(words []string) (answer, *job) {
	switch {
	case len(words) >= 2 && words[0] == "systemctl":
		return s.systemctl(words[1], words[2:])
	case len(words) >= 3 && words[0] == "systemd-run":
		return s.runDetached(words[1], words[2:]), nil
	case len(words) == 4 && words[0] == "logger":
		return s.logger(words[1], words[2], words[3]), nil
	}
	return refuse(64, "lab: the request %q is not simulated", words), nil
}

func (s *systemd) systemctl(verb string, args []string) (answer, *job) {
	if verb == "daemon-reload" {
		for _, u := range s.units {
			if len(u.snapshot) > 0 {
				s.reload(u)
			}
		}
		return answer{}, nil
	}
	if len(args) == 0 || (len(args) > 1 && verb != "kill") {
		return refuse(64, "lab: systemctl %s %q is not simulated", verb, args), nil
	}
	u := s.units[args[0]]
	switch {
	case u == nil && verb == "stop":
		return refuse(5, "Failed to stop %s: Unit %s not loaded.", args[0], args[0]), nil
	case u == nil:
		return refuse(5, "Failed to %s %s: Unit %s not found.", verb, args[0], args[0]), nil
	case verb == "reset-failed":
		return s.resetFailed(u), nil
	case u.transient != nil:
		return s.transientVerb(u, verb, args[1:])
	case u.name != unitName:
		return refuse(64, "lab: systemctl %s %s is not simulated", verb, u.name), nil
	}
	switch verb {
	case "stop":
		return s.stop(u), nil
	case "start":
		if u.active == "active" {
			return answer{}, nil
		}
		return s.start(u, verb)
	case "restart":
		return s.start(u, verb)
	}
	return refuse(64, "lab: systemctl %s is not simulated", verb), nil
}

// reload is a daemon-reload as far as one unit goes.
func (s *systemd) reload(u *unit) {
	s.loadFiles(u, true)
	s.refresh(u)
}

// resetFailed forgets a failure, the number of restarts and the starts that
// count for the start limit (systemd, service_reset_failed and
// unit_reset_failed). A restart that is due stays due.
func (s *systemd) resetFailed(u *unit) answer {
	failed := u.active == "failed"
	if failed {
		u.active, u.sub = "inactive", "dead"
	}
	u.restarts, u.result = 0, "success"
	u.limit.reset()
	if failed && u.transient != nil {
		s.unload(u)
	}
	return answer{}
}

func (s *systemd) stop(u *unit) answer {
	s.supersede(u)
	if err := s.endMain(u); err != nil {
		return refuse(64, "lab: stop the kubelet: %v", err)
	}
	u.active, u.sub, u.result, u.code, u.status = "inactive", "dead", "success", 1, 0
	u.flush = true
	s.log(u, "systemd", "Stopped kubelet.service - Kubelet.")
	return answer{}
}

// endMain ends the unit's process.
func (s *systemd) endMain(u *unit) error {
	if u.mainPID == 0 {
		return nil
	}
	pid := u.mainPID
	u.mainPID, u.controlPID, u.health = 0, 0, ""
	s.processes = slices.DeleteFunc(s.processes, func(p Process) bool { return p.PID == pid })
	return s.n.removeProc(pid)
}

// logger adds a line of a program to the journal, under its own name and to
// the unit it runs in, if any.
func (s *systemd) logger(tag, unit, message string) answer {
	line := journalLine(s.n.spec.Name, time.Now(), tag, 48301, message)
	s.tagged[tag] = append(s.tagged[tag], line)
	if u := s.units[unit]; u != nil {
		u.journal = append(u.journal, line)
	}
	return answer{}
}
