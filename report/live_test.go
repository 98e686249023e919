package report

import (
	"strings"
	"testing"

	"fleet/audit"
	"fleet/kubelet"
)

// TestLiveWitnessComesBack reads a report whose values are the API server's.
func TestLiveWitnessComesBack(t *testing.T) {
	r := full()
	for _, want := range []*audit.Witness{
		{Value: true, Source: kubelet.Source{Kind: audit.SourceLive, Path: "/api/v1/nodes/a/proxy/configz"}},
		{Source: kubelet.Source{Kind: audit.SourceLive}, Problem: "configz-forbidden: 403"},
	} {
		r.Hosts[0].Live = want
		got, err := Decode(strings.NewReader(render(t, "json", r, TextOptions{})))
		if err != nil {
			t.Fatal(err)
		}
		if *got.Hosts[0].Live != *want {
			t.Errorf("got %+v, want %+v", got.Hosts[0].Live, want)
		}
	}
}
