//go:build linux

package real

import (
	"context"
	"path/filepath"
)

// Kubectl returns the path of a kubectl of the same release as the API server.
// It is built when it is first asked for, which takes some minutes, and kept
// with the other artefacts. It runs on this machine, in the network that
// Lab.Command gives.
func Kubectl(ctx context.Context, log func(format string, args ...any)) (string, error) {
	dir, err := filepath.Abs(CacheDir())
	if err != nil {
		return "", err
	}
	const component = "kubectl"
	layer, err := cache{dir: dir, log: log}.once(ctx, componentName(component), makeComponent(component))
	if err != nil {
		return "", err
	}
	return filepath.Join(layer, "usr/bin", component), nil
}
