package dynamic

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// recording is what a real kubelet of v1.20.2 ran with and showed (the
// e2e-dynamic target with $FLEET_E2E_RECORD).
type recording struct {
	Args    []string
	File    string
	Configz json.RawMessage
}

func recorded(t *testing.T, name string, want any) Input {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + "-v1.20.2.json")
	var r recording
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Node: name, Start: start("v1.20.2", r.Args...), Live: r.Configz, Setting: chains, Want: want}
	if r.File != "" {
		in.File = []byte(r.File)
	}
	return in
}

// TestRecordedFile plans over the file of a real kubelet.
func TestRecordedFile(t *testing.T) {
	in := recorded(t, "with-file", true)
	plan, err := NewPlan(in)
	if err != nil {
		t.Fatal(err)
	}
	want := wanted(string(in.File))
	want = strings.Replace(want, "staticPodPath: manifests", `staticPodPath: "/etc/kubernetes/kubelet/manifests"`, 1)
	if got := plan.ConfigMap.Data[Key]; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	checkPlan(t, in, plan)
}

// TestRecordedFlags plans for a real kubelet without a file: of all that /configz
// shows, only what the defaults of a configuration would change is written.
func TestRecordedFlags(t *testing.T) {
	in := recorded(t, "without-file", false)
	plan, err := NewPlan(in)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(plan.ConfigMap.Data[Key]), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "makeIPTablesUtilChains": false,
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": true}, "webhook": map[string]any{"enabled": false}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"}, "readOnlyPort": 10255.0}
	if !same(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	checkPlan(t, in, plan)
}

// TestEveryFieldIsChecked changes each field that a real kubelet shows, one after
// the other, as if the kubelet had been started with another file. No plan may be
// made then, but for fields that a flag sets or the kubelet fills in itself.
func TestEveryFieldIsChecked(t *testing.T) {
	in := recorded(t, "with-file", true)
	var answer struct{ Kubeletconfig map[string]any }
	if err := json.Unmarshal(in.Live, &answer); err != nil {
		t.Fatal(err)
	}
	exempt := []string{chains.Key, "maxPods", "tlsCertFile", "tlsPrivateKeyFile", "logging.format"}
	var accepted []string
	checked := 0
	for _, key := range leaves("", answer.Kubeletconfig) {
		value, _ := lookup(answer.Kubeletconfig, key)
		put(answer.Kubeletconfig, key, other(value))
		data, err := json.Marshal(map[string]any{"kubeletconfig": answer.Kubeletconfig})
		if err != nil {
			t.Fatal(err)
		}
		put(answer.Kubeletconfig, key, value)
		changed := in
		changed.Live = data
		var refusal *Error
		_, err = NewPlan(changed)
		if errors.As(err, &refusal) && refusal.Code == CodeBaseDiffers {
			checked++
			continue
		}
		accepted = append(accepted, key)
	}
	slices.Sort(accepted)
	slices.Sort(exempt)
	if !slices.Equal(accepted, exempt) || checked < 60 {
		t.Errorf("%d fields checked, accepted with another value: %s; want %s", checked, accepted, exempt)
	}
}

// leaves lists the dotted keys of a document.
func leaves(prefix string, m map[string]any) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		sub, nested := m[key].(map[string]any)
		if nested && key != "evictionHard" {
			keys = append(keys, leaves(prefix+key+".", sub)...)
			continue
		}
		keys = append(keys, prefix+key)
	}
	return keys
}

// other is another value of the same type.
func other(v any) any {
	switch v := v.(type) {
	case bool:
		return !v
	case float64:
		return v + 1
	case string:
		if isZero(v) {
			return "17s"
		}
		return "1" + v
	case []any:
		return append(slices.Clone(v), "x")
	case map[string]any:
		out := maps.Clone(v)
		out["x"] = "1"
		return out
	}
	return v
}

// TestEveryLineIsChecked takes each line of the file away, as if it had been
// there when the kubelet started.
func TestEveryLineIsChecked(t *testing.T) {
	in := recorded(t, "with-file", true)
	for _, line := range []string{"cgroupsPerQOS: false", "enforceNodeAllocatable: [] # /configz leaves it out", "failSwapOn: false", "staticPodPath: manifests # relative to this file", "  mode: AlwaysAllow"} {
		changed := in
		changed.File = []byte(strings.Replace(string(in.File), line+"\n", "", 1))
		if line == "  mode: AlwaysAllow" {
			changed.File = []byte(strings.Replace(string(in.File), "authorization:\n"+line+"\n", "", 1))
		}
		var refusal *Error
		if _, err := NewPlan(changed); len(changed.File) == len(in.File) || !errors.As(err, &refusal) || refusal.Code != CodeBaseDiffers {
			t.Errorf("without %q: %v", line, err)
		}
	}
}
