package remediate

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"fleet/audit"
	"fleet/frame"
)

// state is where a run on a node stands; see supervisor.sh.
type state string

const (
	stateNone           state = "" // no journal: the change did not begin
	stateWaiting        state = "waiting"
	stateCommitted      state = "committed"
	stateRefused        state = "refused"
	stateRolledBack     state = "rolled-back"
	stateRollbackFailed state = "rollback-failed"
)

// ended tells that nothing more will happen.
func (s state) ended() bool {
	switch s {
	case stateCommitted, stateRefused, stateRolledBack, stateRollbackFailed:
		return true
	}
	return false
}

// journal is what a node says of a run.
type journal struct {
	state    state
	reason   string // "" for none
	message  string
	held     bool // a supervisor sees to the run
	log      []string
	evidence []audit.Evidence
	unit     string // with bring: the unit of the run's plan
	files    []pastFile
}

// pastFile is one file that a run replaced.
type pastFile struct {
	path     string
	old, new string // digests
	backup   []byte // nil when there is none
	now      []byte // what the file holds
}

// nodeError is a script's refusal, with its reason.
type nodeError struct{ code, message string }

func (e *nodeError) Error() string { return e.message }

// Code returns the reason code.
func (e *nodeError) Code() string { return e.code }

// start begins the change. An error without a reason of the node means that it
// may or may not have begun.
func start(ctx context.Context, sh audit.Shell, p Plan, run Run, t Timing) error {
	nonce := rand.Text()
	sections, err := send(ctx, sh, p.startText(run, t, nonce), nonce)
	if err != nil {
		return err
	}
	for _, s := range sections {
		switch s.Name {
		case "started":
			return nil
		case "refused":
			return &nodeError{code: s.Args, message: oneLine(string(s.Body))}
		}
	}
	return errors.New("the node did not say whether the change began")
}

// visit attends to a run.
func visit(ctx context.Context, sh audit.Shell, a attendance) (journal, error) {
	nonce := rand.Text()
	sections, err := send(ctx, sh, a.text(nonce), nonce)
	if err != nil {
		return journal{}, err
	}
	return readJournal(sections), nil
}

// send runs a script that answers in a frame. The first section is whatever
// comes first.
func send(ctx context.Context, sh audit.Shell, script []byte, nonce string) ([]frame.Section, error) {
	answer, err := sh.Sh(ctx, script)
	if err != nil {
		return nil, err
	}
	sections, err := frame.Parse(answer.Stdout, nonce, "fleet 1")
	if err != nil {
		return nil, fmt.Errorf("the script on the node ended with status %d: %w: %s", answer.Exit, err, oneLine(string(answer.Stderr)))
	}
	return sections, nil
}

func readJournal(sections []frame.Section) journal {
	var j journal
	for _, s := range sections {
		body := string(s.Body)
		switch s.Name {
		case "state":
			j.readState(body)
		case "supervisor":
			j.held = strings.TrimSpace(body) == "yes"
		case "log":
			j.log = strings.Split(strings.TrimSpace(body), "\n")
		case "evidence":
			exit, command, _ := strings.Cut(s.Args, " ")
			j.evidence = append(j.evidence, audit.Evidence{Command: command, Exit: number(exit), Stdout: audit.Mask(body)})
		case "plan":
			j.unit = planned(body, "unit")
		case "files":
			j.readFiles(body)
		case "old", "now":
			j.addContent(s)
		}
	}
	return j
}

func (j *journal) readState(body string) {
	first, rest, _ := strings.Cut(body, "\n")
	word, reason, _ := strings.Cut(strings.TrimSpace(first), " ")
	j.state, j.message = state(word), oneLine(rest)
	if reason != "-" {
		j.reason = reason
	}
}

// planned reads one assignment of a run's plan, which fleet wrote itself.
func planned(plan, name string) string {
	for line := range strings.Lines(plan) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"='"); ok {
			return strings.TrimSuffix(value, "'")
		}
	}
	return ""
}

func (j *journal) readFiles(body string) {
	for line := range strings.Lines(body) {
		fields := strings.SplitN(strings.TrimRight(line, "\n"), " ", 4)
		if len(fields) == 4 {
			j.files = append(j.files, pastFile{old: fields[1], new: fields[2], path: fields[3]})
		}
	}
}

func (j *journal) addContent(s frame.Section) {
	n := number(s.Args)
	if n < 1 || n > len(j.files) {
		return
	}
	if s.Name == "old" {
		j.files[n-1].backup = bytes.Clone(s.Body)
	} else {
		j.files[n-1].now = bytes.Clone(s.Body)
	}
}

// number reads a small number that a node sent; anything else is 0.
func number(s string) int {
	n := 0
	for _, c := range strings.TrimSpace(s) {
		if c < '0' || c > '9' || n > 1<<20 {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}
