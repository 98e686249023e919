package remediate_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fleet/audit"
	"fleet/remediate"
)

// memory is a node that remembers one run; it answers as attend.sh does.
type memory struct {
	state string // the journal, "" for none
	files []remembered
	end   string // what comes behind, "" for the end of the frame
	err   error
}

// remembered is a file that the run replaced.
type remembered struct {
	path, old, new string // as planned
	backup, now    string // as they are; "gone" for a file that is not there
}

var nonces = regexp.MustCompile(`(?m)^nonce='([^']+)'$`)

func (m memory) Sh(_ context.Context, script []byte) (audit.Answer, error) {
	nonce := nonces.FindStringSubmatch(string(script))[1]
	var b strings.Builder
	section := func(head, body string) { fmt.Fprintf(&b, "\n--%s %s\n%s", nonce, head, body) }
	b.WriteString("Welcome!\n")
	section("fleet 1", "")
	section("state", m.state)
	section("supervisor", "no\n")
	section("log", "")
	if len(m.files) > 0 {
		var list string
		for i, f := range m.files {
			list += fmt.Sprintf("%d %x %x %s\n", i+1, sha256.Sum256([]byte(f.old)), sha256.Sum256([]byte(f.new)), f.path)
		}
		section("plan", "run='x'\nunit='kubelet.service'\n")
		section("files", list)
		for i, f := range m.files {
			section(fmt.Sprintf("old %d", i+1), strings.TrimPrefix(f.backup, "gone"))
			section(fmt.Sprintf("now %d", i+1), strings.TrimPrefix(f.now, "gone"))
		}
	}
	section("end", "")
	return audit.Answer{Stdout: []byte(strings.TrimSuffix(b.String(), m.end))}, m.err
}

// TestNewRollback plans to undo runs that ended in every way.
func TestNewRollback(t *testing.T) {
	before, after := kc(key+": false"), kc(key+": true")
	changed := remembered{path: conf, old: before, new: after, backup: before, now: after}
	with := func(edit func(*remembered)) []remembered {
		f := changed
		edit(&f)
		return []remembered{f}
	}
	host := layout{flags: "--config=" + conf, files: map[string]string{conf: after}}
	other := func(edit func(*audit.Facts)) layout {
		l := host
		l.facts = edit
		return l
	}
	const committed = "committed -\nconfirmed\n"
	broken := kc(key + `: "true"`)
	for name, c := range map[string]struct {
		memory  memory
		layout  layout
		want    string
		message string
	}{
		"changed":               {memory{state: committed, files: []remembered{changed}}, host, " " + conf + " restart", "put back what run 20261101-030000-aaaa changed (the value will be false), then restart kubelet.service"},
		"never heard of":        {memory{}, host, "refused no-such-run", "knows nothing of run 20261101-030000-aaaa"},
		"rolled back":           {memory{state: "rolled-back unhealthy\nx\n", files: []remembered{changed}}, host, "refused nothing-to-undo", "ended as rolled-back here"},
		"refused":               {memory{state: "refused disk-full\nx\n"}, host, "refused nothing-to-undo", ""},
		"rollback failed":       {memory{state: "rollback-failed x\ny\n", files: []remembered{changed}}, host, "refused nothing-to-undo", ""},
		"only restarted":        {memory{state: committed}, host, "refused nothing-to-undo", "it only restarted the kubelet"},
		"undone already":        {memory{state: committed, files: with(func(f *remembered) { f.now = before })}, host, "refused nothing-to-undo", "is what it was before that run"},
		"changed since":         {memory{state: committed, files: with(func(f *remembered) { f.now += " " })}, host, "refused changed-since", conf + " has been changed since"},
		"gone since":            {memory{state: committed, files: with(func(f *remembered) { f.now = "gone" })}, host, "refused changed-since", ""},
		"the backup is gone":    {memory{state: committed, files: with(func(f *remembered) { f.backup = "gone" })}, host, "refused no-such-run", "gone or damaged"},
		"the backup is damaged": {memory{state: committed, files: with(func(f *remembered) { f.backup = before[1:] })}, host, "refused no-such-run", "gone or damaged"},
		"an empty file before": {memory{state: committed, files: []remembered{{path: envFile, old: "", new: "A=" + flagFalse + "\n", backup: "", now: "A=" + flagFalse + "\n"}}},
			layout{flags: "--v=2", unit: "[Service]\nEnvironmentFile=" + envFile + "\nExecStart=/opt/bin/kubelet --v=2 $A\n", files: map[string]string{envFile: "A=" + flagFalse + "\n"}},
			" " + envFile + " restart", "the value will be true"},
		"of two the first is back":  {memory{state: committed, files: append([]remembered{{path: envFile, old: "a", new: "b", backup: "a", now: "a"}}, changed)}, host, " " + conf + " restart", ""},
		"of two the second changed": {memory{state: committed, files: append(with(func(*remembered) {}), remembered{path: envFile, old: "a", new: "b", backup: "a", now: "c"})}, host, "refused changed-since", envFile},
		"would not start":           {memory{state: committed, files: []remembered{{path: conf, old: broken, new: after, backup: broken, now: after}}}, host, "refused would-not-start", "with the old bytes"},
		"not root":                  {memory{state: committed, files: []remembered{changed}}, other(func(f *audit.Facts) { f.UID = 1000 }), "refused not-root", ""},
		"held":                      {memory{state: committed, files: []remembered{changed}}, other(func(f *audit.Facts) { f.Changes = []audit.Change{{Run: "x", Held: true}} }), "refused node-locked", ""},
		"left behind":               {memory{state: committed, files: []remembered{changed}}, other(func(f *audit.Facts) { f.Changes = []audit.Change{{Run: "x"}} }), "refused unfinished-run", ""},
		"read-only":                 {memory{state: committed, files: []remembered{changed}}, other(func(f *audit.Facts) { f.Owners[conf] = audit.Owner{ReadOnly: true} }), "refused read-only", ""},
	} {
		t.Run(name, func(t *testing.T) {
			past, err := remediate.Recall(t.Context(), c.memory, run("aaaa"))
			if err != nil {
				t.Fatal(err)
			}
			p := remediate.NewRollback(control, c.layout.build(), past)
			said := p.Summary
			if p.Refused != nil {
				said = p.Refused.Message
			}
			if got := words(p); got != c.want || !strings.Contains(said, c.message) {
				t.Fatalf("got %q: %q, want %q: %q", got, said, c.want, c.message)
			}
			for _, edit := range p.Files {
				same := func(f remembered) bool {
					return f.path == edit.Path && f.now == string(edit.Old) && f.backup == string(edit.New)
				}
				if !slices.ContainsFunc(c.memory.files, same) {
					t.Errorf("%q", edit)
				}
			}
		})
	}
}

// TestRecallWantsAWholeAnswer: what breaks off in the middle is no memory.
func TestRecallWantsAWholeAnswer(t *testing.T) {
	lost := errors.New("lost")
	for _, m := range []memory{{state: "committed -\nx\n", err: lost}, {state: "committed -\nx\n", end: "end\n"}, {state: "committed -\nx\n", end: "\n"}} {
		if past, err := remediate.Recall(t.Context(), m, run("aaaa")); err == nil {
			t.Errorf("%+v: got %+v", m, past)
		}
	}
}
