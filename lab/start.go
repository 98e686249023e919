package lab

import (
	"fmt"
	"time"
)

// job is an act that takes time; answer is set before done is closed.
type job struct {
	done   chan struct{}
	answer answer
}

// finish ends a job, if there is one. Who waits for it is told by publish, so
// that what they see then is the state after it.
func (s *systemd) finish(j *job, a answer) {
	if j != nil {
		j.answer = a
		s.finished = append(s.finished, j)
	}
}

// tell ends the waiting for finished jobs.
func (s *systemd) tell() {
	for _, j := range s.finished {
		close(j.done)
	}
	s.finished = nil
}

// supersede makes everything that is due for the unit void: a later act has
// taken its place. Whoever waits for a start is told what systemctl says then.
func (s *systemd) supersede(u *unit) {
	u.turn++
	s.finish(u.pending, refuse(1, "Job for %s canceled.", u.name))
	u.pending = nil
}

// later does something for a unit after a while, unless it was superseded or
// the fleet closes. It is called, and calls, with the lock held.
func (s *systemd) later(u *unit, d time.Duration, do func()) {
	turn := u.turn
	s.n.fleet.wg.Go(func() {
		if !s.n.after(d) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if u.turn != turn {
			return
		}
		do()
		s.publish() // the fleet may be closing; nobody is left to tell
	})
}

// start starts the kubelet anew, as the verb of systemctl or, with "", as
// systemd does by itself after RestartSec. As with Type=simple it succeeds once
// there is a process, whatever becomes of that.
func (s *systemd) start(u *unit, verb string) (answer, *job) {
	next := s.nextStart(u)
	b := s.n.behaviour(next.value)
	switch {
	case u.load == "masked":
		return refuse(1, "Failed to %s %s: Unit %s is masked.", verb, u.name, u.name), nil
	case next.refused != "":
		return refuse(1, "Failed to %s %s: Unit %s has a bad unit file setting.\nESee system logs and 'systemctl status %s' for details.", verb, u.name, u.name, u.name), nil
	case b.Ineffective && u.active == "active":
		return answer{}, nil
	}
	s.supersede(u)
	if err := s.endMain(u); err != nil {
		return refuse(64, "lab: stop the kubelet: %v", err), nil
	}
	if !u.limit.allow(time.Now()) {
		return s.tooOften(u), nil
	}
	u.countStart(verb)
	u.started, u.invocation, u.result = time.Now(), s.newInvocation(), "success"
	u.skipped = next.skipped
	if next.skipped {
		u.active, u.sub = "inactive", "dead"
		return answer{}, nil
	}
	if b.SlowStart > 0 {
		return answer{}, s.prepare(u, b)
	}
	return s.execute(u, b), nil
}

// countStart keeps NRestarts as systemd does: an automatic restart adds one; a
// start by hand begins anew, but not one that takes the place of an automatic
// restart that was due (service.c: flush_n_restarts is set on the way to dead
// only).
func (u *unit) countStart(verb string) {
	switch {
	case verb == "":
		u.restarts++
	case u.active == "active" || u.flush:
		u.restarts = 0
	}
	u.flush, u.bySession = false, false
}

// tooOften is a start that the start limit forbids.
func (s *systemd) tooOften(u *unit) answer {
	u.active, u.sub, u.result, u.flush = "failed", "failed", "start-limit-hit", true
	s.log(u, "systemd", u.name+": Start request repeated too quickly.")
	s.log(u, "systemd", u.name+": Failed with result 'start-limit-hit'.")
	return refuse(1, "Job for %s failed.\nESee \"systemctl status %s\" and \"journalctl -xeu %s\" for details.", u.name, u.name, u.name)
}

// prepare is the time the unit's ExecStartPre= take.
func (s *systemd) prepare(u *unit, b Behaviour) *job {
	s.nextPID += 13
	u.active, u.sub, u.controlPID = "activating", "start-pre", s.nextPID
	j := &job{done: make(chan struct{})}
	u.pending = j
	s.later(u, b.SlowStart, func() {
		u.pending, u.controlPID = nil, 0
		s.finish(j, s.execute(u, b))
	})
	return j
}

// execute runs ExecStart=, with the files as they are by now.
func (s *systemd) execute(u *unit, b Behaviour) answer {
	next := s.nextStart(u)
	s.nextPID += 13
	u.lastPID, u.started = s.nextPID, time.Now()
	if next.failed != "" {
		u.crash("resources")
		s.log(u, "systemd", u.name+": "+next.failed)
		s.autoRestart(u)
		return refuse(1, "Job for %s failed because of unavailable resources or another system error.", u.name)
	}
	s.log(u, "systemd", "Started kubelet.service - Kubelet.")
	if next.fatal != "" {
		s.log(u, "kubelet", `E1122 03:00:00.000000    4242 run.go:72] "command failed" err="`+next.fatal+`"`)
		s.die(u)
		return answer{}
	}
	u.mainPID, u.active, u.sub, u.code, u.status = u.lastPID, "active", "running", 0, 0
	s.processes = append(s.processes, Process{PID: u.mainPID, PPID: 1, Argv: next.argv, Exe: next.argv[0], Cwd: next.cwd, Comm: "kubelet",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "INVOCATION_ID=" + u.invocation}, Started: u.started})
	s.run(u, b)
	return answer{}
}

// run is what becomes of the process: it turns healthy, and it may die.
func (s *systemd) run(u *unit, b Behaviour) {
	healthy := func() { u.health = healthOK }
	switch {
	case b.Unhealthy:
		healthy = func() { u.health = healthBad }
	case b.HealthAfter == Never:
		healthy = func() {}
	}
	if b.HealthAfter <= 0 || b.HealthAfter == Never {
		healthy()
	} else {
		s.later(u, b.HealthAfter, healthy)
	}
	if b.DieAfter > 0 {
		s.later(u, b.DieAfter, func() {
			s.log(u, "kubelet", `E1122 03:00:00.000000    4242 run.go:72] "command failed" err="the simulated kubelet was told to die"`)
			if s.endMain(u) == nil {
				s.die(u)
			}
		})
	}
}

// die is an exit of the kubelet that nobody asked for.
func (s *systemd) die(u *unit) {
	u.crash("exit-code")
	s.log(u, "systemd", u.name+": Main process exited, code=exited, status=1/FAILURE")
	s.log(u, "systemd", u.name+": Failed with result 'exit-code'.")
	s.autoRestart(u)
}

// autoRestart is Restart=always after RestartSec.
func (s *systemd) autoRestart(u *unit) {
	s.later(u, u.restartAfter, func() {
		s.log(u, "systemd", fmt.Sprintf("%s: Scheduled restart job, restart counter is at %d.", u.name, u.restarts+1))
		s.start(u, "")
	})
}

// startLimit is systemd's rate limit of starts (StartLimitIntervalSec=,
// StartLimitBurst=; src/basic/ratelimit.c). A zero interval or burst is no
// limit.
type startLimit struct {
	interval time.Duration
	burst    int
	begin    time.Time
	count    int
}

func (l *startLimit) allow(now time.Time) bool {
	switch {
	case l.interval <= 0 || l.burst <= 0:
		return true
	case l.count == 0 || now.Sub(l.begin) > l.interval:
		l.begin, l.count = now, 1
		return true
	case l.count < l.burst:
		l.count++
		return true
	}
	return false
}

func (l *startLimit) reset() { l.count = 0 }

// behaviour is how the node's kubelet behaves when it starts with this value of
// the setting.
func (n *node) behaviour(value string) Behaviour {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.spec.Kubelet
	if b.Only != "" && b.Only != value {
		return Behaviour{}
	}
	return b
}
