package dynamic_test

//lint:file-ignore SA1019 spec.configSource is deprecated with the feature that this is about

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubelet/config/v1beta1"

	"fleet/configz/dynamic"
	"fleet/configz/dynamic/internal/apidouble"
	"fleet/kubelet"
)

var chains = kubelet.Setting{Flag: "make-iptables-util-chains", Key: "makeIPTablesUtilChains", Default: true}

const ownFile = `kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
cgroupsPerQOS: false
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
`

// cluster is a server, its client and what is needed to plan and to apply.
type cluster struct {
	*apidouble.Server
	client kubernetes.Interface
}

func newCluster(t *testing.T, change func(o *apidouble.Options)) cluster {
	t.Helper()
	o := apidouble.Options{File: ownFile, Restart: 15 * time.Millisecond, Tick: 3 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	s := apidouble.New(t, o)
	return cluster{s, s.Client(t)}
}

func (c cluster) get(ctx context.Context) ([]byte, error) {
	return c.client.CoreV1().RESTClient().Get().Resource("nodes").Name(apidouble.Node).SubResource("proxy").Suffix("configz").DoRaw(ctx)
}

// live reads the value as the API server shows it.
func (c cluster) live(ctx context.Context) (any, error) {
	answer, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	var shown struct{ Kubeletconfig map[string]any }
	if err := json.Unmarshal(answer, &shown); err != nil {
		return nil, err
	}
	return shown.Kubeletconfig[chains.Key], nil
}

// input is what a plan is made from, as fleet finds it.
func (c cluster) input(t *testing.T, want any) dynamic.Input {
	t.Helper()
	a, err := dynamic.Look(t.Context(), c.client, apidouble.Node)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	args := []kubelet.Arg{{Text: "--dynamic-config-dir=/var/lib/kubelet/dynamic"}, {Text: "--config=/etc/kubelet.yaml"}}
	return dynamic.Input{Node: apidouble.Node, Assignment: a, Start: kubelet.Start{Version: "v1.20.2", Args: args},
		File: []byte(ownFile), Live: answer, Setting: chains, Want: want}
}

func (c cluster) plan(t *testing.T, want any) dynamic.Plan {
	t.Helper()
	plan, err := dynamic.NewPlan(c.input(t, want))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (c cluster) options() dynamic.Options {
	return dynamic.Options{Read: c.live, Deadline: 3 * time.Second, RollbackDeadline: 3 * time.Second,
		Settle: 60 * time.Millisecond, SyncGrace: 300 * time.Millisecond, Poll: 3 * time.Millisecond}
}

// want checks the end of a change: outcome, code, the live value and whether the
// node names the ConfigMap.
func (c cluster) want(t *testing.T, res dynamic.Result, err error, outcome dynamic.Outcome, code string) {
	t.Helper()
	got := ""
	var why *dynamic.Error
	if errors.As(err, &why) {
		got = why.Code
	}
	if res.Outcome != outcome || got != code || (err == nil) != (res.Err == nil) {
		t.Fatalf("got %s %q: %v; want %s %q", res.Outcome, got, err, outcome, code)
	}
}

func (c cluster) wantLive(t *testing.T, want any) {
	t.Helper()
	if got, err := c.live(t.Context()); err != nil || got != want {
		t.Errorf("the live value is %v, %v; want %v", got, err, want)
	}
}

// wantOwn wants the node to run with its own configuration, and no ConfigMap left.
func (c cluster) wantOwn(t *testing.T) {
	t.Helper()
	c.wantLive(t, false)
	if spec, status := c.Spec(), c.Status(); spec != nil || status.Assigned != nil || status.Active != nil || status.Error != "" {
		t.Errorf("spec %+v, status %+v", spec, status)
	}
	if left := c.Names(); len(left) > 0 {
		t.Errorf("ConfigMaps left: %s", left)
	}
}

func TestApplyAndRollback(t *testing.T) {
	c := newCluster(t, nil)
	first := c.plan(t, true)
	res, err := dynamic.Apply(t.Context(), c.client, first, c.options())
	c.want(t, res, err, dynamic.OutcomeChanged, "")
	c.wantLive(t, true)
	if active := c.Status().Active; active == nil || active.ConfigMap.Name != first.ConfigMap.Name || res.Live != true {
		t.Errorf("active %+v, live %v", active, res.Live)
	}
	if again := c.plan(t, true); !again.Unchanged {
		t.Errorf("a second plan: %+v", again)
	}
	back, err := dynamic.Rollback(t.Context(), c.client, roundTrip(t, res.Record), c.options())
	c.want(t, back, err, dynamic.OutcomeChanged, "")
	c.wantOwn(t)
	again, err := dynamic.Rollback(t.Context(), c.client, res.Record, c.options())
	c.want(t, again, err, dynamic.OutcomeRefused, dynamic.CodeConflict)
}

// roundTrip stores a record and reads it again.
func roundTrip(t *testing.T, r dynamic.Record) (out dynamic.Record) {
	t.Helper()
	data, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRollbackOfRejected takes back a change whose author died while the kubelet
// refused it.
func TestRollbackOfRejected(t *testing.T) {
	c := newCluster(t, nil)
	plan := c.configzAlone(t)
	c.AddConfigMap(plan.ConfigMap.DeepCopy())
	c.Change(func(n *corev1.Node) { n.Spec.ConfigSource = plan.Source.DeepCopy() })
	for deadline := time.Now().Add(5 * time.Second); c.Status().Error == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the kubelet did not refuse")
		}
	}
	refused := c.input(t, true)
	if _, err := dynamic.NewPlan(refused); err == nil || !strings.Contains(err.Error(), "not settled") {
		t.Errorf("a plan for it: %v", err)
	}
	res, err := dynamic.Rollback(t.Context(), c.client, plan.Record(), c.options())
	c.want(t, res, err, dynamic.OutcomeChanged, "")
	c.wantOwn(t)
}

// TestConfigMapChangedSincePlan edits the ConfigMap that is in use after the plan
// was made from it.
func TestConfigMapChangedSincePlan(t *testing.T) {
	c := newCluster(t, nil)
	theirMap := func(comment string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "theirs"}, Data: map[string]string{"k": ownFile + comment}}
	}
	inUse := func() string {
		active := c.Status().Active
		if active == nil || c.Status().Assigned == nil {
			return ""
		}
		return active.ConfigMap.ResourceVersion
	}
	settle := func(before string) {
		for deadline := time.Now().Add(5 * time.Second); inUse() == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the kubelet did not take it over")
			}
		}
	}
	c.AddConfigMap(theirMap(""))
	c.Change(func(n *corev1.Node) { n.Spec.ConfigSource = theirs() })
	settle("")
	plan := c.plan(t, true)
	before := inUse()
	c.AddConfigMap(theirMap("maxPods: 7\n"))
	settle(before)
	res, err := dynamic.Apply(t.Context(), c.client, plan, c.options())
	c.want(t, res, err, dynamic.OutcomeRefused, dynamic.CodeConflict)
	if spec := c.Spec(); spec.ConfigMap.Name != "theirs" || len(c.Names()) != 1 {
		t.Errorf("spec %+v, ConfigMaps %s", spec, c.Names())
	}
}

func TestApplyUnchanged(t *testing.T) {
	c := newCluster(t, func(o *apidouble.Options) { o.File = strings.Replace(ownFile, "Chains: false", "Chains: true", 1) })
	in := c.input(t, true)
	in.File = []byte(strings.Replace(ownFile, "Chains: false", "Chains: true", 1))
	plan, err := dynamic.NewPlan(in)
	if err != nil {
		t.Fatal(err)
	}
	before := len(c.Requests())
	res, err := dynamic.Apply(t.Context(), c.client, plan, c.options())
	c.want(t, res, err, dynamic.OutcomeUnchanged, "")
	if asked := c.Requests()[before:]; len(asked) > 0 {
		t.Errorf("asked for %s", asked)
	}
}

// TestChain changes three times: the ConfigMap before the last stays for a
// rollback, older ones go, those of others are left alone.
func TestChain(t *testing.T) {
	c := newCluster(t, nil)
	for _, other := range []corev1.ConfigMap{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "fleet-node-1-by-hand"}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "fleet-node-2-0123456789",
			Labels: map[string]string{"app.kubernetes.io/managed-by": "fleet"}, Annotations: map[string]string{"fleet/node": "node-2"}}},
	} {
		c.AddConfigMap(&other)
	}
	var results []dynamic.Result
	for i, want := range []bool{true, false} {
		res, err := dynamic.Apply(t.Context(), c.client, c.plan(t, want), c.options())
		c.want(t, res, err, dynamic.OutcomeChanged, "")
		c.wantLive(t, want)
		results = append(results, res)
		if got := len(c.Names()); got != 2+i+1 {
			t.Errorf("after change %d: %s", i+1, c.Names())
		}
	}
	// The kubelet's own file with a comment: a third content.
	third := c.plan(t, true)
	third.ConfigMap.Name += "x"
	third.Source.ConfigMap.Name += "x"
	res, err := dynamic.Apply(t.Context(), c.client, third, c.options())
	c.want(t, res, err, dynamic.OutcomeChanged, "")
	if names := c.Names(); len(names) != 4 || slices.Contains(names, "kube-system/"+results[0].Record.Source.ConfigMap.Name) || len(res.Removed) != 1 {
		t.Errorf("left %s, removed %s", names, res.Removed)
	}
	back, err := dynamic.Rollback(t.Context(), c.client, res.Record, c.options())
	c.want(t, back, err, dynamic.OutcomeChanged, "")
	c.wantLive(t, false)
	gone, err := dynamic.Rollback(t.Context(), c.client, results[1].Record, c.options())
	c.want(t, gone, err, dynamic.OutcomeRefused, dynamic.CodeConflict)
	if !strings.Contains(err.Error(), "is gone") {
		t.Errorf("says %v", err)
	}
}

// configzAlone is the plan that falls into the trap: a ConfigMap made from
// /configz and nothing else.
func (c cluster) configzAlone(t *testing.T) dynamic.Plan {
	t.Helper()
	plan := c.plan(t, true)
	answer, err := c.get(t.Context())
	var shown struct{ Kubeletconfig map[string]any }
	if err == nil {
		err = json.Unmarshal(answer, &shown)
	}
	shown.Kubeletconfig["kind"], shown.Kubeletconfig["apiVersion"], shown.Kubeletconfig[chains.Key] = "KubeletConfiguration", "kubelet.config.k8s.io/v1beta1", true
	data, failed := json.Marshal(shown.Kubeletconfig)
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	plan.ConfigMap.Data[dynamic.Key] = string(data)
	return plan
}

// TestRolledBack lets changes fail after the assignment, each in its way.
func TestRolledBack(t *testing.T) {
	no := false
	for _, c := range []struct {
		name, code, says string
		kubelet          func(o *apidouble.Options)
		plan             func(c cluster, t *testing.T) dynamic.Plan
		options          func(o *dynamic.Options)
	}{
		{name: "made from configz alone", code: dynamic.CodeRejected, says: "failed to validate config", plan: cluster.configzAlone},
		{name: "does not decode", code: dynamic.CodeRejected, says: "failed to load config", plan: func(c cluster, t *testing.T) dynamic.Plan {
			plan := c.plan(t, true)
			plan.ConfigMap.Data[dynamic.Key] = "kind: Pod\n"
			return plan
		}},
		{name: "live value does not follow", code: dynamic.CodeLiveDiffers, says: "is active and the live value is false",
			kubelet: func(o *apidouble.Options) { o.Stuck = &no }, options: func(o *dynamic.Options) { o.Deadline = 400 * time.Millisecond }},
		{name: "may not read the ConfigMap", code: dynamic.CodeRejected, says: "failed to sync: failed to download config",
			kubelet: func(o *apidouble.Options) { o.DenyReads = 1 << 30 }},
		{name: "dies with it", code: dynamic.CodeTimeout, kubelet: func(o *apidouble.Options) {
			o.Restart = 60 * time.Millisecond
			o.Dies = diesOften()
		}, options: func(o *dynamic.Options) { o.Deadline, o.Settle = 900*time.Millisecond, 300*time.Millisecond }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := newCluster(t, c.kubelet)
			if c.plan == nil {
				c.plan = func(k cluster, t *testing.T) dynamic.Plan { return k.plan(t, true) }
			}
			o := k.options()
			if c.options != nil {
				c.options(&o)
			}
			res, err := dynamic.Apply(t.Context(), k.client, c.plan(k, t), o)
			if c.code == dynamic.CodeTimeout && res.Err != nil && res.Err.Code == dynamic.CodeLiveDiffers {
				c.code = dynamic.CodeLiveDiffers // the last look may have met it while it was away
			}
			k.want(t, res, err, dynamic.OutcomeRolledBack, c.code)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("says %v", err)
			}
			k.wantOwn(t)
		})
	}
}

// diesOften is a kubelet that dies a few turns after each start with true.
func diesOften() func(c *v1beta1.KubeletConfiguration) bool {
	turns := 0
	return func(c *v1beta1.KubeletConfiguration) bool {
		turns++
		return *c.MakeIPTablesUtilChains && turns%4 == 0
	}
}

// TestSlow succeeds in spite of what happens on the way.
func TestSlow(t *testing.T) {
	for name, change := range map[string]func(o *apidouble.Options){
		"the authorizer lags":     func(o *apidouble.Options) { o.DenyReads = 5 },
		"the status lags":         func(o *apidouble.Options) { o.SlowStatus = 30 },
		"systemd takes its time":  func(o *apidouble.Options) { o.Restart = 300 * time.Millisecond },
		"the kubelet seldom sees": func(o *apidouble.Options) { o.Tick = 60 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, change)
			o := c.options()
			o.Settle = 150 * time.Millisecond
			res, err := dynamic.Apply(t.Context(), c.client, c.plan(t, true), o)
			c.want(t, res, err, dynamic.OutcomeChanged, "")
			c.wantLive(t, true)
			back, err := dynamic.Rollback(t.Context(), c.client, res.Record, o)
			c.want(t, back, err, dynamic.OutcomeChanged, "")
			c.wantOwn(t)
		})
	}
}

// TestNothingChanged lets changes fail before the assignment.
func TestNothingChanged(t *testing.T) {
	forbid := func(method, path string, code int) func(r *http.Request) int {
		return func(r *http.Request) int {
			if r.Method == method && strings.Contains(r.URL.Path, path) {
				return code
			}
			return 0
		}
	}
	for _, c := range []struct {
		name, code string
		outcome    dynamic.Outcome
		setUp      func(c cluster, plan *dynamic.Plan)
		kubelet    func(o *apidouble.Options)
		left       int
	}{
		{name: "ConfigMaps may not be made", code: dynamic.CodeForbidden, outcome: dynamic.OutcomeFailedBefore,
			setUp: func(c cluster, _ *dynamic.Plan) { c.Fault(forbid("POST", "/configmaps", 403)) }},
		{name: "nodes may not be patched", code: dynamic.CodeForbidden, outcome: dynamic.OutcomeFailedBefore,
			setUp: func(c cluster, _ *dynamic.Plan) { c.Fault(forbid("PATCH", "/nodes/", 403)) }},
		{name: "nodes may not be read", code: dynamic.CodeForbidden, outcome: dynamic.OutcomeFailedBefore, left: 1,
			setUp: func(c cluster, _ *dynamic.Plan) { c.Fault(forbid("GET", "/nodes/", 403)) }},
		{name: "a webhook says no", code: dynamic.CodeAPI, outcome: dynamic.OutcomeFailedBefore,
			setUp: func(c cluster, _ *dynamic.Plan) { c.Fault(forbid("PATCH", "/nodes/", 422)) }},
		{name: "the patch fails with 500", code: dynamic.CodeAPI, outcome: dynamic.OutcomeFailedBefore,
			setUp: func(c cluster, _ *dynamic.Plan) { c.Fault(forbid("PATCH", "/nodes/", 500)) }},
		{name: "the node changes all the time", code: dynamic.CodeAPI, outcome: dynamic.OutcomeFailedBefore,
			setUp: func(c cluster, _ *dynamic.Plan) { c.AfterRequest(heartbeat(c)) }},
		{name: "assigned by someone else", code: dynamic.CodeConflict, outcome: dynamic.OutcomeRefused, left: 1,
			setUp: func(c cluster, _ *dynamic.Plan) {
				c.AddConfigMap(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "theirs"}, Data: map[string]string{"k": ownFile}})
				c.Change(func(n *corev1.Node) { n.Spec.ConfigSource = theirs() })
			}},
		{name: "an error is reported by now", code: dynamic.CodeUnsettled, outcome: dynamic.OutcomeRefused,
			setUp: func(c cluster, _ *dynamic.Plan) {
				c.Kill()
				c.Change(func(n *corev1.Node) { n.Status.Config.Error = "failed to sync: x" })
			}},
		{name: "another node by that name", code: dynamic.CodeNodeGone, outcome: dynamic.OutcomeRefused,
			setUp: func(c cluster, _ *dynamic.Plan) { c.Change(func(n *corev1.Node) { n.UID = "other" }) }},
		{name: "node gone", code: dynamic.CodeNodeGone, outcome: dynamic.OutcomeRefused, setUp: func(c cluster, _ *dynamic.Plan) { c.DeleteNode() }},
		{name: "the name is taken", code: dynamic.CodeConflict, outcome: dynamic.OutcomeRefused, left: 1,
			setUp: func(c cluster, plan *dynamic.Plan) {
				taken := plan.ConfigMap.DeepCopy()
				taken.Data = map[string]string{dynamic.Key: "other"}
				c.AddConfigMap(taken)
			}},
		{name: "the API server drops the field", code: dynamic.CodeDropped, outcome: dynamic.OutcomeRefused,
			kubelet: func(o *apidouble.Options) { o.GateOff = true }, setUp: func(cluster, *dynamic.Plan) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := newCluster(t, c.kubelet)
			plan := k.plan(t, true)
			spec := func() *corev1.NodeConfigSource { return nil }
			c.setUp(k, &plan)
			if c.code != dynamic.CodeNodeGone {
				spec = k.Spec
			}
			before := spec()
			res, err := dynamic.Apply(t.Context(), k.client, plan, k.options())
			k.want(t, res, err, c.outcome, c.code)
			if got := spec(); (got == nil) != (before == nil) {
				t.Errorf("spec.configSource became %+v", got)
			}
			if left := k.Names(); len(left) != c.left {
				t.Errorf("ConfigMaps left: %s, warnings %q", left, res.Warnings)
			}
		})
	}
}

// heartbeat changes the node after every look at it.
func heartbeat(c cluster) func(r *http.Request) {
	return func(r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/nodes/"+apidouble.Node) {
			c.Change(func(n *corev1.Node) {})
		}
	}
}

func theirs() *corev1.NodeConfigSource {
	return &corev1.NodeConfigSource{ConfigMap: &corev1.ConfigMapNodeConfigSource{Namespace: "kube-system", Name: "theirs", KubeletConfigKey: "k"}}
}

// TestConfigMapIsThere takes a ConfigMap that an earlier try left, and survives
// the node's heartbeats.
func TestConfigMapIsThere(t *testing.T) {
	c := newCluster(t, nil)
	plan := c.plan(t, true)
	c.AddConfigMap(plan.ConfigMap.DeepCopy())
	var beats atomic.Int32
	beat := heartbeat(c)
	c.AfterRequest(func(r *http.Request) {
		if beats.Add(1) < 4 {
			beat(r)
		}
	})
	res, err := dynamic.Apply(t.Context(), c.client, plan, c.options())
	c.want(t, res, err, dynamic.OutcomeChanged, "")
}

// TestLostAnswer loses the answer to the patch, carried out or not.
func TestLostAnswer(t *testing.T) {
	c := newCluster(t, nil)
	plan := c.plan(t, true)
	var lost atomic.Bool
	c.AfterRequest(func(r *http.Request) {
		if r.Method == http.MethodPatch && !lost.Swap(true) {
			panic(http.ErrAbortHandler)
		}
	})
	res, err := dynamic.Apply(t.Context(), c.client, plan, c.options())
	c.want(t, res, err, dynamic.OutcomeChanged, "")
	if !lost.Load() {
		t.Error("no answer was lost")
	}
}

// TestInterrupted ends the context at each step.
func TestInterrupted(t *testing.T) {
	t.Run("before anything", func(t *testing.T) {
		c := newCluster(t, nil)
		plan := c.plan(t, true)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		res, err := dynamic.Apply(ctx, c.client, plan, c.options())
		c.want(t, res, err, dynamic.OutcomeFailedBefore, dynamic.CodeInterrupted)
		c.wantOwn(t)
	})
	t.Run("after the ConfigMap", func(t *testing.T) {
		c := newCluster(t, nil)
		plan := c.plan(t, true)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := c.options()
		o.Log = func(line string) {
			if strings.HasPrefix(line, "made ConfigMap") {
				cancel()
			}
		}
		res, err := dynamic.Apply(ctx, c.client, plan, o)
		c.want(t, res, err, dynamic.OutcomeFailedBefore, dynamic.CodeInterrupted)
		c.wantOwn(t)
	})
	t.Run("after the patch", func(t *testing.T) {
		c := newCluster(t, nil)
		plan := c.plan(t, true)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := c.options()
		o.Log = func(line string) {
			if strings.HasPrefix(line, "assigned") {
				cancel()
			}
		}
		res, err := dynamic.Apply(ctx, c.client, plan, o)
		c.want(t, res, err, dynamic.OutcomeChanged, "")
		c.wantLive(t, true)
	})
}

// TestNotAsBefore ends changes where neither the new nor the old state can be
// had: that is what has to be said.
func TestNotAsBefore(t *testing.T) {
	after := func(o *dynamic.Options, f func()) {
		o.Log = func(line string) {
			if strings.HasPrefix(line, "assigned kube-system") {
				f()
			}
		}
	}
	for _, c := range []struct {
		name, code, says string
		then             func(c cluster)
		kept             bool
	}{
		{"the node goes away", dynamic.CodeNodeGone, "no node", func(c cluster) { c.DeleteNode() }, true},
		{"someone else assigns", dynamic.CodeSuperseded, "it was left so", func(c cluster) {
			c.AddConfigMap(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "theirs"}, Data: map[string]string{"k": ownFile}})
			c.Change(func(n *corev1.Node) { n.Spec.ConfigSource = theirs() })
		}, true},
		{"the API server goes away", dynamic.CodeAPI, "going back", func(c cluster) { c.Fault(func(*http.Request) int { return 500 }) }, true},
		{"nodes may no longer be read", dynamic.CodeForbidden, "ask for get", func(c cluster) { c.Fault(func(*http.Request) int { return 403 }) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := newCluster(t, nil)
			plan := k.plan(t, true)
			o := k.options()
			o.Deadline, o.RollbackDeadline = 300*time.Millisecond, 300*time.Millisecond
			after(&o, func() { c.then(k) })
			res, err := dynamic.Apply(t.Context(), k.client, plan, o)
			k.want(t, res, err, dynamic.OutcomeFailedAfter, c.code)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("says %v", err)
			}
			if kept := slices.Contains(k.Names(), "kube-system/"+plan.ConfigMap.Name); kept != c.kept {
				t.Errorf("ConfigMaps left: %s", k.Names())
			}
		})
	}
}

// TestDeadKubelet assigns to a kubelet that never looks. The old state is the
// one it is still in.
func TestDeadKubelet(t *testing.T) {
	c := newCluster(t, nil)
	plan := c.plan(t, true)
	c.Kill()
	o := c.options()
	o.Deadline, o.RollbackDeadline = 300*time.Millisecond, 300*time.Millisecond
	res, err := dynamic.Apply(t.Context(), c.client, plan, o)
	// Its status is as before, and its live value cannot be read: not proven.
	c.want(t, res, err, dynamic.OutcomeFailedAfter, dynamic.CodeTimeout)
	if spec := c.Spec(); spec != nil {
		t.Errorf("spec.configSource is %+v", spec)
	}
}
