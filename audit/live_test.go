package audit

import (
	"slices"
	"strings"
	"testing"
)

// TestJudgeLive judges the live configuration alone: by its value, and a
// reason of the third witness is never a fail.
func TestJudgeLive(t *testing.T) {
	const path = "/api/v1/nodes/a/proxy/configz"
	for _, c := range []struct {
		name   string
		live   Live
		status Status
		reason string
		hint   string
	}{
		{"true", Live{Value: true, Path: path}, StatusPass, "live", ""},
		{"false", Live{Value: false, Path: path}, StatusFail, "live-false", "over SSH"},
		{"forbidden", Live{Reason: "configz-forbidden", Problem: "403", Path: path}, StatusUnknown, "configz-forbidden", "nodes/proxy"},
		{"a reason that is not known", Live{Reason: "configz-new", Problem: "x"}, StatusUnknown, "configz-new", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := MakeIPTablesUtilChains.JudgeLive(c.live)
			if f.Status != c.status || f.Reason != c.reason || !strings.Contains(f.Hint, c.hint) || f.Message == "" {
				t.Errorf("got %+v", f)
			}
			if f.Live == nil || f.Live.Value != c.live.Value || f.Live.Source.Kind != SourceLive || f.Live.Source.Path != c.live.Path || f.Running != nil || f.Next != nil {
				t.Errorf("witnesses %+v %+v %+v", f.Running, f.Next, f.Live)
			}
			if heard := c.live.Value != nil; heard != (len(f.Evidence) == 1) || f.Evidence == nil {
				t.Errorf("evidence %+v", f.Evidence)
			}
		})
	}
	for _, r := range liveReasons() {
		if r.Status != StatusUnknown || r.Hint == "" {
			t.Errorf("%s is %s with the hint %q", r.Code, r.Status, r.Hint)
		}
	}
}

func TestLiveWitnessInTheFinding(t *testing.T) {
	f := node{live: true}.judge()
	if f.Live == nil || f.Live.Value != true || f.Live.Problem != "" || f.Live.Source.Path != "/api/v1/nodes/a/proxy/configz" {
		t.Errorf("live %+v", f.Live)
	}
	last := f.Evidence[len(f.Evidence)-1]
	if last.Command != "kubectl get --raw /api/v1/nodes/a/proxy/configz | jq .kubeletconfig."+keyK || last.Stdout != "true\n" {
		t.Errorf("evidence %+v", f.Evidence)
	}
	f = node{live: &Live{Reason: "configz-forbidden", Problem: "403"}}.judge()
	if f.Live == nil || f.Live.Value != nil || f.Live.Problem != "configz-forbidden: 403" {
		t.Errorf("live %+v", f.Live)
	}
	if f := (node{}).judge(); f.Live != nil {
		t.Errorf("a witness that nobody asked: %+v", f.Live)
	}
}

func TestNodeNames(t *testing.T) {
	for _, c := range []struct {
		name string
		node node
		want []string
	}{
		{"plain", node{}, []string{"aks-np1-12345678-vmss000000", "aks-np1-12345678-vmss000000"}},
		{"upper case and domain", node{facts: func(f *Facts) { f.Hostname = "Node1.Example.NET" }}, []string{"node1.example.net", "node1"}},
		{"overridden", node{flags: "--hostname-override=x --hostname-override Other"}, []string{"Other", "aks-np1-12345678-vmss000000", "aks-np1-12345678-vmss000000"}},
		{"no kubelet", node{flags: "--hostname-override=x", state: map[string]string{"MainPID": "0", "ActiveState": "inactive"}}, []string{"aks-np1-12345678-vmss000000", "aks-np1-12345678-vmss000000"}},
		{"nothing known", node{facts: func(f *Facts) { f.Hostname = "" }}, nil},
	} {
		if got := c.node.build().NodeNames(); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
