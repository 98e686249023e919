package e2e

import (
	"path"
	"slices"
	"strings"

	"fleet/kubelet"
	"fleet/lab/real"
	"fleet/lab/real/judge"
)

// Settings are the settings whose values are compared.
func Settings() []kubelet.Setting {
	return []kubelet.Setting{
		{Flag: "make-iptables-util-chains", Key: "makeIPTablesUtilChains", Default: true},
		{Flag: "serialize-image-pulls", Key: "serializeImagePulls", Default: true},
		{Flag: "event-qps", Key: "eventRecordQPS", Default: int64(50)},
	}
}

// Reading is what the project reads out of a layout.
type Reading struct {
	Exec bool     // systemd would execute the program
	Argv []string // with this command line
	Cwd  string   // in this directory

	Started bool           // the kubelet would run
	Values  map[string]any // with these values, by configuration key
	Reason  string         // why it would not run

	// Open is why the reading came to no end: something could not be read or
	// was asked for without end. On a layout there is no excuse for it.
	Open string
}

// manager is the systemd of a node of the lab, Debian 12's.
var manager = kubelet.Manager{Version: 252}

// Read reads a layout, as an auditor does who is given every file asked for.
func Read(l judge.Layout) Reading {
	disk := newDisk(l)
	launch, open := disk.launch(l.Unit)
	if open != "" {
		return Reading{Open: open}
	}
	if launch.Fatal != nil {
		return Reading{Reason: launch.Fatal.Message}
	}
	r := Reading{Exec: true, Argv: argv(launch), Cwd: launch.Start.Cwd, Values: map[string]any{}}
	launch.Start.Version = real.KubernetesVersion
	for _, s := range Settings() {
		res, open := disk.resolve(s, launch.Start)
		switch {
		case open != "":
			r.Open = open
			return r
		case res.Fatal != nil:
			r.Reason = res.Fatal.Message
			return r
		}
		r.Values[s.Key] = res.Value
	}
	r.Started = true
	return r
}

func argv(l kubelet.Launch) []string {
	words := []string{l.Argv0}
	for _, a := range l.Start.Args {
		words = append(words, a.Text)
	}
	return words
}

// disk answers a reader's questions about a layout's files.
type disk struct {
	nodes map[string]judge.File // by cleaned path, with the directories on the way
	known kubelet.Disk
}

// programs are the files of a node that layouts execute.
var programs = []string{"/usr/bin/kubelet", "/opt/bin/kubelet", judge.DumperPath, "/bin/true", "/bin/false", "/usr/bin/true", "/usr/bin/false", "/root/.profile"}

func newDisk(l judge.Layout) *disk {
	d := &disk{nodes: map[string]judge.File{}, known: kubelet.Disk{Files: map[string]kubelet.File{}, Dirs: map[string]kubelet.Dir{}}}
	for _, p := range programs {
		d.add(judge.File{Path: p, Text: "\x7fELF", Mode: 0o755})
	}
	for _, p := range []string{"/etc/kubernetes", "/etc/default", "/root", "/tmp", "/var/lib/kubelet"} {
		d.add(judge.File{Path: p, Dir: true})
	}
	d.add(judge.File{Path: "/lib", Link: "usr/lib"})
	d.add(judge.File{Path: "/etc/hostname", Text: "judge-1\n"})
	d.add(judge.File{Path: "/dev/null", Link: ""})
	for _, f := range l.Files {
		d.add(f)
	}
	return d
}

// add puts a file and the directories above it on the disk.
func (d *disk) add(f judge.File) {
	if _, ok := d.nodes[f.Path]; !ok || !f.Dir {
		d.nodes[f.Path] = f
	}
	for dir := path.Dir(f.Path); ; dir = path.Dir(dir) {
		if _, ok := d.nodes[dir]; !ok {
			d.nodes[dir] = judge.File{Path: dir, Dir: true}
		}
		if dir == "/" {
			return
		}
	}
}

// find follows symbolic links to the path of what is really there; ok is
// false when there is nothing.
func (d *disk) find(p string, hops int) (judge.File, bool) {
	if hops > 40 {
		return judge.File{}, false
	}
	at := "/"
	parts := strings.Split(strings.Trim(p, "/"), "/")
	for i, part := range parts {
		if part == "" || part == "." {
			continue
		}
		at = path.Join(at, part)
		f, ok := d.nodes[at]
		if !ok {
			return judge.File{}, false
		}
		if f.Link != "" {
			target := f.Link
			if !path.IsAbs(target) {
				target = path.Join(path.Dir(at), target)
			}
			if rest := strings.Join(parts[i+1:], "/"); rest != "" {
				target += "/" + rest
			}
			return d.find(target, hops+1)
		}
		if !f.Dir && i < len(parts)-1 {
			return judge.File{}, false
		}
	}
	f := d.nodes[at]
	return f, !strings.HasSuffix(p, "/") || f.Dir
}

// file describes a path as the probe of a node does.
func (d *disk) file(p string) kubelet.File {
	f := kubelet.File{Path: p, State: kubelet.StateMissing, Target: d.target(p)}
	n, ok := d.find(p, 0)
	switch {
	case !ok:
	case n.Dir:
		f.State = kubelet.StateDirectory
	case n.Path == "/dev/null":
		f.State = kubelet.StateNotRegular
	default:
		f.State, f.Data = kubelet.StatePresent, n.Bytes()
	}
	return f
}

// target is where a path leads when it is itself a symbolic link.
func (d *disk) target(p string) string {
	parent, ok := d.find(path.Dir(p), 0)
	if !ok {
		return ""
	}
	return d.nodes[path.Join(parent.Path, path.Base(p))].Link
}

// dir lists a directory as find does, which does not follow a link unless a
// slash ends its name.
func (d *disk) dir(p string) kubelet.Dir {
	out := kubelet.Dir{Path: p, State: kubelet.StateMissing}
	if !strings.HasSuffix(p, "/") && d.target(p) != "" {
		if _, ok := d.find(p, 0); ok {
			out.State, out.Entries = kubelet.StatePresent, []string{p}
		}
		return out
	}
	n, ok := d.find(p, 0)
	if !ok {
		return out
	}
	if !n.Dir {
		out.State = kubelet.StateNotRegular
		return out
	}
	out.State = kubelet.StatePresent
	for name, f := range d.nodes {
		if rest, below := strings.CutPrefix(name, strings.TrimSuffix(n.Path, "/")+"/"); below && !f.Dir {
			out.Entries = append(out.Entries, strings.TrimSuffix(p, "/")+"/"+rest)
		}
	}
	slices.Sort(out.Entries)
	return out
}

// fetch brings what is needed; open tells when it was there already.
func (d *disk) fetch(need []string) (open string) {
	news := false
	for _, p := range need {
		_, had := d.known.Dirs[p]
		d.known.Dirs[p], news = d.dir(p), news || !had
		if dir, ok := strings.CutSuffix(p, "/"); ok && dir != "" {
			d.known.Dirs[dir] = d.dir(dir) // a unit asks with a slash for what it looks up without
			continue
		}
		d.known.Files[p] = d.file(p) // --config-dir is asked for like a file
	}
	if !news {
		return "asks again for " + strings.Join(need, " ")
	}
	return ""
}

// launch asks until the reader needs nothing more.
func (d *disk) launch(unit string) (kubelet.Launch, string) {
	for {
		u := manager.LoadUnit(unit, d.known)
		if dir := u.WorkingDirectory; path.IsAbs(dir) {
			d.known.Dirs[dir] = d.dir(dir) // not asked for, but looked at when it is there
		}
		l := u.Start(d.known)
		if len(l.Need) == 0 {
			return l, blocked(l.Blocked)
		}
		if open := d.fetch(l.Need); open != "" {
			return l, open
		}
	}
}

func (d *disk) resolve(s kubelet.Setting, start kubelet.Start) (kubelet.Resolution, string) {
	for {
		r := kubelet.Resolve(s, start, d.known)
		if len(r.Need) == 0 {
			return r, blocked(r.Blocked)
		}
		if open := d.fetch(r.Need); open != "" {
			return r, open
		}
	}
}

func blocked(f *kubelet.Fatal) string {
	if f == nil {
		return ""
	}
	return "blocked: " + f.Message
}
