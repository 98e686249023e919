package remediate

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShareOf(t *testing.T) {
	totals := []int{0, 1, 5, 9, 10, 11, 100, 101}
	for _, c := range []struct {
		share string
		want  []int
	}{
		{"1", []int{0, 1, 1, 1, 1, 1, 1, 1}},
		{"10", []int{0, 1, 5, 9, 10, 10, 10, 10}},
		{"1%", []int{0, 1, 1, 1, 1, 1, 1, 1}},
		{"10%", []int{0, 1, 1, 1, 1, 1, 10, 10}},
		{"20%", []int{0, 1, 1, 1, 2, 2, 20, 20}},
		{"50%", []int{0, 1, 2, 4, 5, 5, 50, 50}},
		{"99%", []int{0, 1, 4, 8, 9, 10, 99, 99}},
		{"100%", []int{0, 1, 5, 9, 10, 11, 100, 101}},
		{"2.5%", []int{0, 1, 1, 1, 1, 1, 2, 2}},
		{"33.333333%", []int{0, 1, 1, 2, 3, 3, 33, 33}},
		{"99.999999%", []int{0, 1, 4, 8, 9, 10, 99, 100}},
		{"100.0%", []int{0, 1, 5, 9, 10, 11, 100, 101}},
	} {
		s, err := ParseShare(c.share)
		if err != nil {
			t.Fatal(err)
		}
		if s.String() != c.share {
			t.Errorf("%s is written as %s", c.share, s)
		}
		for i, total := range totals {
			if got := s.Of(total); got != c.want[i] {
				t.Errorf("%s of %d: got %d, want %d", c.share, total, got, c.want[i])
			}
		}
	}
	if got := (Share{}).Of(7); got != 7 || (Share{}).String() != "all" {
		t.Errorf("the zero share of 7 is %d", got)
	}
}

func TestParseShareRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"": "want a number", "%": "want a number", " 5": "want a number", "5 ": "want a number", "10 %": "want a number",
		"-1": "want a number", "+1": "want a number", "-1%": "want a number", "ten": "want a number", "0x10": "want a number",
		"1e2": "want a number", "10%%": "want a number", ".5%": "want a number", "5.%": "want a number", "1.2.3%": "want a number", "٣": "want a number",
		"0": "it is nothing", "00": "it is nothing", "0%": "it is nothing", "0.000%": "it is nothing",
		"101%": "more than 100%", "100.1%": "more than 100%", "99999999999999999999%": "more than 100%",
		"2.5": "hosts come whole", "1.": "hosts come whole", "99999999999": "too large", "0.0000001%": "decimals",
	} {
		if s, err := ParseShare(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %v, %v; want an error with %q", text, s, err, why)
		}
	}
}

func TestParseShares(t *testing.T) {
	shares, err := ParseShares("1,5,2.5%")
	if err != nil || len(shares) != 3 || shares[2].String() != "2.5%" {
		t.Errorf("got %v, %v", shares, err)
	}
	for _, text := range []string{"", ",", "1,", ",1", "1,,5", "1, 5", "1;5", "1,0"} {
		if shares, err := ParseShares(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, shares)
		}
	}
}

// FuzzParseShare holds the arithmetic against rational numbers.
func FuzzParseShare(f *testing.F) {
	for _, s := range []string{"1", "0", "10%", "2.5%", "100.000000%", "0.000001%", "", "%", "1.5", "-1"} {
		f.Add(s, 101)
		f.Add(s, math.MaxInt)
	}
	f.Fuzz(func(t *testing.T, text string, total int) {
		s, err := ParseShare(text)
		if err != nil || total <= 0 {
			return
		}
		want, ok := new(big.Rat).SetString(strings.TrimSuffix(text, "%"))
		if !ok {
			t.Fatalf("%q was read as %v and is no number", text, s)
		}
		if strings.HasSuffix(text, "%") {
			want.Mul(want, new(big.Rat).SetFrac64(int64(total), 100))
		}
		down := new(big.Int).Quo(want.Num(), want.Denom())
		n := 1
		if down.Sign() > 0 {
			n = int(min(down.Int64(), int64(total)))
		}
		if got := s.Of(total); got != n {
			t.Errorf("%s of %d: got %d, want %d", text, total, got, n)
		}
		if again, err := ParseShare(s.String()); err != nil || again.Of(total) != n {
			t.Errorf("%q is written as %q, which is read as %v, %v", text, s, again, err)
		}
	})
}

// pooled makes hosts named after their pools: "a a b" gives a1 a2 b1; a dash
// is a host without a pool.
func pooled(pools string) []Candidate {
	var out []Candidate
	seen := map[string]int{}
	for _, pool := range strings.Fields(pools) {
		seen[pool]++
		out = append(out, Candidate{Name: pool + strconv.Itoa(seen[pool]), Pool: strings.Trim(pool, "-")})
	}
	return out
}

func shares(t testing.TB, text string) []Share {
	t.Helper()
	if text == "" {
		return nil
	}
	s, err := ParseShares(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func one(t testing.TB, text string) Share {
	t.Helper()
	return append(shares(t, text), Share{})[0]
}

func dealt(waves []Wave) string {
	var lines []string
	for _, w := range waves {
		lines = append(lines, w.names(func(n []string) string { return strings.Join(n, " ") }))
	}
	return strings.Join(lines, " | ")
}

func TestWaves(t *testing.T) {
	for _, c := range []struct {
		name, hosts, batches, limit string
		sizes                       map[string]int
		want                        string
	}{
		{"no hosts", "", "1", "1", nil, ""},
		{"no limits", "a a b", "", "", nil, "a1 a2 b1"},
		{"the last batch repeats", "a a a a a a", "1,2", "", nil, "a1 | a2 a3 | a4 a5 | a6"},
		{"a percentage is of the hosts to change", "a a a a a a", "50%", "", map[string]int{"a": 100}, "a1 a2 a3 | a4 a5 a6"},
		{"ten percent of five is one", "a a a a a", "10%", "", nil, "a1 | a2 | a3 | a4 | a5"},
		{"a pool's share is of the pool", "a a a a", "100%", "50%", map[string]int{"a": 6}, "a1 a2 a3 | a4"},
		{"others overtake the waiting", "a a a b b", "3", "1", nil, "a1 b1 | a2 b2 | a3"},
		{"overtaking does not change the order", "a a b a b", "2", "1", nil, "a1 b1 | a2 b2 | a3"},
		{"a batch counts even when the pool cut it short", "a a a a", "2,3", "1", nil, "a1 | a2 | a3 | a4"},
		{"a size too small is not believed", "a a a a", "4", "50%", map[string]int{"a": 1}, "a1 a2 | a3 a4"},
		{"hosts without a pool are one pool", "- a - -", "4", "1", nil, "-1 a1 | -2 | -3"},
		{"a pool no host is of", "a", "4", "1", map[string]int{"z": 9}, "a1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			hosts := pooled(c.hosts)
			before := slices.Clone(hosts)
			if got := dealt(Waves(hosts, shares(t, c.batches), one(t, c.limit), c.sizes)); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
			if diff := cmp.Diff(before, hosts); diff != "" {
				t.Error("the hosts given were changed", diff)
			}
		})
	}
}

// checkWaves holds waves to what Waves promises.
func checkWaves(t *testing.T, hosts []Candidate, batches []Share, limit Share, sizes map[string]int) {
	t.Helper()
	waves := Waves(hosts, batches, limit, sizes)
	inPool, turn := map[string]int{}, map[string]int{}
	for _, h := range hosts {
		inPool[h.Pool]++
	}
	for i, w := range waves {
		if w.Number != i+1 || len(w.Hosts) == 0 {
			t.Fatalf("wave %d has the number %d and %d hosts", i+1, w.Number, len(w.Hosts))
		}
		if most := batchSize(batches, i, len(hosts)); len(w.Hosts) > most {
			t.Fatalf("wave %d has %d hosts, more than %d", w.Number, len(w.Hosts), most)
		}
		pools := map[string]int{}
		for _, h := range w.Hosts {
			pools[h.Pool]++
			if _, twice := turn[h.Name]; twice {
				t.Fatalf("%s has two turns", h.Name)
			}
			turn[h.Name] = i
		}
		for pool, n := range pools {
			if most := limit.Of(max(sizes[pool], inPool[pool])); n > most {
				t.Fatalf("wave %d has %d hosts of pool %q, more than %d", w.Number, n, pool, most)
			}
		}
	}
	last := map[string]int{}
	for _, h := range hosts {
		i, ok := turn[h.Name]
		if !ok {
			t.Fatalf("%s has no turn", h.Name)
		}
		if i < last[h.Pool] {
			t.Fatalf("%s overtakes a host of its own pool", h.Name)
		}
		last[h.Pool] = i
	}
}

// FuzzWaves deals arbitrary fleets: each byte of pools is the pool of a host.
func FuzzWaves(f *testing.F) {
	f.Add([]byte("aaabbbc"), "1,5,10%", "10%", 20)
	f.Add([]byte("abababab"), "100%", "1", 0)
	f.Add(bytes.Repeat([]byte("ab"), 500), "1,5,2.5%", "0.1%", 3000)
	f.Add([]byte{}, "1", "1", 1)
	f.Fuzz(func(t *testing.T, pools []byte, batches, limit string, size int) {
		if len(pools) > 2000 {
			return
		}
		b, err := ParseShares(batches)
		if err != nil {
			return
		}
		l, err := ParseShare(limit)
		if err != nil {
			l = Share{}
		}
		hosts := make([]Candidate, len(pools))
		for i, p := range pools {
			hosts[i] = Candidate{Name: fmt.Sprint("h", i), Pool: strings.Trim(string(rune('a'+p%5)), "e")}
		}
		checkWaves(t, hosts, b, l, map[string]int{"a": size, "b": size / 2})
	})
}

func join(names []string) string { return strings.Join(names, ",") }

func TestWriteWaves(t *testing.T) {
	var b bytes.Buffer
	if err := WriteWaves(&b, Waves(pooled("np1 np1 - np2 np1 np2"), shares(t, "1,2,4"), Share{}, nil), join); err != nil {
		t.Fatal(err)
	}
	want := `WAVE  HOSTS  IN ALL    POOLS                   NAMES
1     1      1 (16%)   np1 1                   np11
2     2      3 (50%)   np1 1, (no pool) 1      np12,-1
3     3      6 (100%)  np2 2, np1 1            np21,np13,np22
`
	if squeeze(b.String()) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestWriteWavesLeavesOutTheMiddle(t *testing.T) {
	for _, c := range []struct{ hosts, lines, hidden int }{{20, 20, 0}, {21, 21, 0}, {22, 21, 2}, {500, 21, 480}} {
		var b bytes.Buffer
		if err := WriteWaves(&b, Waves(pooled(strings.Repeat("a ", c.hosts)), shares(t, "1"), Share{}, nil), join); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if got := strings.Count(text, "\n") - 1; got != c.lines {
			t.Errorf("%d waves take %d lines, want %d:\n%s", c.hosts, got, c.lines, text)
		}
		if said := strings.Contains(text, fmt.Sprintf("(%d more waves)", c.hidden)); said != (c.hidden > 0) {
			t.Errorf("%d waves:\n%s", c.hosts, text)
		}
		if !strings.Contains(text, fmt.Sprintf("%d (100%%)", c.hosts)) {
			t.Errorf("the last of %d waves is missing:\n%s", c.hosts, text)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWriteWavesPassesErrorsOn(t *testing.T) {
	if err := WriteWaves(brokenPipe{}, nil, join); err == nil {
		t.Error("a broken pipe is no error")
	}
}

func TestGate(t *testing.T) {
	for _, c := range []struct {
		max    int
		counts Counts
		closed bool
	}{
		{1, Counts{}, false},
		{1, Counts{Good: 100, Left: 3}, false},
		{1, Counts{Failed: 1}, true},
		{1, Counts{Unreachable: 1}, true},
		{1, Counts{Unknown: 1}, true},
		{0, Counts{Failed: 1}, true},
		{0, Counts{Good: 1}, false},
		{-3, Counts{Good: 1}, false},
		{3, Counts{Failed: 1, Unknown: 1}, false},
		{3, Counts{Failed: 1, Unreachable: 1, Unknown: 1}, true},
		{3, Counts{Failed: 9}, true},
	} {
		g := Gate{MaxFailures: c.max}
		if got := g.Closed(c.counts); got != c.closed {
			t.Errorf("at most %d, %+v: closed %v", c.max, c.counts, got)
		}
		if said := g.Why(c.counts) != ""; said != c.closed {
			t.Errorf("at most %d, %+v: %q", c.max, c.counts, g.Why(c.counts))
		}
	}
	const want = "1 host was not changed as planned, 2 hosts could not be reached, and --max-failures is 3: nothing more is started, 7 hosts were not touched. " +
		"Mend the cause or leave those hosts out with --limit, then run the same command again: it passes over what is as wanted already."
	if got := (Gate{MaxFailures: 3}).Why(Counts{Good: 4, Failed: 1, Unreachable: 2, Left: 7}); got != want {
		t.Errorf("got %s", got)
	}
}
