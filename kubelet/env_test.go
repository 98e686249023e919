package kubelet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEnvFile takes what systemd's own load_env_file() made of these files;
// each value is given with the line its name stands on.
func TestEnvFile(t *testing.T) {
	cases := []struct {
		name, data string
		want       []string
	}{
		{"plain", "A=1\nB=2", []string{"A=1@1", "B=2@2"}},
		{"blanks", "  A = x y \t\n", []string{"A=x y@1"}},
		{"quoted", "A=\"x y \" \nB=' z '\n", []string{"A=x y @1", "B= z @2"}},
		{"quotes joined", "A=\"x\" 'y'  z\n", []string{"A=xyz@1"}},
		{"quotes inside are plain", "A=x\"y z\"\n", []string{`A=x"y z"@1`}},
		{"open quote runs to the end", "A=\"x\nB=2\n", []string{"A=x\nB=2\n@1"}},
		{"comments", "# A=1\n;B=2\n C=3 # not one\n", []string{"C=3 # not one@3"}},
		{"continuation", "A=x \\\n  y\nB=2\n", []string{"A=x   y@1", "B=2@3"}},
		{"continuation in quotes", "A=\"x \\\ny\"\nB='x \\\ny'\n", []string{"A=x y@1", "B=x \\\ny@3"}},
		{"escapes", `A=a\bc\"d` + "\n" + `B="a\bc\"d\$e"` + "\n" + `C='a\b'` + "\n", []string{`A=abc"d@1`, `B=a\bc"d$e@2`, `C=a\b@3`}},
		{"blanks before a continuation stay", "A=x  \\\n\nB=2\n", []string{"A=x  @1", "B=2@3"}},
		{"crlf", "A=1\r\nB=\"2\"\r\n", []string{"A=1@1", "B=2@2"}},
		{"lone cr ends a line", "A=1\rB=2\r", []string{"A=1@1", "B=2@2"}},
		{"no value", "A=\nB\nC\n=x\n", []string{"A=@1"}},
		{"export is part of the name", "export A=1\n", []string{"export A=1@1"}},
		{"= in a value", "A=b=c\n", []string{"A=b=c@1"}},
		{"byte order mark is part of the name", "\ufeffA=1\n", []string{"\ufeffA=1@1"}},
		{"no expansion", "A=$B ${C} `d` %n\n", []string{"A=$B ${C} `d` %n@1"}},
		{"backslash at the end", "A=x\\", []string{"A=x@1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, failure := envParse("/e", []byte(c.data), false)
			var got []string
			for _, e := range p.entries {
				got = append(got, fmt.Sprintf("%s=%s@%d", e.name, e.value, e.value.source().Line))
			}
			if diff := cmp.Diff(c.want, got); diff != "" || failure != "" {
				t.Errorf("%q: %s (-want +got):\n%s", c.data, failure, diff)
			}
		})
	}
}

func TestEnvGlob(t *testing.T) {
	cases := []struct {
		pattern, path string
		want          bool
	}{
		{"/e/*.env", "/e/a.env", true},
		{"/e/*.env", "/e/.a.env", false},
		{"/e/.*.env", "/e/.a.env", true},
		{"/e/*", "/e/d/a", false},
		{"/*/a", "/e/a", true},
		{"/e/?[0-9]", "/e/x7", true},
		{"/e/?[!0-9]", "/e/x7", false},
		{"/e/[]x]", "/e/]", true},
		{"/e/[x", "/e/[x", true},
		{"/e/a*b*c", "/e/axxbxbxc", true},
		{"/e/a*b*c", "/e/axxbxbx", false},
		{`/e/\*`, "/e/*", true},
		{`/e/\*`, "/e/a", false},
	}
	for _, c := range cases {
		if got := envGlob(c.pattern, c.path); got != c.want {
			t.Errorf("envGlob(%q, %q) = %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
}

// FuzzEnvFile reads any file: every byte of a value stands on a line of the
// file, in order, and nothing is longer than what it came from.
func FuzzEnvFile(f *testing.F) {
	f.Add([]byte("A=\"x \\\n y\" 'z'\nB=a\\\nb # c\n# d\\\nC=1\r\n"), true)
	f.Add([]byte("export A=1\r=\n\"=\\"), false)
	f.Fuzz(func(t *testing.T, data []byte, commentsGoOn bool) {
		p, _ := envParse("/e", data, commentsGoOn)
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		total := 0
		for _, e := range p.entries {
			total += len(e.name) + len(e.value.b) + 1
			last := e.value.begin
			for i, at := range e.value.at {
				if at.start() < last || at.end() > len(data) || data[at.end()-1] != e.value.b[i] {
					t.Fatalf("%q: byte %d at %d to %d after %d", data, i, at.start(), at.end(), last)
				}
				last = at.start()
			}
			if src := e.value.source(); src.Line > lines || !strings.Contains(string(data), src.Text) {
				t.Fatalf("%q: source %q is not in it", data, src.Text)
			}
		}
		if total > len(data) {
			t.Fatalf("%q: %d bytes of variables out of %d", data, total, len(data))
		}
		again, _ := envParse("/e", data, commentsGoOn)
		if diff := cmp.Diff(p.entries, again.entries, cmp.AllowUnexported(envEntry{}, unitText{}, unitFile{})); diff != "" {
			t.Fatalf("%q: two runs differ:\n%s", data, diff)
		}
	})
}
