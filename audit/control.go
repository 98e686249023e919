// Package audit knows how to look at one host and how to judge what it saw:
// the probe script, the facts it brings back, the control and the finding. It
// refuses to know SSH and other hosts.
package audit

import "fleet/kubelet"

// Control is one requirement on a kubelet setting, as a row of data.
type Control struct {
	ID         string            // "make-iptables-util-chains"
	Title      string            // the benchmark's title
	Benchmarks map[string]string // benchmark and version -> its number for this control
	Setting    kubelet.Setting
	Expected   any // value the setting must have
}

// MakeIPTablesUtilChains is CIS AKS 3.2.6: the kubelet manages iptables.
var MakeIPTablesUtilChains = Control{
	ID:    "make-iptables-util-chains",
	Title: "Ensure that the --make-iptables-util-chains argument is set to true",
	Benchmarks: map[string]string{
		"cis-aks-1.0":         "3.2.7",
		"cis-aks-1.7":         "3.2.6",
		"cis-aks-1.8":         "3.2.6",
		"cis-kubernetes-1.12": "4.2.6",
	},
	Setting: kubelet.Setting{
		Flag:    "make-iptables-util-chains",
		Key:     "makeIPTablesUtilChains",
		Default: true,
	},
	Expected: true,
}
