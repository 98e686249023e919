package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleet/audit"
	"fleet/configz"
	"fleet/configz/dynamic"
	"fleet/remediate"
)

// assignment is a change that is made through the API server, by Dynamic Kubelet
// Configuration, in place of one on the node. One of plan and back is set.
type assignment struct {
	plan *dynamic.Plan   // a ConfigMap to assign
	back *dynamic.Record // an assignment to take back
}

func (a *assignment) diff() string {
	if a.plan == nil {
		return ""
	}
	return a.plan.Diff
}

// wantsAssignment tells a method that may be the ConfigMap procedure: configz,
// and auto where a ConfigMap decides the value already, which the finding shows
// by having no layer of the node to blame.
func wantsAssignment(m remediate.Method, finding audit.Finding) bool {
	return m == remediate.MethodConfigz || m == remediate.MethodAuto && finding.Reason == "live-false"
}

// proposeAssignment plans the benchmark's third method where the kubelet still
// has it. over is false where it has not, and a layer on the node has to be
// changed instead.
func proposeAssignment(ctx context.Context, client *configz.Client, f audit.Facts, finding audit.Finding, o remediate.Options) (p proposal, over bool, err error) {
	basis := audit.MakeIPTablesUtilChains.Basis(f)
	if !basis.Assignable || finding.Status == audit.StatusPass || finding.Status == audit.StatusNotApplicable {
		return proposal{}, false, nil
	}
	p = proposal{finding: finding, plan: remediate.Plan{Method: remediate.MethodConfigz, Unit: basis.Unit, Expect: audit.MakeIPTablesUtilChains.Expected}}
	switch {
	case len(f.Changes) > 0:
		p.plan.Refused = &remediate.Refusal{Code: "node-locked", Message: f.Changes[0].Describe()}
	case o.NoRestart:
		p.plan.Refused = &remediate.Refusal{Code: dynamic.CodeUnsupported, Message: "a kubelet that is assigned a ConfigMap restarts by itself, which --no-restart rules out"}
	default:
		plan, err := planAssignment(ctx, client, f, basis)
		return p.assigning(plan, err)
	}
	return p, true, nil
}

// planAssignment hears what the API server knows of the node, and plans.
func planAssignment(ctx context.Context, client *configz.Client, f audit.Facts, basis audit.Basis) (dynamic.Plan, error) {
	in := dynamic.Input{
		Start: basis.Start, File: f.Disk.Files[basis.Running.Config].Data,
		Setting: audit.MakeIPTablesUtilChains.Setting, Want: audit.MakeIPTablesUtilChains.Expected,
	}
	node, err := client.Find(ctx, identityOf(f))
	if err != nil {
		return dynamic.Plan{}, err
	}
	in.Node = node.Name
	if in.Live, err = client.Answer(ctx, node); err != nil {
		return dynamic.Plan{}, err
	}
	if in.Assignment, err = dynamic.Look(ctx, client.Kubernetes(), node.Name); err != nil {
		return dynamic.Plan{}, err
	}
	return dynamic.NewPlan(in)
}

// assigning fills in what came of planning an assignment. An error that is no
// refusal is the host's.
func (p proposal) assigning(plan dynamic.Plan, err error) (proposal, bool, error) {
	var refused *dynamic.Error
	var unread *configz.Error
	switch {
	case errors.As(err, &refused) && refused.Code == dynamic.CodeGone:
		return proposal{}, false, nil
	case errors.As(err, &refused):
		p.plan.Refused = &remediate.Refusal{Code: refused.Code, Message: audit.Mask(refused.Message)}
	case errors.As(err, &unread):
		p.plan.Refused = &remediate.Refusal{Code: unread.Code(), Message: audit.Mask(unread.Msg)}
	case err != nil:
		return proposal{}, false, err
	case plan.Unchanged:
		p.node, p.plan.Nothing, p.plan.Summary = plan.Node, true, "as wanted already"
	default:
		p.node, p.assign, p.plan.Restart = plan.Node, &assignment{plan: &plan}, true
		p.plan.Summary = fmt.Sprintf("assign ConfigMap %s/%s to node %s, which its kubelet takes over by Dynamic Kubelet Configuration",
			plan.ConfigMap.Namespace, plan.ConfigMap.Name, plan.Node)
	}
	return p, true, nil
}

// assignLimit is the longest that dynamic.Apply takes with its default deadlines,
// the way back included. It must not be cut off: nobody would end the change.
const assignLimit = 8 * time.Minute

// assign makes the change, or takes it back, and judges by the live value.
func (w *work) assign(ctx context.Context, t *target) remediate.Result {
	begun := time.Now()
	options := dynamic.Options{
		Read: func(ctx context.Context) (any, error) {
			r, err := w.live.Value(ctx, configz.Node{Name: t.found.node}, audit.MakeIPTablesUtilChains.Setting)
			return r.Value, err
		},
		Log: func(line string) { w.record.note(t.host.Name, "assign", line) },
	}
	var got dynamic.Result
	var err error
	if plan := t.found.assign.plan; plan != nil {
		w.keepAssignment(t.host.Name, plan.Record())
		got, err = dynamic.Apply(ctx, w.live.Kubernetes(), *plan, options)
	} else {
		got, err = dynamic.Rollback(ctx, w.live.Kubernetes(), *t.found.assign.back, options)
	}
	r := remediate.Result{Outcome: remediate.Outcome(got.Outcome), Duration: time.Since(begun), Restarted: got.Outcome != dynamic.OutcomeFailedBefore && got.Outcome != dynamic.OutcomeRefused}
	var failed *dynamic.Error
	if errors.As(err, &failed) {
		r.Reason, r.Message = failed.Code, audit.Mask(failed.Message)
	}
	if finding, err := w.look(ctx, t.host); err == nil {
		r.Finding = &finding
	}
	return r
}

// assignmentStep is the event that keeps what a later rollback needs.
const assignmentStep = "assignment"

func (w *work) keepAssignment(host string, rec dynamic.Record) {
	if data, err := json.Marshal(rec); err == nil {
		w.record.note(host, assignmentStep, string(data))
	}
}

// recordedAssignments gives what a recorded run assigned, by host.
func recordedAssignments(env environment, id string) (map[string]dynamic.Record, error) {
	events, err := recordedEvents(env, id)
	out := map[string]dynamic.Record{}
	for _, e := range events {
		var rec dynamic.Record
		if e.Step == assignmentStep && json.Unmarshal([]byte(e.Text), &rec) == nil {
			out[e.Host] = rec
		}
	}
	return out, err
}

// ready waits until the cluster calls the node Ready by a word from after its
// kubelet's start, and says why not when it does not.
func (w *work) ready(ctx context.Context, node string, started time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, w.timing.Health)
	defer cancel()
	var why string
	for {
		ok, text, err := w.live.Ready(ctx, node, started)
		switch {
		case ok && err == nil:
			return nil
		case err == nil:
			why = text
		case why == "" || ctx.Err() == nil: // the end of the wait itself explains nothing
			why = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s is not Ready: %s", node, why)
		case <-time.After(2 * time.Second):
		}
	}
}
