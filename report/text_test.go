package report

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fleet/audit"
	"fleet/kubelet"
)

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		pass, fail, unknown, na int
		want                    string
	}{
		{0, 0, 0, 0, "No hosts: nothing was checked."},
		{1, 0, 0, 0, "1 host passes."},
		{3, 0, 0, 0, "All 3 hosts pass."},
		{0, 1, 0, 0, "1 host FAILS."},
		{0, 3, 0, 0, "All 3 hosts FAIL."},
		{0, 0, 1, 0, "1 host is UNKNOWN: nothing could be told."},
		{0, 0, 3, 0, "All 3 hosts are UNKNOWN: nothing could be told."},
		{0, 0, 0, 2, "All 2 hosts are not applicable: nothing was checked."},
		{1, 1, 1, 0, "Of 3 hosts, 1 FAILS, 1 is UNKNOWN, 1 passes."},
		{117, 2, 4, 2, "Of 125 hosts, 2 FAIL, 4 are UNKNOWN, 117 pass, 2 are not applicable."},
		{118, 0, 0, 1, "Of 119 hosts, 118 pass, 1 is not applicable."},
	} {
		s := Summary{Total: c.pass + c.fail + c.unknown + c.na, Pass: c.pass, Fail: c.fail, Unknown: c.unknown, NotApplicable: c.na}
		if got := Verdict(s); got != c.want {
			t.Errorf("%+v: got %q, want %q", s, got, c.want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"plain text":                "plain text",
		"  trimmed \n":              "trimmed",
		"one   blank":               "one blank",
		"a\tb\r\nc\x00":             `a\tb\r\nc\x00`,
		"\x1b[31mred\x1b[0m":        `\x1b[31mred\x1b[0m`,
		"\u009b31m\u0085x":          `\u009b31m\u0085x`,
		"\x7f":                      `\x7f`,
		"bad \xff\xc3(":             `bad \xff\xc3(`,
		"\uFFFD is itself":          "\uFFFD is itself",
		"\u202egnp.exe\u2066":       `\u202egnp.exe\u2066`,
		"zero\u200bwidth\ufeff":     `zero\u200bwidth\ufeff`,
		"no\u00a0break\u2028x":      `no\u00a0break\u2028x`,
		"tag \U000e0041":            `tag \U000e0041`,
		"filler \u3164\u115f x":     `filler \u3164\u115f x`,
		"עברית":                     `\u05e2\u05d1\u05e8\u05d9\u05ea`,
		"grüße, 世界 “quoted” ✓":      "grüße, 世界 “quoted” ✓",
		"e\u0301\u0301\u0301":       "e\u0301\u0301\u0301",
		"e\u0301\u0301\u0301\u0301": `e` + "\u0301\u0301\u0301" + `\u0301`,
		strings.Repeat("x", 30):     strings.Repeat("x", 30),
		strings.Repeat("é", 31):     strings.Repeat("é", 30) + "...(62 bytes in all)",
		`C:\k\kubelet.exe \n`:       `C:\k\kubelet.exe \n`,
	} {
		if got := clean(in, 30); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestNewestBenchmarks(t *testing.T) {
	got := newestBenchmarks(map[string]string{
		"cis-aks-1.8": "3.2.6", "cis-aks-1.10": "3.2.9", "cis-aks-1.0": "3.2.7",
		"cis-kubernetes-1.12": "4.2.6", "plain": "1", "stig-v2": "x", "stig-v10": "y", "a-": "b",
	})
	want := []string{"a- b", "cis-aks-1.10 3.2.9", "cis-kubernetes-1.12 4.2.6", "plain 1", "stig-v2 x"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func heard(v any, kind kubelet.SourceKind, path string, line int) *audit.Witness {
	return &audit.Witness{Value: v, Source: kubelet.Source{Kind: kind, Path: path, Line: line}}
}

func TestValueAndPlace(t *testing.T) {
	dflt := heard(true, "default", "", 0)
	argv := heard(false, "flag", "/proc/99/cmdline", 0)
	env := heard(false, "flag", "/etc/default/kubelet", 3)
	file := heard(true, "file", "/k.yaml", 7)
	stuck := heard(nil, "flag", "/etc/default/kubelet", 3)
	for _, c := range []struct {
		name        string
		f           audit.Finding
		value, from string
	}{
		{"nothing heard", audit.Finding{Status: "unknown"}, "-", "-"},
		{"agreement", audit.Finding{Status: "pass", Running: dflt, Next: dflt}, "true", "default"},
		{"a flag is shown where it is written", audit.Finding{Status: "fail", Running: argv, Next: env}, "false", "flag /etc/default/kubelet:3"},
		{"restart pending blames the process", audit.Finding{Status: "fail", Running: argv, Next: file}, "now false, next true", "flag /proc/99/cmdline"},
		{"latent blames the disk", audit.Finding{Status: "fail", Running: dflt, Next: env}, "now true, next false", "flag /etc/default/kubelet:3"},
		{"a start that fails blames the disk", audit.Finding{Status: "fail", Running: dflt, Next: stuck}, "now true, next ?", "flag /etc/default/kubelet:3"},
		{"live disagrees", audit.Finding{Status: "fail", Running: dflt, Next: dflt, Live: heard(false, "file", "/k.yaml", 7)}, "now true, next true, live false", "file /k.yaml:7"},
		{"stopped", audit.Finding{Status: "unknown", Next: file}, "next true", "file /k.yaml:7"},
		{"running undetermined", audit.Finding{Status: "unknown", Running: stuck, Next: file}, "now ?, next true", "file /k.yaml:7"},
	} {
		if got := value(c.f); got != c.value {
			t.Errorf("%s: value %q, want %q", c.name, got, c.value)
		}
		if got := decidedBy(c.f, true).String(); got != c.from {
			t.Errorf("%s: from %q, want %q", c.name, got, c.from)
		}
	}
}

func TestReplaceWord(t *testing.T) {
	for _, c := range []struct{ in, word, want string }{
		{"node1", "node1", "X"},
		{"--limit node1", "node1", "--limit X"},
		{"node1: node1, (node1).", "node1", "X: X, (X)."},
		{"node10 node1", "node1", "node10 X"},
		{"my-node1 node1-a node1.example", "node1", "my-node1 node1-a node1.example"},
		{"a.node1", "node1", "a.node1"},
		{"azureuser@node1:22", "node1", "azureuser@X:22"},
		{"ends with node1.", "node1", "ends with X."},
		{"10.0.0.4:22 10.0.0.44 110.0.0.4", "10.0.0.4", "X:22 10.0.0.44 110.0.0.4"},
		{"node1node1", "node1", "node1node1"},
		{"/proc/12/cmdline /proc/123", "/proc/12", "X/cmdline /proc/123"},
		{"ünode1", "node1", "ünode1"},
		{"anything", "", "anything"},
	} {
		if got := replaceWord(c.in, c.word, "X"); got != c.want {
			t.Errorf("%q in %q: got %q, want %q", c.word, c.in, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  []string
	}{
		{"", 10, []string{""}},
		{"as it is, however long", 0, []string{"as it is, however long"}},
		{"one two three", 7, []string{"one two", "three"}},
		{"one two three", 3, []string{"one", "two", "thr", "ee"}},
		{"aks[01,02,03,04,05] x", 10, []string{"aks[01,02,", "03,04,05]", "x"}},
		{"世界世界", 5, []string{"世界", "世界"}},
		{"世界", 1, []string{"世", "界"}},
	} {
		got := wrap(c.in, c.width)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q at %d: got %q, want %q", c.in, c.width, got, c.want)
		}
	}
}

// TestEveryHostIsNamed: whatever is folded, no host that needs somebody is
// left out of the text, and every such line ends in what to do.
func TestEveryHostIsNamed(t *testing.T) {
	r := scattered(100)
	for _, o := range []TextOptions{{}, {Width: 80}, {Width: 40}} {
		for _, format := range []string{"table", "wide"} {
			words := map[string]bool{}
			for _, w := range strings.Fields(render(t, format, r, o)) {
				words[w] = true
			}
			for _, h := range r.Hosts {
				if !words[h.Name] && (h.Status != audit.StatusPass || format == "wide") {
					t.Errorf("%s at %d: no %s", format, o.Width, h.Name)
				}
			}
		}
	}
}

func TestGroups(t *testing.T) {
	gs := groups(big(1000))
	var got []string
	total := 0
	for _, g := range gs {
		total += len(g.hosts)
		got = append(got, string(g.hosts[0].Status)+" "+g.hosts[0].Reason)
	}
	want := []string{"fail flag-false", "fail file-false", "unknown timeout-connect", "unknown host-key-changed", "pass explicit", "pass default"}
	if !slices.Equal(got, want) || total != 1000 {
		t.Errorf("got %q with %d hosts, want %q with 1000", got, total, want)
	}
}

// TestFoldedPlaces: a folded line claims no more about where a value comes
// from than holds for all its hosts.
func TestFoldedPlaces(t *testing.T) {
	a, b := place{"file", "/a.yaml", 3}, place{"file", "/b.yaml", 3}
	elsewhere := place{"file", "/a.yaml", 4}
	for _, c := range []struct {
		from []place
		want string
	}{
		{[]place{a}, "file /a.yaml:3"},
		{[]place{a, a}, "file /a.yaml:3"},
		{[]place{a, elsewhere, a}, "file /a.yaml"},
		{[]place{a, b, a}, "file in 2 places"},
		{[]place{{}}, "-"},
	} {
		if got := (group{from: c.from}).place(); got != c.want {
			t.Errorf("%v: got %q, want %q", c.from, got, c.want)
		}
	}
}

// failing is a report of hosts that are held to true.
func failing(hosts []Host) Report { return Report{Hosts: hosts, Control: Control{Expected: true}} }

// TestFoldingTakesHostPartsOut: findings that differ in nothing but the host
// they are of share a line, those that differ otherwise do not.
func TestFoldingTakesHostPartsOut(t *testing.T) {
	host := func(name, address, hint, path string, pid int) Host {
		w := heard(false, "flag", path, 0)
		return Host{Name: name, Address: address, Finding: audit.Finding{
			Status: audit.StatusFail, Reason: "flag-false", Hint: hint, Running: w, Node: audit.Node{KubeletPID: pid},
		}}
	}
	same := []Host{
		host("n1", "10.0.0.1", "ssh 10.0.0.1, then fleet audit --limit n1", "/proc/17/cmdline", 17),
		host("n2", "10.0.0.2", "ssh 10.0.0.2, then fleet audit --limit n2", "/proc/18/cmdline", 18),
	}
	if gs := groups(failing(same)); len(gs) != 1 {
		t.Errorf("%d lines, want 1", len(gs))
	}
	other := host("n3", "10.0.0.3", "ssh 10.0.0.1, then fleet audit --limit n3", "/proc/17/cmdline", 17)
	if gs := groups(failing(append(same, other))); len(gs) != 2 {
		t.Errorf("%d lines, want 2: n3's hint names another host's address", len(gs))
	}
}

func TestTook(t *testing.T) {
	start := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0:                       "0s",
		4213 * time.Millisecond: "4.2s",
		451 * time.Second:       "7m31s",
		-time.Second:            "-",
	} {
		if got := took(Run{Started: start, Finished: start.Add(d)}); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestColourOnlyAdds(t *testing.T) {
	strip := strings.NewReplacer(sgrFail, "", sgrUnknown, "", sgrPass, "", sgrReset, "").Replace
	for _, r := range append(fixtures(t), big(100)) {
		for _, format := range []string{"table", "wide"} {
			for _, width := range []int{0, 40, 80, 200} {
				plain := render(t, format, r, TextOptions{Width: width})
				colored := render(t, format, r, TextOptions{Width: width, Color: true})
				if strip(colored) != plain {
					t.Errorf("%s of %d hosts at %d: colour changes the text", format, len(r.Hosts), width)
				}
				if strings.Contains(plain, "\x1b") {
					t.Errorf("%s of %d hosts at %d: escape sequences without colour", format, len(r.Hosts), width)
				}
			}
		}
	}
}

// poisoned is a report with s in every field that can hold text.
func poisoned(s string, n int) Report {
	w := &audit.Witness{Value: s, Source: kubelet.Source{Kind: kubelet.SourceKind(s), Path: s, Line: 3, Text: s}, Problem: s}
	statuses := []audit.Status{audit.StatusFail, audit.StatusUnknown, audit.StatusNotApplicable, audit.StatusPass, audit.Status(s)}
	hosts := make([]Host, n)
	for i := range hosts {
		hosts[i] = Host{
			Name: strings.Repeat("x", i) + s, Address: s, Labels: map[string]string{s: s},
			Finding: audit.Finding{
				Status: statuses[i%len(statuses)], Reason: s, Message: s, Hint: s,
				Running: w, Next: w, Live: w,
				Node:     audit.Node{Hostname: s, OS: s, BootID: s, KubeletVersion: s, KubeletPID: 7, Config: s, ConfigDir: s, Unit: s},
				Notes:    []string{s, s},
				Evidence: []audit.Evidence{{Command: s, Stdout: s}},
			},
			Change: &Change{Method: s, Outcome: Outcome(s), Reason: s, Message: s, Hint: s, Diff: s, Backup: s},
		}
	}
	return Report{
		Schema:  SchemaName,
		Run:     Run{ID: s, Command: s, Version: s, Inventory: s},
		Control: Control{ID: s, Title: s, Benchmarks: map[string]string{s: s}, Flag: s, Key: s, Expected: s},
		Summary: Summarise(hosts),
		Hosts:   hosts,
	}
}

// FuzzText puts a hostile text everywhere at once and holds every text format
// to what it promises of its lines.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "-", "plain", "FAIL     other-host  flag-false", "pass", "UNKNOWN\nFAIL x", "do next: nothing",
		"\x1b[2J\x1b]0;t\x07", "\u009b2J", "\x90q\x9c", "\u202e\u2066\u200f", "\xff\xfe", "a\r\nb\vc\fd\u0085e\u2028f\u2029g",
		strings.Repeat("A", 900), strings.Repeat("\u0301", 50), strings.Repeat("世", 300), strings.Repeat("a,", 400), "aks[0:3]", "%s%n%!d", `\`, "\t\"k\": false,",
	} {
		f.Add(s, 80, 3)
		f.Add(s, 0, 35)
		f.Add(s, 20, 2)
	}
	f.Fuzz(func(t *testing.T, s string, width, n int) {
		if n < 0 || n > 40 || width < 0 || width > 500 || len(s) > 100 && n > 3 || len(s) > 1000 {
			return
		}
		r := poisoned(s, n)
		for _, format := range []string{"table", "wide"} {
			checkText(t, r, format, render(t, format, r, TextOptions{Width: width}), width)
		}
		for _, format := range []string{"json", "ndjson"} {
			for c := range runes(t, render(t, format, r, TextOptions{})) {
				if c != '\n' && !printable(c) {
					t.Fatalf("%s lets %U through", format, c)
				}
			}
		}
	})
}

func runes(t *testing.T, s string) map[rune]bool {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Fatal("invalid UTF-8")
	}
	out := map[rune]bool{}
	for _, r := range s {
		out[r] = true
	}
	return out
}

func checkText(t *testing.T, r Report, format, text string, width int) {
	t.Helper()
	for c := range runes(t, text) {
		if c != '\n' && !printable(c) {
			t.Fatalf("%s lets %U through", format, c)
		}
	}
	rows, want := map[string]int{}, map[string]int{}
	for _, g := range rowsOf(r, format) {
		want[g]++
	}
	inTable := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		word, _, _ := strings.Cut(line, " ")
		switch {
		case line == "":
			inTable = false
		case word == "STATUS":
			inTable = true
		case inTable && word != "":
			rows[word]++
		case columnsOf(line) > width && width > 40:
			t.Fatalf("%s at %d: a line of %d columns: %q", format, width, columnsOf(line), line)
		}
	}
	if !maps.Equal(rows, want) {
		t.Fatalf("%s at %d: rows %v, want %v:\n%s", format, width, rows, want, text)
	}
	advice := strings.Count(strings.Join(strings.Fields(text), " "), nextLabel+": ")
	if troubled := len(rowsOf(r, format)) - want["pass"]; advice < troubled && (width == 0 || width > 40) {
		t.Fatalf("%s at %d: %d rows that are no pass, %d of them say what to do next:\n%s", format, width, troubled, advice, text)
	}
}

// rowsOf are the status words of the rows a format must have.
func rowsOf(r Report, format string) []string {
	var out []string
	if format == "table" && len(r.Hosts) > foldAbove {
		for _, g := range groups(r) {
			out = append(out, statusWord(g.hosts[0].Status))
		}
		return out
	}
	for _, h := range r.Hosts {
		out = append(out, statusWord(h.Status))
	}
	return out
}

func BenchmarkWriters5000(b *testing.B) {
	r := big(5000)
	for _, f := range Formats() {
		b.Run(f.Name, func(b *testing.B) {
			for b.Loop() {
				if err := f.Write(io.Discard, r, TextOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("wide-80", func(b *testing.B) {
		for b.Loop() {
			if err := WriteWide(io.Discard, r, TextOptions{Width: 80}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
