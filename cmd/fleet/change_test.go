package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleet/lab"
	"fleet/report"
)

const aksConfig = "/etc/default/kubeletconfig.json"

// wrongNode says false in its configuration file.
func wrongNode(name string) lab.NodeSpec {
	return lab.NodeSpec{Name: name, Shape: lab.ShapeAKSFile, Set: lab.Layers{File: "false"}}
}

func wrongNodes(names string) []lab.NodeSpec {
	var specs []lab.NodeSpec
	for name := range strings.FieldsSeq(names) {
		specs = append(specs, wrongNode(name))
	}
	return specs
}

// ran is how a command that changes hosts ended.
type ran struct {
	code   int
	report report.Report // empty when the command did not come to one
	stdout string
	stderr string
}

func (r ran) host(t *testing.T, name string) report.Host {
	t.Helper()
	for _, h := range r.report.Hosts {
		if h.Name == name && h.Change != nil {
			return h
		}
	}
	t.Fatalf("%s is missing, or has no change\n%s", name, r.stderr)
	return report.Host{}
}

// outcomes demands the outcome, and the reason where one is given, of every
// host: "changed", "not-reached budget".
func (r ran) outcomes(t *testing.T, want map[string]string) {
	t.Helper()
	for name, outcome := range want {
		c := r.host(t, name).Change
		if got := strings.TrimSpace(string(c.Outcome) + " " + c.Reason); got != outcome {
			t.Errorf("%s: got %s: %s, want %s", name, got, c.Message, outcome)
		}
	}
	if len(r.report.Hosts) != len(want) {
		t.Errorf("%d hosts, want %d", len(r.report.Hosts), len(want))
	}
}

// change runs a command that changes hosts in this process; tty is nil where
// there is no terminal.
func (s started) change(t testing.TB, tty io.ReadWriteCloser, command string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	env := environment{
		stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
		getenv: func(name string) string {
			return map[string]string{"HOME": s.dir, "XDG_STATE_HOME": filepath.Join(s.dir, "state")}[name]
		},
		tty: func() (io.ReadWriteCloser, error) {
			if tty == nil {
				return nil, errors.New("no terminal")
			}
			return tty, nil
		},
	}
	code := run(append(s.flags(command), args...), env)
	r := ran{code: code, stdout: out.String(), stderr: errs.String()}
	if code != report.ExitUsage {
		var err error
		if r.report, err = report.Decode(&out); err != nil {
			t.Fatalf("exit code %d, report: %v\n%s", code, err, errs.String())
		}
	}
	return r
}

func (s started) flags(command string) []string {
	return []string{
		command, "-i", filepath.Join(s.dir, "nodes.yaml"), "--known-hosts", filepath.Join(s.dir, "known_hosts"),
		"--ssh-config", "none", "-o", "json", "--healthy-for", "1s", "--pool-limit", "100%",
	}
}

// file reads a file of a node.
func (s started) file(t *testing.T, node, name string) string {
	t.Helper()
	n, err := s.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	data, err := n.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// untouched demands that nothing of fleet's has ever been on a node.
func (s started) untouched(t *testing.T, node string) {
	t.Helper()
	root, err := s.Root(node)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/fleet")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was touched: %v", node, err)
	}
	if !strings.Contains(s.file(t, node, aksConfig), `"makeIPTablesUtilChains": false`) {
		t.Errorf("%s was changed", node)
	}
}

// person is somebody at a terminal who types an answer.
type person struct {
	answer io.Reader
	asked  bytes.Buffer
	closed bool
}

func typing(answer string) *person { return &person{answer: strings.NewReader(answer)} }

func (p *person) Read(b []byte) (int, error)  { return p.answer.Read(b) }
func (p *person) Write(b []byte) (int, error) { return p.asked.Write(b) }
func (p *person) Close() error                { p.closed = true; return nil }

// TestQuestion: only the number of hosts is a yes. After anything else the
// exit code is that of a usage error, and no node was touched.
func TestQuestion(t *testing.T) {
	t.Parallel()
	fleet := start(t, append(wrongNodes("one two"), lab.NodeSpec{Name: "sound"}))
	for _, answer := range []string{"", "\n", "yes\n", "y\n", "1\n", "3\n", "20\n", "02\n", "2 hosts\n", "-2\n", "2.0\n", "２\n", "2\x00\n", "\x1b[A2\n", strings.Repeat("2", 9000)} {
		tty := typing(answer)
		r := fleet.change(t, tty, "remediate", "--method", "file")
		if r.code != report.ExitUsage || !strings.Contains(r.stderr, "nothing was changed") {
			t.Errorf("%.20q: exit code %d\n%s", answer, r.code, r.stderr)
		}
		if strings.Contains(r.stderr, "\x1b") || strings.Contains(r.stderr, "wave 1 of") {
			t.Errorf("%.20q: %q", answer, r.stderr)
		}
		if !strings.Contains(tty.asked.String(), "number of hosts to change (2)") || !tty.closed {
			t.Errorf("%.20q: asked %q, closed %v", answer, tty.asked.String(), tty.closed)
		}
	}
	if r := fleet.change(t, nil, "remediate", "--method", "file"); r.code != report.ExitUsage || !strings.Contains(r.stderr, "say --yes to change 2 hosts") {
		t.Errorf("without a terminal: exit code %d\n%s", r.code, r.stderr)
	}
	fleet.untouched(t, "one")
	fleet.untouched(t, "two")

	r := fleet.change(t, typing(" 2 \n"), "remediate", "--method", "file", "--batch", "100%")
	r.outcomes(t, map[string]string{"one": "changed", "two": "changed", "sound": "unchanged"})
	if r.code != report.ExitOK {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	tty := typing("2\n")
	if r = fleet.change(t, tty, "remediate", "--method", "file"); r.code != report.ExitOK || tty.asked.Len() > 0 || r.stderr != "" {
		t.Errorf("with nothing to do: exit code %d, asked %q\n%s", r.code, tty.asked.String(), r.stderr)
	}
}

// TestWavesStop: a host that does not come back ends the run after its wave;
// with a budget of two the run goes on.
func TestWavesStop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		failures string
		code     int
		third    string
		stops    bool
	}{
		{"1", report.ExitIncomplete, "not-reached budget", true},
		{"2", report.ExitFail, "changed", false},
	} {
		t.Run("after "+c.failures, func(t *testing.T) {
			t.Parallel()
			specs := wrongNodes("a b poisoned c d")
			specs[2].Kubelet = lab.Behaviour{Only: "true", HealthAfter: lab.Never}
			fleet := start(t, specs)
			r := fleet.change(t, nil, "remediate", "--method", "file", "--yes", "--batch", "1,2", "--max-failures", c.failures, "--health-timeout", "6s")
			r.outcomes(t, map[string]string{
				"a": "changed", "b": "changed", "poisoned": "rolled-back unhealthy", "c": c.third, "d": c.third,
			})
			if r.code != c.code {
				t.Errorf("exit code %d, want %d\n%s", r.code, c.code, r.stderr)
			}
			stopped := strings.Contains(r.stderr, "1 host was not changed as planned, and --max-failures is 1: nothing more is started, 2 hosts were not touched. Mend the cause")
			if stopped != c.stops {
				t.Errorf("stopped: %v\n%s", stopped, r.stderr)
			}
			if c.stops {
				fleet.untouched(t, "c")
				fleet.untouched(t, "d")
				if hint := r.host(t, "c").Change.Hint; hint == "" {
					t.Error("no hint for a host without its turn")
				}
			}
			inTurn(t, fleet.events(t, r), r)
		})
	}
}

// inTurn demands that nothing of a wave began before the wave in front of it
// had ended.
func inTurn(t *testing.T, events []event, r ran) {
	t.Helper()
	wave, begun, ended := 0, map[string]int{}, map[string]bool{}
	for _, e := range events {
		switch e.Step {
		case "wave":
			wave++
		case "start":
			begun[e.Host] = wave
			for _, h := range r.report.Hosts {
				if h.Change.Wave < wave && !ended[h.Name] {
					t.Errorf("%s began before %s had ended", e.Host, h.Name)
				}
			}
		case "outcome":
			ended[e.Host] = true
		}
	}
	for _, h := range r.report.Hosts {
		if n, ok := begun[h.Name]; ok && n != h.Change.Wave {
			t.Errorf("%s belongs to wave %d and began in wave %d", h.Name, h.Change.Wave, n)
		}
	}
	if events[len(events)-1].Step != "finished" {
		t.Errorf("the last event is %+v", events[len(events)-1])
	}
}

// record is the folder that keeps a run.
func (s started) record(r ran) string {
	return filepath.Join(s.dir, "state", "fleet", "runs", r.report.Run.ID)
}

// events reads a run's trail.
func (s started) events(t *testing.T, r ran) []event {
	t.Helper()
	f, err := os.Open(filepath.Join(s.record(r), "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []event
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Time.IsZero() || e.Step == "" {
			t.Errorf("%s: %v", lines.Text(), err)
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		t.Fatal("no event is recorded")
	}
	return out
}

// TestSoak: a kubelet that dies after its change was kept is noticed before the
// next wave.
func TestSoak(t *testing.T) {
	t.Parallel()
	specs := wrongNodes("weak next")
	specs[0].Kubelet = lab.Behaviour{Only: "true", DieAfter: 9 * time.Second}
	fleet := start(t, specs)
	r := fleet.change(t, nil, "remediate", "--method", "file", "--yes", "--batch", "1", "--soak", "10s")
	r.outcomes(t, map[string]string{"weak": "failed-after-change not-effective", "next": "not-reached budget"})
	if r.code != report.ExitIncomplete || r.host(t, "weak").Status == "pass" {
		t.Errorf("exit code %d, weak: %s\n%s", r.code, r.host(t, "weak").Status, r.stderr)
	}
	fleet.untouched(t, "next")
}

// TestChangeInterrupted: after Ctrl-C the wave under way ends and nothing more
// begins; after the second one its hosts are left to themselves, and a change
// that nobody confirmed is undone.
func TestChangeInterrupted(t *testing.T) {
	t.Parallel()
	for signals, want := range map[int]string{1: "changed", 2: "unknown left-behind"} {
		t.Run(fmt.Sprintf("%d signals", signals), func(t *testing.T) {
			t.Parallel()
			specs := wrongNodes("first second third")
			specs[0].Kubelet = lab.Behaviour{Only: "true", SlowStart: 3 * time.Second}
			fleet := start(t, specs)
			cmd, out, errs := fleet.command(t)
			cmd.Args = append([]string{"fleet"}, append(fleet.flags("remediate"), "--method", "file", "--yes", "--batch", "1", "--confirm-timeout", "3s")...)
			if signals == 1 {
				cmd.Args = cmd.Args[:len(cmd.Args)-2]
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool {
				_, err := os.Stat(filepath.Join(fleet.dir, "nodes/first/root/var/lib/fleet/runs"))
				return err == nil
			})
			for n := range signals {
				if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
				said := []string{"interrupt again to abort", "aborting"}[n]
				until(t, func() bool { return strings.Contains(errs.read(t), said) })
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != report.ExitInterrupted {
				t.Errorf("ended with %v\n%s", err, errs.read(t))
			}
			rep, err := report.Decode(strings.NewReader(out.String()))
			if err != nil {
				t.Fatal(err)
			}
			r := ran{report: rep, stderr: errs.read(t)}
			r.outcomes(t, map[string]string{"first": want, "second": "not-reached not-reached", "third": "not-reached not-reached"})
			if !rep.Run.Interrupted {
				t.Error("the run does not say that it was interrupted")
			}
			fleet.untouched(t, "second")
			if signals == 2 {
				until(t, func() bool {
					state, _ := os.ReadFile(filepath.Join(fleet.dir, "nodes/first/root/var/lib/fleet/runs", rep.Run.ID, "state"))
					return strings.HasPrefix(string(state), "rolled-back ")
				})
				if !strings.Contains(fleet.file(t, "first", aksConfig), `"makeIPTablesUtilChains": false`) {
					t.Error("the change stayed")
				}
			}
		})
	}
}

// TestRecord: what a run leaves with the operator is there, tells the whole
// story, and is nobody else's to read; a secret on the node is in none of it.
func TestRecord(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3tS3cr3tS3cr3t"
	fleet := start(t, []lab.NodeSpec{{Name: "node", Set: lab.Layers{Flags: []string{"--node-labels=registry-token=" + secret, "--make-iptables-util-chains=false"}}}})
	r := fleet.change(t, nil, "remediate", "--method", "args", "--yes")
	r.outcomes(t, map[string]string{"node": "changed"})
	if file := fleet.file(t, "node", "/etc/default/kubelet"); !strings.Contains(file, secret) || !strings.Contains(file, "=true\n") {
		t.Errorf("the node's file: %s", file)
	}
	var steps []string
	for _, e := range fleet.events(t, r) {
		steps = append(steps, e.Step)
	}
	for _, want := range []string{"wave", "start", "waiting", "confirm", "committed", "outcome", "finished"} {
		if !slices.Contains(steps, want) {
			t.Errorf("no event %q: %q", want, steps)
		}
	}
	shown := map[string]string{"standard output": r.stdout, "standard error": r.stderr}
	for _, name := range []string{"events.jsonl", "plan.json", "report.json"} {
		path := filepath.Join(fleet.record(r), name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		shown[name] = string(data)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(fleet.record(r)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
	for what, text := range shown {
		if strings.Contains(text, secret) {
			t.Errorf("the secret is in %s", what)
		}
		if what != "events.jsonl" && !strings.Contains(text, "registry-token=***") {
			t.Errorf("the masked line is not in %s", what)
		}
	}
	plan, err := report.Decode(strings.NewReader(shown["plan.json"]))
	if err != nil || plan.Hosts[0].Change.Outcome != report.OutcomePlanned || plan.Hosts[0].Change.Diff != r.report.Hosts[0].Change.Diff {
		t.Errorf("the plan: %v, %+v", err, plan.Hosts)
	}
	if r := fleet.change(t, nil, "rollback", "--run", r.report.Run.ID, "--yes"); r.code != report.ExitOK || strings.Contains(r.stdout+r.stderr, secret) {
		t.Errorf("the rollback: exit code %d\n%s", r.code, r.stderr)
	}
}

// TestUnrecordableRun: a run that cannot be recorded changes nothing.
func TestUnrecordableRun(t *testing.T) {
	t.Parallel()
	fleet := start(t, wrongNodes("node"))
	if err := os.WriteFile(filepath.Join(fleet.dir, "state"), nil, 0o600); err != nil { // where the folder should be
		t.Fatal(err)
	}
	r := fleet.change(t, nil, "remediate", "--method", "file", "--yes")
	if r.code != report.ExitUsage || !strings.Contains(r.stderr, "cannot record the run") || !strings.Contains(r.stderr, "nothing was changed") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	fleet.untouched(t, "node")
}

// TestQuestionInterrupted: Ctrl-C is an answer too, while somebody still looks
// at the question.
func TestQuestionInterrupted(t *testing.T) {
	stop := make(chan struct{})
	hears, says := io.Pipe()
	defer says.Close()
	var errs bytes.Buffer
	env := environment{stderr: &errs, tty: func() (io.ReadWriteCloser, error) {
		close(stop)
		return &person{answer: hears}, nil
	}}
	w := work{changing: &changing{env: env}, fan: &fanOut{signals: &signals{stop: stop}}}
	var verdict verdictError
	if err := w.ask(); !errors.As(err, &verdict) || verdict.code != report.ExitInterrupted || !strings.Contains(errs.String(), "nothing was changed") {
		t.Errorf("got %v, %q", err, errs.String())
	}
}
