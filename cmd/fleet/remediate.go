package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/inventory"
	"fleet/remediate"
)

// remediateCommand is one `fleet remediate`.
type remediateCommand struct {
	changing
	method    string
	noRestart bool
	strict    bool
}

func newRemediate(env environment) *cobra.Command {
	r := &remediateCommand{changing: changing{env: env}}
	cmd := &cobra.Command{
		Use:   "remediate --method " + strings.Join(remediate.Methods(), "|") + " [-i FILE|-] [--limit PATTERN]...",
		Short: "Make the kubelet manage iptables on every host where it does not",
		Long: `remediate looks at every selected host, plans the smallest change that makes the
control true, shows it, asks, and makes it in waves. A host that is as wanted is
left alone: no write, no reload, no restart.

Methods:
  file     the configuration file that the kubelet was started with
  args     the executable arguments, in the drop-in or environment file that
           really sets them
  configz  the live configuration, with the API server as the witness
  auto     whichever layer decides the value now
Several may be given, "file,args": the first that works on a host is used.

On each host the change is a transaction that the node runs by itself, apart from
the connection: files replaced whole, systemctl daemon-reload, systemctl restart,
then a watch. It is kept only when fleet, over a fresh connection, sees the wanted
value in the audit; otherwise, and when the link is lost, the node puts the old
bytes back and restarts the kubelet again. fleet rollback --run ID undoes it later.
` + exitCodesHelp,
		Example: `  fleet remediate --method file                   # nodes.yaml in this directory
  fleet remediate --method auto --dry-run         # the plan with its diffs, nothing else
  fleet remediate --method args --limit agentpool=np1 --batch 1,5,10% --soak 1m
  fleet remediate --method file --yes --max-failures 3`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return r.run() },
	}
	r.changing.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&r.method, "method", "m", "", "`METHOD`: "+strings.Join(remediate.Methods(), ", ")+", or a list of them")
	f.BoolVar(&r.noRestart, "no-restart", false, "stage the files and leave the restart to you; the audit then says restart-pending")
	f.BoolVar(&r.strict, "strict", false, "also write the value down where it is right only by default")
	_ = cmd.RegisterFlagCompletionFunc("method", cobra.FixedCompletions(remediate.Methods(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (r *remediateCommand) run() error {
	if r.method == "" {
		return usageError{fmt.Errorf("say how with --method: %s", strings.Join(remediate.Methods(), ", "))}
	}
	methods, err := remediate.ParseMethods(r.method)
	if err != nil {
		return usageError{fmt.Errorf("--method: %w", err)}
	}
	if r.noRestart && r.strict {
		return usageError{errors.New("--no-restart and --strict exclude each other")}
	}
	options := remediate.Options{Methods: methods, NoRestart: r.noRestart, Strict: r.strict}
	policy := audit.Policy{Strict: r.strict}
	return r.changing.run("remediate", "", func(*fanOut) (propose, verify, error) {
		verify := func(ctx context.Context, s shell) (audit.Finding, error) {
			_, finding, err := look(ctx, s, policy)
			return finding, err
		}
		return func(ctx context.Context, s shell, _ inventory.Host) (proposal, error) {
			facts, finding, err := look(ctx, s, policy)
			if err != nil {
				return proposal{}, err
			}
			return planHost(facts, finding, options), nil
		}, verify, nil
	})
}

// look probes and judges one host.
func look(ctx context.Context, s shell, p audit.Policy) (audit.Facts, audit.Finding, error) {
	facts, err := audit.Probe(ctx, s, audit.MakeIPTablesUtilChains)
	if err != nil {
		return audit.Facts{}, audit.Finding{}, err
	}
	return facts, audit.MakeIPTablesUtilChains.Judge(facts, p, nil), nil
}

// planHost plans one host. A run that was left behind there is ended first.
func planHost(f audit.Facts, finding audit.Finding, o remediate.Options) proposal {
	return proposal{
		finding: finding, leftover: leftover(f),
		plan: remediate.NewPlan(audit.MakeIPTablesUtilChains, f, finding, o),
	}
}

// leftover is the run that was interrupted on a host, "" for none.
func leftover(f audit.Facts) string {
	for _, change := range f.Changes {
		if f.UID == 0 && !change.Held {
			return change.Run
		}
	}
	return ""
}
