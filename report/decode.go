package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"fleet/audit"
	"fleet/kubelet"
)

// MaxSize is the largest report, in bytes, that [Decode] reads.
const MaxSize = 1 << 30

// Decode reads a report that [WriteJSON] or [WriteNDJSON] wrote. Fields it
// does not know are passed over, so that a newer fleet of the same format
// version can be read; everything else must be as the schema says, and the
// summary must agree with the hosts. A stream of lines that ends without its
// summary is an error: it was cut short.
func Decode(in io.Reader) (Report, error) {
	r, err := decode(in, MaxSize)
	if err != nil {
		return Report{}, fmt.Errorf("cannot read report: %w", err)
	}
	return r, nil
}

func decode(in io.Reader, limit int64) (Report, error) {
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return Report{}, err
	}
	if int64(len(data)) > limit {
		return Report{}, fmt.Errorf("it is larger than %d bytes", limit)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var doc document
	if err := dec.Decode(&doc); err != nil {
		return Report{}, fmt.Errorf("it is not JSON of %s: %w", SchemaName, noEOF(err))
	}
	if err := doc.checkSchema(); err != nil {
		return Report{}, err
	}
	if doc.Hosts == nil && doc.Summary == nil {
		err = doc.readStream(dec)
	} else {
		err = expectEnd(dec)
	}
	if err != nil {
		return Report{}, err
	}
	return doc.report()
}

// document is a report on the wire. Pointers tell what is absent.
type document struct {
	Schema  *string  `json:"schema"`
	Run     *Run     `json:"run"`
	Control *Control `json:"control"`
	Summary *Summary `json:"summary"`
	Hosts   *[]Host  `json:"hosts"`
}

func (d *document) checkSchema() error {
	switch {
	case d.Schema == nil:
		return fmt.Errorf("it has no schema, so it is no report (want %q)", SchemaName)
	case *d.Schema != SchemaName:
		return fmt.Errorf("its schema is %.60q and this fleet reads %q", *d.Schema, SchemaName)
	}
	return nil
}

// message is a line of the stream after its header: a host or the trailer.
type message struct {
	Summary *Summary `json:"summary"`
	Host
}

func (d *document) readStream(dec *json.Decoder) error {
	hosts := []Host{}
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			return fmt.Errorf("after %d hosts: it ends without its summary, so it was cut short: %w", len(hosts), noEOF(err))
		}
		if m.Summary != nil {
			d.Summary, d.Hosts = m.Summary, &hosts
			return expectEnd(dec)
		}
		hosts = append(hosts, m.Host)
	}
}

func expectEnd(dec *json.Decoder) error {
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after its end")
	}
	return nil
}

// noEOF keeps the caller from mistaking a short report for a read that ended
// well.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d *document) report() (Report, error) {
	switch {
	case d.Run == nil:
		return Report{}, errors.New("it has no run")
	case d.Control == nil:
		return Report{}, errors.New("it has no control")
	case d.Hosts == nil:
		return Report{}, errors.New("it has no hosts")
	case d.Summary == nil:
		return Report{}, errors.New("it has no summary")
	}
	r := Report{Schema: *d.Schema, Run: *d.Run, Control: *d.Control, Summary: *d.Summary, Hosts: *d.Hosts}
	if err := r.check(); err != nil {
		return Report{}, err
	}
	if want := Summarise(r.Hosts); r.Summary != want {
		return Report{}, fmt.Errorf("its summary %+v does not agree with its hosts %+v", r.Summary, want)
	}
	return r.published(), nil
}

// check mends the numbers, which JSON does not tell apart, and refuses what
// the schema refuses.
func (r *Report) check() error {
	if err := errors.Join(writable(&r.Run.Started), writable(&r.Run.Finished), scalar(&r.Control.Expected)); err != nil {
		return err
	}
	seen := make(map[string]bool, len(r.Hosts))
	for i := range r.Hosts {
		h := &r.Hosts[i]
		if h.Name == "" {
			return fmt.Errorf("its host number %d has no name", i+1)
		}
		if seen[h.Name] {
			return fmt.Errorf("its host %.260q is there twice", h.Name)
		}
		seen[h.Name] = true
		if err := h.check(); err != nil {
			return fmt.Errorf("its host %.260q: %w", h.Name, err)
		}
	}
	return nil
}

func (h *Host) check() error {
	switch h.Status {
	case audit.StatusPass, audit.StatusFail, audit.StatusUnknown, audit.StatusNotApplicable:
	default:
		return fmt.Errorf("its status %.60q is none of this version", h.Status)
	}
	if h.DurationMS < 0 {
		return errors.New("its duration is negative")
	}
	if h.Node.KubeletPID < 0 {
		return errors.New("its kubelet_pid is negative")
	}
	for _, w := range []*audit.Witness{h.Running, h.Next, h.Live} {
		if err := checkWitness(w); err != nil {
			return err
		}
	}
	return errors.Join(writable(h.Node.KubeletStarted), h.Change.check())
}

func checkWitness(w *audit.Witness) error {
	if w == nil {
		return nil
	}
	switch w.Source.Kind {
	case kubelet.SourceFlag, kubelet.SourceDropIn, kubelet.SourceFile, kubelet.SourceDefault, audit.SourceLive, "":
	default:
		return fmt.Errorf("its source %.60q is none of this version", w.Source.Kind)
	}
	if w.Source.Line < 0 {
		return errors.New("its source line is negative")
	}
	return scalar(&w.Value)
}

func (c *Change) check() error {
	if c == nil {
		return nil
	}
	switch c.Outcome {
	case OutcomeUnchanged, OutcomePlanned, OutcomeChanged, OutcomeRolledBack, OutcomeRefused,
		OutcomeFailedBeforeChange, OutcomeFailedAfterChange, OutcomeUnknown, OutcomeNotReached:
	default:
		return fmt.Errorf("its outcome %.60q is none of this version", c.Outcome)
	}
	if c.Seconds < 0 {
		return errors.New("its change took negative seconds")
	}
	if c.Wave < 0 {
		return errors.New("its wave is negative")
	}
	return nil
}

// scalar makes a setting's value, decoded into an any, the Go type it had when
// it was written: a bool, int64 or string, or nil.
func scalar(v *any) error {
	switch n := (*v).(type) {
	case nil, bool, string:
		return nil
	case json.Number:
		i, err := n.Int64()
		if err != nil {
			return fmt.Errorf("its value %.60s is not a whole number", n)
		}
		*v = i
		return nil
	}
	return errors.New("its value is neither a boolean, a number, a string nor null")
}

// writable refuses a time that RFC 3339 cannot say in UTC.
func writable(t *time.Time) error {
	if t == nil {
		return nil
	}
	if y := t.UTC().Year(); y < 0 || y > 9999 {
		return errors.New("one of its times is out of range")
	}
	return nil
}
