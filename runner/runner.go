// Package runner knows how to do one thing on many hosts at once: bounded,
// with a deadline for each host, one result for each host in the order given,
// whatever happens to its neighbours. It refuses to know what is done.
package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"fleet/inventory"
)

// DefaultParallel is how many hosts are worked on at a time. More gives little
// on a link to one site, and starves handshakes of CPU on a small machine.
const DefaultParallel = 100

// grace is how long a task may take to come back after its context has ended
// before its host is given up. Tasks close their connections at once, so that
// only a task that ignores its context meets this limit.
const grace = 3 * time.Second

// Options say how a run is bounded. The zero value works.
type Options struct {
	// Parallel is the number of hosts at a time; 0 is DefaultParallel.
	Parallel int
	// Timeout is the deadline of each host, counted from the moment its task
	// starts; 0 is none.
	Timeout time.Duration
	// Stop, when closed, keeps further hosts from being started; those under
	// way go on. Nil never closes.
	Stop <-chan struct{}
	// Observe is told of every start and end, one call at a time; nil is fine.
	Observe func(Event)
}

// Event is one step of a run.
type Event struct {
	Host    inventory.Host
	Index   int  // of the host in the run
	Ended   bool // false: the host was started
	Err     error
	Done    int // hosts that have a result so far
	Running int // hosts under way
	Total   int
}

// Result is what became of one host. Err is nil, the task's error, or an
// *Error when the runner itself ended the host.
type Result[T any] struct {
	Host     inventory.Host
	Value    T
	Err      error
	Started  time.Time // zero when the host was never started
	Duration time.Duration
}

// Error is why a host has no result of its own.
type Error struct {
	reason string
	msg    string
}

func (e *Error) Error() string { return e.msg }

// Code returns the reason code: "timeout", "not-reached", "interrupted" or
// "internal".
func (e *Error) Code() string { return e.reason }

func timedOut(d time.Duration) error {
	return &Error{"timeout", fmt.Sprintf("not finished within the host's deadline of %s", d)}
}

func notReached() error {
	return &Error{"not-reached", "the run ended before this host's turn"}
}

func interrupted() error {
	return &Error{"interrupted", "interrupted while the host was worked on"}
}

// Run calls the task once for each host and returns one result for each, in
// the order of hosts, in which they are also started. It returns when every host has its result: at the latest
// when ctx ends or all deadlines have passed, plus a short grace. A task that
// does not obey its context is left behind. A task's panic is its host's error.
func Run[T any](ctx context.Context, hosts []inventory.Host, o Options, task func(context.Context, inventory.Host) (T, error)) []Result[T] {
	r := run[T]{options: o, task: task, results: make([]Result[T], len(hosts))}
	places := make(chan struct{}, parallel(o.Parallel))
	var group errgroup.Group
	for i, host := range hosts {
		r.results[i].Host = host
		if !r.place(ctx, places) {
			r.results[i].Err = notReached()
			r.observe(i, 0, 1, true)
			continue
		}
		r.start(i)
		group.Go(func() error {
			defer func() { <-places }()
			r.host(ctx, i)
			return nil
		})
	}
	_ = group.Wait() // no task's failure is the run's
	return r.results
}

func parallel(n int) int {
	if n <= 0 {
		return DefaultParallel
	}
	return n
}

// run is one call of Run. Each host writes to its own slot of results; the
// mutex guards the counts and serialises Observe.
type run[T any] struct {
	options Options
	task    func(context.Context, inventory.Host) (T, error)
	results []Result[T]

	mu            sync.Mutex
	done, running int
}

// place waits for a free place; false means that no further host is started.
func (r *run[T]) place(ctx context.Context, places chan<- struct{}) bool {
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return false
	case <-r.options.Stop:
		return false
	}
	return ctx.Err() == nil && !isClosed(r.options.Stop)
}

// start counts a host as under way. It is called in the order of the hosts.
func (r *run[T]) start(i int) {
	r.results[i].Started = time.Now()
	r.observe(i, 1, 0, false)
}

// host works on one started host until it has its result.
func (r *run[T]) host(ctx context.Context, i int) {
	result := &r.results[i]
	result.Value, result.Err = r.bounded(ctx, result.Host)
	result.Duration = time.Since(result.Started)
	r.observe(i, -1, 1, true)
}

// outcome is what a task gives back.
type outcome[T any] struct {
	value T
	err   error
}

// bounded runs the task under the host's deadline and gives it up when it does
// not come back.
func (r *run[T]) bounded(ctx context.Context, host inventory.Host) (T, error) {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if r.options.Timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, r.options.Timeout)
	}
	defer cancel()
	back := make(chan outcome[T], 1)
	go func() {
		var out outcome[T]
		defer func() {
			if p := recover(); p != nil {
				out.err = &Error{"internal", fmt.Sprintf("fleet itself failed on this host: %v", p)}
			}
			back <- out
		}()
		out.value, out.err = r.task(limited, host)
	}()
	out := wait(limited, back)
	switch {
	case out.err == nil:
	case ctx.Err() != nil:
		out.err = interrupted()
	case errors.Is(out.err, context.DeadlineExceeded) && limited.Err() != nil && !hasCode(out.err):
		out.err = timedOut(r.options.Timeout)
	}
	return out.value, out.err
}

// wait returns the task's outcome, or the context's error when the task has
// not come back some time after the context's end.
func wait[T any](ctx context.Context, back <-chan outcome[T]) outcome[T] {
	select {
	case out := <-back:
		return out
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case out := <-back:
		return out
	case <-timer.C:
		return outcome[T]{err: ctx.Err()}
	}
}

// hasCode tells whether the error names its own reason, which is nearer to the
// cause than the host's deadline.
func hasCode(err error) bool {
	var coded interface{ Code() string }
	return errors.As(err, &coded)
}

func (r *run[T]) observe(i, running, done int, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running += running
	r.done += done
	if r.options.Observe != nil {
		r.options.Observe(Event{
			Host: r.results[i].Host, Index: i, Ended: ended, Err: r.results[i].Err,
			Done: r.done, Running: r.running, Total: len(r.results),
		})
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
