//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"fleet/audit"
	"fleet/lab/real"
)

// TestAuditAgrees puts generated layouts on a node and holds what fleet audit
// says of it over SSH against the kubelet's own word: the running value and the
// next one when it started, and no value at all for a next start that fails.
// $FLEET_E2E_SEED is the number of the first layout, $FLEET_E2E_AUDITS how many
// there are.
func TestAuditAgrees(t *testing.T) {
	seed := number(t, "FLEET_E2E_SEED", uint64(time.Now().Unix()))
	count := number(t, "FLEET_E2E_AUDITS", 40)
	t.Logf("layouts %d to %d; again with FLEET_E2E_SEED=%d", seed, seed+count-1, seed)
	j := judges(t)[0]
	lab, err := real.Open(judgeLab)
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, lab)
	for n := range count {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		layout := Generate(seed + n)
		verdict, err := j.Kubelet(layout)
		if err != nil {
			t.Fatal(err)
		}
		truth, err := TruthOf(verdict)
		if err != nil {
			t.Fatal(err)
		}
		_, rep := o.audit(t, "--limit", lab.Nodes[0].Name)
		if fault := disagrees(rep.Hosts[0].Finding, truth); fault != "" {
			t.Errorf("layout %d: %s\n%s %s: %s\nkubelet: %s\n%s", seed+n, fault,
				rep.Hosts[0].Status, rep.Hosts[0].Reason, rep.Hosts[0].Message, say(truth.Started, truth.Reason), show(layout))
		}
	}
}

// disagrees says in what a finding contradicts the kubelet, "" for nothing.
func disagrees(f audit.Finding, truth Truth) string {
	value := truth.Values[audit.MakeIPTablesUtilChains.Setting.Key]
	switch {
	case f.Next == nil:
		return "the next start was not worked out"
	case !truth.Started && (f.Next.Value != nil || f.Status == audit.StatusPass):
		return fmt.Sprintf("next is %v, but the kubelet does not start", f.Next.Value)
	case truth.Started && f.Next.Value != value:
		return fmt.Sprintf("next is %v (%s), the kubelet has %v", f.Next.Value, f.Next.Problem, value)
	case truth.Started && (f.Running == nil || f.Running.Value != value):
		return fmt.Sprintf("running is %+v, the kubelet has %v", f.Running, value)
	case truth.Started && (f.Status == audit.StatusPass) != (value == true):
		return fmt.Sprintf("the verdict is %s, the kubelet has %v", f.Status, value)
	}
	return ""
}
