//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fleet/lab/real"
	"fleet/lab/real/judge"
)

// TestKubelet compares the project's reading of generated layouts with what the
// real systemd and the real kubelet make of them. $FLEET_E2E_SEED is the number
// of the first layout (default: the time), $FLEET_E2E_LAYOUTS how many there
// are. A layout on which the two disagree is shrunk and kept in
// testdata/regressions. With $FLEET_E2E_RECORD every layout is kept with the
// kubelet's word in the file of that name.
func TestKubelet(t *testing.T) {
	d := newDifferential(t, "FLEET_E2E_LAYOUTS", 300)
	all := judges(t)
	seeds := make(chan uint64)
	var wait sync.WaitGroup
	for _, j := range all {
		wait.Go(func() {
			for seed := range seeds {
				d.kubelet(j, seed)
			}
		})
	}
	for i := range d.count {
		if ctx.Err() != nil {
			break
		}
		seeds <- d.seed + i
	}
	close(seeds)
	wait.Wait()
	d.finish()
}

// TestSystemd compares the project's reading of generated units, drop-ins and
// environment files with the arguments that systemd passes to a program. There
// are $FLEET_E2E_UNITS of them.
func TestSystemd(t *testing.T) {
	d := newDifferential(t, "FLEET_E2E_UNITS", 2000)
	all := judges(t)
	const batch = 50
	batches := make(chan uint64)
	var wait sync.WaitGroup
	for _, j := range all {
		wait.Go(func() {
			for first := range batches {
				d.units(j, first, min(batch, d.seed+d.count-first))
			}
		})
	}
	for i := uint64(0); i < d.count && ctx.Err() == nil; i += batch {
		batches <- d.seed + i
	}
	close(batches)
	wait.Wait()
	d.finish()
}

// TestRegressionsAgain asks the real systemd and kubelet again about the layouts
// in testdata/regressions, so that what is recorded there stays true. With
// $FLEET_E2E_UPDATE what they say now is recorded.
func TestRegressionsAgain(t *testing.T) {
	paths, err := filepath.Glob("testdata/regressions/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no regressions: %v", err)
	}
	j := judges(t)[0]
	for _, path := range paths {
		old, err := ReadRecord(path)
		if err != nil {
			t.Fatal(err)
		}
		now := old
		if old.Truth.Kubelet {
			v, err := j.Kubelet(old.Layout)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			now.Truth, err = TruthOf(v)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		} else {
			v, err := j.Argv([]judge.Layout{old.Layout})
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			now.Truth = UnitTruthOf(v[0])
		}
		if os.Getenv("FLEET_E2E_UPDATE") != "" {
			if err := WriteRecord(path, now); err != nil {
				t.Error(err)
			}
			continue
		}
		if diffs := Compare(Read(now.Layout), now.Truth); len(diffs) > 0 || now.Truth.Started != old.Truth.Started || !old.Truth.Kubelet && now.Truth.Exec != old.Truth.Exec {
			t.Errorf("%s: recorded %+v, is %+v: %s", path, old.Truth, now.Truth, strings.Join(diffs, "; "))
		}
	}
}

// differential counts and keeps what a run comes upon.
type differential struct {
	t       *testing.T
	seed    uint64
	count   uint64
	shrinks int
	record  string
	begun   time.Time

	mu       sync.Mutex
	judged   int
	started  int
	disagree int
	records  []Record
}

// shrinks is how many disagreements of one run are shrunk unless
// $FLEET_E2E_SHRINKS says otherwise; each takes some hundred starts.
const shrinks = 5

func newDifferential(t *testing.T, variable string, count uint64) *differential {
	d := &differential{t: t, seed: number(t, "FLEET_E2E_SEED", uint64(time.Now().Unix())), count: number(t, variable, count), shrinks: int(number(t, "FLEET_E2E_SHRINKS", shrinks)), record: os.Getenv("FLEET_E2E_RECORD"), begun: time.Now()}
	t.Logf("layouts %d to %d; again with FLEET_E2E_SEED=%d", d.seed, d.seed+d.count-1, d.seed)
	return d
}

// kubelet judges one layout by the kubelet.
func (d *differential) kubelet(j *real.Judge, seed uint64) {
	l := Generate(seed)
	truth, diffs := d.ask(j, l)
	d.note(Record{Name: fmt.Sprint(seed), Layout: l, Truth: truth}, diffs, func(small judge.Layout) (Truth, []string) { return d.ask(j, small) })
}

func (d *differential) ask(j *real.Judge, l judge.Layout) (Truth, []string) {
	v, err := j.Kubelet(l)
	if err != nil {
		d.fail("cannot judge: %v", err)
		return Truth{}, nil
	}
	truth, err := TruthOf(v)
	if err != nil {
		d.fail("cannot judge: %v", err)
		return truth, nil
	}
	return truth, Compare(Read(l), truth)
}

// units judges a batch of layouts by systemd alone.
func (d *differential) units(j *real.Judge, first, count uint64) {
	layouts := make([]judge.Layout, count)
	for i := range layouts {
		layouts[i] = GenerateUnit(first+uint64(i), fmt.Sprintf("fleet-judge-%d.service", i))
	}
	verdicts, err := j.Argv(layouts)
	if err != nil {
		d.fail("units %d to %d: %v", first, first+count-1, err)
		return
	}
	for i, v := range verdicts {
		truth := UnitTruthOf(v)
		r := Record{Name: fmt.Sprintf("unit-%d", first+uint64(i)), Layout: layouts[i], Truth: truth}
		d.note(r, Compare(Read(layouts[i]), truth), func(small judge.Layout) (Truth, []string) {
			v, err := j.Argv([]judge.Layout{small})
			if err != nil {
				d.fail("cannot judge: %v", err)
				return Truth{}, nil
			}
			return UnitTruthOf(v[0]), Compare(Read(small), UnitTruthOf(v[0]))
		})
	}
}

// note counts a judgement, and looks closer at a disagreement.
func (d *differential) note(r Record, diffs []string, again func(judge.Layout) (Truth, []string)) {
	d.mu.Lock()
	d.judged++
	if r.Truth.Started || !r.Truth.Kubelet && r.Truth.Exec {
		d.started++
	}
	if len(diffs) == 0 {
		d.records = append(d.records, r)
		d.mu.Unlock()
		return
	}
	d.disagree++
	closer := d.disagree <= d.shrinks
	d.mu.Unlock()
	if closer {
		r = shrinkRecord(r, diffs, again)
	}
	d.keep(r, diffs)
}

// shrinkRecord finds a small layout with a difference in the same respect and,
// where the kubelet did not start, for the same reason: without some of its
// arguments it would not start in one of our machines anyway.
func shrinkRecord(r Record, diffs []string, again func(judge.Layout) (Truth, []string)) Record {
	respect, reason := cutAt(diffs[0], ":"), cutAt(r.Truth.Reason, `"`)
	r.Layout = Shrink(r.Layout, 150, func(l judge.Layout) bool {
		truth, diffs := again(l)
		return len(diffs) > 0 && cutAt(diffs[0], ":") == respect && cutAt(truth.Reason, `"`) == reason
	})
	r.Truth, _ = again(r.Layout)
	return r
}

func cutAt(s, separator string) string {
	before, _, _ := strings.Cut(s, separator)
	return before
}

// keep reports a disagreement, which was first met as these differences, and
// puts it among the regressions.
func (d *differential) keep(r Record, first []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := filepath.Join("testdata", "regressions", r.Name+".json")
	if err := WriteRecord(path, r); err != nil {
		d.t.Error(err)
	}
	diffs := Compare(Read(r.Layout), r.Truth)
	if len(diffs) == 0 {
		diffs = []string{"could not be met again; the first time: " + strings.Join(first, "; ")}
	}
	d.t.Errorf("layout %s, kept in %s:\n  %s\n%s", r.Name, path, strings.Join(diffs, "\n  "), show(r.Layout))
}

func (d *differential) fail(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() == nil {
		d.t.Errorf(format, args...)
	}
}

// finish tells how the run went.
func (d *differential) finish() {
	d.t.Logf("%d judged in %s, %d of them started, %d disagreements, first number %d", d.judged, time.Since(d.begun).Round(time.Second), d.started, d.disagree, d.seed)
	if ctx.Err() != nil {
		d.t.Fatal("interrupted")
	}
	if d.record == "" {
		return
	}
	if err := WriteRecords(d.record, d.records); err != nil {
		d.t.Error(err)
	}
}
