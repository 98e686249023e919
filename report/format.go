package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Writer writes a report in one format. It decides nothing but the format: the
// exit code is [ExitCode]'s.
type Writer func(w io.Writer, r Report, o TextOptions) error

// Format is one output format, as -o and --report name it.
type Format struct {
	Name  string
	About string // one line for help and completion
	Write Writer
}

// Formats lists every output format, the default first.
func Formats() []Format {
	return []Format{
		{"table", "a line per host, worst first; large fleets folded (default)", WriteTable},
		{"wide", "a line per host with every witness, never folded", WriteWide},
		{"json", "one document of " + SchemaName, WriteJSON},
		{"ndjson", "one JSON message per line: header, hosts, summary", WriteNDJSON},
	}
}

// FormatNamed finds a format by its name.
func FormatNamed(name string) (Format, error) {
	var names []string
	for _, f := range Formats() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Format{}, fmt.Errorf("unknown output format %q (one of: %s)", name, strings.Join(names, ", "))
}

// Target is a report file to write: the value of --report FORMAT=PATH.
type Target struct {
	Format Format
	Path   string
}

// ParseTarget reads FORMAT=PATH. The path may hold further equals signs.
func ParseTarget(s string) (Target, error) {
	name, path, ok := strings.Cut(s, "=")
	if !ok || path == "" {
		return Target{}, fmt.Errorf("bad report target %q (want FORMAT=PATH, for example json=report.json)", s)
	}
	if path == "-" {
		return Target{}, fmt.Errorf("bad report target %q (standard output is -o %s)", s, name)
	}
	f, err := FormatNamed(name)
	if err != nil {
		return Target{}, fmt.Errorf("bad report target %q: %w", s, err)
	}
	return Target{Format: f, Path: path}, nil
}

// Check reports whether the file could be written, so that a long run does not
// end without its report. It creates nothing that stays.
func (t Target) Check() error {
	path, special, err := t.resolve()
	if err != nil || special {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), tempPattern)
	if err != nil {
		return t.failed(err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Save writes r to the target's path, as plain text without colour. The file
// appears whole or not at all, mode 0600 because it tells where a fleet is
// weak: a temporary file in the same directory, synced and renamed. A symbolic
// link stays and its target is replaced; a device or pipe is written to.
func (t Target) Save(r Report) error {
	path, special, err := t.resolve()
	if err != nil {
		return err
	}
	if special {
		err = t.saveSpecial(path, r)
	} else {
		err = t.saveFile(path, r)
	}
	if err != nil {
		return t.failed(err)
	}
	return nil
}

const tempPattern = ".fleet-report-*"

// resolve finds the file behind the target's path. special is true for what
// must not be replaced, such as a named pipe or /dev/stdout (which may well
// lead to a regular file).
func (t Target) resolve() (path string, special bool, err error) {
	info, err := os.Stat(t.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(t.Path); err == nil {
			return "", false, t.failed(errors.New("it is a symbolic link that leads nowhere"))
		}
		return t.Path, false, nil
	case err != nil:
		return "", false, t.failed(err)
	case info.IsDir():
		return "", false, t.failed(errors.New("it is a directory"))
	case !info.Mode().IsRegular(), strings.HasPrefix(filepath.Clean(t.Path), "/dev/"):
		return t.Path, true, nil
	}
	path, err = filepath.EvalSymlinks(t.Path)
	if err != nil {
		return "", false, t.failed(err)
	}
	return path, false, nil
}

func (t Target) failed(err error) error {
	return fmt.Errorf("cannot write report %s: %w", t.Path, err)
}

func (t Target) saveSpecial(path string, r Report) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	return errors.Join(t.render(f, r), f.Close())
}

func (t Target) saveFile(path string, r Report) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPattern) // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(t.render(f, r), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (t Target) render(f io.Writer, r Report) error {
	w := bufio.NewWriter(f)
	if err := t.Format.Write(w, r, TextOptions{}); err != nil {
		return err
	}
	return w.Flush()
}
