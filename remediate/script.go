package remediate

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"fleet/frame"
)

// The scripts that run on a node; see their heads.
var (
	//go:embed launch.sh
	launchScript string
	//go:embed start.sh
	startScript string
	//go:embed attend.sh
	attendScript string
	//go:embed supervisor.sh
	supervisorScript string
)

// Timing is how long the steps of a change may take on a node. The zero value
// stands for the defaults; a node rounds up to whole seconds.
type Timing struct {
	// Health is how long the kubelet may take from its restart until it has
	// proven itself.
	Health time.Duration
	// HealthyFor is how long it has to be well in a row: active, the same
	// process, no automatic restart, healthz ok.
	HealthyFor time.Duration
	// Confirm is how long a healthy change waits for fleet's confirmation before
	// the node rolls back by itself.
	Confirm time.Duration
}

// The defaults. Together with a roll-back they stay below the five minutes
// after which pods of a node that is not ready are evicted.
const (
	DefaultHealth     = 120 * time.Second
	DefaultHealthyFor = 15 * time.Second
	DefaultConfirm    = 60 * time.Second
)

// keptRuns is how many finished runs a node keeps with their backups.
const keptRuns = 20

func (t Timing) withDefaults() Timing {
	if t.Health <= 0 {
		t.Health = DefaultHealth
	}
	if t.HealthyFor <= 0 {
		t.HealthyFor = DefaultHealthyFor
	}
	if t.Confirm <= 0 {
		t.Confirm = DefaultConfirm
	}
	return t
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Run names one run of fleet on a node.
type Run struct {
	ID    string // letters, digits and dashes; sorts by time
	Owner string // who began it, for whoever finds the node held
}

// assignment is one variable of a script.
type assignment struct{ name, value string }

func assign(b *bytes.Buffer, vars ...assignment) {
	for _, v := range vars {
		fmt.Fprintf(b, "%s=%s\n", v.name, frame.Quote(v.value))
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// startText is the whole script that begins a change on a node. What it brings
// is written by printf with every byte that could mean something escaped, so
// that it needs no other program and no here-document, which some shells put
// into a file.
func (p Plan) startText(run Run, t Timing, nonce string) []byte {
	var b, plan, files bytes.Buffer
	assign(&b, assignment{"nonce", nonce}, assignment{"run", run.ID}, assignment{"owner", plainOwner(run.Owner)})
	assign(&plan,
		assignment{"run", run.ID}, assignment{"owner", plainOwner(run.Owner)}, assignment{"unit", p.Unit},
		assignment{"restart", yesNo(p.Restart)}, assignment{"healthz", p.Healthz},
		assignment{"health_limit", fmt.Sprint(seconds(t.Health))}, assignment{"healthy_for", fmt.Sprint(seconds(t.HealthyFor))},
		assignment{"confirm_limit", fmt.Sprint(seconds(t.Confirm))}, assignment{"keep_runs", fmt.Sprint(keptRuns)},
	)
	b.WriteString(launchScript)
	b.WriteString("payload() {\n")
	for i, file := range p.Files {
		fmt.Fprintf(&files, "%d %s %s %s\n", i+1, digest(file.Old), digest(file.New), file.Path)
		writeFile(&b, fmt.Sprintf("new.%d", i+1), file.New)
	}
	writeFile(&b, "files", files.Bytes())
	writeFile(&b, "plan", plan.Bytes())
	writeFile(&b, "owner", []byte(plainOwner(run.Owner)+"\n"))
	writeFile(&b, "supervisor.sh", []byte(supervisorScript))
	b.WriteString("}\n")
	b.WriteString(startScript)
	return b.Bytes()
}

// printfChunk bounds one call of printf, which is a program of its own in some
// shells and then bound by the kernel's limits.
const printfChunk = 4 << 10

// writeFile adds the lines that write one file of the run's folder, or end the
// function.
func writeFile(b *bytes.Buffer, name string, data []byte) {
	b.WriteString("\t{\n")
	if len(data) == 0 {
		b.WriteString("\t\t:\n")
	}
	for len(data) > 0 {
		n := min(len(data), printfChunk)
		b.WriteString("\t\tprintf '")
		escapePrintf(b, data[:n])
		b.WriteString("' || return 1\n")
		data = data[n:]
	}
	fmt.Fprintf(b, "\t} >\"$dir/%s\" || return 1\n", name)
}

// escapePrintf writes data as the format of printf(1) inside single quotes:
// letters, digits, blanks and harmless signs as they are, everything else in
// octal.
func escapePrintf(b *bytes.Buffer, data []byte) {
	for i, c := range data {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '-' && i == 0: // not an option
			b.WriteString(`\055`)
		case c < ' ' || c >= 0x7f || c == '%' || c == '\\' || c == '\'':
			fmt.Fprintf(b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
}

// plainOwner keeps of a name what needs no care anywhere.
func plainOwner(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("@._-", r):
			return r
		}
		return '_'
	}, s)
	if s == "" {
		return "unknown"
	}
	return s[:min(len(s), 100)]
}

// attendance is one visit to a run on a node.
type attendance struct {
	run             Run
	word            string // "confirm", "abort" or ""
	reason, message string // why it is called off
	fence           bool   // a run without a journal shall never begin
	resume          bool   // start the supervisor of a run that was left behind
	bring           bool   // bring the run's files and backups too
	patience        time.Duration
}

func (a attendance) text(nonce string) []byte {
	var b bytes.Buffer
	assign(&b,
		assignment{"nonce", nonce}, assignment{"run", a.run.ID}, assignment{"owner", plainOwner(a.run.Owner)},
		assignment{"word", a.word}, assignment{"reason", a.reason}, assignment{"message", oneLine(a.message)},
		assignment{"fence", yesNo(a.fence)}, assignment{"resume", yesNo(a.resume)}, assignment{"bring", yesNo(a.bring)},
		assignment{"patience", fmt.Sprint(seconds(a.patience))},
	)
	b.WriteString(launchScript)
	b.WriteString(attendScript)
	return b.Bytes()
}

// oneLine makes text fit for a line of the journal.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), 500)]
}
