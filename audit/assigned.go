package audit

import (
	"path"
	"strconv"
	"strings"

	"fleet/kubelet"
)

// assignedFile is where a kubelet with Dynamic Kubelet Configuration keeps what
// the API server assigned to it, below --dynamic-config-dir. It is empty while
// the kubelet runs with its own configuration
// (pkg/kubelet/kubeletconfig/checkpoint/store/fsstore.go of 1.23).
const assignedFile = "store/meta/assigned"

// lastDynamic is the last minor release with Dynamic Kubelet Configuration
// (KEP-281).
const lastDynamic = 23

// assignment is the path of assignedFile for the running kubelet, "" for one
// that has no Dynamic Kubelet Configuration, or whose flag beats any.
func (j *judgement) assignment() string {
	dir := j.dynamicDir()
	if dir == "" || len(kubelet.ParseArgs(j.Setting, j.subject.process.start()).Occurrences) > 0 {
		return ""
	}
	return path.Join(dir, assignedFile)
}

// dynamicDir is --dynamic-config-dir of a running kubelet that still has it,
// "" otherwise.
func (j *judgement) dynamicDir() string {
	p := j.subject.process
	if p == nil || len(p.Argv) == 0 || !dynamicRelease(p.Version) {
		return ""
	}
	given := kubelet.ParseArgs(kubelet.Setting{Flag: "dynamic-config-dir"}, p.start()).Occurrences
	if len(given) == 0 {
		return ""
	}
	dir, _ := given[len(given)-1].Value.(string)
	switch {
	case dir == "" || path.IsAbs(dir):
		return dir
	case p.Cwd == "":
		return ""
	}
	return path.Join(p.Cwd, dir)
}

// dynamicRelease reads the Y of v1.Y.Z. Of an unknown version nothing is
// assumed: the feature is long gone.
func dynamicRelease(version string) bool {
	rest, ok := strings.CutPrefix(version, "v1.")
	digits, _, _ := strings.Cut(rest, ".")
	minor, err := strconv.Atoi(digits)
	return ok && err == nil && minor <= lastDynamic
}

// assigned tells that the API server assigned the kubelet's configuration, so
// that the files on the node do not tell the value.
func (j *judgement) assigned() bool {
	name := j.assignment()
	if name == "" {
		return false
	}
	file, looked := j.facts.Disk.Files[name]
	switch {
	case !looked, file.State == kubelet.StateMissing:
		return false
	case file.State == kubelet.StatePresent:
		return len(file.Data) > 0
	}
	return true // there is something that may not be read
}

// byAssignment judges a kubelet whose configuration was assigned: only the
// third witness knows its value.
func (j *judgement) byAssignment(live *Live) Finding {
	const why = "the API server assigned its configuration (Dynamic Kubelet Configuration)"
	for _, r := range []*reading{&j.running, &j.next} {
		if r.heard {
			r.Resolution = kubelet.Resolution{Config: r.Config, ConfigDir: r.ConfigDir}
			r.problem = why
		}
	}
	switch {
	case !live.heard():
		return j.finding(StatusUnknown, "dynamic-config", "%s, which the files of the node do not tell", why)
	case live.Value == j.Expected:
		return j.finding(StatusPass, "live", "%s by its live configuration; %s", format(live.Value), why)
	}
	return j.finding(StatusFail, "live-false", "%s by its live configuration; %s", format(live.Value), why)
}
