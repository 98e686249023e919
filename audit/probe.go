package audit

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"fleet/frame"
	"fleet/kubelet"
)

// ProbeScript is the part of the probe that is the same for every host, for
// tests that run it under several shells.
//
//go:embed probe.sh
var ProbeScript string

// Shell runs a script on one host.
type Shell interface {
	// Sh gives the script to `sh -s` on the host, with root's rights where the
	// host's settings say so, and returns what it printed. An error means that
	// the script may not have run to its end.
	Sh(ctx context.Context, script []byte) (Answer, error)
}

// Answer is what a script printed and how it ended.
type Answer struct {
	Stdout []byte
	Stderr []byte
	Exit   int
}

// Error is a probe that gave no facts.
type Error struct {
	reason string
	msg    string
}

func (e *Error) Error() string { return e.msg }

// Code returns the reason code: "probe-failed" or "probe-garbled".
func (e *Error) Code() string { return e.reason }

// maxRounds bounds how often a probe asks again for files that turned out to
// matter. Nodes as they are need one round.
const maxRounds = 4

// Probe looks at one host. It sends the probe script once; only where the
// kubelet reads something the script did not foresee is it sent again, to bring
// that.
func Probe(ctx context.Context, sh Shell, c Control) (Facts, error) {
	ask := firstRequest(kubeletUnit)
	facts, err := ask.send(ctx, sh)
	if err != nil {
		return Facts{}, err
	}
	if unit := otherUnit(facts); unit != "" {
		if facts, err = firstRequest(unit).send(ctx, sh); err != nil {
			return Facts{}, err
		}
	}
	for range maxRounds {
		more := c.missing(facts)
		if more.empty() {
			break
		}
		extra, err := more.send(ctx, sh)
		if err != nil {
			return Facts{}, err
		}
		if !facts.join(extra) {
			break
		}
	}
	return facts, nil
}

// Fetch brings further files and directories into the facts of a host, those
// whose names end in a slash as listings: what a plan turned out to need.
func (f *Facts) Fetch(ctx context.Context, sh Shell, paths []string) error {
	var r request
	for _, p := range askable(paths) {
		if dir, ok := strings.CutSuffix(p, "/"); ok {
			r.dirs = append(r.dirs, p, dir)
		} else {
			r.files, r.dirs = append(r.files, p), append(r.dirs, p)
		}
	}
	extra, err := r.send(ctx, sh)
	if err != nil {
		return err
	}
	f.join(extra)
	return nil
}

// request is what one round of the probe shall bring.
type request struct {
	unit  string
	files []string
	dirs  []string
	first bool
}

func firstRequest(unit string) request {
	files, dirs := kubelet.UnitPaths(unit)
	return request{unit: unit, files: files, dirs: dirs, first: true}
}

func (r request) empty() bool { return len(r.files)+len(r.dirs) == 0 }

// missing works out which files the two witnesses need that were not brought.
func (c Control) missing(f Facts) request {
	j := judgement{Control: c, facts: f}
	if code, _ := exempt(f); code != "" {
		return request{}
	}
	j.subject = findSubject(f)
	j.readNext()
	j.readRunning()
	var r request
	for _, reading := range []reading{j.running, j.next} {
		for _, need := range reading.Need {
			switch {
			case need == reading.ConfigDir || strings.HasSuffix(need, "/"):
				// With and without the slash: it decides whether a link is followed.
				r.dirs = append(r.dirs, need, strings.TrimSuffix(need, "/"))
			default:
				r.files = append(r.files, need)
			}
		}
	}
	if name := j.assignment(); name != "" {
		if _, looked := f.Disk.Files[name]; !looked {
			r.files = append(r.files, name)
		}
	}
	for _, list := range []*[]string{&r.files, &r.dirs} {
		*list = askable(*list)
	}
	return r
}

// askable bounds what is asked for and leaves out paths that cannot be named
// in a list of lines.
func askable(paths []string) []string {
	slices.Sort(paths)
	paths = slices.DeleteFunc(slices.Compact(paths), func(p string) bool {
		return !path.IsAbs(p) || strings.ContainsAny(p, "\n\r\x00") || len(p) > 4096
	})
	return paths[:min(len(paths), 200)]
}

// script is the whole text that is sent. The nonce is part of the script, not
// of a command line, so that no process list shows it.
func (r request) script(nonce string) []byte {
	first := "no"
	if r.first {
		first = "yes"
	}
	var b strings.Builder
	for _, v := range [][2]string{
		{"nonce", nonce}, {"unit", r.unit}, {"first", first},
		{"files", strings.Join(r.files, "\n")}, {"dirs", strings.Join(r.dirs, "\n")},
	} {
		fmt.Fprintf(&b, "%s=%s\n", v[0], frame.Quote(v[1]))
	}
	return []byte(b.String() + ProbeScript)
}

// send runs one round.
func (r request) send(ctx context.Context, sh Shell) (Facts, error) {
	nonce := rand.Text()
	answer, err := sh.Sh(ctx, r.script(nonce))
	if err != nil {
		return Facts{}, err
	}
	sections, err := frame.Parse(answer.Stdout, nonce, "probe 1")
	switch {
	case err == nil:
		return factsOf(sections), nil
	case answer.Exit != 0 || errors.Is(err, frame.ErrTruncated):
		return Facts{}, &Error{"probe-failed", fmt.Sprintf("the probe ended with status %d: %v%s", answer.Exit, err, said(answer.Stderr))}
	}
	return Facts{}, &Error{"probe-garbled", fmt.Sprintf("cannot read the probe's answer: %v%s", err, said(answer.Stderr))}
}

func said(stderr []byte) string {
	if text := strings.TrimSpace(string(stderr)); text != "" {
		return ": " + firstLine(text)
	}
	return ""
}

// join adds what a later round brought, and tells whether that was anything.
func (f *Facts) join(extra Facts) bool {
	before := len(f.Disk.Files) + len(f.Disk.Dirs)
	for name, file := range extra.Disk.Files {
		f.Disk.Files[name] = file
	}
	for name, dir := range extra.Disk.Dirs {
		f.Disk.Dirs[name] = dir
	}
	for name, owner := range extra.Owners {
		f.Owners[name] = owner
	}
	return len(f.Disk.Files)+len(f.Disk.Dirs) > before
}

// Unreached is the finding on a host that gave no facts. Errors that name a
// reason through a method Code() string keep it.
func Unreached(err error) Finding {
	reason := "probe-failed"
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		reason = coded.Code()
	}
	f := Finding{Status: StatusUnknown, Reason: reason, Message: err.Error(), Evidence: []Evidence{}}
	return advise(f, "", MakeIPTablesUtilChains)
}
