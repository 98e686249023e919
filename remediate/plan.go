package remediate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	udiff "github.com/aymanbagabas/go-udiff"

	"fleet/audit"
	"fleet/kubelet"
)

// Options say what a plan may do. Methods must not be empty.
type Options struct {
	Methods []Method // the first that works is planned
	// NoRestart stages the files and leaves the restart to somebody else.
	NoRestart bool
	// Live tells that the API server can be asked for the live value, which the
	// method configz demands.
	Live bool
	// Strict makes a value that is right only by default one to write down.
	Strict bool
}

// Plan is what will be done to one host, or why nothing will. It is a value:
// what a dry run shows is what a run applies. Of Refused and Nothing at most one
// says something; a plan with neither is to be applied.
type Plan struct {
	Method  Method
	Unit    string             // systemd unit that runs the kubelet
	Files   []kubelet.FileEdit // what will be written; none when only the restart is missing
	Restart bool
	Expect  any    // the value that has to come of it
	Healthz string // URL on the node that has to say ok, "" when the kubelet serves none
	Live    bool   // the live configuration has to show the value as well
	Summary string // one line: what will be done

	Nothing bool     // the host is as wanted
	Refused *Refusal // why nothing is done
}

// Ready tells that there is something to apply.
func (p Plan) Ready() bool { return !p.Nothing && p.Refused == nil }

// Refusal is why a host is not changed.
type Refusal struct {
	Code    string // see Reasons
	Message string // one line
	// Need lists paths on the node that the plan has to see first; fetch them and
	// plan again.
	Need []string
}

func refusal(code, layout string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(layout, args...)}
}

// NewPlan plans the change of one host from what a probe brought and what the
// audit found. It is pure.
func NewPlan(c audit.Control, f audit.Facts, finding audit.Finding, o Options) Plan {
	p := planner{control: c, facts: f, finding: finding, options: o, basis: c.Basis(f)}
	if plan, over := p.early(); over {
		return plan
	}
	var first *Plan
	for _, method := range o.Methods {
		plan := p.by(method)
		if plan.Refused == nil {
			return plan
		}
		if first == nil {
			first = &plan
		}
	}
	return p.advised(*first)
}

// planner is the work on one plan.
type planner struct {
	control audit.Control
	facts   audit.Facts
	finding audit.Finding
	options Options
	basis   audit.Basis
}

func (p planner) refuse(method Method, r *Refusal) Plan {
	return Plan{Method: method, Unit: p.basis.Unit, Expect: p.control.Expected, Refused: r}
}

// early tells the hosts for which no method has to be tried.
func (p planner) early() (plan Plan, over bool) {
	method := p.options.Methods[0]
	// A node that passes now may be rolled back yet.
	if r := busy(p.facts); r != nil && r.Code == "node-locked" {
		return p.refuse(method, r), true
	}
	switch p.finding.Status {
	case audit.StatusPass:
		return Plan{Method: method, Unit: p.basis.Unit, Nothing: true, Summary: "as wanted already"}, true
	case audit.StatusNotApplicable:
		switch p.finding.Reason {
		case "os-windows", "os-not-linux":
			return Plan{Nothing: true, Summary: p.finding.Message}, true
		}
		return p.refuse(method, refusal(p.finding.Reason, "%s", p.finding.Message)), true
	}
	if r := busy(p.facts); r != nil {
		return p.refuse(method, r), true
	}
	if p.facts.UID != 0 {
		return p.refuse(method, refusal("not-root", "the node was looked at as user %d", p.facts.UID)), true
	}
	if p.finding.Status != audit.StatusFail && !p.repairable() {
		return p.refuse(method, refusal(p.finding.Reason, "%s", p.finding.Message)), true
	}
	return Plan{}, false
}

// busy refuses a node on which another run has not ended.
func busy(f audit.Facts) *Refusal {
	if len(f.Changes) == 0 {
		return nil
	}
	change := f.Changes[0]
	if change.Held {
		return refusal("node-locked", "%s", change.Describe())
	}
	return refusal("unfinished-run", "%s", change.Describe())
}

// repairable tells a kubelet that does not stay up, or has been given up by
// systemd, because of what is written for the next start. Whether that is our setting shows when the plan is
// proven: the planned bytes have to start.
func (p planner) repairable() bool {
	given := p.finding.Reason == "no-kubelet" && p.facts.Units[p.basis.Unit]["ActiveState"] == "failed"
	return (p.finding.Reason == "crash-loop" || given) && p.basis.Next.Fatal != nil
}

// by plans one method.
func (p planner) by(method Method) Plan {
	var plan Plan
	switch {
	case method == MethodConfigz && p.unheard() != nil:
		return p.refuse(method, p.unheard())
	case p.restartOnly():
		plan = p.proven(p.layer(), nil)
	case method == MethodFile:
		return p.file()
	case method == MethodArgs:
		return p.args()
	default:
		plan = p.deciding()
	}
	if method != MethodAuto {
		plan.Method = method
	}
	if method == MethodConfigz {
		plan.Live = !p.options.NoRestart
		if plan.Ready() {
			plan.Summary += "; the live configuration cannot be written on this kubelet, so the layer that decides is changed and /configz is the proof"
		}
	}
	return plan
}

// restartOnly tells a host whose files are right already: whatever the method,
// nothing is left to write.
func (p planner) restartOnly() bool {
	return p.basis.Next.Fatal == nil && p.basis.Next.Value == p.control.Expected && p.finding.Reason != "not-explicit"
}

// layer is the method that belongs to the layer that decides.
func (p planner) layer() Method {
	switch p.basis.Next.Source.Kind {
	case kubelet.SourceFile, kubelet.SourceDropIn:
		return MethodFile
	}
	return MethodArgs
}

// unheard tells why the live configuration cannot be the proof of a change: a
// value that nobody hears before it will not be heard after it.
func (p planner) unheard() *Refusal {
	live := p.finding.Live
	switch {
	case !p.options.Live || live == nil:
		return refusal("live-needed", "no API server is known")
	case live.Value == nil:
		code, why, _ := strings.Cut(live.Problem, ": ")
		return refusal(code, "the live configuration, which has to prove the change, could not be read: %s", why)
	}
	return nil
}

// deciding plans the change of the layer that decides: that of the next start's
// value, or the one that keeps it from starting.
func (p planner) deciding() Plan {
	source := p.basis.Next.Source
	if p.basis.Next.Fatal != nil {
		source = p.basis.Next.Fatal.Source
	}
	switch {
	case source.Kind == kubelet.SourceDropIn:
		return p.edit(MethodFile, source.Path, kubelet.EditDropIn)
	case source.Kind == kubelet.SourceFile, source.Kind == kubelet.SourceDefault && p.basis.Next.Config != "":
		return p.file()
	}
	return p.args()
}

// file plans the change of the file of --config.
func (p planner) file() Plan {
	config := p.basis.Next.Config
	if config == "" {
		return p.refuse(MethodFile, refusal("no-config-file", "the kubelet is started without --config"))
	}
	return p.edit(MethodFile, config, kubelet.EditConfig)
}

type editor func(path string, data []byte, key string, value any) ([]byte, error)

func (p planner) edit(method Method, name string, edit editor) Plan {
	if p.finding.Reason == "live-false" { // no layer of the node is to blame (audit.Control.Judge)
		return p.refuse(method, refusal("no-effect", "the API server assigned the kubelet's configuration, so that %s is not read", name))
	}
	file := p.facts.Disk.Files[name]
	if file.State != kubelet.StatePresent {
		return p.refuse(method, refusal("unreadable-file", "%s is %s", name, file.State))
	}
	data, err := edit(name, file.Data, p.control.Setting.Key, p.control.Expected)
	if err != nil {
		return p.refuse(method, refusalOf(err))
	}
	var edits []kubelet.FileEdit
	if string(data) != string(file.Data) {
		edits = append(edits, kubelet.FileEdit{Path: name, Old: file.Data, New: data})
	}
	return p.proven(method, edits)
}

// args plans the change of the executable arguments.
func (p planner) args() Plan {
	edits, err := p.basis.Manager.EditArgs(p.basis.Unit, p.facts.Disk, p.control.Setting, p.control.Expected, nil)
	if err != nil {
		return p.refuse(MethodArgs, refusalOf(err))
	}
	return p.proven(MethodArgs, edits)
}

// refusalOf keeps the code of an editor's error.
func refusalOf(err error) *Refusal {
	var coded interface{ Code() string }
	if !errors.As(err, &coded) {
		return refusal("cannot-edit", "%s", err)
	}
	r := refusal(coded.Code(), "%s", err)
	var needy interface{ Need() []string }
	if errors.As(err, &needy) {
		r.Need = needy.Need()
	}
	return r
}

// proven holds the planned bytes against the same resolver that judged the
// node: they have to start the kubelet and turn the value to the wanted one.
func (p planner) proven(method Method, edits []kubelet.FileEdit) Plan {
	for _, edit := range edits {
		if r := p.writable(edit.Path); r != nil {
			return p.refuse(method, r)
		}
	}
	facts := withEdits(p.facts, edits)
	next := p.control.Basis(facts).Next
	if r := p.wouldBe(next); r != nil {
		return p.refuse(method, r)
	}
	if len(edits) == 0 && p.options.NoRestart {
		return p.refuse(method, refusal("restart-needed", "the files are right, and the kubelet has not been restarted since"))
	}
	plan := Plan{
		Method: method, Unit: p.basis.Unit, Files: edits, Restart: !p.options.NoRestart,
		Expect: p.control.Expected, Healthz: healthz(facts),
	}
	plan.Summary = plan.describe(p.control)
	return plan
}

// wouldBe refuses what the planned bytes would give.
func (p planner) wouldBe(next kubelet.Resolution) *Refusal {
	switch {
	case next.Fatal != nil:
		return refusal("would-not-start", "%s", next.Fatal.Message)
	case next.Blocked != nil:
		return refusal("unreadable-file", "%s", next.Blocked.Message)
	case len(next.Need) > 0:
		r := refusal("not-looked-at", "not looked at: %s", strings.Join(next.Need, ", "))
		r.Need = next.Need
		return r
	case next.Value == p.control.Expected:
		return nil
	case next.Source.Kind == kubelet.SourceFlag:
		return refusal("masked-by-flag", "%s sets %v and beats the file", place(next.Source), next.Value)
	case next.Source.Kind == kubelet.SourceDropIn:
		return refusal("masked-by-drop-in", "%s sets %v and beats the file", place(next.Source), next.Value)
	}
	return refusal("no-effect", "the value would be %v, by %s", next.Value, place(next.Source))
}

// writable refuses files that must not, or cannot, be replaced.
func (p planner) writable(name string) *Refusal {
	if target := p.facts.Disk.Files[name].Target; target != "" {
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		if path.Dir(path.Clean(target)) != path.Dir(name) {
			return refusal("symlink-elsewhere", "%s leads to %s", name, path.Clean(target))
		}
	}
	owner := p.facts.Owners[name]
	switch {
	case owner.ReadOnly:
		return refusal("read-only", "%s cannot be written to", name)
	case owner.Links > 1:
		return refusal("hard-link", "%s has %d names on disk", name, owner.Links)
	case strings.ContainsAny(name, "\n\r") || strings.TrimSpace(name) != name:
		return refusal("cannot-edit", "the path %q cannot be handed over", name)
	}
	return nil
}

// withEdits is the facts of a node on which the edits have been made.
func withEdits(f audit.Facts, edits []kubelet.FileEdit) audit.Facts {
	files := make(map[string]kubelet.File, len(f.Disk.Files))
	for name, file := range f.Disk.Files {
		files[name] = file
	}
	for _, edit := range edits {
		file := files[edit.Path]
		file.Path, file.State, file.Data = edit.Path, kubelet.StatePresent, edit.New
		files[edit.Path] = file
	}
	f.Disk.Files = files
	return f
}

// healthz is where the kubelet will answer (--healthz-port, 0 for nowhere).
func healthz(f audit.Facts) string {
	port, _ := audit.Next(kubelet.Setting{Flag: "healthz-port", Key: "healthzPort", Default: int64(10248)}, f).Value.(int64)
	if port <= 0 {
		return ""
	}
	address, _ := audit.Next(kubelet.Setting{Flag: "healthz-bind-address", Key: "healthzBindAddress", Default: "127.0.0.1"}, f).Value.(string)
	switch {
	case address == "" || address == "0.0.0.0":
		address = "127.0.0.1"
	case address == "::":
		address = "[::1]"
	case strings.Contains(address, ":"):
		address = "[" + address + "]"
	}
	return fmt.Sprintf("http://%s:%d/healthz", address, port)
}

func place(s kubelet.Source) string {
	switch {
	case s.Path == "":
		return string(s.Kind)
	case s.Line > 0:
		return s.Path + ":" + strconv.Itoa(s.Line)
	}
	return s.Path
}

// describe says what will be done in one line.
func (p Plan) describe(c audit.Control) string {
	var parts []string
	for _, file := range p.Files {
		what := fmt.Sprintf("%s: %v", c.Setting.Key, c.Expected)
		if p.Method == MethodArgs {
			what = fmt.Sprintf("--%s=%v", c.Setting.Flag, c.Expected)
		}
		parts = append(parts, "write "+what+" to "+file.Path)
	}
	if p.Restart {
		parts = append(parts, "restart "+p.Unit)
	} else {
		parts = append(parts, "leave the restart of "+p.Unit+" to you")
	}
	return strings.Join(parts, ", then ")
}

// advised adds to a refusal which of the other methods would work.
func (p planner) advised(plan Plan) Plan {
	var would []string
	for _, method := range []Method{MethodFile, MethodArgs, MethodAuto} {
		if p.by(method).Refused == nil {
			would = append(would, string(method))
		}
	}
	if len(would) > 0 {
		plan.Refused.Message += "; --method " + strings.Join(would, " or ") + " would work"
	}
	return plan
}

// Diff is the plan as a unified diff, secrets masked, "" when no file differs.
func (p Plan) Diff() string {
	var b strings.Builder
	for _, file := range p.Files {
		b.WriteString(udiff.Unified(file.Path, file.Path+" (planned)", audit.Mask(string(file.Old)), audit.Mask(string(file.New))))
	}
	return b.String()
}

// digest is the SHA-256 of a file's content as sha256sum prints it.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
