package judge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// installed remembers what was put on the node, so that it can be taken away.
type installed struct {
	root  string   // "/" on a node
	files []string // in the order they were made
	dirs  []string
}

// put writes a file of a layout. What it replaces is gone.
func (in *installed) put(f File) error {
	if !valid(f.Path) {
		return fmt.Errorf("cannot put %s on the node: not a place for layouts", f.Path)
	}
	path := filepath.Join(in.root, f.Path)
	if err := in.parents(filepath.Dir(path)); err != nil {
		return err
	}
	if f.Dir {
		in.dirs = append(in.dirs, path)
		return ignoreExist(os.Mkdir(path, mode(f, 0o755)))
	}
	in.files = append(in.files, path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.Link != "" {
		return os.Symlink(f.Link, path)
	}
	return os.WriteFile(path, f.Bytes(), mode(f, 0o644))
}

func mode(f File, otherwise fs.FileMode) fs.FileMode {
	if f.Mode != 0 {
		return fs.FileMode(f.Mode)
	}
	return otherwise
}

func (in *installed) parents(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := in.parents(filepath.Dir(dir)); err != nil {
		return err
	}
	in.dirs = append(in.dirs, dir)
	return ignoreExist(os.Mkdir(dir, 0o755))
}

func ignoreExist(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// clear takes away everything that was put, and the directories made for it
// that are empty then.
func (in *installed) clear() error {
	var failed []error
	for _, path := range in.files {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "not a directory") {
			failed = append(failed, err)
		}
	}
	for _, dir := range slices.Backward(in.dirs) {
		os.Remove(dir) // one that others use stays
	}
	in.files, in.dirs = nil, nil
	return errors.Join(failed...)
}
