package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fleet/audit"
	"fleet/report"
)

// recorder keeps the operator's side of a run that changes hosts: what was
// planned, and each step as a line of JSON, written at once, so that a run that
// is killed has left its trail. Everything is readable by the user alone.
type recorder struct {
	dir string

	mu   sync.Mutex
	file *os.File // nil when it cannot be written
}

// eventsFile is the trail of a run that changes hosts.
const eventsFile = "events.jsonl"

// event is one line of it.
type event struct {
	Time time.Time `json:"time"`
	Host string    `json:"host,omitempty"`
	Step string    `json:"step"`
	Text string    `json:"text,omitempty"`
}

// newRecorder begins the record of a run. A run whose record cannot be written
// changes nothing: afterwards nobody could tell what was done.
func newRecorder(env environment, id string) (*recorder, error) {
	runs, err := runsDir(env)
	if err != nil {
		return nil, fmt.Errorf("cannot record the run: %w", err)
	}
	r := &recorder{dir: filepath.Join(runs, id)}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot record the run: %w", err)
	}
	if r.file, err = os.OpenFile(filepath.Join(r.dir, eventsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("cannot record the run: %w", err)
	}
	return r, nil
}

// note adds one event, secrets masked; host is "" for the run's own.
func (r *recorder) note(host, step, text string) {
	line, err := json.Marshal(event{Time: time.Now().UTC(), Host: host, Step: step, Text: audit.Mask(text)})
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.file.Write(append(line, '\n')) // the change goes on; its end is in the report too
}

// plan keeps what was shown before anything was changed.
func (r *recorder) plan(rep report.Report) error {
	target, err := report.ParseTarget("json=" + filepath.Join(r.dir, "plan.json"))
	if err != nil {
		return err
	}
	return target.Save(rep)
}

func (r *recorder) close() { _ = r.file.Close() }

// forget removes the record of a run that never began.
func (r *recorder) forget() { _ = os.RemoveAll(r.dir) }

// recordedEvents reads the events of a recorded run. A last line that a killed
// run left half-written is passed over.
func recordedEvents(env environment, id string) ([]event, error) {
	runs, err := runsDir(env)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(runs, id, eventsFile))
	if err != nil {
		return nil, err
	}
	var events []event
	for line := range bytes.Lines(data) {
		var e event
		if json.Unmarshal(line, &e) == nil {
			events = append(events, e)
		}
	}
	return events, nil
}
