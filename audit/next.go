package audit

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"fleet/kubelet"
)

// nextStart works out the witness "next": what systemd would execute for the
// unit after a daemon-reload, and the value a kubelet so executed would have.
// The notes are about settings that have no effect. heard is false when there
// is no unit.
func (j *judgement) nextStart(unit string) (r reading, notes []string) {
	f := j.facts
	manager := f.Manager
	manager.Specifiers = f.specifiers()
	u := manager.LoadUnit(unit, f.Disk)
	launch := u.Start(f.Disk)
	r.heard = true
	r.Fatal, r.Blocked, r.Need = launch.Fatal, launch.Blocked, launch.Need
	if r.Fatal == nil && r.Blocked == nil && len(r.Need) == 0 {
		args, ok := kubeletArgs(launch.Exe, launch.Start.Args)
		if !ok {
			r.problem = fmt.Sprintf("ExecStart of %s runs %s, which is not followed", unit, launch.Exe)
			return r, nil
		}
		start := launch.Start
		start.Args, start.Version = args, j.nextVersion()
		if p := j.subject.process; p != nil && len(p.Argv) > 0 && p.settled(f) {
			start = j.accepted(start, p.start())
		}
		r.Resolution = kubelet.Resolve(j.Setting, start, f.Disk)
	}
	r.settle()
	return r, append(j.withoutEffect(launch), launch.Warnings...)
}

// nextVersion is the version of the binary that would be started: that of the
// running one, unless it was replaced.
func (j *judgement) nextVersion() string {
	p := j.subject.process
	if p == nil || strings.HasSuffix(p.Exe, " (deleted)") {
		return ""
	}
	return p.Version
}

// kubeletArgs gives the kubelet's own arguments of what is executed, and
// whether it is a kubelet at all rather than a wrapper, whose arguments say
// nothing.
func kubeletArgs(exe string, args []kubelet.Arg) ([]kubelet.Arg, bool) {
	name := path.Base(strings.TrimSuffix(exe, " (deleted)"))
	if name != "kubelet" && name != "hyperkube" {
		return nil, false
	}
	return kubelet.KubeletArgs(append([]kubelet.Arg{{Text: name}}, args...))
}

// withoutEffect notes where the setting is written and does not count: in a
// variable that ExecStart does not expand (as the benchmark's text has it for
// AKS), or in an assignment that another one replaces.
func (j *judgement) withoutEffect(l kubelet.Launch) []string {
	var notes []string
	for _, v := range l.Unused {
		if j.mentions(v.Value) {
			notes = append(notes, fmt.Sprintf("%s sets the flag in $%s, which ExecStart does not use: no effect", place(v.Source), v.Name))
		}
	}
	for _, v := range l.Expands {
		for _, lost := range v.Overridden {
			note := fmt.Sprintf("%s sets the flag in $%s, but %s replaces the whole variable: no effect", place(lost.Source), v.Name, place(v.Source))
			if j.mentions(lost.Value) && lost.Source != v.Source && !slices.Contains(notes, note) {
				notes = append(notes, note)
			}
		}
	}
	return notes
}

// mentions tells whether a variable's value holds the setting's flag, with any
// separators between its words.
func (j *judgement) mentions(value string) bool {
	return strings.Contains(strings.ReplaceAll(value, "_", "-"), "--"+j.Setting.Flag)
}
