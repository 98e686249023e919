//go:build linux

package real

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// cache keeps artefacts that take minutes to make, each under a name that
// holds its version and a hash of everything it was made from, so that a
// change of the recipe makes a new artefact and an old one is never mistaken
// for it.
type cache struct {
	dir string
	log func(format string, args ...any)
}

// maker fills a directory with an artefact. It gives the environment variable
// mark to every process it starts.
type maker func(ctx context.Context, dir, mark string) error

// once returns the path of the artefact name and makes it first when it is not
// there. Two processes never make the same artefact at once, and an interrupted
// making leaves nothing that could be taken for the whole: make fills a
// directory beside it, which gets the name only when it is complete.
func (c cache) once(ctx context.Context, name string, make maker) (string, error) {
	path := filepath.Join(c.dir, name)
	if exists(path) {
		return path, nil
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the cache directory: %w", err)
	}
	unlock, err := lockFile(ctx, path+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(path) {
		return path, nil
	}
	return path, c.make(ctx, path, make)
}

func (c cache) make(ctx context.Context, path string, make maker) error {
	begun := time.Now()
	c.log("making %s", filepath.Base(path))
	// Both are ours alone while the lock is held: what has the mark now was left
	// by a process that was killed.
	partial, mark := path+".partial", "FLEET_ARTEFACT="+path
	if err := killAll(ctx, func() []int { return processesWith(mark) }); err != nil {
		return err
	}
	if err := removeTree(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return err
	}
	if err := make(ctx, partial, mark); err != nil {
		return errors.Join(fmt.Errorf("cannot make %s: %w", filepath.Base(path), err), removeTree(partial))
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	c.log("made %s in %s", filepath.Base(path), time.Since(begun).Round(time.Second))
	return nil
}

// lockFile takes the exclusive lock on path, waiting for whoever has it until
// ctx ends. The kernel drops the lock of a process that dies.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
	}
}

// removeTree removes dir and everything below it after detaching every mount
// below it, so that nothing on the other side of a mount is ever deleted.
func removeTree(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// sleep waits for d or for the end of ctx, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
