//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleet/report"
)

// poolPrepared makes the nodes of the pool fail and poisons those of the given
// numbers.
func (o operator) poolPrepared(t *testing.T, poisoned ...int) []struck {
	t.Helper()
	var all []struck
	for i := range poolSize {
		s := newStruck(t, o.patient(t, poolNode(i)))
		if slices.Contains(poisoned, i) {
			s.run(t, poison(s.file))
		}
		all = append(all, s)
	}
	return all
}

// poolRun runs fleet remediate on the pool.
func (o operator) poolRun(t *testing.T, args ...string) ran {
	t.Helper()
	return o.fleetJSON(t, slices.Concat([]string{"remediate", "--method", "auto", "--yes", "--limit", "agentpool=np1", "--pool-limit", "100%"}, fast, args)...)
}

// outcomes are the hosts' outcomes in the order of the inventory.
func (r ran) outcomes() string {
	var all []string
	for _, h := range r.report.Hosts {
		all = append(all, string(h.Change.Outcome))
	}
	return strings.Join(all, " ")
}

// waves changes the pool in waves, of which some do not end well.
func (o operator) waves(t *testing.T) {
	for _, c := range []struct {
		name     string
		poisoned []int
		args     []string
		want     string
		waves    string
		code     int
	}{
		{"all is well", nil, []string{"--batch", "1,3", "--soak", "2s"}, "changed changed changed changed", "1 2 2 2", report.ExitOK},
		{"the pool's limit cuts waves", nil, []string{"--batch", "100%", "--pool-limit", "50%"}, "changed changed changed changed", "1 1 2 2", report.ExitOK},
		{"the second wave is poisoned", []int{1}, []string{"--batch", "1"}, "changed rolled-back not-reached not-reached", "1 2 3 4", report.ExitIncomplete},
		{"the last wave is poisoned", []int{3}, []string{"--batch", "1,3"}, "changed changed changed rolled-back", "1 2 2 2", report.ExitFail},
		{"a failure may be", []int{1}, []string{"--batch", "1", "--max-failures", "2"}, "changed rolled-back changed changed", "1 2 3 4", report.ExitFail},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes := o.poolPrepared(t, c.poisoned...)
			r := o.poolRun(t, c.args...)
			var waves []string
			for _, h := range r.report.Hosts {
				waves = append(waves, fmt.Sprint(h.Change.Wave))
			}
			if r.code != c.code || r.outcomes() != c.want || strings.Join(waves, " ") != c.waves {
				t.Errorf("exit code %d, %s in waves %s; want %d, %s in waves %s\n%s", r.code, r.outcomes(), waves, c.code, c.want, c.waves, r.stderr)
			}
			for i, s := range nodes {
				s.as(t, r.report.Hosts[i].Change.Outcome)
			}
		})
	}
	t.Run("an unreachable host counts", func(t *testing.T) {
		nodes := o.poolPrepared(t)
		nodes[2].run(t, "iptables -I INPUT -p tcp --dport 22 -j REJECT")
		defer nodes[2].run(t, "iptables -D INPUT -p tcp --dport 22 -j REJECT")
		r := o.poolRun(t, "--batch", "1")
		if r.code != report.ExitIncomplete || r.outcomes() != "not-reached not-reached failed-before-change not-reached" {
			t.Errorf("exit code %d, %s\n%s", r.code, r.outcomes(), r.stderr)
		}
		for _, s := range nodes {
			s.as(t, report.OutcomeNotReached)
		}
	})
}

// as demands that the node is what its outcome says.
func (s struck) as(t *testing.T, o report.Outcome) {
	t.Helper()
	text, want := s.old, any(false)
	if o == report.OutcomeChanged {
		text, want = s.new, true
	}
	if live := s.settle(t); live != want || s.read(t, s.file) != text {
		t.Errorf("%s is %s, but the kubelet says %v", s.n.Name, o, live)
	}
}

// undone takes changes of the pool back.
func (o operator) undone(t *testing.T) {
	nodes := o.poolPrepared(t)
	var before []map[string]fileState
	for _, s := range nodes {
		before = append(before, s.files(t))
	}
	r := o.poolRun(t, "--batch", "4")
	if r.code != report.ExitOK {
		t.Fatalf("exit code %d, %s\n%s", r.code, r.outcomes(), r.stderr)
	}
	undo := func() ran {
		return o.fleetJSON(t, slices.Concat([]string{"rollback", "--run", r.report.Run.ID, "--yes", "--limit", "agentpool=np1", "--batch", "4", "--pool-limit", "100%"}, fast)...)
	}
	nodes[3].run(t, "echo >> "+nodes[3].file)
	u := undo()
	if u.code != report.ExitFail || u.outcomes() != "rolled-back rolled-back rolled-back refused" || u.report.Hosts[3].Change.Reason != "changed-since" {
		t.Errorf("exit code %d, %s\n%s", u.code, u.outcomes(), u.stderr)
	}
	for i, s := range nodes[:3] {
		s.as(t, report.OutcomeRolledBack)
		s.asBeforeButTimes(t, before[i])
	}
	if live := nodes[3].settle(t); live != true {
		t.Errorf("the refused node's kubelet says %v", live)
	}
	if u = undo(); u.code != report.ExitFail || u.outcomes() != "unchanged unchanged unchanged refused" {
		t.Errorf("a second time: exit code %d, %s\n%s", u.code, u.outcomes(), u.stderr)
	}
}

// asBeforeButTimes is asBefore, for files that were written anew.
func (p patient) asBeforeButTimes(t *testing.T, before map[string]fileState) {
	t.Helper()
	now := p.files(t)
	for path, f := range now {
		f.mtime = before[path].mtime
		now[path] = f
	}
	for path, f := range now {
		f.inode = before[path].inode
		if f != before[path] {
			t.Errorf("%s: %s is %+v, was %+v", p.n.Name, path, f, before[path])
		}
	}
}

// staged leaves the restart to somebody else.
func (o operator) staged(t *testing.T) {
	p := o.patient(t, poolNode(0))
	s := newStruck(t, p)
	process := s.process(t)
	r := s.remedy(t, "--method", "args", "--no-restart")
	if r.change().Outcome != report.OutcomeChanged || r.change().Restarted || s.read(t, s.file) != s.new {
		t.Errorf("%s", r.says())
	}
	mainPID, _, _ := strings.Cut(process, "\n")
	if after, _, _ := strings.Cut(s.process(t), "\n"); after != mainPID || s.settle(t) != false {
		t.Errorf("the kubelet was restarted: %s, was %s", after, mainPID)
	}
	if _, rep := s.audit(t, "--limit", s.n.Name); summary(rep.Hosts[0]) != "fail restart-pending false true" {
		t.Errorf("the audit says %s: %s", summary(rep.Hosts[0]), rep.Hosts[0].Message)
	}
	r = s.remedy(t, "--method", "args")
	if r.code != report.ExitOK || s.settle(t) != true {
		t.Errorf("the restart: %s", r.says())
	}
}

// runbook types what the runbook says: in a folder with nodes.yaml, on a
// terminal and without one.
func (o operator) runbook(t *testing.T) {
	p := o.patient(t, poolNode(1))
	o.inFolder(t, p)
	s := newStruck(t, p)
	line := append([]string{"remediate", "--method", "file"}, fast...)
	before, process := s.files(t), s.process(t)
	t.Run("no terminal and no --yes", func(t *testing.T) {
		if code, _ := o.fleet(t, "", line...); code != report.ExitUsage {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("the wrong number", func(t *testing.T) {
		if r := s.typed(t, "2", ":", line...); r.code != report.ExitUsage || !strings.Contains(r.stderr, "nothing was changed") {
			t.Errorf("exit code %d\n%s", r.code, r.stderr)
		}
	})
	s.unharmed(t, before, "")
	if s.process(t) != process {
		t.Error("the kubelet or systemd was touched")
	}
	t.Run("the right number", func(t *testing.T) {
		if r := s.typed(t, "1", ":", line...); r.code != report.ExitOK {
			t.Errorf("exit code %d\n%s", r.code, r.stderr)
		}
		s.as(t, report.OutcomeChanged)
	})
	t.Run("with --yes", func(t *testing.T) {
		s.prepare(t, s.sick)
		code, out := o.fleet(t, "", append(line, "--yes")...)
		if code != report.ExitOK || !strings.Contains(out, s.n.Name) {
			t.Errorf("exit code %d\n%s", code, out)
		}
		s.as(t, report.OutcomeChanged)
	})
}

// inFolder writes nodes.yaml with one node into the working directory, and
// known_hosts where ssh has it.
func (o operator) inFolder(t *testing.T, p patient) {
	t.Helper()
	known, err := os.ReadFile(o.lab.KnownHosts())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(o.home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		".ssh/known_hosts": string(known),
		"nodes.yaml": fmt.Sprintf("defaults: {user: azureuser, identity: %s, become: sudo}\nhosts:\n  - name: %s\n    address: %s\n",
			o.lab.Key(), p.n.Name, p.n.Address),
	} {
		if err := os.WriteFile(filepath.Join(o.home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
