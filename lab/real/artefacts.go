//go:build linux

package real

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// DefaultCache is where artefacts are kept unless $FLEET_E2E_CACHE names
// another directory.
const DefaultCache = "/var/cache/fleet-e2e"

// CacheDir is the directory of the artefacts: the value of $FLEET_E2E_CACHE or
// DefaultCache.
func CacheDir() string {
	if dir := os.Getenv("FLEET_E2E_CACHE"); dir != "" {
		return dir
	}
	return DefaultCache
}

// artefacts are the directories a lab is made from. All are read only to it.
type artefacts struct {
	base      string // the tree that every node shares
	kubelet   string // a layer over base with the kubelet
	apiServer string // a layer over base with the API server, "" unless asked for
}

// Provision installs the packages that the machine lacks and makes every
// artefact that is not in the cache yet: a matter of minutes on a bare machine,
// of milliseconds ever after. It needs root, apt and a Go toolchain.
func Provision(ctx context.Context, log func(format string, args ...any)) error {
	_, err := provision(ctx, log, true)
	return err
}

func provision(ctx context.Context, log func(format string, args ...any), apiServer bool) (artefacts, error) {
	if os.Geteuid() != 0 {
		return artefacts{}, errors.New("cannot make real nodes: namespaces and mounts need root")
	}
	if err := installPackages(ctx, log); err != nil {
		return artefacts{}, err
	}
	dir, err := filepath.Abs(CacheDir())
	if err != nil {
		return artefacts{}, fmt.Errorf("cannot find the cache: %w", err)
	}
	c := cache{dir: dir, log: log}
	var a artefacts
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		a.base, err = c.once(ctx, baseName(), makeBase)
		return err
	})
	g.Go(func() (err error) {
		components := map[string]*string{"kubelet": &a.kubelet, "kube-apiserver": &a.apiServer}
		for _, name := range kubernetesComponents { // one after the other: they share most of their packages
			if name == "kube-apiserver" && !apiServer {
				continue
			}
			if *components[name], err = c.once(ctx, componentName(name), makeComponent(name)); err != nil {
				return err
			}
		}
		return nil
	})
	return a, g.Wait()
}
