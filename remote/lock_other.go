//go:build !unix || solaris || illumos || aix

package remote

import "os"

// lockFile does nothing where there is no flock(2); runs in one process are
// kept apart by the caller's mutex.
func lockFile(*os.File) (unlock func(), err error) { return func() {}, nil }
