package audit

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleet/kubelet"
)

// kubeletUnit is the unit every distribution but snap gives the kubelet.
const kubeletUnit = "kubelet.service"

// subject is whom the verdict is about: the kubelet process that systemd runs,
// or the reason why there is none to judge.
type subject struct {
	unit    string
	process *Process
	reason  string // "" when process is set
	message string
}

// exempt tells a host that the control does not concern.
func exempt(f Facts) (reason, message string) {
	system, _, _ := strings.Cut(f.Kernel, " ")
	switch id := osRelease(f)["ID"]; {
	case strings.HasPrefix(system, "MINGW"), strings.HasPrefix(system, "MSYS"), strings.HasPrefix(system, "CYGWIN"):
		return "os-windows", "a Windows host (" + system + ")"
	case system != "Linux" && system != "":
		return "os-not-linux", "the host runs " + system
	case id == "bottlerocket":
		return "bottlerocket", "a Bottlerocket host"
	}
	if f.Units[kubeletUnit].MainPID() > 0 {
		return "", ""
	}
	for _, p := range f.Processes {
		switch {
		case strings.HasPrefix(p.Comm, "k3s"):
			return "k3s", fmt.Sprintf("the kubelet is part of process %d (%s)", p.PID, p.Comm)
		case strings.HasPrefix(p.Comm, "rke2"):
			return "rke2", fmt.Sprintf("the kubelet is run by process %d (%s)", p.PID, p.Comm)
		case p.Comm == "kubelite":
			return "microk8s", fmt.Sprintf("the kubelet is part of process %d (%s)", p.PID, p.Comm)
		}
	}
	for unit, reason := range map[string]string{
		"k3s.service": "k3s", "k3s-agent.service": "k3s", "rke2-server.service": "rke2", "rke2-agent.service": "rke2",
	} {
		if f.Units[unit]["ActiveState"] == "active" {
			return reason, unit + " runs the kubelet"
		}
	}
	return "", ""
}

// Exempt judges a host by its labels alone, before anything is contacted: a
// node that the cluster itself calls a Windows node.
func Exempt(labels map[string]string) (Finding, bool) {
	for _, key := range []string{"kubernetes.io/os", "beta.kubernetes.io/os"} {
		if strings.EqualFold(labels[key], "windows") {
			f := Finding{Status: StatusNotApplicable, Reason: "os-windows", Message: "a Windows node by its label " + key, Evidence: []Evidence{}}
			return advise(f, "", MakeIPTablesUtilChains), true
		}
	}
	return Finding{}, false
}

// ExemptServer judges a host by the name its SSH server gives itself: Windows
// has no sh to run the probe, and no iptables.
func ExemptServer(version string) (Finding, bool) {
	if !strings.Contains(version, "OpenSSH_for_Windows") {
		return Finding{}, false
	}
	f := Finding{Status: StatusNotApplicable, Reason: "os-windows", Message: "a Windows host by its SSH server", Evidence: []Evidence{}}
	return advise(f, "", MakeIPTablesUtilChains), true
}

// findSubject finds the process to judge. The unit's main process is the
// witness; names in the process table only serve to find strays.
func findSubject(f Facts) subject {
	s := subject{unit: kubeletUnit}
	if name := otherUnit(f); name != "" {
		s.unit = name
	}
	u := f.Units[s.unit]
	kubelets := f.kubelets()
	main := f.process(u.MainPID())
	if main != nil && !main.isKubelet() {
		main = below(kubelets, s.unit)
		if main == nil {
			return s.because("not-a-kubelet", "the main process of %s is %q", s.unit, f.process(u.MainPID()).Comm)
		}
	}
	if main == nil {
		return s.absent(f, u, kubelets)
	}
	if stray := strays(kubelets, main); len(stray) > 0 {
		return s.because("several-kubelets", "besides process %d of %s there is %s", main.PID, s.unit, strings.Join(stray, ", "))
	}
	if u.Restarts() > 0 && main.young(f) {
		return s.because("crash-loop", "the kubelet does not stay up (systemd restarted it %d times, the last time a moment ago)", u.Restarts())
	}
	s.process = main
	return s
}

func (s subject) because(reason, layout string, args ...any) subject {
	s.reason, s.message = reason, fmt.Sprintf(layout, args...)
	return s
}

// absent explains why the unit has no process.
func (s subject) absent(f Facts, u UnitState, kubelets []*Process) subject {
	state := u["ActiveState"] + "/" + u["SubState"]
	switch {
	case len(f.Units) == 0 && f.Init != "systemd":
		return s.because("no-systemd", "process 1 is %q: %s", f.Init, firstLine(f.ShowError))
	case len(f.Units) == 0:
		return s.because("no-systemd", "systemctl show failed: %s", firstLine(f.ShowError))
	case len(kubelets) > 0 && u.MainPID() == 0:
		return s.because("several-kubelets", "%s has no main process, but there is %s",
			s.unit, strings.Join(strays(kubelets, nil), ", "))
	case u["LoadState"] == "masked":
		return s.because("unit-masked", "%s is masked and nothing runs", s.unit)
	case u["LoadState"] == "not-found" || u["LoadState"] == "":
		s.unit = ""
		return s.because("no-unit", "the host has no %s and no kubelet process", kubeletUnit)
	case u["SubState"] == "auto-restart" || u["ActiveState"] == "activating" && u.Restarts() > 0:
		return s.because("crash-loop", "the kubelet does not stay up (%s, %d restarts)%s", state, u.Restarts(), lastError(f.Journal))
	case u["ActiveState"] == "activating":
		return s.because("starting", "%s is being started (%s)", s.unit, state)
	case u.MainPID() > 0 && f.UID != 0:
		return s.because("unreadable", "process %d of %s may not be seen by this user", u.MainPID(), s.unit)
	case u.MainPID() > 0:
		return s.because("no-kubelet", "process %d of %s ended while the host was looked at", u.MainPID(), s.unit)
	case u["ConditionResult"] == "no":
		return s.because("no-kubelet", "%s is %s: a condition of the unit is not met", s.unit, state)
	}
	return s.because("no-kubelet", "%s is %s, result %s%s", s.unit, state, u["Result"], lastError(f.Journal))
}

// lastError is the kubelet's own last word in the journal, for a reader.
func lastError(journal []string) string {
	for i := len(journal) - 1; i >= 0; i-- {
		line := journal[i]
		if strings.Contains(line, "command failed") || strings.HasPrefix(line, "Error:") || strings.HasPrefix(line, "E") && strings.Contains(line, "run.go") {
			return ": " + clip(line, 300)
		}
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return clip(line, 200)
}

// otherUnit finds the unit of the only kubelet there is when kubelet.service
// is not it: snaps name theirs otherwise.
func otherUnit(f Facts) string {
	if u := f.Units[kubeletUnit]; u.MainPID() > 0 || u["LoadState"] == "loaded" {
		return ""
	}
	kubelets := f.kubelets()
	if len(kubelets) == 1 && kubelets[0].Unit != kubeletUnit {
		return kubelets[0].Unit
	}
	return ""
}

func (f Facts) process(pid int) *Process {
	for i := range f.Processes {
		if pid != 0 && f.Processes[i].PID == pid {
			return &f.Processes[i]
		}
	}
	return nil
}

// kubelets lists the processes that execute a kubelet, by what they execute,
// not by their path: AKS and others have moved the binary.
func (f Facts) kubelets() []*Process {
	var out []*Process
	for i := range f.Processes {
		if f.Processes[i].isKubelet() {
			out = append(out, &f.Processes[i])
		}
	}
	return out
}

// isKubelet leaves out a process that only tells its version: whoever else looks
// at the host at this moment runs one.
func (p *Process) isKubelet() bool {
	if slices.ContainsFunc(p.Argv, func(w kubelet.Arg) bool { return w.Text == "--version" }) {
		return false
	}
	base := path.Base(strings.TrimSuffix(p.Exe, " (deleted)"))
	if p.Exe == "" {
		base = p.Comm
	}
	switch base {
	case "kubelet":
		return true
	case "hyperkube":
		return len(p.Argv) > 1 && p.Argv[1].Text == "kubelet" || len(p.Argv) > 0 && path.Base(p.Argv[0].Text) == "kubelet"
	}
	return false
}

// young tells a process that systemd has only just restarted, or that is gone
// already: a dead process has no command line, which root can always read.
func (p *Process) young(f Facts) bool {
	if len(p.Argv) == 0 && f.UID == 0 {
		return true
	}
	return !p.Started.IsZero() && !p.settled(f)
}

// settled tells a process that has lived longer than a kubelet that refuses
// its arguments or its configuration.
func (p *Process) settled(f Facts) bool {
	return !p.Started.IsZero() && f.Now.Sub(p.Started) >= 10*time.Second
}

// below finds the one kubelet that a wrapper's unit runs.
func below(kubelets []*Process, unit string) *Process {
	var found *Process
	for _, p := range kubelets {
		if p.Unit == unit {
			if found != nil {
				return nil
			}
			found = p
		}
	}
	return found
}

// strays names the kubelets besides main, in words. A child of main is main
// itself about to execute something else; a process of another PID namespace
// is in a container.
func strays(kubelets []*Process, main *Process) []string {
	var out []string
	for _, p := range kubelets {
		if main != nil && (p == main || p.Parent == main.PID || p.PIDNS != main.PIDNS) {
			continue
		}
		where := "outside any unit"
		if p.Unit != "" {
			where = "in " + p.Unit
		}
		out = append(out, "process "+strconv.Itoa(p.PID)+" "+where)
	}
	return out
}

// osRelease reads os-release(5).
func osRelease(f Facts) map[string]string {
	out := map[string]string{}
	for key, value := range keyValues(f.Disk.Files["/etc/os-release"].Data, "=") {
		out[key] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return out
}

func prettyName(f Facts) string {
	release := osRelease(f)
	if release["PRETTY_NAME"] != "" {
		return release["PRETTY_NAME"]
	}
	return strings.TrimSpace(release["NAME"] + " " + release["VERSION_ID"])
}
