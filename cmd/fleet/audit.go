package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/configz"
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
	// liveOnly leaves SSH out.
	liveOnly bool
}

func newAudit(env environment) *cobra.Command {
	a := &auditCommand{env: env}
	cmd := &cobra.Command{
		Use:   "audit [-i FILE|-] [--limit PATTERN]...",
		Short: "Tell for every host whether its kubelet manages iptables",
		Long: `audit connects to every selected host, looks at its kubelet and reports. It
changes nothing. The verdict comes from two witnesses: what the running kubelet
was started with, and what the files on disk give at its next start. With
--kubeconfig, --context or --api-url there is a third: the kubelet's live
configuration (/configz) through the cluster's API server, which needs get on
nodes and on nodes/proxy. With --live-only it is the only one and SSH is not
used; the hosts are then the cluster's nodes where there is no inventory.

A host that cannot be reached or judged is "unknown", with a reason; see
fleet help reasons.
` + exitCodesHelp,
		Example: `  fleet audit                                     # nodes.yaml in this directory
  fleet audit -i nodes.yaml --limit agentpool=np1 -o wide
  kubectl get nodes -o json | fleet audit -i - --user azureuser
  fleet audit --report json=audit.json --limit run:last:failed
  fleet audit --kubeconfig ~/.kube/config
  fleet audit -i cluster:agentpool=np1 --context prod --user azureuser
  kubectl proxy & fleet audit --live-only --api-url http://localhost:8001`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.run() },
	}
	a.hosts.flags(cmd, env)
	a.conn.flags(cmd, auditTimeout)
	a.output.flags(cmd)
	cmd.Flags().BoolVar(&a.strict, "strict", false, "demand that the value is written down, not only right by default")
	cmd.Flags().BoolVar(&a.liveOnly, "live-only", false, "ask nobody but the API server")
	return cmd
}

func (a *auditCommand) run() error {
	if err := a.conn.check(); err != nil {
		return err
	}
	if err := a.output.check(); err != nil {
		return err
	}
	live, err := a.thirdWitness()
	if err != nil {
		return err
	}
	a.hosts.orCluster = a.liveOnly
	inv, hosts, err := a.hosts.hosts(a.env)
	if err != nil {
		return err
	}
	fan, err := a.fanOut(hosts)
	if err != nil {
		return err
	}
	defer fan.close()
	started := time.Now()
	results := each(fan, hosts, func(ctx context.Context, h inventory.Host) (audit.Finding, error) {
		if a.liveOnly {
			return liveHost(ctx, live, h)
		}
		return auditHost(ctx, fan.dialer, h, fan.password, audit.Policy{Strict: a.strict}, live)
	})
	rep := newReport("audit", inventoryName(inv), started, results)
	return a.output.deliver(a.env, rep, fan.interrupted())
}

// thirdWitness is the API server, nil when it is not to be asked.
func (a *auditCommand) thirdWitness() (*configz.Client, error) {
	if a.strict && a.liveOnly {
		return nil, usageError{errors.New("--strict needs SSH: the live configuration does not tell whether a value is written down")}
	}
	if !a.liveOnly && !a.hosts.cluster.given() {
		return nil, nil
	}
	return a.hosts.cluster.open()
}

// fanOut prepares the run; without SSH there is nothing to dial.
func (a *auditCommand) fanOut(hosts []inventory.Host) (*fanOut, error) {
	if a.liveOnly {
		return &fanOut{env: a.env, conn: &a.conn, signals: watchSignals(a.env)}, nil
	}
	return a.conn.fanOut(a.env, hosts)
}

// auditHost is the journey of one host: dial, probe, ask the API server when
// there is one, judge, close.
func auditHost(ctx context.Context, dialer *remote.Dialer, h inventory.Host, password []byte, p audit.Policy, live *configz.Client) (audit.Finding, error) {
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
	_, finding, err := look(ctx, shell{conn, h.Become, password}, p, live)
	return finding, err
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
