package runner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"fleet/inventory"
)

func hosts(n int) []inventory.Host {
	out := make([]inventory.Host, n)
	for i := range out {
		out[i].Name = fmt.Sprintf("node%04d", i)
	}
	return out
}

func code(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return ""
}

func TestEveryHostHasOneResultInOrder(t *testing.T) {
	all := hosts(500)
	var calls atomic.Int64
	got := Run(t.Context(), all, Options{Parallel: 17}, func(_ context.Context, h inventory.Host) (string, error) {
		calls.Add(1)
		if h.Name == "node0003" {
			return "", errors.New("refused")
		}
		return "saw " + h.Name, nil
	})
	if calls.Load() != 500 || len(got) != 500 {
		t.Fatalf("%d calls, %d results, want 500 of each", calls.Load(), len(got))
	}
	for i, r := range got {
		if r.Host.Name != all[i].Name {
			t.Fatalf("result %d is of %s", i, r.Host.Name)
		}
		if failed := r.Err != nil; failed != (i == 3) {
			t.Errorf("%s: error %v", r.Host.Name, r.Err)
		}
		if i != 3 && r.Value != "saw "+all[i].Name {
			t.Errorf("%s: value %q", r.Host.Name, r.Value)
		}
	}
}

func TestNeverMoreThanParallel(t *testing.T) {
	var now, most atomic.Int64
	gate := make(chan struct{})
	go func() {
		for most.Load() < 8 {
			time.Sleep(time.Millisecond)
		}
		close(gate)
	}()
	Run(t.Context(), hosts(64), Options{Parallel: 8}, func(context.Context, inventory.Host) (int, error) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-gate
		now.Add(-1)
		return 0, nil
	})
	if most.Load() != 8 {
		t.Errorf("%d hosts at a time, want 8", most.Load())
	}
}

func TestEndOfOneHost(t *testing.T) {
	for _, c := range []struct {
		name string
		task func(context.Context) error
		want string
	}{
		{"obeys its deadline", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "timeout"},
		{"ignores its deadline", func(context.Context) error { select {} }, "timeout"},
		{"names its own reason at the deadline", func(ctx context.Context) error {
			<-ctx.Done()
			return &Error{"timeout-auth", "no answer"}
		}, "timeout-auth"},
		{"panics", func(context.Context) error { panic("boom") }, "internal"},
		{"fails by itself", func(context.Context) error { return &Error{"auth-refused", "no"} }, "auth-refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Run(t.Context(), hosts(2), Options{Timeout: 20 * time.Millisecond}, func(ctx context.Context, h inventory.Host) (int, error) {
				if h.Name == "node0001" {
					return 7, nil
				}
				return 0, c.task(ctx)
			})
			if code(got[0].Err) != c.want {
				t.Errorf("code %q (%v), want %q", code(got[0].Err), got[0].Err, c.want)
			}
			if got[1].Err != nil || got[1].Value != 7 {
				t.Errorf("the neighbour was disturbed: %+v", got[1])
			}
		})
	}
}

func TestStopLetsRunningHostsFinish(t *testing.T) {
	stop := make(chan struct{})
	got := Run(t.Context(), hosts(10), Options{Parallel: 2, Stop: stop}, func(_ context.Context, h inventory.Host) (int, error) {
		if h.Name == "node0001" { // the second to start
			close(stop)
		}
		<-stop
		return 1, nil
	})
	for i, r := range got {
		if want := map[bool]string{true: "", false: "not-reached"}[i < 2]; code(r.Err) != want {
			t.Errorf("%s: %v, want code %q", r.Host.Name, r.Err, want)
		}
		if reached := !r.Started.IsZero(); reached != (i < 2) {
			t.Errorf("%s: started %v", r.Host.Name, r.Started)
		}
	}
}

func TestAbortEndsEverything(t *testing.T) {
	ctx, abort := context.WithCancel(t.Context())
	got := Run(ctx, hosts(6), Options{Parallel: 2}, func(ctx context.Context, h inventory.Host) (int, error) {
		if h.Name == "node0001" { // the second to start
			abort()
		}
		<-ctx.Done()
		return 0, ctx.Err()
	})
	for i, r := range got {
		if want := map[bool]string{true: "interrupted", false: "not-reached"}[i < 2]; code(r.Err) != want {
			t.Errorf("%s: %v, want code %q", r.Host.Name, r.Err, want)
		}
	}
}

func TestEventsCount(t *testing.T) {
	var started, ended, last int
	Run(t.Context(), hosts(40), Options{Parallel: 5, Observe: func(e Event) {
		if e.Running < 0 || e.Running > 5 || e.Total != 40 {
			t.Errorf("event %+v", e)
		}
		if e.Ended {
			ended++
			last = e.Done
		} else {
			started++
		}
	}}, func(context.Context, inventory.Host) (int, error) { return 0, nil })
	if started != 40 || ended != 40 || last != 40 {
		t.Errorf("%d started, %d ended, last count %d, want 40 each", started, ended, last)
	}
}
