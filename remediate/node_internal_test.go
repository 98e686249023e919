package remediate

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"fleet/frame"
)

// FuzzReadJournal: whatever a node says of a run, it is read without harm, and
// what goes into one line of the report is one line, bounded.
func FuzzReadJournal(f *testing.F) {
	f.Add("waiting -\nhealthy\n", "run='x'\nunit='kubelet.service'\n", "1 aa bb /etc/k\n", "1", "content", "0 systemctl daemon-reload")
	f.Add("rolled-back unhealthy\nnot healthy within 3 s: x\n", "", "1 aa bb /etc/a b\n2 c d e\n", "2", "", "x")
	f.Add("", "unit='", "1\n\n1 2 3\n", "-1", "\x00", "99999999999999999999 \x1b[2J")
	f.Add("committed", "unit='a'b'", "", "0", "x", " ")
	f.Fuzz(func(t *testing.T, state, plan, files, n, content, evidence string) {
		j := readJournal([]frame.Section{
			{Name: "state", Body: []byte(state)},
			{Name: "supervisor", Body: []byte(content)},
			{Name: "log", Body: []byte(content)},
			{Name: "evidence", Args: evidence, Body: []byte(content)},
			{Name: "plan", Body: []byte(plan)},
			{Name: "old", Args: n, Body: []byte(content)}, // before any file is known
			{Name: "files", Body: []byte(files)},
			{Name: "old", Args: n, Body: []byte(content)},
			{Name: "now", Args: n, Body: []byte(content)},
			{Name: evidence, Args: n, Body: []byte(content)},
		})
		if strings.ContainsAny(j.message, "\n\r") || len(j.message) > 500 {
			t.Errorf("the message is %q", j.message)
		}
		if strings.ContainsAny(string(j.state)+j.reason+j.unit, "\n") {
			t.Errorf("the state is %q, the reason %q, the unit %q", j.state, j.reason, j.unit)
		}
		if len(j.files) > strings.Count(files, "\n")+1 {
			t.Errorf("%d files of %q", len(j.files), files)
		}
		for _, file := range j.files {
			if edit, r := file.undo(); r == nil && digest(edit.New) != file.old {
				t.Errorf("%q would be put back, which is not what it was", edit.New)
			}
			if file.backup != nil && string(file.backup) != content {
				t.Errorf("the backup is %q, want %q", file.backup, content)
			}
		}
		if j.state.ended() && !strings.HasPrefix(strings.TrimSpace(state), string(j.state)) {
			t.Errorf("%q is read as %q", state, j.state)
		}
	})
}

// TestReadState reads journals as supervisor.sh writes them, and cut ones.
func TestReadState(t *testing.T) {
	for text, want := range map[string]journal{
		"":                                  {},
		"\n":                                {},
		"checking -\nchecking the files\n":  {state: "checking", message: "checking the files"},
		"waiting -\nhealthy;  waiting\n":    {state: stateWaiting, message: "healthy; waiting"},
		"rolled-back unhealthy\nnot well\n": {state: stateRolledBack, reason: "unhealthy", message: "not well"},
		"rolled-back":                       {state: stateRolledBack},
		"committed -":                       {state: stateCommitted},
		"refused disk-full\na\nb\n":         {state: stateRefused, reason: "disk-full", message: "a b"},
		"rollback-failed x\n":               {state: stateRollbackFailed, reason: "x"},
	} {
		var j journal
		if j.readState(text); j.state != want.state || j.reason != want.reason || j.message != want.message {
			t.Errorf("%q: got %+v, want %+v", text, j, want)
		}
	}
}

// printed is what sh makes of the lines that write a file.
func printed(t *testing.T, data []byte) []byte {
	t.Helper()
	var script bytes.Buffer
	writeFile(&script, "x", data)
	text := script.String()
	from, to := strings.Index(text, "{\n"), strings.LastIndex(text, "\t} >")
	if from < 0 || to < 0 {
		t.Fatalf("the script is %q", text)
	}
	for _, c := range text {
		if c >= utf8.RuneSelf || c < ' ' && c != '\n' && c != '\t' {
			t.Fatalf("%q in the script", c)
		}
	}
	cmd := exec.Command("/bin/sh", "-s")
	cmd.Stdin = strings.NewReader("payload() {\n" + text[from:to] + "\t}\n}\npayload\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return out
}

// TestWriteFile: sh writes the very bytes, whatever they are.
func TestWriteFile(t *testing.T) {
	every := make([]byte, 0, 255)
	for c := 1; c < 256; c++ {
		every = append(every, byte(c))
	}
	for _, data := range []string{
		"", "\n", "-n x", "--", "-", "%s%%", `\n\\`, "it's", "a\tb\r\n", "no newline", string(every), strings.Repeat("-", 2*printfChunk+1),
		strings.Repeat("x", printfChunk) + "-" + strings.Repeat("%", printfChunk) + "'1", "\x077", "\x001", "世界",
	} {
		if got := printed(t, []byte(data)); string(got) != data {
			t.Errorf("%.80q came out as %.80q", data, got)
		}
	}
}

// FuzzEscapePrintf: what sh's printf makes of it equals the input.
func FuzzEscapePrintf(f *testing.F) {
	for _, s := range []string{"", "-x", "%d", `\012`, "'", "\x7f\x80\xff", "\\", "a'b\n", "\x018"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.IndexByte(data, 0) >= 0 || len(data) > 3*printfChunk {
			return
		}
		if got := printed(t, data); !bytes.Equal(got, data) {
			t.Errorf("%q came out as %q", data, got)
		}
	})
}
