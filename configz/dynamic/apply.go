package dynamic

import (
	"context"
	"errors"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Reader reads the live value of the setting from /configz: a bool, int64 or
// string. It fails while the kubelet restarts.
type Reader func(ctx context.Context) (any, error)

// Options say how to carry out a change. The zero value of a duration is its
// default.
type Options struct {
	Read Reader // required
	// Deadline bounds the wait for the kubelet to take the configuration over and
	// show the value; 3 minutes. It needs some 30 seconds: three loops of 10
	// seconds each, and a restart by systemd.
	Deadline time.Duration
	// RollbackDeadline bounds the way back; 3 minutes.
	RollbackDeadline time.Duration
	// Settle is how long the new state has to hold before it is believed; 30
	// seconds, which is longer than the kubelet takes to notice an assignment. A
	// kubelet that dies soon after its start is found out by it, and so is a
	// status that is from before.
	Settle time.Duration
	// SyncGrace is how long status.config may report "failed to sync", which the
	// kubelet tries again every 10 seconds; 1 minute. Right after the assignment
	// it is usual: the Node authorizer learns of it a moment after the kubelet.
	SyncGrace time.Duration
	// Poll is the time between two looks; 2 seconds.
	Poll time.Duration
	// Log is told of each step, one line; nil is fine.
	Log func(line string)
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.Deadline, 3 * time.Minute}, {&o.RollbackDeadline, 3 * time.Minute},
		{&o.Settle, 30 * time.Second}, {&o.SyncGrace, time.Minute}, {&o.Poll, 2 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return o
}

// Outcome is how a change ended.
type Outcome string

// Outcomes, in the words of change.outcome of a report.
const (
	OutcomeUnchanged    Outcome = "unchanged"            // was as wanted already
	OutcomeChanged      Outcome = "changed"              // and the live value is the wanted one
	OutcomeRolledBack   Outcome = "rolled-back"          // failed; as before, seen in status.config and the live value
	OutcomeRefused      Outcome = "refused"              // nothing was changed, because it should not be
	OutcomeFailedBefore Outcome = "failed-before-change" // nothing was changed, because it could not be
	OutcomeFailedAfter  Outcome = "failed-after-change"  // not as wanted, and not seen to be as before
)

// Result is what became of a change.
type Result struct {
	Outcome  Outcome
	Err      *Error // why it is not as wanted, nil when it is
	Record   Record // what Rollback takes
	Live     any    // the last value read, nil when none could be
	Status   *corev1.NodeConfigStatus
	Removed  []string // ConfigMaps that were deleted
	Warnings []string // of cleaning up; one line each
}

// Record is what has to be known to take a change back later. It is plain data
// and holds no secret.
type Record struct {
	Node     string                   `json:"node"`
	UID      types.UID                `json:"uid"`
	Key      string                   `json:"key"`
	Was      any                      `json:"was"`
	Want     any                      `json:"want"`
	Previous *corev1.NodeConfigSource `json:"previous"` // null: the kubelet's own configuration
	Source   *corev1.NodeConfigSource `json:"source"`
}

// Apply carries a plan out. The error is the result's own, for callers that want
// no more.
//
// Until spec.configSource is patched nothing is changed, and the end of ctx stops
// there. After that the change is brought to an end whatever ctx does, within the
// deadlines of o: the kubelet reports the ConfigMap as assigned and active, and
// the live value is the wanted one, for as long as o.Settle; or spec.configSource
// is put back, and the same is waited for with the old value.
//
// The ConfigMap of a failed try is deleted once nothing refers to it: its content
// is in the plan, the kubelet's reason is in its journal, and a leftover could
// only be assigned by mistake. After a success the ConfigMaps of earlier changes
// of this node are deleted, but for those that spec.configSource or status.config
// refer to and the previous one, which a later Rollback needs.
func Apply(ctx context.Context, client kubernetes.Interface, plan Plan, o Options) (Result, error) {
	c := newChange(client, o, plan.Record())
	if plan.Unchanged {
		c.result.Outcome, c.result.Live = OutcomeUnchanged, plan.Was
		return c.end()
	}
	made, err := c.ensure(ctx, plan.ConfigMap)
	if err != nil {
		return c.before(err)
	}
	c.planned, c.uid = &plan, made.uid
	c.run(ctx)
	switch c.result.Outcome {
	case OutcomeChanged:
		c.prune(ctx, c.from)
	case OutcomeFailedAfter: // it may still be in use
	default:
		if made.created {
			c.remove(ctx, plan.ConfigMap.Name, made.uid)
		}
	}
	return c.end()
}

// Rollback takes an applied change back: spec.configSource becomes what it was
// before, and the live value the old one. It refuses where spec.configSource has
// been changed since, or the ConfigMap to go back to is gone. When the way back
// fails the change is put in force again.
func Rollback(ctx context.Context, client kubernetes.Interface, rec Record, o Options) (Result, error) {
	c := newChange(client, o, rec)
	c.from, c.to, c.want, c.was = rec.Source, rec.Previous, rec.Was, rec.Want
	if err := c.previousExists(ctx); err != nil {
		return c.before(err)
	}
	c.run(ctx)
	if c.result.Outcome == OutcomeChanged {
		c.prune(ctx)
	}
	return c.end()
}

// Record is what Rollback needs to take the plan back once it is applied.
func (p Plan) Record() Record {
	return Record{Node: p.Node, UID: p.UID, Key: p.Key, Was: p.Was, Want: p.Want,
		Previous: p.Previous.DeepCopy(), Source: p.Source.DeepCopy()}
}

// change moves one node from one source to another.
type change struct {
	client    kubernetes.Interface
	o         Options
	from, to  *corev1.NodeConfigSource
	want, was any
	planned   *Plan     // nil when the node need not be as it was at the time of a plan
	uid       types.UID // of the ConfigMap that is assigned, "" when not known
	result    Result
}

func newChange(client kubernetes.Interface, o Options, rec Record) *change {
	return &change{client: client, o: o.withDefaults(), from: rec.Previous, to: rec.Source,
		want: rec.Want, was: rec.Was, result: Result{Record: rec}}
}

func (c *change) end() (Result, error) {
	if c.result.Err != nil {
		return c.result, c.result.Err
	}
	return c.result, nil
}

// before ends a change that never began.
func (c *change) before(err *Error) (Result, error) {
	c.result.Err, c.result.Outcome = err, OutcomeFailedBefore
	switch err.Code {
	case CodeConflict, CodeUnsettled, CodeGone, CodeDropped, CodeNodeGone:
		c.result.Outcome = OutcomeRefused
	}
	return c.end()
}

// run assigns the new source, waits, and goes back when that fails.
func (c *change) run(ctx context.Context) {
	assigned, err := c.assign(ctx, c.from, c.to)
	if err != nil && !assigned {
		c.before(err)
		return
	}
	detached := context.WithoutCancel(ctx)
	if err == nil {
		forward, cancel := context.WithTimeout(detached, c.o.Deadline)
		err = c.await(forward, c.to, c.uid, c.want)
		cancel()
	}
	if err == nil {
		c.result.Outcome = OutcomeChanged
		return
	}
	c.result.Err = err
	back, cancel := context.WithTimeout(detached, c.o.RollbackDeadline)
	defer cancel()
	c.back(back)
}

// back puts the old source into force again.
func (c *change) back(ctx context.Context) {
	c.result.Outcome = OutcomeFailedAfter
	if code := c.result.Err.Code; code == CodeSuperseded || code == CodeNodeGone {
		return
	}
	c.o.Log("putting back " + place(c.from))
	err := c.reassign(ctx)
	if err == nil {
		err = c.await(ctx, c.from, "", c.was)
	}
	if err != nil {
		c.result.Err = refuse(c.result.Err.Code, "%s; going back to %s failed as well: %s", c.result.Err.Message, place(c.from), err.Message)
		return
	}
	c.result.Outcome = OutcomeRolledBack
}

// reassign puts the old source back, and tries again for as long as there is
// time: an API server that says no may be one that is being restarted.
func (c *change) reassign(ctx context.Context) *Error {
	var last *Error
	for {
		err := c.putBack(ctx)
		if err == nil || err.Code == CodeConflict || err.Code == CodeNodeGone {
			return err
		}
		if last == nil || ctx.Err() == nil { // a look that was cut off tells nothing new
			last = err
		}
		if !sleep(ctx, c.o.Poll) {
			return last
		}
	}
}

// putBack assigns the old source unless it is assigned: a patch whose answer was
// lost may never have come about.
func (c *change) putBack(ctx context.Context) *Error {
	node, err := c.node(ctx)
	if err != nil || sameSource(sourceOf(node), c.from) {
		return err
	}
	c.planned = nil
	_, err = c.assign(ctx, c.to, c.from)
	return err
}

// conflicts is how often an assignment is tried again when the Node was changed
// between the look and the patch, which its own heartbeat does.
const conflicts = 10

// assign patches spec.configSource from one source to another, if it is the one
// and the Node is the planned one. It reports whether the Node was, or may have
// been, changed. The patch is not cut off by the end of ctx: what became of it
// would not be known.
func (c *change) assign(ctx context.Context, from, to *corev1.NodeConfigSource) (bool, *Error) {
	for range conflicts {
		node, err := c.ready(ctx, from)
		if ctx.Err() != nil {
			return false, refuse(CodeInterrupted, "interrupted before anything was changed")
		}
		if err != nil {
			return false, err
		}
		sure, cancel := context.WithTimeout(context.WithoutCancel(ctx), patchTimeout)
		after, failed := c.client.CoreV1().Nodes().Patch(sure, node.Name, types.StrategicMergePatchType, pinned(node, to), metav1.PatchOptions{})
		cancel()
		switch {
		case apierrors.IsConflict(failed):
			continue
		case failed != nil && isDefinite(failed):
			return false, apiError("change spec.configSource of node "+node.Name, failed)
		case failed != nil:
			return c.uncertain(ctx, to, failed)
		case !sameSource(sourceOf(after), to):
			return false, refuse(CodeDropped, "the API server ignored spec.configSource of node %s: it no longer has Dynamic Kubelet Configuration; change the file or the arguments instead", node.Name)
		}
		c.o.Log("assigned " + place(to))
		return true, nil
	}
	return false, refuse(CodeAPI, "cannot change spec.configSource of node %s: it is changed all the time by others; try again", c.result.Record.Node)
}

// patchTimeout bounds the one request that must not be cut off; requestTimeout
// those that are made again and again.
const (
	patchTimeout   = 30 * time.Second
	requestTimeout = 15 * time.Second
)

// pinned is the patch for exactly the object that was looked at.
func pinned(node *corev1.Node, to *corev1.NodeConfigSource) []byte {
	return specPatch(map[string]any{
		"metadata": map[string]any{"uid": node.UID, "resourceVersion": node.ResourceVersion},
		"spec":     map[string]any{"configSource": to},
	})
}

// ready looks at the Node before the patch.
func (c *change) ready(ctx context.Context, from *corev1.NodeConfigSource) (*corev1.Node, *Error) {
	node, err := c.node(ctx)
	if err != nil {
		return nil, err
	}
	if !sameSource(sourceOf(node), from) {
		return nil, refuse(CodeConflict, "spec.configSource of node %s is %s now, not %s; plan again", node.Name, place(sourceOf(node)), place(from))
	}
	if c.planned == nil {
		return node, nil
	}
	if why := unsettled(sourceOf(node), node.Status.Config); why != "" {
		return nil, refuse(CodeUnsettled, "node %s is not settled: %s; mend or remove spec.configSource first", node.Name, why)
	}
	if from != nil && !apiequality.Semantic.DeepEqual(node.Status.Config.Active, c.planned.Active) {
		return nil, refuse(CodeConflict, "ConfigMap %s was changed since the plan; plan again", place(from))
	}
	return node, nil
}

// uncertain finds out what became of a patch that was not answered.
func (c *change) uncertain(ctx context.Context, to *corev1.NodeConfigSource, failed error) (bool, *Error) {
	lost := apiError("change spec.configSource of node "+c.result.Record.Node, failed)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patchTimeout)
	defer cancel()
	for sleep(ctx, c.o.Poll) { // it may be at work on it still
		node, err := c.node(ctx)
		switch {
		case err == nil && sameSource(sourceOf(node), to):
			return true, nil
		case err == nil || err.Code == CodeNodeGone:
			return false, lost
		}
	}
	return true, lost
}

// node reads the Node and wants it to be the one of the plan.
func (c *change) node(ctx context.Context) (*corev1.Node, *Error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	name, uid := c.result.Record.Node, c.result.Record.UID
	node, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, refuse(CodeNodeGone, "there is no node %s any more", name)
	case err != nil:
		return nil, apiError("read node "+name, err)
	case uid != "" && node.UID != uid:
		return nil, refuse(CodeNodeGone, "node %s is another one than at the time of the plan; plan again", name)
	}
	c.result.Status = node.Status.Config
	return node, nil
}

// ensured is a ConfigMap that is there.
type ensured struct {
	uid     types.UID
	created bool
}

// ensure makes the ConfigMap, or finds it with the same content.
func (c *change) ensure(ctx context.Context, want *corev1.ConfigMap) (ensured, *Error) {
	configMaps := c.client.CoreV1().ConfigMaps(want.Namespace)
	got, err := configMaps.Create(ctx, want, metav1.CreateOptions{})
	if err == nil {
		c.o.Log("made ConfigMap " + want.Namespace + "/" + want.Name)
		return ensured{got.UID, true}, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return ensured{}, c.beforePatch(ctx, "make ConfigMap "+want.Namespace+"/"+want.Name, err)
	}
	if got, err = configMaps.Get(ctx, want.Name, metav1.GetOptions{}); err != nil {
		return ensured{}, c.beforePatch(ctx, "read ConfigMap "+want.Namespace+"/"+want.Name, err)
	}
	if !sameContent(got, want) || got.DeletionTimestamp != nil {
		return ensured{}, refuse(CodeConflict, "ConfigMap %s/%s exists with another content or is being deleted; delete it if nothing uses it, and try again", want.Namespace, want.Name)
	}
	return ensured{uid: got.UID}, nil
}

func sameContent(a, b *corev1.ConfigMap) bool {
	return maps.Equal(a.Data, b.Data) && len(a.BinaryData) == 0 && len(b.BinaryData) == 0
}

// beforePatch words a failure of a request that changed no node.
func (c *change) beforePatch(ctx context.Context, what string, err error) *Error {
	if ctx.Err() != nil {
		return refuse(CodeInterrupted, "interrupted before anything was changed")
	}
	return apiError(what, err)
}

// isDefinite reports whether the API server said no, so that nothing was done.
func isDefinite(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code >= 400 && status.Status().Code < 500 &&
		!apierrors.IsTimeout(err) && !apierrors.IsTooManyRequests(err)
}

// apiError words an error of the API server.
func apiError(what string, err error) *Error {
	code, hint := CodeAPI, "check the API server and try again"
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		code, hint = CodeForbidden, "ask for get and patch on nodes, and get, list, create and delete on configmaps in "+Namespace
	}
	return refuse(code, "cannot %s: %s; %s", what, oneLine(err.Error()), hint)
}

// sleep waits for d and reports whether ctx still lasts.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
