package e2e

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"fleet/kubelet"
	"fleet/lab/real/judge"
)

// TestEditsOfGeneratedLayouts edits many layouts and reads them again: the
// value is true, the rest of the command line and the other values are what
// they were, and another edit finds nothing to do. The real kubelet's word on
// such edits is TestEditsAgainstTheKubelet.
func TestEditsOfGeneratedLayouts(t *testing.T) {
	refused := map[string]int{}
	edited := 0
	for seed := range uint64(1000) {
		l := Generate(seed)
		for name, edit := range map[string]func(judge.Layout) (judge.Layout, error){"args": EditArgs, "config": EditConfig} {
			now, err := edit(l)
			var why *kubelet.EditError
			switch {
			case errors.As(err, &why):
				refused[name+" "+why.Code()]++
			case err == nil:
				edited++
				checkEdited(t, seed, name, edit, l, now)
			}
		}
	}
	t.Logf("%d edited, refused: %v", edited, refused)
	if edited < 400 {
		t.Errorf("only %d layouts could be edited", edited)
	}
}

func checkEdited(t *testing.T, seed uint64, name string, edit func(judge.Layout) (judge.Layout, error), l, now judge.Layout) {
	t.Helper()
	key := Settings()[0].Key
	before, after := Read(l), Read(now)
	if after.Started && after.Values[key] != true && (name == "args" || before.Started) {
		t.Errorf("layout %d, %s: %v, %s\n%s\nwas\n%s", seed, name, after.Values, after.Reason, show(now), show(l))
	}
	if name == "args" && !after.Started {
		t.Errorf("layout %d, %s: does not start: %s\n%s", seed, name, after.Reason, show(now))
	}
	if before.Started {
		delete(before.Values, key)
		delete(after.Values, key)
		if !after.Started || !reflect.DeepEqual(before.Values, after.Values) {
			t.Errorf("layout %d, %s: other values: %v, now %v\n%s", seed, name, before.Values, after.Values, show(now))
		}
	}
	if name == "config" && !before.Started {
		return // a flag, or another file that is at fault too, may decide now
	}
	again, err := edit(now)
	if err != nil || !slices.EqualFunc(again.Files, now.Files, func(a, b judge.File) bool { return string(a.Bytes()) == string(b.Bytes()) }) {
		t.Errorf("layout %d, %s: a second edit, %v:\n%s\nwas\n%s", seed, name, err, show(again), show(now))
	}
}
