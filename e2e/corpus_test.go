package e2e

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"fleet/lab/real/judge"
)

// TestCorpus holds the project's reading against what a real systemd and a real
// kubelet made of the layouts in testdata/corpus.
func TestCorpus(t *testing.T) {
	paths, err := filepath.Glob("testdata/corpus/*.jsonl")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, path := range paths {
		records, err := ReadRecords(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".jsonl"), func(t *testing.T) {
			for _, r := range records {
				agree(t, r)
			}
		})
	}
}

// TestRegressions does the same for the layouts on which the two once
// disagreed.
func TestRegressions(t *testing.T) {
	paths, err := filepath.Glob("testdata/regressions/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		r, err := ReadRecord(path)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, r)
	}
}

func agree(t *testing.T, r Record) {
	t.Helper()
	if diffs := Compare(Read(r.Layout), r.Truth); len(diffs) > 0 {
		t.Errorf("%s:\n  %s\n%s", r.Name, strings.Join(diffs, "\n  "), show(r.Layout))
	}
}

// TestGenerateRepeats wants the same layout for the same number, and text that
// JSON carries unchanged.
func TestGenerateRepeats(t *testing.T) {
	for seed := range uint64(300) {
		first := Generate(seed)
		if !reflect.DeepEqual(first, Generate(seed)) {
			t.Fatalf("layout %d differs from itself", seed)
		}
		data, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		back := first
		back.Files = nil
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(first, back) {
			t.Fatalf("layout %d does not survive JSON", seed)
		}
	}
}

// TestShrink wants everything gone that is not needed.
func TestShrink(t *testing.T) {
	l := Generate(7)
	l.Files = append(l.Files, newFile("/etc/default/needle", "hay\nhay needle hay\nhay\n"))
	small := Shrink(l, 1000, func(l judge.Layout) bool {
		for _, f := range l.Files {
			if strings.Contains(string(f.Bytes()), "needle") {
				return true
			}
		}
		return false
	})
	if len(small.Files) != 1 || string(small.Files[0].Bytes()) != "needle" {
		t.Errorf("got %+v", small.Files)
	}
}
