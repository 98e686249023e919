package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fleet/lab/real/judge"
)

// WriteRecords writes records one a line, in the order of their names.
func WriteRecords(path string, records []Record) error {
	slices.SortFunc(records, func(a, b Record) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for _, r := range records {
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("cannot encode record %s: %w", r.Name, err)
		}
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// ReadRecords reads what WriteRecords wrote.
func ReadRecords(path string) ([]Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read records: %w", err)
	}
	var records []Record
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for n := 1; lines.Scan(); n++ {
		var r Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s:%d: cannot read record: %w", path, n, err)
		}
		records = append(records, r)
	}
	return records, lines.Err()
}

// WriteRecord writes one record for people to read.
func WriteRecord(path string, r Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode record %s: %w", r.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// ReadRecord reads what WriteRecord wrote.
func ReadRecord(path string) (Record, error) {
	var r Record
	data, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("cannot read a record: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: cannot read record: %w", path, err)
	}
	return r, nil
}

// show prints a layout the way a person would look at it on the node.
func show(l judge.Layout) string {
	var out strings.Builder
	for _, f := range l.Files {
		switch {
		case f.Link != "":
			fmt.Fprintf(&out, "%s -> %s\n", f.Path, f.Link)
		case f.Dir:
			fmt.Fprintf(&out, "%s/\n", f.Path)
		default:
			fmt.Fprintf(&out, "%s\n%q\n", f.Path, f.Bytes())
		}
	}
	return out.String()
}
