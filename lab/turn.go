package lab

import (
	"runtime"
	"sync"
	"time"
)

// Every node of a real fleet has processors of its own; here all share the
// operator's. Commands therefore start a few at a time, lest a thousand scripts
// starve the handshakes of the nodes beside them.
const (
	turnsPerCPU = 2
	// turnHold bounds how long one command keeps its place, so that those which
	// wait (for a password, for a signal, for each other) cannot lock out the
	// rest.
	turnHold = time.Second
)

func newTurns() chan struct{} { return make(chan struct{}, turnsPerCPU*runtime.GOMAXPROCS(0)) }

// takeTurn waits for a place. The place is given back by done or after
// turnHold, whichever is first; ok is false when the fleet closes instead.
func (f *Fleet) takeTurn() (done func(), ok bool) {
	select {
	case f.turns <- struct{}{}:
	case <-f.stopped.Done():
		return nil, false
	}
	back := sync.OnceFunc(func() { <-f.turns })
	timer := time.AfterFunc(turnHold, back)
	return func() {
		timer.Stop()
		back()
	}, true
}
