package audit

import "testing"

// BenchmarkJudge is the client's work on one host after the probe has answered.
func BenchmarkJudge(b *testing.B) {
	for name, n := range map[string]node{
		"flags": {flags: "--v=2 --node-labels=a=b --max-pods=110"},
		"file":  {flags: "--config=/etc/kubelet.yaml", files: map[string]string{"/etc/kubelet.yaml": kc(keyK+": false", "maxPods: 110")}},
	} {
		facts := n.build()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				MakeIPTablesUtilChains.Judge(facts, Policy{}, nil)
			}
		})
	}
}
