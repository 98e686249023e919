package inventory

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpand(t *testing.T) {
	tests := []struct{ in, want string }{
		{"web", "web"},
		{"", ""},
		{"node[1:3]", "node1 node2 node3"},
		{"node[8:11]", "node8 node9 node10 node11"},
		{"node[08:11]", "node08 node09 node10 node11"},
		{"node[000:002]", "node000 node001 node002"},
		{"node[0:10:5]", "node0 node5 node10"},
		{"node[0:9:4]", "node0 node4 node8"},
		{"node[3:3]", "node3"},
		{"node[1,3:4,9]", "node1 node3 node4 node9"},
		{"node[09,0a]", "node09 node0a"},
		{"vmss00000[8:b]", "vmss000008 vmss000009 vmss00000a vmss00000b"},
		{"vmss0000[0y:11]", "vmss00000y vmss00000z vmss000010 vmss000011"},
		{"vmss0000[09:11]", "vmss000009 vmss000010 vmss000011"},
		{"n[a:e:2]", "na nc ne"},
		{"[a:c].example.net", "a.example.net b.example.net c.example.net"},
		{"r[1:2]n[01:02]", "r1n01 r1n02 r2n01 r2n02"},
		{"10.0.0.[9:11]", "10.0.0.9 10.0.0.10 10.0.0.11"},
		{"node[99999999999999999:99999999999999999]", "node99999999999999999"},
		{"az[1:2][a:b]", "az1a az1b az2a az2b"},
	}
	for _, tt := range tests {
		got, err := Expand(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, s, tt.want)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	tests := []struct{ in, want string }{
		{"node[1:3", "without its ]"},
		{"node1:3]", "without its ["},
		{"node[[1:3]]", "neither a number"},
		{"node[]", "low:high"},
		{"node[5]", "low:high"},
		{"node[1-3]", "write [1:3]"},
		{"node[1-3,5]", "dash"},
		{"node[:3]", "empty end"},
		{"node[1:]", "empty end"},
		{"node[1,]", "empty end"},
		{"node[3:1]", "backwards"},
		{"node[b:8]", "backwards"},
		{"node[1:3:0]", "step"},
		{"node[1:3:-1]", "step"},
		{"node[1:3:a]", "step"},
		{"node[1:3:1:1]", "more than low:high:step"},
		{"node[A:C]", "lower case"},
		{"node[01:100]", "differ in length"},
		{"node[z:10]", "equally long"},
		{"vmss00000[8:12]", "unequal length"},
		{"node[8:12]0", "unequal length"},
		{"r[1:2][8:12]", "unequal length"},
		{"r[8:12][1:2]", "unequal length"},
		{"node[1:100001]", "more than 100000"},
		{"node[0:999999999999999999]", "more than 100000"},
		{"node[0:9999999999999999999]", "longer than 18"},
		{"node[0:zzzzzzzzzzzzz]", "longer than 12"},
		{"node[1:2]" + strings.Repeat("x", maxPattern), "bytes"},
		{"n[1:9][1:9][1:9][1:9][1:9][1:9][1:9][1:9]", "more than 100000"},
	}
	for _, tt := range tests {
		got, err := Expand(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: got %v, %v; want an error with %q", tt.in, got, err, tt.want)
		}
	}
}

func TestFold(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"web", "web"},
		{"web1", "web1"},
		{"web1 web2 web3", "web[1:3]"},
		{"web3 web1 web2 web1", "web[1:3]"},
		{"web9 web10 web11", "web[9:11]"},
		{"web08 web09 web10 web11", "web[08:11]"},
		{"web008 web009", "web00[8:9]"},
		{"web8 web08 web9 web09", "web[8:9] web0[8:9]"},
		{"web1 web2 db web4", "web[1:2,4] db"},
		{"web1.example.net web2.example.net", "web[1:2].example.net"},
		{"ip-10-0-0-1.us-east-1.internal ip-10-0-0-2.us-east-1.internal", "ip-10-0-0-[1:2].us-east-1.internal"},
		{"a.dc1 a.dc2", "a.dc[1:2]"},
		{"10.0.0.9 10.0.0.10 10.0.1.9", "10.0.0.[9:10] 10.0.1.9"},
		{"fd00::1 fd00::2", "fd00::1 fd00::2"},
		{"p-vmss000008 p-vmss000009 p-vmss00000a p-vmss00000b", "p-vmss00000[8:b]"},
		{"p-vmss000000 p-vmss00000a", "p-vmss00000[0,a]"},
		{"p-vmss00000z p-vmss000010 p-vmss000011", "p-vmss0000[0z:11]"},
		{"akswin00000y akswin00000z akswin000010", "akswin0000[0y:10]"},
		{"aksnp1000009 aksnp100000a", "aksnp100000[9:a]"},
		{"p-vmss000009 p-vmss000010", "p-vmss0000[09:10]"},
		{"v-vmssabcdef", "v-vmssabcdef"},
		{"a[1:2] a1", "a[1:2] a1"},
	}
	for _, tt := range tests {
		got := Fold(strings.Fields(tt.in))
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, s, tt.want)
		}
	}
}

// TestFoldBase36Run folds a run whose ends are digits only though letters lie
// between: as one range it would read as decimal.
func TestFoldBase36Run(t *testing.T) {
	var names []string
	for v := int64(9); v <= 75; v++ {
		s := strconv.FormatInt(v, 36)
		names = append(names, "p-vmss"+strings.Repeat("0", 6-len(s))+s)
	}
	names = append(names, "p-vmss000024") // 76 in base 36
	got := Fold(names)
	if diff := cmp.Diff([]string{"p-vmss0000[09:1z,20:24]"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	requireFold(t, names)
}

// requireFold checks the promise of Fold: expanding gives exactly the set.
func requireFold(t testing.TB, names []string) {
	t.Helper()
	var got []string
	for _, pattern := range Fold(names) {
		expanded, err := Expand(pattern)
		if err != nil {
			t.Fatalf("Fold(%q) gives %q: %v", names, pattern, err)
		}
		got = append(got, expanded...)
	}
	want := slices.Clone(names)
	slices.Sort(want)
	want = slices.Compact(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Fatalf("names %q fold to %q, which expand to %q", want, Fold(names), got)
	}
}

// TestFoldProperty folds random sets from dense families of names, where the
// ways to count meet.
func TestFoldProperty(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	shapes := []func(v int64) string{
		func(v int64) string { return "p-vmss" + pad(strconv.FormatInt(v, 36), 6) },
		func(v int64) string { return "p-vmss" + pad(strconv.FormatInt(v, 10), 6) },
		func(v int64) string { return "aksnp1" + pad(strconv.FormatInt(v, 36), 6) },
		func(v int64) string { return "n" + strconv.FormatInt(v, 10) },
		func(v int64) string { return "n" + pad(strconv.FormatInt(v, 10), 2) },
		func(v int64) string { return "n" + pad(strconv.FormatInt(v, 10), 3) + ".x" },
		func(v int64) string { return "10.0." + strconv.FormatInt(v%3, 10) + "." + strconv.FormatInt(v, 10) },
	}
	for range 2000 {
		var names []string
		for range r.IntN(60) {
			names = append(names, shapes[r.IntN(len(shapes))](r.Int64N(130)))
		}
		requireFold(t, names)
	}
}

func pad(s string, width int) string {
	return strings.Repeat("0", max(0, width-len(s))) + s
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"a[1:3]", "vmss00000[8:b]", "a[01:10:3]b[a:c]", "a[1,3:5]", "[::1]", "a[09:0z,10]", "a[1:2][3:4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		names, err := Expand(s)
		if err != nil {
			return
		}
		if len(names) == 0 || len(names) > MaxHosts {
			t.Fatalf("%q gives %d names", s, len(names))
		}
		for _, name := range names {
			if strings.ContainsAny(name, "[]") {
				t.Fatalf("%q leaves a bracket in %q", s, name)
			}
		}
		if len(names) <= 1000 {
			requireFold(t, names)
		}
	})
}

func FuzzFold(f *testing.F) {
	f.Add("p-vmss000008 p-vmss00000b web1 web2 web02 10.0.0.1")
	f.Add("n9 n10 n010 n099 n100 n1.2 n2.2 aksnp1zzzzzz aksnp2000000")
	f.Add("vmss000009 vmss00000a vmss00000z vmss000010 vmss000100")
	f.Fuzz(func(t *testing.T, s string) {
		names := slices.DeleteFunc(strings.Fields(s), func(n string) bool { return strings.ContainsAny(n, "[]") })
		requireFold(t, names)
	})
}
