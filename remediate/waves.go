package remediate

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Candidate is a host to change, as far as its turn is concerned.
type Candidate struct {
	Name string
	Pool string // its agent pool, "" when it is not known
}

// Wave is the hosts that are changed together. The next wave starts when this
// one has ended well.
type Wave struct {
	Number int // from 1
	Hosts  []Candidate
}

// Waves deals the hosts out to waves, in their order. Every host is in exactly
// one wave, and no wave is empty.
//
// Wave k takes at most batches[k-1] hosts, the last batch repeats, and a
// percentage is of len(hosts), the hosts to change; without batches nothing
// but the pools limits a wave. Of one agent pool a wave takes at most
// poolLimit, of which a percentage is of poolSizes, the hosts of the pool that
// were selected, those that need no change among them; the others wait for a
// later wave, and hosts behind them may go first. Hosts whose pool is not
// known count as one pool, so that a missing label cannot undo the limit. The
// zero poolLimit is none.
func Waves(hosts []Candidate, batches []Share, poolLimit Share, poolSizes map[string]int) []Wave {
	limits := poolLimits(hosts, poolLimit, poolSizes)
	var waves []Wave
	for rest := hosts; len(rest) > 0; {
		wave := Wave{Number: len(waves) + 1}
		wave.Hosts, rest = takeWave(rest, batchSize(batches, len(waves), len(hosts)), limits)
		waves = append(waves, wave)
	}
	return waves
}

// batchSize is the size of wave number i, from 0.
func batchSize(batches []Share, i, total int) int {
	if len(batches) == 0 {
		return total
	}
	return batches[min(i, len(batches)-1)].Of(total)
}

// poolLimits is how many hosts of each pool one wave may hold. A size that is
// missing, or smaller than the hosts of the pool that are here, is not
// believed.
func poolLimits(hosts []Candidate, limit Share, sizes map[string]int) map[string]int {
	here := map[string]int{}
	for _, h := range hosts {
		here[h.Pool]++
	}
	limits := make(map[string]int, len(here))
	for pool, n := range here {
		limits[pool] = limit.Of(max(n, sizes[pool]))
	}
	return limits
}

// takeWave takes the first hosts that fit and returns the others in their
// order. It takes at least one.
func takeWave(hosts []Candidate, size int, limits map[string]int) (wave, rest []Candidate) {
	taken := map[string]int{}
	for i, h := range hosts {
		switch {
		case len(wave) == size:
			return wave, append(rest, hosts[i:]...)
		case taken[h.Pool] == limits[h.Pool]:
			rest = append(rest, h)
		default:
			taken[h.Pool]++
			wave = append(wave, h)
		}
	}
	return wave, rest
}

// maxWaveLines is how many waves WriteWaves shows one by one.
const maxWaveLines = 20

// WriteWaves writes the table that is shown before anything is changed: for
// each wave the number of hosts, how many have had their turn after it, also
// in percent rounded down, the pools and the hosts. names writes a list of
// names in little room, safely for where w leads to. Of very many waves the
// middle is left out.
func WriteWaves(w io.Writer, waves []Wave, names func([]string) string) error {
	b := bufio.NewWriter(w) // keeps the first error until Flush
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WAVE\tHOSTS\tIN ALL\tPOOLS\tNAMES")
	total := 0
	for _, wave := range waves {
		total += len(wave.Hosts)
	}
	done := 0
	for i, wave := range waves {
		done += len(wave.Hosts)
		switch hidden := len(waves) - maxWaveLines; {
		case hidden > 1 && i == maxWaveLines-1:
			fmt.Fprintf(t, "...\t\t\t\t(%d more waves)\n", hidden)
		case hidden <= 1 || i < maxWaveLines-1 || i == len(waves)-1:
			fmt.Fprintf(t, "%d\t%d\t%d (%d%%)\t%s\t%s\n", wave.Number, len(wave.Hosts), done, percent(done, total), wave.pools(names), wave.names(names))
		}
	}
	t.Flush()
	return b.Flush()
}

func percent(part, whole int) int { return part * 100 / max(whole, 1) }

func (w Wave) names(names func([]string) string) string {
	all := make([]string, len(w.Hosts))
	for i, h := range w.Hosts {
		all[i] = h.Name
	}
	return names(all)
}

// pools tells how many hosts of which pools are in the wave, in the order of
// their first hosts: "np1 3, np2 2".
func (w Wave) pools(names func([]string) string) string {
	count := map[string]int{}
	var order []string
	for _, h := range w.Hosts {
		if count[h.Pool] == 0 {
			order = append(order, h.Pool)
		}
		count[h.Pool]++
	}
	for i, pool := range order {
		shown := "(no pool)"
		if pool != "" {
			shown = names([]string{pool})
		}
		order[i] = shown + " " + strconv.Itoa(count[pool])
	}
	return strings.Join(order, ", ")
}
