package lab

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	settingTrue  = "--make-iptables-util-chains=true"
	settingFalse = "--make-iptables-util-chains=false"
	// settingColon is how an old edition of the benchmark writes the argument.
	// The kubelet refuses it and does not start.
	settingColon = "--make-iptables-util-chains:true"
)

// vmss is the name AKS gives the i-th node of a pool: the number in base 36.
func vmss(pool string, i int) string {
	digits := strconv.FormatInt(int64(i), 36)
	return "aks-" + pool + "-12345678-vmss" + strings.Repeat("0", max(0, 6-len(digits))) + digits
}

func inPool(s NodeSpec, pool string, i int) NodeSpec {
	s.Name = vmss(pool, i)
	s.Labels = map[string]string{"agentpool": pool, "zone": strconv.Itoa(i%3 + 1)}
	return s
}

// DemoNodes is a small fleet in which most of what can be said of a node is
// said of one: sound nodes, each kind of wrong one, and some that cannot be
// asked.
func DemoNodes() []NodeSpec {
	np1 := []NodeSpec{
		{}, // sound by default, as AKS delivers it
		{Set: Layers{Flags: []string{settingTrue}}},
		{Set: Layers{Flags: []string{settingFalse}}},
		{Later: &Layers{Flags: []string{settingColon}}}, // the next start fails
		{Later: &Layers{Flags: []string{settingFalse}}}, // the next start is wrong
		{Set: Layers{Flags: []string{settingColon}}, State: StateCrashLoop},
	}
	np2 := []NodeSpec{
		{Shape: ShapeAKSFile},
		{Shape: ShapeAKSFile, Set: Layers{File: "true"}},
		{Shape: ShapeAKSFile, Set: Layers{File: "false"}},
		{Shape: ShapeAKSFile, Set: Layers{File: "false", Flags: []string{settingTrue}}},
		{Shape: ShapeAKSFile, Set: Layers{Flags: []string{settingFalse}}, Later: &Layers{File: "true"}}, // mended, not restarted
	}
	np3 := []NodeSpec{
		{Fault: FaultRefuse},
		{Fault: FaultHostKey},
		{Fault: FaultMute},
		{Sudo: SudoPassword, Password: "correct horse"},
		{Shape: ShapeK3s},
	}
	var out []NodeSpec
	for pool, specs := range [][]NodeSpec{np1, np2, np3} {
		for i, s := range specs {
			out = append(out, inPool(s, fmt.Sprintf("np%d", pool+1), i))
		}
	}
	return out
}

// ManyNodes is a fleet of n nodes for measurements: every shape, four pools,
// and one node in fifty with the setting switched off. Everything else about
// them is sound.
func ManyNodes(n int) []NodeSpec {
	shapes := []Shape{ShapeAKSFlags, ShapeAKSFlags, ShapeAKSFlags, ShapeAKSFile, ShapeAKSFile, ShapeEKS, ShapeKubeadm, ShapeAL2023}
	out := make([]NodeSpec, n)
	for i := range out {
		s := NodeSpec{Shape: shapes[i%len(shapes)]}
		if i%50 == 49 {
			s.Set.Flags = []string{settingFalse}
		}
		out[i] = inPool(s, fmt.Sprintf("np%d", i%4+1), i/4)
	}
	return out
}
