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

// proposeAssignment plans the benchmark's third method where the kubelet still
// has it. over is false where it has not, and a layer on the node has to be
// changed instead.
func proposeAssignment(ctx context.Context, client *configz.Client, f audit.Facts, finding audit.Finding) (p proposal, over bool, err error) {
	p.finding = finding
	refuse := func(code, message string) (proposal, bool, error) {
		p.plan = remediate.Plan{Method: remediate.MethodConfigz, Refused: &remediate.Refusal{Code: code, Message: audit.Mask(message)}}
		return p, true, nil
	}
	basis := audit.MakeIPTablesUtilChains.Basis(f)
	if !basis.Assignable || finding.Status == audit.StatusPass || finding.Status == audit.StatusNotApplicable {
		return p, false, nil
	}
	in := dynamic.Input{Start: basis.Start, File: f.Disk.Files[basis.Running.Config].Data, Setting: audit.MakeIPTablesUtilChains.Setting, Want: audit.MakeIPTablesUtilChains.Expected}
	node, err := client.Find(ctx, identityOf(f))
	if err == nil {
		in.Node = node.Name
		in.Live, err = client.Answer(ctx, node)
	}
	if err == nil {
		in.Assignment, err = dynamic.Look(ctx, client.Kubernetes(), node.Name)
	}
	var plan dynamic.Plan
	if err == nil {
		plan, err = dynamic.NewPlan(in)
	}
	var refused *dynamic.Error
	var unread *configz.Error
	switch {
	case errors.As(err, &refused) && refused.Code == dynamic.CodeGone:
		return p, false, nil
	case errors.As(err, &refused):
		return refuse(refused.Code, refused.Message)
	case errors.As(err, &unread):
		return refuse(unread.Code(), unread.Msg)
	case err != nil:
		return p, false, err
	}
	p.node = node.Name
	if plan.Unchanged {
		p.plan = remediate.Plan{Method: remediate.MethodConfigz, Nothing: true, Summary: "as wanted already"}
		return p, true, nil
	}
	p.plan = remediate.Plan{Method: remediate.MethodConfigz, Unit: basis.Unit, Expect: plan.Want, Restart: true,
		Summary: fmt.Sprintf("assign ConfigMap %s/%s to node %s, which its kubelet takes over by Dynamic Kubelet Configuration", plan.ConfigMap.Namespace, plan.ConfigMap.Name, node.Name)}
	p.assign = &assignment{plan: &plan}
	return p, true, nil
}

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

// ready waits until the cluster calls the node Ready again, and says why not
// when it does not.
func (w *work) ready(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, w.timing.Health)
	defer cancel()
	for {
		ok, why, err := w.live.Ready(ctx, node)
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				why = err.Error()
			}
			return fmt.Errorf("node %s is not Ready: %s", node, why)
		case <-time.After(2 * time.Second):
		}
	}
}
