package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// ended is a host on which the command ran to its end.
func ended(name string, exit int, stdout, stderr string) ExecHost {
	return ExecHost{Name: name, Address: "10.0.0.1", Exit: &exit, Stdout: stdout, Stderr: stderr, DurationMS: 12}
}

// notRun is a host on which it did not, as far as is known.
func notRun(name, reason, message, hint string) ExecHost {
	return ExecHost{Name: name, Address: "10.0.0.1", Reason: reason, Message: message, Hint: hint}
}

func execOf(hosts ...ExecHost) Exec {
	at := time.Date(2026, 11, 22, 4, 0, 0, 0, time.FixedZone("CET", 3600))
	return NewExec(Run{ID: "r", Command: "exec", Started: at, Finished: at, Version: "v", Inventory: "i"}, "uptime", hosts)
}

// mixedExec has a host of each kind.
func mixedExec() Exec {
	killed := ended("n7", 137, "half a", "")
	killed.Signal = "KILL"
	noisy := ended("n8", 1, "", "noise\n")
	noisy.StderrCut = true
	return execOf(
		ended("n1", 0, "up 3 days\n", ""), ended("n2", 0, "up 4 days\n", ""), ended("n3", 0, "up 3 days\n", ""), ended("n4", 0, "", ""),
		ended("n5", 2, "a\tb\n\n  c \r\n\x1b[2Jgone\n", "ls: cannot access 'x'\n"), ended("n6", 2, "a\tb\n\n  c \r\n\x1b[2Jgone\n", "ls: cannot access 'x'\n"),
		killed, noisy,
		notRun("n9", "timeout-connect", "no TCP connection to 10.0.0.1:22 from n9", "check n9"),
		notRun("n10", "timeout-connect", "no TCP connection to 10.0.0.1:22 from n10", "check n10"),
		notRun("n11", "sudo-password", "sudo wants a password", "use --ask-become-pass"),
	)
}

func execText(t *testing.T, x Exec, o TextOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteExecText(&b, x, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGoldenExec(t *testing.T) {
	for name, o := range map[string]TextOptions{"0": {}, "40": {Width: 40}, "color": {Color: true}} {
		golden(t, "testdata/exec-"+name+".golden", execText(t, mixedExec(), o))
	}
}

func TestExecExitCodeAndVerdict(t *testing.T) {
	good, bad, lost := ended("a", 0, "", ""), ended("b", 3, "", ""), notRun("c", "timeout", "m", "h")
	signalled := good
	signalled.Signal = "TERM"
	for _, c := range []struct {
		hosts   []ExecHost
		code    int
		verdict string
	}{
		{nil, ExitOK, "No hosts: nothing was run."},
		{[]ExecHost{good}, ExitOK, "The command succeeded on 1 host."},
		{[]ExecHost{good, good}, ExitOK, "The command succeeded on all 2 hosts."},
		{[]ExecHost{bad, bad}, ExitFail, "The command FAILED on all 2 hosts."},
		{[]ExecHost{signalled}, ExitFail, "The command FAILED on 1 host."},
		{[]ExecHost{lost}, ExitIncomplete, "The command's end is UNKNOWN on 1 host."},
		{[]ExecHost{{Name: "x"}}, ExitIncomplete, "The command's end is UNKNOWN on 1 host."},
		{[]ExecHost{good, bad, lost, good}, ExitIncomplete, "Of 4 hosts, the command FAILED on 1, is UNKNOWN on 1, succeeded on 2."},
		{[]ExecHost{bad, good}, ExitFail, "Of 2 hosts, the command FAILED on 1, succeeded on 1."},
	} {
		x := execOf(c.hosts...)
		if got := x.ExitCode(); got != c.code {
			t.Errorf("%s: exit code %d, want %d", c.verdict, got, c.code)
		}
		if got := x.Verdict(); got != c.verdict {
			t.Errorf("got %s, want %s", got, c.verdict)
		}
		x.Run.Interrupted = true
		if got := x.ExitCode(); got != ExitInterrupted {
			t.Errorf("interrupted: exit code %d", got)
		}
	}
}

// TestExecGroupsTellApart: one byte of difference is a block of its own.
func TestExecGroupsTellApart(t *testing.T) {
	base := ended("a", 1, "out", "err")
	for name, edit := range map[string]func(*ExecHost){
		"the exit status": func(h *ExecHost) { two := 2; h.Exit = &two }, "stdout": func(h *ExecHost) { h.Stdout += "\n" },
		"stderr": func(h *ExecHost) { h.Stderr = "" }, "the signal": func(h *ExecHost) { h.Signal = "HUP" },
		"the cut": func(h *ExecHost) { h.StderrCut = true }, "a reason": func(h *ExecHost) { h.Exit, h.Reason = nil, "timeout" },
	} {
		other := base
		other.Name = "b"
		edit(&other)
		again := ended("c", 1, "out", "err")
		again.Address, again.DurationMS = "10.9.9.9", 77
		if n := len(execGroups([]ExecHost{base, other, again})); n != 2 {
			t.Errorf("%s: %d blocks, want 2", name, n)
		}
	}
}

func TestExecFollowsItsSchema(t *testing.T) {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(ExecSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("exec.json", value); err != nil {
		t.Fatal(err)
	}
	document, message := c.MustCompile("exec.json"), c.MustCompile("exec.json#/$defs/message")
	for _, x := range []Exec{mixedExec(), execOf()} {
		var doc, stream bytes.Buffer
		if err := WriteExecJSON(&doc, x, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := WriteExecNDJSON(&stream, x, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		validate(t, document, doc.Bytes())
		lines := strings.Split(strings.TrimSpace(stream.String()), "\n")
		if len(lines) != len(x.Hosts)+2 {
			t.Errorf("%d lines for %d hosts", len(lines), len(x.Hosts))
		}
		for _, line := range lines {
			validate(t, message, []byte(line))
		}
	}
}

func TestExecSchemaKnowsEveryField(t *testing.T) {
	h := ended("n", 129, "o", "e")
	h.Signal, h.StderrCut, h.Reason, h.Message, h.Hint = "HUP", true, "r", "m", "h"
	x := execOf(h)
	x.Run.Interrupted = true
	var b bytes.Buffer
	if err := WriteExecJSON(&b, x, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	var schema, doc map[string]any
	if err := json.Unmarshal([]byte(ExecSchema()), &schema); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	compareFields(t, "exec", schema, schema, doc)
}

func TestExecWritersPassErrorsOn(t *testing.T) {
	for _, f := range ExecFormats() {
		if err := f.Write(brokenPipe{}, mixedExec(), TextOptions{}); err != errPipe {
			t.Errorf("%s: got %v", f.Name, err)
		}
	}
}

// FuzzExecText puts hostile output everywhere: it must not reach the left
// edge, nor a terminal's controls.
func FuzzExecText(f *testing.F) {
	for _, s := range []string{"", "ok on 9 hosts: x", "\n\nFAILED (exit status 1) on", "\x1b[2J\r\b\t\u202e", "\xff\xfe", strings.Repeat("世 ", 99), strings.Repeat(" ", 300) + "ok on", "a,\tb\n  stderr:\n"} {
		f.Add(s, 80, 1)
		f.Add(s, 0, 0)
	}
	f.Fuzz(func(t *testing.T, s string, width, exit int) {
		if width < 0 || width > 300 || len(s) > 2000 {
			return
		}
		h := ended("n1", exit, s, s)
		h.Signal = s
		x := execOf(h, notRun("n2", "r"+s, s, s), ended("n3", 0, s, ""))
		text := execText(t, x, TextOptions{Width: width})
		for c := range runes(t, text) {
			if c != '\n' && !printable(c) {
				t.Fatalf("%U gets through", c)
			}
		}
		heads := 0
		for line := range strings.Lines(text) {
			switch {
			case line == "\n", strings.HasPrefix(line, streamIndent):
			default:
				heads++
			}
		}
		if verdict := len(wrap(x.Verdict(), width)); heads != len(execGroups(x.Hosts))+verdict {
			t.Fatalf("%d lines at the left edge, want %d:\n%s", heads, len(execGroups(x.Hosts))+verdict, text)
		}
		var doc bytes.Buffer
		if err := WriteExecJSON(&doc, x, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(doc.Bytes(), new(Exec)); err != nil {
			t.Fatal(err)
		}
	})
}
