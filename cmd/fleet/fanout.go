package main

import (
	"context"

	"fleet/inventory"
	"fleet/remote"
	"fleet/runner"
)

// fanOut is what all hosts of one run share: the dialer with its jump
// connections, sudo's password, and how Ctrl-C is heard. A command with
// several rounds over its hosts uses one for all of them.
type fanOut struct {
	env      environment
	conn     *connection
	dialer   *remote.Dialer
	password []byte
	signals  *signals
}

// fanOut prepares a run over hosts and lets --become and --no-become win over
// what the inventory says of them. Every error is the user's to mend, and
// nothing was contacted. The caller closes it.
func (c *connection) fanOut(env environment, hosts []inventory.Host) (*fanOut, error) {
	c.applyBecome(hosts)
	dialer, err := c.dialer(env)
	if err != nil {
		return nil, err
	}
	password, err := c.becomePassword(env)
	if err != nil {
		dialer.Close()
		return nil, err
	}
	return &fanOut{env: env, conn: c, dialer: dialer, password: password, signals: watchSignals(env)}, nil
}

func (f *fanOut) close() {
	f.signals.release()
	clear(f.password)
	if f.dialer != nil { // nil when only the API server is asked
		f.dialer.Close()
	}
}

// interrupted reports whether Ctrl-C was heard.
func (f *fanOut) interrupted() bool { return f.signals.interrupted() }

// each does a task on every host: so many at a time and as long for each as
// the flags say, with progress on a terminal. The first Ctrl-C keeps further
// hosts from being started, the second ends those under way.
func each[T any](f *fanOut, hosts []inventory.Host, task func(context.Context, inventory.Host) (T, error)) []runner.Result[T] {
	show := newProgress(f.env, len(hosts))
	f.signals.onStop(show.waiting)
	defer show.finish()
	return runner.Run(f.signals.ctx, hosts, runner.Options{
		Parallel: f.conn.parallel, Timeout: f.conn.timeout, Stop: f.signals.stop, Observe: show.observe,
	}, task)
}
