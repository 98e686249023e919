package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/configz"
	"fleet/configz/dynamic"
	"fleet/inventory"
	"fleet/remediate"
	"fleet/report"
)

// rollbackCommand is one `fleet rollback`.
type rollbackCommand struct {
	changing
	id string
}

func newRollback(env environment) *cobra.Command {
	r := &rollbackCommand{changing: changing{env: env}}
	cmd := &cobra.Command{
		Use:   "rollback --run ID [-i FILE|-] [--limit PATTERN]...",
		Short: "Undo what an earlier remediate changed",
		Long: `rollback puts back the files that a run of fleet remediate replaced, from the
backups that each node keeps of its last runs, and restarts the kubelet. It shows
its plan, asks, and goes in waves as remediate does, and each host is a transaction
in the same way. A file that has been changed since that run is left alone, and its
host refused.

A host is as wanted when it is rolled back, or had nothing to undo. A host on which
a run was interrupted has that run ended first.
` + changeCodesHelp,
		Example: `  fleet rollback --run 20261101-030000-k3xw
  fleet rollback --run 20261101-030000-k3xw --limit aks-np1-12345678-vmss000000 --dry-run`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return r.run() },
	}
	r.changing.flags(cmd)
	cmd.Flags().StringVar(&r.id, "run", "", "`ID` of the run to undo, as fleet remediate printed it")
	_ = cmd.RegisterFlagCompletionFunc("run", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		runs, err := runsDir(env)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ids, _ := recordedRuns(runs)
		return ids, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// runIDs is what a run's name looks like; it becomes part of a path on nodes.
var runIDs = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}-[a-z0-9]{4}$`)

func (r *rollbackCommand) run() error {
	switch {
	case r.id == "":
		return usageError{errors.New("say which run to undo with --run ID")}
	case !runIDs.MatchString(r.id):
		return usageError{fmt.Errorf("--run %q is no run's name (they look like 20261101-030000-k3xw)", r.id)}
	}
	past := remediate.Run{ID: r.id, Owner: owner(r.env)}
	touched, err := touchedHosts(r.env, r.id)
	if err != nil {
		r.env.warn("this machine has no record of run %s, so that every host is asked: %v", r.id, err)
	}
	assigned, err := recordedAssignments(r.env, r.id)
	if err != nil && touched != nil {
		r.env.warn("what run %s assigned through the API server is not known: %v", r.id, err)
	}
	propose := func(ctx context.Context, s shell, h inventory.Host) (proposal, error) {
		if rec, ok := assigned[h.Name]; ok && touched[h.Name] {
			return r.takeBack(ctx, s, rec)
		}
		p, err := undo(ctx, s, past, r.live)
		if r := p.plan.Refused; r != nil && r.Code == "no-such-run" && touched != nil && !touched[h.Name] {
			p.plan = remediate.Plan{Nothing: true, Summary: "that run did not change this host"}
		}
		return p, err
	}
	verify := func(ctx context.Context, s shell) (audit.Finding, error) {
		_, finding, err := look(ctx, s, audit.Policy{}, r.live)
		return finding, err
	}
	return r.changing.run("rollback", r.id, propose, verify)
}

// takeBack plans the rollback of what was assigned through the API server.
func (r *rollbackCommand) takeBack(ctx context.Context, s shell, rec dynamic.Record) (proposal, error) {
	facts, finding, err := look(ctx, s, audit.Policy{}, r.live)
	if err != nil {
		return proposal{}, err
	}
	p := proposal{finding: finding, node: rec.Node, leftover: leftover(facts)}
	if r.live == nil {
		p.plan = remediate.Plan{Method: remediate.MethodConfigz, Refused: &remediate.Refusal{
			Code: "live-needed", Message: "that run changed the node through the API server"}}
		return p, nil
	}
	p.assign = &assignment{back: &rec}
	p.plan = remediate.Plan{Method: remediate.MethodConfigz, Expect: rec.Was, Restart: true,
		Summary: fmt.Sprintf("give node %s back the configuration it had before that run (the value will be %v)", rec.Node, rec.Was)}
	return p, nil
}

// touchedHosts lists the hosts that a recorded run may have changed.
func touchedHosts(env environment, id string) (map[string]bool, error) {
	rep, err := recordedReport(env, id)
	if err != nil {
		return nil, err
	}
	touched := map[string]bool{}
	for _, h := range rep.Hosts {
		if h.Change == nil {
			continue
		}
		switch h.Change.Outcome {
		case report.OutcomeChanged, report.OutcomeRolledBack, report.OutcomeFailedAfterChange, report.OutcomeUnknown:
			touched[h.Name] = true
		}
	}
	return touched, nil
}

// undo plans the rollback of one host.
func undo(ctx context.Context, s shell, past remediate.Run, live *configz.Client) (proposal, error) {
	facts, finding, err := look(ctx, s, audit.Policy{}, live)
	if err != nil {
		return proposal{}, err
	}
	memory, err := remediate.Recall(ctx, s, past)
	if err != nil {
		return proposal{}, err
	}
	p := proposal{finding: finding, node: nodeName(ctx, live, facts), plan: remediate.NewRollback(audit.MakeIPTablesUtilChains, facts, memory)}
	if r := p.plan.Refused; r != nil && r.Code == "nothing-to-undo" {
		p.plan = remediate.Plan{Nothing: true, Summary: r.Message}
	}
	p.leftover = leftover(facts)
	return p, nil
}
