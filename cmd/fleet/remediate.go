package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/configz"
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
` + changeCodesHelp,
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
	options := remediate.Options{Methods: methods, NoRestart: r.noRestart, Strict: r.strict, Live: r.hosts.cluster.given()}
	if slices.Contains(methods, remediate.MethodConfigz) && !options.Live {
		return usageError{errors.New("--method configz wants to see the live configuration: name the API server with --kubeconfig or --api-url")}
	}
	policy := audit.Policy{Strict: r.strict}
	propose := func(ctx context.Context, s shell, _ inventory.Host) (proposal, error) {
		facts, finding, err := look(ctx, s, policy, r.live)
		if err != nil {
			return proposal{}, err
		}
		return planHost(ctx, s, facts, finding, options, r.live)
	}
	verify := func(ctx context.Context, s shell) (audit.Finding, error) {
		_, finding, err := look(ctx, s, policy, r.live)
		return finding, err
	}
	return r.changing.run("remediate", "", propose, verify)
}

// look probes and judges one host, and asks the API server where there is one.
func look(ctx context.Context, s shell, p audit.Policy, live *configz.Client) (audit.Facts, audit.Finding, error) {
	facts, err := audit.Probe(ctx, s, audit.MakeIPTablesUtilChains)
	if err != nil {
		return audit.Facts{}, audit.Finding{}, err
	}
	return facts, audit.MakeIPTablesUtilChains.Judge(facts, p, askLive(ctx, live, identityOf(facts))), nil
}

// planHost plans one host by the first of the methods that works on it, else
// tells why the first one does not. A run that was left behind there is ended
// before anything else.
func planHost(ctx context.Context, s shell, f audit.Facts, finding audit.Finding, o remediate.Options, live *configz.Client) (proposal, error) {
	p := proposal{finding: finding, leftover: leftover(f), node: nodeName(ctx, live, f)}
	var first *proposal
	for _, method := range o.Methods {
		one := o
		one.Methods = []remediate.Method{method}
		by, err := p.by(ctx, s, f, one, live)
		if err != nil || by.plan.Refused == nil {
			return by, err
		}
		if first == nil {
			first = &by
		}
	}
	return *first, nil
}

// by plans by one method, which may be the ConfigMap procedure.
func (p proposal) by(ctx context.Context, s shell, f audit.Facts, o remediate.Options, live *configz.Client) (proposal, error) {
	if p.leftover == "" && live != nil && wantsAssignment(o.Methods[0], p.finding) {
		if assigned, over, err := proposeAssignment(ctx, live, f, p.finding, o); over || err != nil {
			return assigned, err
		}
	}
	for range fetches {
		p.plan = remediate.NewPlan(audit.MakeIPTablesUtilChains, f, p.finding, o)
		if p.plan.Refused == nil || len(p.plan.Refused.Need) == 0 {
			break
		}
		if err := f.Fetch(ctx, s, p.plan.Refused.Need); err != nil {
			return proposal{}, err
		}
	}
	return p, nil
}

// fetches bounds how often a plan may ask for files that the audit did not
// need, such as the configuration behind a flag that keeps the kubelet from
// reading it.
const fetches = 4

// nodeName is the Node object that is this host, "" when it cannot be told.
func nodeName(ctx context.Context, live *configz.Client, f audit.Facts) string {
	if live == nil {
		return ""
	}
	node, err := live.Find(ctx, identityOf(f))
	if err != nil {
		return ""
	}
	return node.Name
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
