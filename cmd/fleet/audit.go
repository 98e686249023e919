package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/inventory"
	"fleet/remote"
	"fleet/report"
	"fleet/runner"
)

// auditTimeout is the default deadline of one host. An audit takes well under
// a second; the rest is for slow links and loaded nodes.
const auditTimeout = 60 * time.Second

// auditCommand is one `fleet audit`.
type auditCommand struct {
	env    environment
	hosts  selection
	conn   connection
	output output
	strict bool
}

func newAudit(env environment) *cobra.Command {
	a := &auditCommand{env: env}
	cmd := &cobra.Command{
		Use:   "audit [-i FILE|-] [--limit PATTERN]...",
		Short: "Tell for every host whether its kubelet manages iptables",
		Long: `audit connects to every selected host, looks at its kubelet and reports. It
changes nothing. The verdict comes from two witnesses: what the running kubelet
was started with, and what the files on disk give at its next start.

A host that cannot be reached or judged is "unknown", with a reason; see
fleet help reasons.
` + exitCodesHelp,
		Example: `  fleet audit                                     # nodes.yaml in this directory
  fleet audit -i nodes.yaml --limit agentpool=np1 -o wide
  kubectl get nodes -o json | fleet audit -i - --user azureuser
  fleet audit --report json=audit.json --limit run:last:failed`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.run() },
	}
	a.hosts.flags(cmd, env)
	a.conn.flags(cmd, auditTimeout)
	a.output.flags(cmd)
	cmd.Flags().BoolVar(&a.strict, "strict", false, "demand that the value is written down, not only right by default")
	return cmd
}

func (a *auditCommand) run() error {
	if err := a.conn.check(); err != nil {
		return err
	}
	if err := a.output.check(); err != nil {
		return err
	}
	inv, hosts, err := a.hosts.hosts(a.env)
	if err != nil {
		return err
	}
	fan, err := a.conn.fanOut(a.env, hosts)
	if err != nil {
		return err
	}
	defer fan.close()
	started := time.Now()
	results := each(fan, hosts, func(ctx context.Context, h inventory.Host) (audit.Finding, error) {
		return auditHost(ctx, fan.dialer, h, fan.password, audit.Policy{Strict: a.strict})
	})
	rep := newReport("audit", inventoryName(inv), started, results)
	return a.output.deliver(a.env, rep, fan.interrupted())
}

// auditHost is the journey of one host: dial, probe, judge, close.
func auditHost(ctx context.Context, dialer *remote.Dialer, h inventory.Host, password []byte, p audit.Policy) (audit.Finding, error) {
	if finding, ok := audit.Exempt(h.Labels); ok {
		return finding, nil
	}
	conn, err := dialer.Dial(ctx, h)
	if err != nil {
		return audit.Finding{}, err
	}
	defer conn.Close()
	if finding, ok := audit.ExemptServer(conn.ServerVersion()); ok {
		return finding, nil
	}
	facts, err := audit.Probe(ctx, shell{conn, h.Become, password}, audit.MakeIPTablesUtilChains)
	if err != nil {
		return audit.Finding{}, err
	}
	return audit.MakeIPTablesUtilChains.Judge(facts, p, nil), nil
}

// newReport turns the results into the report, in inventory order.
func newReport(command, inventoryName string, started time.Time, results []runner.Result[audit.Finding]) report.Report {
	hosts := make([]report.Host, len(results))
	for i, r := range results {
		finding := r.Value
		if r.Err != nil {
			finding = audit.Unreached(r.Err)
		}
		hosts[i] = report.Host{
			Name: r.Host.Name, Address: r.Host.Address, Labels: r.Host.Labels,
			Finding: finding, DurationMS: r.Duration.Milliseconds(),
		}
	}
	return report.New(report.Run{
		ID:        runID(started),
		Command:   command,
		Started:   started.UTC(),
		Finished:  time.Now().UTC(),
		Version:   versionText(),
		Inventory: inventoryName,
	}, audit.MakeIPTablesUtilChains, hosts)
}
