//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet/report"
)

// onFullDisks gives the runs' folder less and less room, down to none. Wherever
// the disk fills up, the node is in one of two states, and once there is room
// again the next run makes it well.
func (p patient) onFullDisks(t *testing.T) {
	s := newStruck(t, p)
	for _, kilobytes := range []int{8, 36, 64, 88, 96, 104, 112, 120, 160} {
		t.Run(fmt.Sprintf("%d kB", kilobytes), func(t *testing.T) {
			s.prepare(t, s.sick)
			before := s.files(t)
			s.run(t, fmt.Sprintf("mkdir -p /var/lib/fleet; mount -t tmpfs -o size=%dk fault /var/lib/fleet", kilobytes))
			r := s.remedy(t, "--method", s.method)
			s.quiet(t)
			state := s.either(t, before, r.says())
			s.told(t, r, state, r.says())
			s.run(t, "mount -o remount,size=4m /var/lib/fleet")
			s.next(t, r.says())
			t.Logf("%s %s, %s", r.change().Outcome, r.change().Reason, state)
		})
	}
	t.Run("full while it watches", func(t *testing.T) {
		s.prepare(t, s.sick)
		before := s.files(t)
		s.run(t, "mkdir -p /var/lib/fleet; mount -t tmpfs -o size=1m fault /var/lib/fleet")
		u := s.begin(t, "--method", s.method, "--healthy-for", "15s")
		s.await(t, "watching")
		s.run(t, "dd if=/dev/zero of=/var/lib/fleet/filler bs=4k 2>/dev/null; systemctl kill --signal=KILL kubelet.service")
		r := u.end(t)
		s.quiet(t)
		if state := s.either(t, before, r.says()); state != "old" {
			t.Errorf("%s: %s\n%s", state, r.says(), s.evidence())
		}
		s.told(t, r, "old", "full while it watches")
		s.run(t, "rm /var/lib/fleet/filler")
		s.next(t, r.says())
		t.Logf("%s %s", r.change().Outcome, r.change().Reason)
	})
}

// onItsOwnDisk puts the folder of a file onto a file system of its own.
func onItsOwnDisk(folder, options string) string {
	return "mkdir /fault && cp -a " + folder + "/. /fault/ && mount -t tmpfs -o " + options + " fault " + folder + " && cp -a /fault/. " + folder + "/\n"
}

const (
	fillUp   = "dd if=/dev/zero of=/etc/default/filler bs=4k 2>/dev/null; true\n"
	readOnly = "mount --bind /etc/default /etc/default && mount -o remount,ro,bind /etc/default\n"
)

// onBadDisks are disks that do not take what they should.
func (p patient) onBadDisks(t *testing.T) {
	small := onItsOwnDisk("/etc/default", "size=256k,mode=755")
	p.trials(t, []trial{
		{name: "the file's disk is full", sick: flagAdded(flagName + "=false"), staged: small + fillUp, args: []string{"--method", "args"},
			outcome: report.OutcomeFailedBeforeChange, reason: "disk-full"},
		{name: "the file's folder is read-only", sick: flagAdded(flagName + "=false"), staged: readOnly, args: []string{"--method", "args"},
			outcome: report.OutcomeRefused, reason: "read-only"},
		{name: "the runs' folder is read-only", sick: flagAdded(flagName + "=false"), staged: "mkdir -p /var/lib/fleet; mount -t tmpfs -o ro fault /var/lib/fleet\n", args: []string{"--method", "args"},
			outcome: report.OutcomeFailedBeforeChange, reason: "read-only"},
		{name: "hard link", sick: flagAdded(flagName + "=false"), staged: "ln /etc/default/kubelet /etc/default/other\n", args: []string{"--method", "args"},
			outcome: report.OutcomeRefused, reason: "hard-link"},
	})
	t.Run("the file's disk fills up while it watches", func(t *testing.T) {
		p.prepare(t, flagAdded(flagName+"=false"))
		p.run(t, small+"mkdir /etc/default/fleet; ln -s /etc/default/fleet /var/lib/fleet\n")
		before := p.files(t)
		u := p.begin(t, "--method", "args", "--healthy-for", "15s")
		p.await(t, "watching")
		p.run(t, fillUp+"systemctl kill --signal=KILL kubelet.service")
		r := u.end(t)
		p.quiet(t)
		p.run(t, "rm -r /etc/default/filler /etc/default/fleet")
		p.came(t, r, trial{outcome: report.OutcomeRolledBack, reason: "kubelet-restarts"})
		p.asBefore(t, before)
	})
}

// onStrangers are changes that somebody else makes meanwhile.
func (p patient) onStrangers(t *testing.T) {
	sick := flagAdded(flagName + "=false")
	t.Run("between plan and change", func(t *testing.T) {
		p.prepare(t, sick)
		saved := filepath.Join(t.TempDir(), "report.json")
		r := p.typed(t, "1", "echo '# by somebody else' >> "+defaultsFile, slices.Concat(
			[]string{"remediate", "--method", "args", "--limit", p.n.Name, "--report", "json=" + saved}, fast, p.access())...)
		r.report = readReport(t, saved)
		p.came(t, r, trial{outcome: report.OutcomeFailedBeforeChange, reason: "file-changed"})
		if text := p.read(t, defaultsFile); !strings.HasSuffix(text, "# by somebody else\n") || p.settle(t) != false {
			t.Errorf("the stranger's line is gone, or the kubelet was restarted: %s", text)
		}
	})
	t.Run("while it watches, and the change does not stay", func(t *testing.T) {
		p.prepare(t, sick)
		u := p.begin(t, "--method", "args", "--healthy-for", "15s")
		p.await(t, "watching")
		p.run(t, "echo '# by somebody else' >> "+defaultsFile+"; systemctl kill --signal=KILL kubelet.service")
		r := u.end(t)
		p.came(t, r, trial{outcome: report.OutcomeFailedAfterChange, reason: "kubelet-restarts", says: "changed by somebody else meanwhile and left alone: " + defaultsFile})
		if text := p.read(t, defaultsFile); !strings.HasSuffix(text, "# by somebody else\n") || p.settle(t) != true {
			t.Errorf("the stranger's file was not left alone, or the kubelet does not run: %s", text)
		}
	})
	t.Run("two operators", func(t *testing.T) { p.twoOperators(t, sick) })
	t.Run("a confirmation that never comes", func(t *testing.T) { p.unconfirmed(t, sick) })
	t.Run("symlink elsewhere", func(t *testing.T) {
		p.prepare(t, configFalse+"mkdir -p /fault; mv "+configFile+" /fault/; ln -s /fault/kubeletconfig.json "+configFile+"\n")
		before := p.files(t)
		p.came(t, p.remedy(t, "--method", "file"), trial{outcome: report.OutcomeRefused, reason: "symlink-elsewhere", says: "/fault/kubeletconfig.json"})
		p.unharmed(t, before, "")
	})
	t.Run("symlink beside it", func(t *testing.T) {
		p.prepare(t, sick+"mv /etc/default/kubelet /etc/default/kubelet.1; ln -s kubelet.1 /etc/default/kubelet\n")
		before := p.files(t)
		r := p.remedy(t, "--method", "args")
		p.came(t, r, trial{outcome: report.OutcomeChanged})
		for _, path := range differing(before, p.files(t)) {
			if path != defaultsFile && path != defaultsFile+".1" {
				t.Errorf("%s changed", path)
			}
		}
		if link := strings.TrimSpace(p.run(t, "readlink "+defaultsFile)); link != "kubelet.1" {
			t.Errorf("the link leads to %q", link)
		}
	})
}

// twoOperators has a second one come while the node is held, and two who come
// at once: one of them makes the change, the other is told by whom.
func (p patient) twoOperators(t *testing.T, sick string) {
	p.prepare(t, sick)
	first := p.begin(t, "--method", "args", "--healthy-for", "12s")
	p.await(t, "watching")
	hostname, _ := os.Hostname()
	second := p.remedy(t, "--method", "args")
	p.came(t, second, trial{outcome: report.OutcomeRefused, reason: "node-locked", says: "@" + hostname})
	p.came(t, first.end(t), trial{outcome: report.OutcomeChanged})

	p.prepare(t, sick)
	a, b := p.begin(t, "--method", "args"), p.begin(t, "--method", "args")
	won, lost := a.end(t), b.end(t)
	if won.change().Outcome != report.OutcomeChanged {
		won, lost = lost, won
	}
	p.came(t, won, trial{outcome: report.OutcomeChanged})
	switch c := lost.change(); {
	case c.Outcome == report.OutcomeUnchanged: // it came late
	case c.Outcome != report.OutcomeRefused && c.Outcome != report.OutcomeFailedBeforeChange, c.Reason != "node-locked" && c.Reason != "file-changed":
		t.Errorf("the second one: %s", lost.says())
	}
	if p.settle(t) != true {
		t.Error("the kubelet's value is not true")
	}
}

// unconfirmed keeps every connection out from the watch on.
func (p patient) unconfirmed(t *testing.T, sick string) {
	p.prepare(t, sick)
	before := p.files(t)
	u := p.begin(t, "--method", "args")
	p.await(t, "watching", "waiting")
	p.run(t, "iptables -I INPUT -p tcp --dport 22 -j DROP")
	p.await(t, "rolled-back", "committed")
	p.run(t, "iptables -D INPUT -p tcp --dport 22 -j DROP")
	p.came(t, u.end(t), trial{outcome: report.OutcomeRolledBack, reason: "no-confirmation"})
	p.asBefore(t, before)
	if p.settle(t) != false {
		t.Error("the kubelet's value is not false again")
	}
}

// typed runs a fleet command on a terminal and types the answer to its question
// after the script has run on the node.
func (p patient) typed(t *testing.T, answer, meanwhile string, args ...string) ran {
	t.Helper()
	line := p.bin + " " + strings.Join(args, " ")
	cmd := p.lab.Command(ctx, "script", "--quiet", "--return", "--command", line, "/dev/null")
	cmd.Dir, cmd.Env = p.home, []string{"HOME=" + p.home, "PATH=" + os.Getenv("PATH"), "TERM=xterm"}
	typed, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	screen, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := readUntil(t, screen, "Type the number of hosts to change (1)")
	p.run(t, meanwhile)
	if _, err := io.WriteString(typed, answer+"\n"); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(screen) // a terminal that is closed is an error on Linux
	_ = cmd.Wait()                // the exit code is looked at
	return ran{code: cmd.ProcessState.ExitCode(), stderr: text + string(rest)}
}

func readReport(t *testing.T, path string) report.Report {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rep, err := report.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// readUntil reads until the text has come.
func readUntil(t *testing.T, from io.Reader, want string) string {
	t.Helper()
	var all strings.Builder
	chunk := make([]byte, 4096)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		n, err := from.Read(chunk)
		all.Write(chunk[:n])
		if strings.Contains(all.String(), want) {
			return all.String()
		}
		if err != nil {
			break
		}
	}
	t.Fatalf("%q does not come: %s", want, all.String())
	return ""
}
