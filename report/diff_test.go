package report

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// flags is a line of an environment file, as long as they are on AKS.
func flags(setting, behind string) string {
	return "KUBELET_FLAGS=--address=0.0.0.0 " + strings.Repeat("--feature-of-the-node=enabled ", 22) + "--make-iptables-util-chains=" + setting + behind
}

// TestDiffShowsWhatChanges: of lines that are too long the difference is seen,
// with the beginning of the line and what stands around the change.
func TestDiffShowsWhatChanges(t *testing.T) {
	const around = "led --feature-of-the-node=enabled --make-iptables-util-chains="
	head := "KUBELET_FLAGS=--address=0.0.0.0...("
	long := strings.Repeat("x", maxMessage+1)
	for _, c := range []struct {
		name string
		diff string
		want []string // a part of each line
		lost string   // what no line may hold
	}{
		{"short lines stay whole", "-a: false\n+a: true\n b\n", []string{"-a: false", "+a: true", " b"}, "..."},
		{"at the end", "-" + flags("false", "") + "\n+" + flags("true", "") + "\n", []string{around + "false", around + "true"}, "in all"},
		{"in the middle", "-" + flags("false", " "+long) + "\n+" + flags("true", " "+long) + "\n",
			[]string{around + "false " + strings.Repeat("x", 60), around + "true " + strings.Repeat("x", 60)}, "in all"},
		{"the beginning is told", "-" + flags("false", "") + "\n+" + flags("true", "") + "\n", []string{"-" + head, "+" + head}, ""},
		{"at the beginning", "-a" + long + "\n+b" + long + "\n", []string{"-axxx", "+bxxx"}, long},
		{"only one is too long", "-" + flags("", "")[:300] + "\n+" + flags("true", "") + "\n", []string{"-" + head, "util-chains=true"}, "in all"},
		{"the second of two pairs", "-a\n-" + flags("false", "") + "\n+b\n+" + flags("true", "") + "\n", []string{"-a", around + "false", "+b", around + "true"}, "in all"},
		{"no newline at the end", "-" + flags("false", "") + "\n\\ No newline at end of file\n+" + flags("true", "") + "\n\\ No newline at end of file\n",
			[]string{around + "false", "\\ No", around + "true", "\\ No"}, "in all"},
		{"without a partner", "-" + long + "\n a\n+" + long + "\n", []string{"bytes in all)", " a", "bytes in all)"}, ")..."},
		{"more taken away than put", "-" + flags("false", "") + "\n-" + long + "\n+" + flags("true", "") + "\n", []string{around + "false", "bytes in all)", around + "true"}, ""},
		{"one pair after another", "-" + flags("false", "") + "\n+" + flags("true", "") + "\n-" + flags("0", "") + "\n+" + flags("1", "") + "\n",
			[]string{around + "false", around + "true", around + "0", around + "1"}, "in all"},
		{"a long difference shows both its ends", "-A" + strings.Repeat("y", 900) + "B" + long + "\n+C" + strings.Repeat("z", 900) + "D" + long + "\n",
			[]string{"yyyBxxx", "zzzDxxx"}, "in all"},
		{"not within a character", "-" + strings.Repeat("世", 500) + "a\n+" + strings.Repeat("世", 500) + "b\n", []string{"世世a", "世世b"}, `\x`},
		{"two characters that begin alike", "-" + long + "世\n+" + long + "丗\n", []string{"xxx世", "xxx丗"}, `\x`},
		{"hostile", "-" + long + "\x1b[2J\n+" + long + "\u202e\n", []string{`xxx\x1b[2J`, `xxx\u202e`}, "\x1b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := diffBlock(c.diff)
			if len(got) != len(c.want) {
				t.Fatalf("%d lines, want %d: %q", len(got), len(c.want), got)
			}
			for i, line := range got {
				if !strings.Contains(line, c.want[i]) || c.lost != "" && strings.Contains(line, c.lost) {
					t.Errorf("line %d is %q, want %q in it and no %q", i, line, c.want[i], c.lost)
				}
			}
		})
	}
}

// TestLongDiffInEveryText: the plan and the wide format show the change, and
// JSON keeps the lines whole.
func TestLongDiffInEveryText(t *testing.T) {
	r := planned()
	before, after := flags("false", ""), flags("true", "")
	diff := "--- /etc/default/kubelet\n+++ /etc/default/kubelet (planned)\n@@ -1 +1 @@\n-" + before + "\n+" + after + "\n"
	for i := range r.Hosts {
		r.Hosts[i].Change = &Change{Method: "args", Outcome: OutcomePlanned, Diff: diff}
	}
	for name, format := range map[string]Format{"plan": {Write: WritePlan}, "wide": formatOf(t, "wide"), "json": formatOf(t, "json")} {
		var b strings.Builder
		if err := format.Write(&b, r, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if whole := strings.Contains(b.String(), after); whole != (name == "json") {
			t.Errorf("%s: the whole line is there: %v", name, whole)
		}
		for _, want := range []string{"--make-iptables-util-chains=false", "--make-iptables-util-chains=true"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s does not show %s:\n%s", name, want, b.String())
			}
		}
	}
}

func formatOf(t *testing.T, name string) Format {
	t.Helper()
	f, err := FormatNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// FuzzExcerpt: whatever the lines are, an excerpt is bounded and safe to show,
// and the first character that differs is seen in it.
func FuzzExcerpt(f *testing.F) {
	f.Add("a", "false", "true", "b", 300, 300)
	f.Add("", "", "x", "", 0, 0)
	f.Add("世", "丗", "世", "\u0301", 500, 3)
	f.Add("\x1b[2J", "\xff\xfe", "\r\n", "\u202e", 41, 600)
	f.Add("ab ", "", "", " c", 900, 900)
	f.Fuzz(func(t *testing.T, head, was, now, tail string, n, m int) {
		if n < 0 || n > 1000 || m < 0 || m > 1000 || len(head)+len(tail) > 64 || len(was)+len(now) > 4000 {
			return
		}
		before := "-" + strings.Repeat(head, n) + was + strings.Repeat(tail, m)
		after := "+" + strings.Repeat(head, n) + now + strings.Repeat(tail, m)
		for _, pair := range [][2]string{{before, after}, {after, before}} {
			from, to := difference(pair[0], pair[1])
			rest := pair[0][to:]
			if from < 1 || to < from || pair[0][1:from] != pair[1][1:from] || !strings.HasSuffix(pair[1][from:], rest) {
				t.Fatalf("%q differs in [%d:%d] from %q", pair[0], from, to, pair[1])
			}
			got := excerpt(pair[0], pair[1])
			for c := range runes(t, got) {
				if !printable(c) {
					t.Fatalf("%U gets through", c)
				}
			}
			if got[0] != pair[0][0] {
				t.Fatalf("%q has lost its sign", got)
			}
			// The longest escape of a byte has four characters, of a longer
			// character ten.
			if shown := utf8.RuneCountInString(got); shown > 4*(excerptHead+2*excerptContext+2*excerptChange+6*excerptGap) {
				t.Fatalf("%d characters: %q", shown, got)
			}
			if seen := cleanLine(pair[0][from:runeEnd(pair[0], from)], 1); !strings.Contains(got, seen) {
				t.Fatalf("%q is not seen in %q", seen, got)
			}
		}
	})
}

// runeEnd is where the character that begins at i ends.
func runeEnd(s string, i int) int {
	_, n := utf8.DecodeRuneInString(s[i:])
	return i + n
}

// TestPartners pairs the lines of a diff.
func TestPartners(t *testing.T) {
	for diff, want := range map[string][]int{
		"":                     {-1},
		"- +":                  {1, 0},
		"- - +":                {2, -1, 0},
		"- + +":                {1, 0, -1},
		"- \\ + \\":            {2, -1, 0, -1},
		"- = +":                {-1, -1, -1},
		"+ -":                  {-1, -1},
		"- + - +":              {1, 0, 3, 2},
		"- - + + = - +":        {2, 3, 0, 1, -1, 6, 5},
		"--- +++ @@ -a +b c -": {1, 0, -1, 4, 3, -1, -1},
	} {
		if got := partners(strings.Split(diff, " ")); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", diff, got, want)
		}
	}
}
