//go:build unix && !solaris && !illumos && !aix

package remote

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lockWait bounds the wait for another run that is writing the same file.
const lockWait = 5 * time.Second

// lockFile takes the exclusive advisory lock that keeps other runs from
// writing to the file at the same time.
func lockFile(f *os.File) (unlock func(), err error) {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, err
		case time.Now().After(deadline):
			return nil, errors.New(f.Name() + " is locked by another process")
		}
	}
}
