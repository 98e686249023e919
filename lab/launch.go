package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"fleet/kubelet"
)

// launch is what a start of the kubelet would come to.
type launch struct {
	argv    []string
	cwd     string
	refused string // systemd would not touch the unit: why
	failed  string // systemd would try and fail before there is a process: why
	fatal   string // the kubelet would exit: its last words
	skipped bool   // a condition does not hold, so that nothing is started
	value   string // of the setting, as the kubelet would run with it
}

// maxRounds bounds how often a derivation may ask for more files.
const maxRounds = 20

// nextStart works out what systemd would execute for the unit as it is loaded,
// with the environment and configuration files as they are on disk now.
func (s *systemd) nextStart(u *unit) launch {
	disk := s.n.loadedDisk(u)
	loaded := kubelet.LoadUnit(u.name, disk)
	if loaded.Fatal != nil {
		return launch{refused: loaded.Fatal.Message}
	}
	for _, c := range loaded.Conditions {
		if c.Name == "ConditionPathExists" && !s.n.exists(c.Value) {
			return launch{skipped: true}
		}
	}
	var next kubelet.Launch
	for range maxRounds {
		next = loaded.Start(disk)
		if len(next.Need) == 0 {
			break
		}
		s.n.look(disk, next.Need)
	}
	switch {
	case next.Fatal != nil:
		return launch{failed: next.Fatal.Message}
	case next.Blocked != nil:
		return launch{refused: next.Blocked.Message}
	case len(next.Need) > 0:
		return launch{refused: "files are needed without end: " + strings.Join(next.Need, " ")}
	}
	out := launch{argv: []string{next.Argv0}, cwd: next.Start.Cwd}
	out.value, out.fatal = s.n.outcome(next.Start, disk)
	for _, a := range next.Start.Args {
		out.argv = append(out.argv, a.Text)
	}
	return out
}

// loadedDisk holds the unit's files as systemd has them in memory.
func (n *node) loadedDisk(u *unit) kubelet.Disk {
	d := kubelet.Disk{Files: map[string]kubelet.File{}, Dirs: map[string]kubelet.Dir{}}
	files, dirs := kubelet.UnitPaths(u.name)
	for _, p := range files {
		d.Files[p] = kubelet.File{Path: p, State: kubelet.StateMissing}
	}
	for _, p := range dirs {
		d.Dirs[p] = kubelet.Dir{Path: p, State: kubelet.StateMissing}
	}
	for p, data := range u.snapshot {
		d.Files[p] = kubelet.File{Path: p, State: kubelet.StatePresent, Data: []byte(data)}
		if dir, ok := d.Dirs[p[:strings.LastIndex(p, "/")]]; ok {
			dir.State = kubelet.StatePresent
			dir.Entries = append(dir.Entries, p)
			slices.Sort(dir.Entries)
			d.Dirs[dir.Path] = dir
		}
	}
	return d
}

// look brings paths of the node into the disk, as files and as listings:
// whoever asks does not always say which of the two it takes a path for.
func (n *node) look(d kubelet.Disk, paths []string) {
	for _, p := range paths {
		p = strings.TrimSuffix(p, "/")
		d.Files[p], d.Dirs[p] = n.lookFile(p), n.lookDir(p)
	}
}

func (n *node) lookFile(p string) kubelet.File {
	f := kubelet.File{Path: p, State: kubelet.StatePresent}
	info, err := os.Stat(n.host(p))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.State = kubelet.StateMissing
		return f
	case err != nil:
		f.State = kubelet.StateUnreadable
		return f
	case info.IsDir():
		f.State = kubelet.StateDirectory
		return f
	case !info.Mode().IsRegular():
		f.State = kubelet.StateNotRegular
		return f
	}
	f.Modified, f.Changed = info.ModTime(), info.ModTime()
	if f.Data, err = os.ReadFile(n.host(p)); err != nil {
		f.State = kubelet.StateUnreadable
	}
	return f
}

func (n *node) lookDir(p string) kubelet.Dir {
	out := kubelet.Dir{Path: p, State: kubelet.StatePresent}
	info, err := os.Stat(n.host(p))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out.State = kubelet.StateMissing
		return out
	case err == nil && !info.IsDir():
		out.State = kubelet.StateNotRegular
		return out
	}
	err = fs.WalkDir(os.DirFS(n.root()), strings.TrimPrefix(p, "/"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out.Entries = append(out.Entries, "/"+name)
		}
		return err
	})
	if err != nil {
		out.State = kubelet.StateUnreadable
	}
	return out
}

func (n *node) exists(p string) bool {
	_, err := os.Stat(n.host(p))
	return err == nil
}

// refresh takes over what the unit's files say after a daemon-reload.
func (s *systemd) refresh(u *unit) {
	link, err := os.Readlink(s.n.host(u.fragment))
	masked := err == nil && link == "/dev/null"
	switch {
	case masked:
		u.load, u.fileState = "masked", "masked"
	case u.fragment == "":
		u.load, u.fileState = "not-found", ""
	default:
		u.load, u.fileState, u.loadError = "loaded", "enabled", ""
		u.envFiles, u.environment = u.environmentFiles(), u.environmentWords()
	}
}

// outcome is the value the kubelet would run with, given these arguments and
// files, or its last words before it exits.
func (n *node) outcome(start kubelet.Start, d kubelet.Disk) (value, lastWords string) {
	start.Version = n.spec.Version
	setting := kubelet.Setting{Flag: "make-iptables-util-chains", Key: "makeIPTablesUtilChains", Default: true}
	for range maxRounds {
		r := kubelet.Resolve(setting, start, d)
		switch {
		case r.Fatal != nil:
			return "", r.Fatal.Message
		case r.Blocked != nil:
			return "", r.Blocked.Message
		case len(r.Need) == 0:
			return fmt.Sprint(r.Value), ""
		}
		n.look(d, r.Need)
	}
	return "", "files are needed without end"
}
