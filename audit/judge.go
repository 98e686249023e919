package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleet/kubelet"
)

// Policy is what the user demands beyond the control itself.
type Policy struct {
	// Strict makes a value that is right only by default a failure.
	Strict bool
}

// Judge gives the finding on one node. live is nil when nobody asked the API
// server. It is pure: the same facts give the same finding.
func (c Control) Judge(f Facts, p Policy, live *Live) Finding {
	j := judgement{Control: c, policy: p, facts: f}
	finding := j.find(live)
	finding.Node = j.node()
	finding.Evidence = append(c.exhibits(f, j.running), live.exhibit(c.Setting.Key)...)
	finding.Notes = append(finding.Notes, j.notes...)
	for _, change := range f.Changes {
		finding.Notes = append(finding.Notes, change.Describe())
	}
	if finding.Hint == "" {
		finding = advise(finding, j.mendPath, c)
	}
	return finding
}

// judgement is the state of one Judge call: what was worked out on the way.
type judgement struct {
	Control
	policy Policy
	facts  Facts

	subject  subject
	running  reading
	next     reading
	mendPath string // the file the hint speaks of
	notes    []string
}

// reading is one witness being worked out.
type reading struct {
	kubelet.Resolution
	heard   bool   // false: there was nothing to read it from
	stale   string // why the files are not those the process was started with
	problem string // why there is no value
}

func (j *judgement) note(format string, args ...any) {
	j.notes = append(j.notes, fmt.Sprintf(format, args...))
}

func (j *judgement) find(live *Live) Finding {
	if code, text := exempt(j.facts); code != "" {
		return Finding{Status: StatusNotApplicable, Reason: code, Message: text}
	}
	j.subject = findSubject(j.facts)
	j.readNext()
	j.readRunning()
	finding := j.verdict(live)
	finding.Running, finding.Next = j.running.witness(), j.next.witness()
	finding.Live = live.witness()
	if live != nil && !live.heard() {
		j.note("%s", live.missing())
	}
	j.noteLayers()
	return finding
}

// readRunning resolves the value the running kubelet was started with. A file
// that changed after the start no longer tells what the process read.
func (j *judgement) readRunning() {
	p := j.subject.process
	if p == nil || len(p.Argv) == 0 {
		return
	}
	start := p.start()
	if p.settled(j.facts) {
		start = j.accepted(start, start)
	}
	j.running.heard = true
	j.running.Resolution = kubelet.Resolve(j.Setting, start, j.facts.Disk)
	r := &j.running
	if given := kubelet.ParseArgs(j.Setting, start).Occurrences; len(given) > 0 {
		// A flag decides whatever has become of the files since.
		last := given[len(given)-1]
		r.Value, r.Source = last.Value, last.Source
		return
	}
	switch {
	case r.Fatal != nil:
		r.problem = "the files it was started with are gone or broken now: " + r.Fatal.Message
		r.Value = nil
	default:
		r.stale = j.changedSince(p.Started, r.Resolution)
		r.settle()
	}
	if r.stale != "" {
		r.Value, r.problem = nil, r.stale
	}
}

// accepted leaves out the arguments of a start that the flag table calls
// unknown and that the running kubelet has lived with: vendors build kubelets
// with flags of their own, and the process is the better witness.
func (j *judgement) accepted(start, running kubelet.Start) kubelet.Start {
	lived := map[string]bool{}
	for _, a := range running.Args {
		lived[a.Text] = true
	}
	start.Args = slices.Clone(start.Args)
	for range start.Args {
		fatal := kubelet.ParseArgs(j.Setting, start).Fatal
		if fatal == nil || !strings.Contains(fatal.Message, "unknown flag") && !strings.Contains(fatal.Message, "unknown command") {
			break
		}
		i := slices.IndexFunc(start.Args, func(a kubelet.Arg) bool { return a.Text == fatal.Source.Text && lived[a.Text] })
		if i < 0 {
			break
		}
		start.Args = slices.Delete(start.Args, i, i+1)
	}
	return start
}

// settle explains a resolution that gave no value.
func (r *reading) settle() {
	switch {
	case r.Fatal != nil:
		r.problem = r.Fatal.Message
	case r.Blocked != nil:
		r.problem = r.Blocked.Message
	case len(r.Need) > 0:
		r.problem = "not looked at: " + strings.Join(r.Need, ", ")
	}
	if r.problem != "" {
		r.Value = nil
	}
}

// changedSince names the first configuration file or directory that was
// modified after the process started, or "". A file whose inode alone changed
// (mode, owner, a rename of an old file) is only noted.
func (j *judgement) changedSince(started time.Time, r kubelet.Resolution) string {
	if started.IsZero() {
		return ""
	}
	limit := started.Add(j.facts.slack())
	for _, name := range r.ConfigFiles {
		file := j.facts.Disk.Files[name]
		if file.Modified.After(limit) {
			return fmt.Sprintf("%s was changed at %s, after the kubelet started at %s", name, stamp(file.Modified), stamp(started))
		}
		if file.Changed.After(limit) {
			j.note("%s was replaced or its mode changed at %s, after the kubelet started; a restart makes sure", name, stamp(file.Changed))
		}
	}
	if dir, ok := j.facts.Disk.Dirs[r.ConfigDir]; ok && r.ConfigDir != "" && dir.Modified.After(limit) {
		return fmt.Sprintf("files came to or went from %s at %s, after the kubelet started at %s", r.ConfigDir, stamp(dir.Modified), stamp(started))
	}
	return ""
}

// slack is how far apart two times of the node may lie and still be the same:
// the clock tick and the probe's own reading of the clock.
func (f Facts) slack() time.Duration {
	if f.Precise {
		return 100 * time.Millisecond
	}
	return 1100 * time.Millisecond
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// readNext resolves the value the files on disk give at the next start.
func (j *judgement) readNext() {
	if j.subject.unit == "" {
		return
	}
	r, notes := j.nextStart(j.subject.unit)
	j.next = r
	j.notes = append(j.notes, notes...)
}

// verdict weighs what was read. The order of the cases is the order in which
// the causes shut each other out.
func (j *judgement) verdict(live *Live) Finding {
	if s := j.subject; s.reason != "" {
		f := j.finding(StatusUnknown, s.reason, "%s", s.message)
		if j.next.heard {
			f.Message += "; " + j.describeNext()
		}
		return f
	}
	if j.assigned() {
		return j.byAssignment(live)
	}
	if j.next.Fatal != nil {
		return j.wontStart(live)
	}
	if !j.running.heard && !live.heard() {
		return j.finding(StatusUnknown, "unreadable", "the command line of process %d may not be read", j.subject.process.PID)
	}
	now := kubelet.Layer{Value: j.running.Value, Source: j.running.Source}
	if now.Value == nil && live.heard() {
		now = live.layer()
	}
	if live.heard() && now.Value != live.Value {
		return j.finding(StatusFail, "witnesses-disagree", "the running kubelet was started with %s, its live configuration says %s, the next start: %s",
			describe(now), format(live.Value), j.describeNext())
	}
	if now.Value == nil && j.running.stale == "" {
		return j.finding(StatusUnknown, "unreadable", "%s", j.running.problem)
	}
	return j.compare(now)
}

// compare judges the value that the kubelet has now against the next one. The
// first is unknown when the files were changed after the start: then the
// process cannot be shown to have what is on disk, and only a restart makes it
// so.
func (j *judgement) compare(now kubelet.Layer) Finding {
	next := j.next.Value
	if now.Source.Kind == SourceLive && now.Value == next {
		now.Source = j.next.Source // the live configuration knows no layer; this one says the same
	}
	good, nextGood := now.Value == j.Expected, next == j.Expected
	j.mendPath = j.next.Source.Path
	switch {
	case good && next != nil && !nextGood:
		return j.finding(StatusFail, "latent", "%s now, but the next start gives %s", format(now.Value), j.describeNext())
	case now.Value == nil && next != nil && !nextGood:
		return j.finding(StatusFail, "latent", "the next start gives %s; %s", j.describeNext(), j.running.stale)
	case now.Value == nil && next == nil:
		return j.finding(StatusUnknown, "unreadable", "%s; %s", j.running.problem, j.next.problem)
	case now.Value == nil:
		return j.finding(StatusFail, "restart-pending", "right on disk (%s), but %s", j.describeNext(), j.running.stale)
	case !good && nextGood:
		return j.finding(StatusFail, "restart-pending", "right on disk (%s), but the running kubelet has %s%s",
			j.describeNext(), describe(now), j.reloadMissing())
	case !good:
		return j.wrong(now)
	case j.policy.Strict && now.Source.Kind == kubelet.SourceDefault:
		return j.finding(StatusFail, "not-explicit", "%s by default, written down nowhere (a demand of --strict, not a fault of the kubelet)", format(now.Value))
	case j.policy.Strict && now.Source.Kind == SourceLive:
		return j.finding(StatusUnknown, "unreadable", "%s, but whether that is written down cannot be told: %s", describe(now), j.next.problem)
	}
	if j.next.heard && next == nil {
		j.note("the next start could not be worked out: %s", j.next.problem)
	}
	return j.right(now)
}

// wrong is the plain failure: wrong now and, as far as known, at the next
// start. It names the place to mend, which is the file behind a flag rather
// than the process's command line.
func (j *judgement) wrong(now kubelet.Layer) Finding {
	kind := now.Source.Kind
	if j.next.Value != nil {
		now.Source = j.next.Source
	}
	if kind == SourceLive { // the next start's layer is the one to mend
		kind = now.Source.Kind
	}
	j.mendPath = now.Source.Path
	return j.finding(StatusFail, string(kind)+"-false", "%s", describe(now))
}

func (j *judgement) right(now kubelet.Layer) Finding {
	if now.Source.Kind == kubelet.SourceDefault {
		return j.finding(StatusPass, "default", "%s by default", format(now.Value))
	}
	if now.Source.Kind == SourceLive {
		return j.finding(StatusPass, "live", "%s", describe(now))
	}
	if j.next.Value == now.Value && j.next.Source.Kind == now.Source.Kind {
		now.Source = j.next.Source // the file behind a flag says more than the process
	}
	return j.finding(StatusPass, "explicit", "%s", describe(now))
}

func (j *judgement) wontStart(live *Live) Finding {
	fatal := j.next.Fatal
	j.mendPath = fatal.Source.Path
	now := "the running kubelet has " + format(j.running.Value)
	switch {
	case live.heard() && j.running.Value != nil && live.Value != j.running.Value:
		now = fmt.Sprintf("the running kubelet was started with %s, but its live configuration says %s", format(j.running.Value), format(live.Value))
	case live.heard():
		now = "the running kubelet has " + describe(live.layer())
	case j.running.Value == nil:
		now = "what the running kubelet has cannot be read any more"
	}
	return j.finding(StatusFail, "wont-start", "the next start fails: %s%s; %s", fatal.Message, at(fatal.Source), now)
}

func (j *judgement) reloadMissing() string {
	if j.facts.Units[j.subject.unit]["NeedDaemonReload"] == "yes" {
		return "; systemd has not read the changed unit files yet (daemon-reload is missing)"
	}
	return ""
}

func (j *judgement) finding(status Status, reason, layout string, args ...any) Finding {
	return Finding{Status: status, Reason: reason, Message: fmt.Sprintf(layout, args...)}
}

func (j *judgement) describeNext() string {
	switch {
	case j.next.Fatal != nil:
		return "the next start fails: " + j.next.Fatal.Message + at(j.next.Fatal.Source)
	case j.next.Value == nil:
		return "the next start could not be worked out: " + j.next.problem
	}
	return describe(kubelet.Layer{Value: j.next.Value, Source: j.next.Source})
}

// describe says a value and where it comes from: "false by
// /etc/default/kubelet:3".
func describe(l kubelet.Layer) string {
	switch {
	case l.Source.Kind == kubelet.SourceDefault:
		return format(l.Value) + " by default"
	case l.Source.Kind == SourceLive:
		return format(l.Value) + " by its live configuration"
	case strings.HasPrefix(l.Source.Path, "/proc/"):
		return format(l.Value) + " by its command line"
	}
	return format(l.Value) + " by " + place(l.Source)
}

func place(s kubelet.Source) string {
	if s.Line > 0 {
		return s.Path + ":" + strconv.Itoa(s.Line)
	}
	return s.Path
}

func at(s kubelet.Source) string {
	if s.Path == "" {
		return ""
	}
	return " (" + place(s) + ")"
}

// format writes a value as the kubelet's files do; nil is "unknown".
func format(v any) string {
	if v == nil {
		return "unknown"
	}
	return fmt.Sprint(v)
}

// witness gives the report's view of a reading, nil when it was not heard.
func (r reading) witness() *Witness {
	if !r.heard {
		return nil
	}
	w := &Witness{Value: r.Value, Source: sourceText(r.Source), Problem: r.problem}
	if r.Value == nil && r.Fatal != nil {
		w.Source = sourceText(r.Fatal.Source)
	}
	return w
}

// noteLayers adds the facts that explain without deciding.
func (j *judgement) noteLayers() {
	for _, layer := range j.next.Masked {
		if layer.Value != j.next.Value {
			j.note("%s, masked by %s", describe(layer), place(j.next.Source))
		}
	}
	seen := map[string]bool{}
	for _, text := range append(append([]string{}, j.running.Warnings...), j.next.Warnings...) {
		if !seen[text] {
			seen[text] = true
			j.note("%s", text)
		}
	}
	if p := j.subject.process; p != nil && strings.HasSuffix(p.Exe, " (deleted)") {
		j.note("the kubelet's binary was replaced after the start; a restart is pending")
	}
	j.noteUnused()
}

// noteUnused tells of configuration files at well-known places that this
// kubelet does not read, when they say something else than what it has.
func (j *judgement) noteUnused() {
	if j.subject.process == nil {
		return
	}
	used := map[string]bool{}
	for _, r := range []reading{j.running, j.next} {
		for _, name := range r.ConfigFiles {
			used[name] = true
		}
		used[r.Config] = true
	}
	for _, name := range wellKnownConfigs() {
		if _, ok := j.facts.Disk.Files[name]; !ok || used[name] {
			continue
		}
		st := kubelet.Start{Args: []kubelet.Arg{{Text: "--config=" + name}}, Cwd: "/"}
		r := kubelet.Resolve(j.Setting, st, j.facts.Disk)
		if r.Value != nil && r.Value != j.Expected {
			j.note("%s says %s but this kubelet does not use that file", place(r.Source), format(r.Value))
		}
	}
}

// wellKnownConfigs lists where provisioners put a kubelet config file; the
// probe brings those that exist. They never decide a verdict.
func wellKnownConfigs() []string {
	return []string{
		"/etc/kubernetes/kubelet/kubelet-config.json", // EKS AL2, and the CIS text
		"/etc/default/kubeletconfig.json",             // AKS
		"/var/lib/kubelet/config.yaml",                // kubeadm
		"/etc/kubernetes/kubelet/config.json",         // EKS AL2023
		"/etc/kubernetes/kubelet-config.yaml",         // kubespray
	}
}

func (j *judgement) node() Node {
	f := j.facts
	n := Node{Hostname: f.Hostname, OS: prettyName(f), BootID: f.BootID, Unit: j.subject.unit}
	n.Config, n.ConfigDir = j.next.Config, j.next.ConfigDir
	if p := j.subject.process; p != nil {
		n.KubeletPID, n.KubeletVersion = p.PID, p.Version
		if !p.Started.IsZero() {
			started := p.Started.UTC().Truncate(time.Millisecond)
			n.KubeletStarted = &started
		}
		n.Config, n.ConfigDir = j.running.Config, j.running.ConfigDir
	}
	return n
}

// start is what the process was executed with. Argv is not empty.
func (p *Process) start() kubelet.Start {
	args := p.Argv[1:]
	if own, ok := kubeletArgs(p.Exe, args); ok {
		args = own
	}
	return kubelet.Start{Args: args, Cwd: p.Cwd, Env: p.Env, Version: p.Version}
}
