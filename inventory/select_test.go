package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fleetOf is an inventory with two pools, zones and an odd host.
func fleetOf(t testing.TB) *Inventory {
	t.Helper()
	inv, err := Parse("nodes.yaml", []byte(`
groups:
  np1: {labels: {agentpool: np1}, hosts: ["aks-np1-vmss00000[8:b]"]}
  np2: {labels: {agentpool: np2, os: linux}, hosts: ["aks-np2-vmss00000[0:1]"]}
hosts:
  - {name: Web1, address: 10.0.0.1, labels: {zone: "1", role: front-end}}
  - {name: v6, address: "fd00::6", labels: {zone: "2"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func testSources() Sources {
	files := map[string]string{
		"names":   "\ufeff# comment\r\n\r\n aks-np1-vmss000008 # one\r\naks-np2-vmss00000[0:1]\r\nnode/web1\r\nv?\n",
		"bad":     "aks-np1-vmss000008\nnobody\naks-np1-vmss00000[zz\n",
		"empty":   "# nothing\n",
		"long":    strings.Repeat("x", 1<<20),
		"nested":  "@names\n",
		"exclude": "!web1\n",
	}
	return Sources{
		ReadFile: func(path string) ([]byte, error) {
			if s, ok := files[path]; ok {
				return []byte(s), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
		Run: func(id, status string) ([]string, error) {
			switch id + "/" + status {
			case "r1/failed":
				return []string{"aks-np1-vmss000009", "WEB1"}, nil
			case "r1/unknown":
				return nil, nil
			case "r2/failed":
				return []string{"web1", "gone-vmss000008", "gone-vmss000009", "gone-vmss00000a"}, nil
			}
			return nil, errors.New("no such run")
		},
	}
}

func TestSelect(t *testing.T) {
	all := "np1-8 np1-9 np1-a np1-b np2-0 np2-1 Web1 v6"
	tests := []struct{ patterns, want string }{
		{"", all},
		{"*", all},
		{"all", all},
		{"aks-np1-vmss00000a", "np1-a"},
		{"web1", "Web1"},
		{"AKS-NP1-VMSS00000A", "np1-a"},
		{"10.0.0.1", "Web1"},
		{"fd00:0::6", "v6"},
		{"[fd00::6]", "v6"},
		{"np1", "np1-8 np1-9 np1-a np1-b"},
		{"v6 np2", "np2-0 np2-1 v6"},
		{"v6, np2,v6", "np2-0 np2-1 v6"},
		{"aks-np*", "np1-8 np1-9 np1-a np1-b np2-0 np2-1"},
		{"aks-np?-vmss000000", "np2-0"},
		{"aks-np?-vmss00000[0:8]", "np1-8 np2-0 np2-1"},
		{"aks-np1-vmss00000[0:a]", "np1-8 np1-9 np1-a"},
		{"aks-np1-vmss00000[8,a:z]", "np1-8 np1-a np1-b"},
		{"agentpool=np2", "np2-0 np2-1"},
		{"agentpool=np*", "np1-8 np1-9 np1-a np1-b np2-0 np2-1"},
		{"zone=?", "Web1 v6"},
		{"role=front-end", "Web1"},
		{"@names", "np1-8 np2-0 np2-1 Web1 v6"},
		{"run:r1:failed", "np1-9 Web1"},
		{"!np1", "np2-0 np2-1 Web1 v6"},
		{"!np1,!zone=*", "np2-0 np2-1"},
		{"!aks-np1-vmss00000[9:b] np1", "np1-8"},
		{"all,!@names", "np1-9 np1-a np1-b"},
		{"!run:r1:failed,np1", "np1-8 np1-a np1-b"},
		{"! np1 , np1 , v6", "v6"},
	}
	inv := fleetOf(t)
	for _, tt := range tests {
		got, err := inv.Select(patternsOf(tt.patterns), testSources())
		if err != nil {
			t.Errorf("%q: %v", tt.patterns, err)
			continue
		}
		var names []string
		for _, h := range got {
			names = append(names, strings.Replace(strings.TrimPrefix(h.Name, "aks-"), "vmss00000", "", 1))
		}
		if s := strings.Join(names, " "); s != tt.want {
			t.Errorf("%q: got %s, want %s", tt.patterns, s, tt.want)
		}
	}
}

// patternsOf makes several --limit flags of a text: a space before a letter
// begins the next flag.
func patternsOf(s string) []string {
	if s == "" {
		return nil
	}
	if strings.Contains(s, " , ") || strings.Contains(s, ", ") {
		return []string{s}
	}
	return strings.Split(s, " ")
}

func TestSelectErrors(t *testing.T) {
	tests := []struct {
		patterns []string
		want     []string
	}{
		{[]string{"aks-np1-vmss00000c"}, []string{`"aks-np1-vmss00000c" is neither a host nor a group`, "did you mean aks-np1-vmss000008, aks-np1-vmss000009, aks-np1-vmss00000a?"}},
		{[]string{"np3"}, []string{"did you mean np1, np2?"}},
		{[]string{"2"}, []string{"did you mean zone=2?"}},
		{[]string{"completely-else"}, []string{"nodes.yaml has 8 hosts", "aks-np1-vmss000008"}},
		{[]string{"!np3"}, []string{"np3", "np1"}},
		{[]string{"", "np1"}, []string{"empty"}},
		{[]string{"np1,"}, []string{"empty"}},
		{[]string{"!"}, []string{"empty"}},
		{[]string{"!!np1"}, []string{"more than one !"}},
		{[]string{"np1", "!np1"}, []string{"leaves no host"}},
		{[]string{"!*"}, []string{"leaves no host"}},
		{[]string{"nope-*"}, []string{`"nope-*" matches no host`}},
		{[]string{"aks-np1-vmss00000[0:7]"}, []string{"lies in the range"}},
		{[]string{"aks-np1-vmss00000[8-9]"}, []string{"dash", "[8:9]"}},
		{[]string{"aks-*[1-2]"}, []string{"[1:2]"}},
		{[]string{"agentpool=np3"}, []string{`no host has the label "agentpool=np3"`, "did you mean np1, np2?"}},
		{[]string{"agentpol=np1"}, []string{`no host has a label "agentpol"`, "did you mean agentpool?"}},
		{[]string{"zone="}, []string{"no host has the label"}},
		{[]string{"@"}, []string{"is empty"}},
		{[]string{"@a\x1bb"}, []string{"control character"}},
		{[]string{"@missing"}, []string{"missing: cannot read the file of host names: file does not exist"}},
		{[]string{"@bad"}, []string{`bad:2: "nobody" is neither`, "bad:3: the ranges of"}},
		{[]string{"@empty"}, []string{"empty"}},
		{[]string{"@long"}, []string{"long:1: the line is too long"}},
		{[]string{"@nested"}, []string{"nested:1:"}},
		{[]string{"@exclude"}, []string{"exclude:1:"}},
		{[]string{"run:r1"}, []string{"run:ID:STATUS"}},
		{[]string{"run::failed"}, []string{"run:ID:STATUS"}},
		{[]string{"run:r3:failed"}, []string{"no such run"}},
		{[]string{"run:r1:unknown"}, []string{"no host of the run has this status"}},
		{[]string{"run:r2:failed"}, []string{"names 3 hosts", "gone-vmss00000[8:a]"}},
		{[]string{"nobody", "nothing"}, []string{"nobody", "nothing"}},
	}
	inv := fleetOf(t)
	for _, tt := range tests {
		got, err := inv.Select(tt.patterns, testSources())
		if err == nil {
			t.Errorf("%q: no error, but %d hosts", tt.patterns, len(got))
			continue
		}
		requireErrors(t, err)
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: got %v, want %q in it", tt.patterns, err, want)
			}
		}
	}
}

// TestSelectWithoutSources refuses what the caller gave no means for.
func TestSelectWithoutSources(t *testing.T) {
	for _, pattern := range []string{"@names", "run:r1:failed"} {
		if _, err := fleetOf(t).Select([]string{pattern}, Sources{}); err == nil {
			t.Errorf("%s: no error", pattern)
		}
	}
}

// TestSelectGroupAll gives a pool named all precedence over the word.
func TestSelectGroupAll(t *testing.T) {
	inv := &Inventory{Hosts: []Host{{Name: "a", Address: "a", Groups: []string{"all"}}, {Name: "b", Address: "b"}}}
	got, err := inv.Select([]string{"all"}, Sources{})
	if err != nil || len(got) != 1 || got[0].Name != "a" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestSelectFolded pastes what Fold prints into a selection.
func TestSelectFolded(t *testing.T) {
	inv := fleetOf(t)
	var names []string
	for _, h := range inv.Hosts[1:] {
		names = append(names, h.Name)
	}
	got, err := inv.Select([]string{strings.Join(Fold(names), ",")}, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(inv.Hosts[1:], got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWildcard(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"a*", "abc", true}, {"*c", "abc", true},
		{"a*c", "abcbc", true}, {"a?c", "abc", true}, {"a?c", "ac", false}, {"**", "x", true},
		{"*b*d", "abcd", true}, {"*b*d", "abc", false}, {"a", "ab", false}, {"[a]", "a", false},
	}
	for _, tt := range tests {
		if got := wildcard(tt.pattern, tt.text); got != tt.want {
			t.Errorf("wildcard(%q, %q) = %v", tt.pattern, tt.text, got)
		}
	}
	if wildcard(strings.Repeat("*a", 2000)+"b", strings.Repeat("a", 20000)) {
		t.Error("matched")
	}
}

func TestEditDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1}, {"abcd", "badc", 3}, {"a", "xyz", 3}}
	for _, tt := range tests {
		if got := editDistance(tt.a, tt.b, 3); got != tt.want {
			t.Errorf("%q %q: %d", tt.a, tt.b, got)
		}
		if got := editDistance(tt.b, tt.a, 3); got != tt.want {
			t.Errorf("%q %q: %d", tt.b, tt.a, got)
		}
		if got := editDistance(tt.a, tt.b, 1); min(got, 2) != min(tt.want, 2) {
			t.Errorf("%q %q within 1: %d", tt.a, tt.b, got)
		}
	}
}

func TestGroupNames(t *testing.T) {
	if diff := cmp.Diff([]string{"np1", "np2"}, fleetOf(t).GroupNames()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func FuzzSelect(f *testing.F) {
	for _, s := range []string{"np1", "!np1", "aks-np?-vmss00000[0:8]", "zone=*", "@names", "run:r1:failed", "a,b\n!c", "[fd00::6]", "all,!web1", "*[1:9]*"} {
		f.Add(s)
	}
	inv := fleetOf(f)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := inv.Select(strings.Split(s, "\n"), testSources())
		if err != nil {
			requireErrors(t, err)
			return
		}
		if len(got) == 0 {
			t.Fatalf("%q selects nothing without an error", s)
		}
		// A subsequence of the inventory: every host once, in its order.
		next := 0
		for _, h := range got {
			i := slices.IndexFunc(inv.Hosts[next:], func(o Host) bool { return o.Name == h.Name })
			if i < 0 {
				t.Fatalf("%q: %s is out of order or twice", s, h.Name)
			}
			next += i + 1
		}
		requireExclusionWins(t, inv, s, got)
	})
}

// requireExclusionWins turns every pattern of a selection into an exclusion:
// nothing that was chosen may then remain.
func requireExclusionWins(t *testing.T, inv *Inventory, s string, chosen []Host) {
	t.Helper()
	if strings.Contains(s, "!") {
		return
	}
	excluded := strings.Split(s, "\n")
	for i, p := range excluded {
		parts := splitPatterns(p)
		for j := range parts {
			parts[j] = "!" + parts[j]
		}
		excluded[i] = strings.Join(parts, ",")
	}
	rest, err := inv.Select(append(excluded, "*"), testSources())
	if err != nil {
		if len(chosen) != len(inv.Hosts) {
			t.Fatalf("%q excluded: %v", s, err)
		}
		return
	}
	if len(rest)+len(chosen) != len(inv.Hosts) {
		t.Fatalf("%q selects %d, excluded leaves %d of %d", s, len(chosen), len(rest), len(inv.Hosts))
	}
}

func BenchmarkSelect(b *testing.B) {
	inv := &Inventory{}
	for i := range 5000 {
		name := fmt.Sprintf("aks-np1-12345678-vmss%06d", i)
		inv.Hosts = append(inv.Hosts, Host{Name: name, Address: name, Groups: []string{"np1"}})
	}
	for b.Loop() {
		if _, err := inv.Select([]string{"aks-np1-12345678-vmss00[0000:0999]", "aks-*9", "np1", "!aks-np1-12345678-vmss000007"}, Sources{}); err != nil {
			b.Fatal(err)
		}
	}
}
