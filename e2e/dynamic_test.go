//go:build e2edynamic

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"fleet/configz/dynamic"
	"fleet/kubelet"
	"fleet/lab/real"
)

// ctx ends when the tests are interrupted, so that they return and TestMain can
// clean up.
var ctx context.Context

// dynamicLab is the name of the lab whose kubelets are of 1.20.
const dynamicLab = "dynamic"

func TestMain(m *testing.M) {
	var stop context.CancelFunc
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C kills
	code := m.Run()
	down, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := real.Down(down, dynamicLab); err != nil {
		fmt.Fprintln(os.Stderr, "cannot clean up, run make lab-down:", err)
		code = 1
	}
	os.Exit(code)
}

// chains is the setting that is changed.
var chains = kubelet.Setting{Flag: "make-iptables-util-chains", Key: "makeIPTablesUtilChains", Default: true}

// subject is one node and how to reach it.
type subject struct {
	node   *real.Node
	client kubernetes.Interface
}

// TestDynamicKubeletConfiguration carries the whole procedure out on kubelets of
// 1.20.2: with a file and without, forward, refused by the kubelet, and back.
func TestDynamicKubeletConfiguration(t *testing.T) {
	lab, err := real.Up(ctx, real.Options{Name: dynamicLab, Legacy: true, Log: os.Stderr, Nodes: []real.Node{
		{Name: "with-file", Shape: real.ShapeDynamic},
		{Name: "without-file", Shape: real.ShapeDynamicFlags},
	}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", lab.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.Dial = lab.Dial
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("with a file", func(t *testing.T) { subject{lab.Node("with-file"), client}.withFile(t) })
	t.Run("without a file", func(t *testing.T) { subject{lab.Node("without-file"), client}.withoutFile(t) })
	t.Run("by the command line", func(t *testing.T) { newCommander(t, lab, subject{lab.Node("with-file"), client}).commandLine(t) })
}

// withFile begins with a file that says false.
func (s subject) withFile(t *testing.T) {
	s.wantLive(t, false)
	s.record(t)
	s.trap(t)

	first := s.plan(t, true)
	t.Logf("%s\n%s", first.Diff, strings.Join(first.Warnings, "\n"))
	record := s.apply(t, first, dynamic.OutcomeChanged)
	s.wantLive(t, true)
	if again := s.plan(t, true); !again.Unchanged {
		t.Errorf("a second plan would change: %s", again.Diff)
	}

	second := s.plan(t, false)
	if second.Previous == nil || second.Previous.ConfigMap.Name != first.ConfigMap.Name {
		t.Errorf("the base of the second change is %+v", second.Previous)
	}
	secondRecord := s.apply(t, second, dynamic.OutcomeChanged)
	s.wantLive(t, false)

	s.rollback(t, secondRecord)
	s.wantLive(t, true)
	s.rollback(t, record)
	s.wantLive(t, false)
	if a := s.look(t); a.Spec != nil {
		t.Errorf("spec.configSource is %+v after all rollbacks", a.Spec)
	}
	if left := s.configMaps(t); len(left) > 0 {
		t.Errorf("ConfigMaps left: %s", left)
	}
}

// trap assigns what /configz shows with the value set, and nothing else: the
// empty list is not in it, the kubelet takes the default for it and refuses.
func (s subject) trap(t *testing.T) {
	good := s.plan(t, true)
	var answer struct{ Kubeletconfig map[string]any }
	if err := json.Unmarshal(s.configz(t), &answer); err != nil {
		t.Fatal(err)
	}
	alone := answer.Kubeletconfig
	if _, shown := alone["enforceNodeAllocatable"]; shown {
		t.Errorf("/configz shows the empty list: the trap is none")
	}
	alone["apiVersion"], alone["kind"], alone[chains.Key] = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration", true
	data, err := json.Marshal(alone)
	if err != nil {
		t.Fatal(err)
	}
	bad := good
	bad.ConfigMap = good.ConfigMap.DeepCopy()
	bad.ConfigMap.Name += "-bad"
	bad.ConfigMap.Data = map[string]string{dynamic.Key: string(data)}
	bad.Source = good.Source.DeepCopy()
	bad.Source.ConfigMap.Name = bad.ConfigMap.Name
	res, err := dynamic.Apply(ctx, s.client, bad, s.options(t))
	var why *dynamic.Error
	if res.Outcome != dynamic.OutcomeRolledBack || !errors.As(err, &why) || why.Code != dynamic.CodeRejected || !strings.Contains(why.Message, "failed to validate config") {
		t.Errorf("a configuration from /configz alone: %s, %v", res.Outcome, err)
	}
	t.Logf("the kubelet refused: %v", err)
	s.wantLive(t, false)
	if a := s.look(t); a.Spec != nil || a.Status != nil && (a.Status.Error != "" || a.Status.Active != nil) {
		t.Errorf("after the rollback: %+v %+v", a.Spec, a.Status)
	}
	if left := s.configMaps(t); len(left) > 0 {
		t.Errorf("ConfigMaps left: %s", left)
	}
}

// withoutFile begins with flags alone and the default, true.
func (s subject) withoutFile(t *testing.T) {
	s.wantLive(t, true)
	s.record(t)
	plan := s.plan(t, false)
	t.Logf("%s\n%s", plan.Diff, strings.Join(plan.Warnings, "\n"))
	before := s.configz(t)
	record := s.apply(t, plan, dynamic.OutcomeChanged)
	s.wantLive(t, false)
	after := bytes.Replace(s.configz(t), []byte(`"makeIPTablesUtilChains":false`), []byte(`"makeIPTablesUtilChains":true`), 1)
	if !bytes.Equal(before, after) {
		t.Errorf("something else changed:\n%s\n%s", before, after)
	}
	s.rollback(t, record)
	s.wantLive(t, true)
	if after := s.configz(t); !bytes.Equal(before, after) {
		t.Errorf("the way back left:\n%s\n%s", before, after)
	}
}

// record keeps what the plan is made from in the directory $FLEET_E2E_RECORD, for
// tests without nodes.
func (s subject) record(t *testing.T) {
	t.Helper()
	dir := os.Getenv("FLEET_E2E_RECORD")
	if dir == "" {
		return
	}
	in := s.input(t, nil)
	var args []string
	for _, a := range in.Start.Args {
		args = append(args, a.Text)
	}
	data, err := json.MarshalIndent(map[string]any{"args": args, "file": string(in.File), "configz": json.RawMessage(in.Live)}, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, s.node.Name+"-"+real.LegacyVersion+".json"), append(data, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s subject) options(t *testing.T) dynamic.Options {
	return dynamic.Options{Read: s.read, Log: func(line string) { t.Log(line) }}
}

func (s subject) plan(t *testing.T, want any) dynamic.Plan {
	t.Helper()
	plan, err := dynamic.NewPlan(s.input(t, want))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// input is what the node and the API server say.
func (s subject) input(t *testing.T, want any) dynamic.Input {
	t.Helper()
	cmdline, err := s.node.Run(ctx, "cat /proc/$(systemctl show -p MainPID --value kubelet)/cmdline", nil)
	if err != nil {
		t.Fatal(err)
	}
	args, ok := kubelet.KubeletArgs(kubelet.SplitCmdline("cmdline", []byte(cmdline)))
	if !ok {
		t.Fatalf("no kubelet: %q", cmdline)
	}
	in := dynamic.Input{Node: s.node.Name, Assignment: s.look(t), Live: s.configz(t), Setting: chains, Want: want,
		Start: kubelet.Start{Args: args, Cwd: "/", Version: real.LegacyVersion}}
	if config := kubelet.ParseArgs(chains, in.Start).Config; config != "" {
		text, err := s.node.Run(ctx, "cat "+config, nil)
		if err != nil {
			t.Fatal(err)
		}
		in.File = []byte(text)
	}
	return in
}

func (s subject) look(t *testing.T) dynamic.Assignment {
	t.Helper()
	a, err := dynamic.Look(ctx, s.client, s.node.Name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s subject) apply(t *testing.T, plan dynamic.Plan, want dynamic.Outcome) dynamic.Record {
	t.Helper()
	begun := time.Now()
	res, err := dynamic.Apply(ctx, s.client, plan, s.options(t))
	if res.Outcome != want {
		t.Fatalf("%s, %v", res.Outcome, err)
	}
	if active := res.Status.Active; active == nil || active.ConfigMap.Name != plan.ConfigMap.Name {
		t.Errorf("active is %+v", active)
	}
	t.Logf("%s after %s; removed %q, warnings %q", res.Outcome, time.Since(begun).Round(time.Second), res.Removed, res.Warnings)
	return res.Record
}

func (s subject) rollback(t *testing.T, record dynamic.Record) {
	t.Helper()
	res, err := dynamic.Rollback(ctx, s.client, record, s.options(t))
	if res.Outcome != dynamic.OutcomeChanged {
		t.Fatalf("rollback: %s, %v", res.Outcome, err)
	}
}

// configMaps names what fleet has in the cluster.
func (s subject) configMaps(t *testing.T) (names []string) {
	t.Helper()
	list, err := s.client.CoreV1().ConfigMaps(dynamic.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cm := range list.Items {
		if strings.HasPrefix(cm.Name, "fleet-") {
			names = append(names, cm.Name)
		}
	}
	return names
}

func (s subject) get(ctx context.Context) ([]byte, error) {
	return s.client.CoreV1().RESTClient().Get().Resource("nodes").Name(s.node.Name).SubResource("proxy").Suffix("configz").DoRaw(ctx)
}

func (s subject) configz(t *testing.T) []byte {
	t.Helper()
	answer, err := s.get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// read is the live value as the API server shows it.
func (s subject) read(ctx context.Context) (any, error) {
	answer, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	var c struct {
		Kubeletconfig struct{ MakeIPTablesUtilChains *bool }
	}
	if err := json.Unmarshal(answer, &c); err != nil {
		return nil, err
	}
	if c.Kubeletconfig.MakeIPTablesUtilChains == nil {
		return nil, errors.New("/configz has no makeIPTablesUtilChains")
	}
	return *c.Kubeletconfig.MakeIPTablesUtilChains, nil
}

// wantLive asks the kubelet itself, past the API server.
func (s subject) wantLive(t *testing.T, want bool) {
	t.Helper()
	out, err := s.node.Run(ctx, "curl -sk --max-time 10 https://127.0.0.1:10250/configz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, fmt.Sprintf(`"makeIPTablesUtilChains":%v`, want)) {
		t.Fatalf("the live value is not %v: %s", want, out)
	}
}
