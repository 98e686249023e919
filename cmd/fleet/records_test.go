package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLastRun: the last run is the newest that has its report, and of those
// that began in the same second the one reported last, whatever the letters
// behind the second.
func TestLastRun(t *testing.T) {
	begin := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		runs map[string]int // seconds after begin at which it was reported, 0 for never
		want string         // "" for none
	}{
		{"none", nil, ""},
		{"one", map[string]int{"20261101-030000-aaaa": 1}, "20261101-030000-aaaa"},
		{"the newer", map[string]int{"20261101-030000-zzzz": 1, "20261101-030001-aaaa": 2}, "20261101-030001-aaaa"},
		{"the newer began later", map[string]int{"20261101-030000-zzzz": 9, "20261101-030001-aaaa": 2}, "20261101-030001-aaaa"},
		{"of one second", map[string]int{"20261101-030000-zzzz": 1, "20261101-030000-aaaa": 2, "20261101-030000-mmmm": 1}, "20261101-030000-aaaa"},
		{"the newest has no report", map[string]int{"20261101-030000-aaaa": 1, "20261101-030009-aaaa": 0}, "20261101-030000-aaaa"},
		{"none has", map[string]int{"20261101-030000-aaaa": 0}, ""},
		{"a folder of another name", map[string]int{"x": 1, "": 0}, "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := t.TempDir()
			for id, seconds := range c.runs {
				name := reportPath(filepath.Join(state, "fleet", "runs"), id)
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					t.Fatal(err)
				}
				if seconds == 0 {
					continue
				}
				if err := os.WriteFile(name, []byte("{}"), 0o600); err != nil {
					t.Fatal(err)
				}
				at := begin.Add(time.Duration(seconds) * time.Second)
				if err := os.Chtimes(name, at, at); err != nil {
					t.Fatal(err)
				}
			}
			env := environment{getenv: func(string) string { return state }}
			got, err := findRun(env, lastRun)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
