package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signals is how a run hears Ctrl-C: the first closes stop, so that no further
// host is started; the second ends ctx, so that all connections are closed; a
// third has the system's own effect.
type signals struct {
	ctx  context.Context
	stop chan struct{}

	abort   context.CancelFunc
	arrived chan os.Signal
	done    chan struct{}
	env     environment

	mu      sync.Mutex
	stopped bool
	notify  func() string
}

func watchSignals(env environment) *signals {
	ctx, abort := context.WithCancel(context.Background())
	s := &signals{
		ctx: ctx, abort: abort, env: env,
		stop: make(chan struct{}), arrived: make(chan os.Signal, 2), done: make(chan struct{}),
	}
	signal.Notify(s.arrived, os.Interrupt, syscall.SIGTERM)
	go s.listen()
	return s
}

func (s *signals) listen() {
	select {
	case <-s.arrived:
	case <-s.done:
		return
	}
	s.mu.Lock()
	s.stopped = true
	notify := s.notify
	s.mu.Unlock()
	close(s.stop)
	waiting := ""
	if notify != nil {
		waiting = notify()
	}
	fmt.Fprintf(s.env.stderr, "\nfleet: stopping; no further host is started%s; interrupt again to abort\n", waiting)
	select {
	case <-s.arrived:
	case <-s.done:
		return
	}
	signal.Stop(s.arrived)
	fmt.Fprintln(s.env.stderr, "fleet: aborting; what is known is reported")
	s.abort()
}

// onStop sets what is said of the hosts that are still under way.
func (s *signals) onStop(notify func() string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = notify
}

func (s *signals) interrupted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// release ends the watch; signals have the system's own effect again.
func (s *signals) release() {
	signal.Stop(s.arrived)
	close(s.done)
	s.abort()
}
