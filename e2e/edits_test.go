//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"fleet/kubelet"
	"fleet/lab/real"
	"fleet/lab/real/judge"
)

// TestEditsAgainstTheKubelet edits generated layouts and lets the real systemd
// and the real kubelet say what came of it: after an edit of the arguments the
// kubelet starts and says true; after one of the file that decides it says true
// unless a flag or another file has the word then; and in both cases the other
// values are what they were. $FLEET_E2E_SEED is the number of the first layout,
// $FLEET_E2E_EDITS how many edits are judged.
func TestEditsAgainstTheKubelet(t *testing.T) {
	seed := number(t, "FLEET_E2E_SEED", uint64(time.Now().Unix()))
	count := int(number(t, "FLEET_E2E_EDITS", 100))
	t.Logf("layouts from %d on; again with FLEET_E2E_SEED=%d", seed, seed)
	all := judges(t)
	edits := make(chan editedLayout)
	var wait sync.WaitGroup
	for _, j := range all {
		wait.Go(func() {
			for e := range edits {
				if fault := e.judge(j); fault != "" && ctx.Err() == nil {
					t.Errorf("layout %d, %s: %s\n%s\nwas\n%s", e.seed, e.how, fault, show(e.after), show(e.before))
				}
			}
		})
	}
	refused := map[string]int{}
	for n := 0; n < count && ctx.Err() == nil; seed++ {
		for _, e := range editedLayouts(seed, refused) {
			edits <- e
			n++
		}
	}
	close(edits)
	wait.Wait()
	t.Logf("layouts up to %d; refused: %v", seed-1, refused)
	if ctx.Err() != nil {
		t.Fatal("interrupted")
	}
}

// editedLayout is a layout before and after an edit.
type editedLayout struct {
	seed          uint64
	how           string
	before, after judge.Layout
}

// editedLayouts are the edits of one layout that change something, of those on
// which the flag does not say true already.
func editedLayouts(seed uint64, refused map[string]int) []editedLayout {
	l := Generate(seed)
	var edited []editedLayout
	for _, way := range []struct {
		how  string
		edit func(judge.Layout) (judge.Layout, error)
	}{{"args", EditArgs}, {"config", EditConfig}} {
		after, err := way.edit(l)
		var why *kubelet.EditError
		switch {
		case errors.As(err, &why):
			refused[way.how+" "+why.Code()]++
		case err == nil && show(after) != show(l):
			edited = append(edited, editedLayout{seed, way.how, l, after})
		}
	}
	return edited
}

// judge says what is wrong with an edit, "" for nothing.
func (e editedLayout) judge(j *real.Judge) string {
	before, fault := kubeletTruth(j, e.before)
	if fault != "" {
		return fault
	}
	after, fault := kubeletTruth(j, e.after)
	key := Settings()[0].Key
	switch {
	case fault != "":
		return fault
	case e.how == "args" && !after.Started, before.Started && !after.Started:
		return "does not start: " + after.Reason
	case after.Started && after.Values[key] != Read(e.after).Values[key]:
		return fmt.Sprintf("says %v", after.Values[key])
	case after.Started && after.Values[key] != true && (e.how == "args" || before.Started):
		return fmt.Sprintf("says %v", after.Values[key])
	}
	for _, s := range Settings()[1:] {
		if before.Started && before.Values[s.Key] != after.Values[s.Key] {
			return fmt.Sprintf("%s was %v and is %v", s.Key, before.Values[s.Key], after.Values[s.Key])
		}
	}
	return ""
}

func kubeletTruth(j *real.Judge, l judge.Layout) (Truth, string) {
	v, err := j.Kubelet(l)
	if err != nil {
		return Truth{}, "cannot judge: " + err.Error()
	}
	truth, err := TruthOf(v)
	if err != nil {
		return truth, "cannot judge: " + err.Error()
	}
	return truth, ""
}
