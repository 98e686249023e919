package audit

import "fleet/kubelet"

// Basis is what a change of a host is planned from: the two witnesses in full,
// where a Finding only tells their values.
type Basis struct {
	Unit    string   // the unit that runs the kubelet, "" when there is none
	Process *Process // nil when none is to be judged
	// Absent is the reason why there is no process to judge ("crash-loop",
	// "no-kubelet", ...), "" when there is one.
	Absent string
	// Start is how the running process was started, zero when none is judged or
	// its command line may not be read.
	Start kubelet.Start
	// Assignable tells that the kubelet runs with --dynamic-config-dir and is old
	// enough to have it.
	Assignable bool
	// Manager is systemd as the unit is read by it.
	Manager kubelet.Manager
	Running kubelet.Resolution
	Next    kubelet.Resolution
	// Problem is why Next has no value, "" when it has.
	Problem string
}

// Basis works out what a change is planned from. Like Judge it is pure.
func (c Control) Basis(f Facts) Basis {
	j := judgement{Control: c, facts: f}
	j.subject = findSubject(f)
	j.readNext()
	j.readRunning()
	manager := f.Manager
	manager.Specifiers, manager.Kubelet = f.specifiers(), j.nextVersion()
	b := Basis{
		Unit: j.subject.unit, Process: j.subject.process, Absent: j.subject.reason, Manager: manager,
		Running: j.running.Resolution, Next: j.next.Resolution, Problem: j.next.problem,
	}
	if p := j.subject.process; p != nil && len(p.Argv) > 0 {
		b.Start, b.Assignable = p.start(), j.dynamicDir() != ""
		if p.settled(f) {
			for _, arg := range b.Start.Args {
				b.Manager.Accepted = append(b.Manager.Accepted, arg.Text)
			}
		}
	}
	return b
}

// Next resolves another setting of the kubelet at its next start, for what a
// change has to know beside the control: where healthz answers.
func Next(s kubelet.Setting, f Facts) kubelet.Resolution {
	return Control{Setting: s}.Basis(f).Next
}
