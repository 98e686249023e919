package dynamic

//lint:file-ignore SA1019 spec.configSource is deprecated with the feature that this is about

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/kubelet/config/v1beta1"

	"fleet/kubelet"
)

var chains = kubelet.Setting{Flag: "make-iptables-util-chains", Key: "makeIPTablesUtilChains", Default: true}

const (
	header  = "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n"
	theFile = header + "# by hand\nenforceNodeAllocatable: []\nmakeIPTablesUtilChains: false # for now\nmaxPods: 64\n"
	theLive = `{"kubeletconfig":{"makeIPTablesUtilChains":false,"maxPods":64,"cgroupsPerQOS":true,
		"authentication":{"anonymous":{"enabled":false},"webhook":{"enabled":true,"cacheTTL":"2m0s"},"x509":{}},"authorization":{"mode":"Webhook","webhook":{}},
		"evictionHard":{"imagefs.available":"15%","memory.available":"100Mi","nodefs.available":"10%","nodefs.inodesFree":"5%"},
		"syncFrequency":"1m0s","tlsCertFile":"/var/lib/kubelet/pki/kubelet.crt"}}`
)

// start is a kubelet's start with the flags of the procedure and some more.
func start(version string, args ...string) kubelet.Start {
	st := kubelet.Start{Version: version, Cwd: "/"}
	for _, a := range args {
		st.Args = append(st.Args, kubelet.Arg{Text: a})
	}
	return st
}

// withFile is a node whose kubelet runs with its own file.
func withFile(change func(in *Input)) Input {
	in := Input{Node: "n1", Assignment: Assignment{UID: "u1"}, File: []byte(theFile), Live: []byte(theLive), Setting: chains, Want: true,
		Start: start("v1.20.2", "--config=/etc/k/config.yaml", "--dynamic-config-dir", "/var/lib/kubelet/dynamic")}
	if change != nil {
		change(&in)
	}
	return in
}

// withConfigMap is a node whose kubelet runs with a ConfigMap.
func withConfigMap(text string, change func(in *Input)) Input {
	in := withFile(nil)
	in.Assigned = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "theirs", UID: "m1", ResourceVersion: "7"},
		Data: map[string]string{"config": text}}
	assign(&in, "config")
	if change != nil {
		change(&in)
	}
	return in
}

// assign makes in.Assigned the configuration in use.
func assign(in *Input, key string) {
	in.Spec = &corev1.NodeConfigSource{ConfigMap: &corev1.ConfigMapNodeConfigSource{
		Namespace: in.Assigned.Namespace, Name: in.Assigned.Name, KubeletConfigKey: key}}
	seen := in.Spec.DeepCopy()
	seen.ConfigMap.UID, seen.ConfigMap.ResourceVersion = in.Assigned.UID, in.Assigned.ResourceVersion
	in.Status = &corev1.NodeConfigStatus{Assigned: seen, Active: seen.DeepCopy()}
}

func liveWith(pairs ...string) []byte {
	return []byte(strings.NewReplacer(pairs...).Replace(theLive))
}

func TestNewPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		name, code string
		in         Input
		says       string
	}{
		{"version 1.24", CodeGone, withFile(func(in *Input) { in.Start.Version = "v1.24.0" }), "removed in 1.24"},
		{"version 1.34", CodeGone, withFile(func(in *Input) { in.Start.Version = "v1.34.4" }), ""},
		{"version 1.10", CodeGone, withFile(func(in *Input) { in.Start.Version = "v1.10.3" }), ""},
		{"version unknown", CodeVersion, withFile(func(in *Input) { in.Start.Version = "" }), ""},
		{"version nonsense", CodeVersion, withFile(func(in *Input) { in.Start.Version = "1.x" }), ""},
		{"no directory", CodeGone, withFile(func(in *Input) { in.Start = start("v1.20.2", "--config=/etc/k/config.yaml") }), "--dynamic-config-dir"},
		{"empty directory", CodeGone, withFile(func(in *Input) { in.Start.Args = append(in.Start.Args, kubelet.Arg{Text: "--dynamic-config-dir="}) }), ""},
		{"gate off by flag", CodeGone, withFile(func(in *Input) {
			in.Start.Args = append(in.Start.Args, kubelet.Arg{Text: "--feature-gates=A=true,DynamicKubeletConfig=false"})
		}), "feature gate"},
		{"gate off in the live configuration", CodeGone, withFile(func(in *Input) {
			in.Live = liveWith(`"maxPods"`, `"featureGates":{"DynamicKubeletConfig":false},"maxPods"`)
		}), "feature gate"},
		{"flag", CodeFlagWins, withFile(func(in *Input) {
			in.Start.Args = append(in.Start.Args, kubelet.Arg{Text: "--make-iptables-util-chains=false"})
		}), "--make-iptables-util-chains=false"},
		{"last flag", CodeFlagWins, withFile(func(in *Input) {
			in.Start.Args = append(in.Start.Args, kubelet.Arg{Text: "--make-iptables-util-chains"}, kubelet.Arg{Text: "--make_iptables_util_chains=false"})
		}), ""},
		{"no live answer", CodeLiveUnreadable, withFile(func(in *Input) { in.Live = nil }), "kubectl get --raw"},
		{"live answer is a page", CodeLiveUnreadable, withFile(func(in *Input) { in.Live = []byte("<html>") }), ""},
		{"live answer of something else", CodeLiveUnreadable, withFile(func(in *Input) { in.Live = []byte(`{"kind":"Status"}`) }), ""},
		{"live value is a list", CodeLiveUnreadable, withFile(func(in *Input) {
			in.Live = liveWith(`"makeIPTablesUtilChains":false`, `"makeIPTablesUtilChains":[]`)
		}), ""},
		{"live value missing", CodeLiveUnreadable, withFile(func(in *Input) { in.Live = liveWith(`"makeIPTablesUtilChains":false,`, ``) }), "no value"},
		{"a credential in the file", CodeUnsupported, withFile(func(in *Input) {
			in.File = []byte(theFile + "staticPodURLHeader: {Authorization: [Bearer s3cret]}\n")
		}), "staticPodURLHeader"},
		{"logging new since the start", CodeBaseDiffers, withFile(func(in *Input) {
			in.File, in.Live = []byte(theFile+"logging: {format: json}\n"), liveWith(`"maxPods"`, `"logging":{"format":"text"},"maxPods"`)
		}), "logging"},
		{"file not read", CodeBaseUnknown, withFile(func(in *Input) { in.File = nil }), "root's rights"},
		{"file is empty", CodeBaseUnknown, withFile(func(in *Input) { in.File = []byte{} }), ""},
		{"file of another kind", CodeBaseUnknown, withFile(func(in *Input) { in.File = []byte("apiVersion: v1\nkind: Pod\n") }), ""},
		{"file is broken", CodeBaseUnknown, withFile(func(in *Input) { in.File = []byte(header + "a: [\n") }), ""},
		{"file changed since the start", CodeBaseDiffers, withFile(func(in *Input) {
			in.File = []byte(strings.Replace(theFile, "maxPods: 64", "maxPods: 65", 1))
		}), "maxPods"},
		{"a line gone since the start", CodeBaseDiffers, withFile(func(in *Input) {
			in.File = []byte(strings.Replace(theFile, "maxPods: 64\n", "", 1))
		}), "maxPods"},
		{"an empty list gone since the start", CodeBaseDiffers, withFile(func(in *Input) {
			in.File = []byte(strings.Replace(theFile, "enforceNodeAllocatable: []\n", "", 1))
		}), "enforceNodeAllocatable"},
		{"an empty list filled since the start", CodeBaseDiffers, withFile(func(in *Input) {
			in.File = []byte(strings.Replace(theFile, "[]", "[pods]", 1))
		}), "enforceNodeAllocatable"},
		{"a line new since the start", CodeBaseDiffers, withFile(func(in *Input) { in.File = []byte(theFile + "protectKernelDefaults: true\n") }), "protectKernelDefaults"},
		{"feature gate new since the start", CodeBaseDiffers, withFile(func(in *Input) { in.File = []byte(theFile + "featureGates: {X: true}\n") }), "featureGates"},
		{"bad name", CodeUnsupported, withFile(func(in *Input) { in.Node = "../x" }), "name of a node"},
		{"too large", CodeUnsupported, withFile(func(in *Input) { in.File = append([]byte(theFile), bytes.Repeat([]byte("# filler\n"), 1<<17)...) }), "does not fit"},

		{"ConfigMap gone", CodeBaseUnknown, withConfigMap(theFile, func(in *Input) { in.Assigned = nil }), "kube-system/theirs"},
		{"ConfigMap without the key", CodeBaseUnknown, withConfigMap(theFile, func(in *Input) { in.Assigned.Data = nil }), "config"},
		{"ConfigMap changed", CodeUnsettled, withConfigMap(theFile, func(in *Input) { in.Assigned.ResourceVersion = "8" }), "resourceVersion"},
		{"ConfigMap made anew", CodeUnsettled, withConfigMap(theFile, func(in *Input) { in.Assigned.UID = "m2" }), ""},
		{"ConfigMap with binary data", CodeUnsupported, withConfigMap(theFile, func(in *Input) { in.Assigned.BinaryData = map[string][]byte{"x": {1}} }), ""},
		{"ConfigMap says true, live false", CodeBaseDiffers, withConfigMap(strings.Replace(theFile, "Chains: false", "Chains: true", 1), nil), "makeIPTablesUtilChains"},
		{"source of no kind", CodeUnsettled, withConfigMap(theFile, func(in *Input) { in.Spec.ConfigMap = nil }), ""},
		{"not taken over", CodeUnsettled, withConfigMap(theFile, func(in *Input) { in.Status = nil }), ""},
		{"assigned, not active", CodeUnsettled, withConfigMap(theFile, func(in *Input) { in.Status.Active = nil }), "runs with the kubelet's own"},
		{"an older version active", CodeUnsettled, withConfigMap(theFile, func(in *Input) { in.Status.Active.ConfigMap.ResourceVersion = "6" }), ""},
		{"error reported", CodeUnsettled, withConfigMap(theFile, func(in *Input) { in.Status.Error = "failed\nto validate" }), `"failed to validate"`},
		{"source removed, still in use", CodeUnsettled, withConfigMap(theFile, func(in *Input) { in.Spec = nil }), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := NewPlan(c.in)
			var refusal *Error
			if !errors.As(err, &refusal) || refusal.Code != c.code || !strings.Contains(refusal.Message, c.says) {
				t.Fatalf("got %+v, %v; want %s with %q", plan, err, c.code, c.says)
			}
			if strings.Contains(refusal.Message, "\n") {
				t.Errorf("more than a line: %q", refusal.Message)
			}
		})
	}
}

// wanted edits the file as a person would.
func wanted(text string) string {
	return strings.Replace(text, "makeIPTablesUtilChains: false", "makeIPTablesUtilChains: true", 1)
}

func TestNewPlan(t *testing.T) {
	relative := theFile + "staticPodPath: manifests\n"
	for _, c := range []struct {
		name string
		in   Input
		data map[string]string
		warn string
	}{
		{"a file", withFile(nil), map[string]string{Key: wanted(theFile)}, "no longer reads /etc/k/config.yaml"},
		{"a flag beside a file", withFile(func(in *Input) {
			in.Start.Args = append(in.Start.Args, kubelet.Arg{Text: "--max-pods=10"})
			in.Live = liveWith(`"maxPods":64`, `"maxPods":10`)
		}), map[string]string{Key: wanted(theFile)}, ""},
		{"a gate by a flag", withFile(func(in *Input) {
			in.Start.Args = append(in.Start.Args, kubelet.Arg{Text: "--feature-gates=A=true"})
			in.File = []byte(theFile + "featureGates: {B: true}\n")
			in.Live = liveWith(`"maxPods"`, `"featureGates":{"A":true,"B":true},"maxPods"`)
		}), map[string]string{Key: wanted(theFile) + "featureGates: {B: true}\n"}, ""},
		{"the file already says so", withFile(func(in *Input) { in.File = []byte(wanted(theFile)) }), map[string]string{Key: wanted(theFile)}, ""},
		{"the file would undo it", withFile(func(in *Input) { in.Live = liveWith(`Chains":false`, `Chains":true`) }), map[string]string{Key: wanted(theFile)}, ""},
		{"a relative path", withFile(func(in *Input) {
			in.File = []byte(relative)
			in.Live = liveWith(`"maxPods"`, `"staticPodPath":"/etc/k/manifests","maxPods"`)
		}), map[string]string{Key: strings.Replace(wanted(relative), "staticPodPath: manifests", `staticPodPath: "/etc/k/manifests"`, 1)}, "staticPodPath is made absolute"},
		{"an unknown key", withFile(func(in *Input) { in.File = []byte(theFile + "fromTheFuture: 1\n") }),
			map[string]string{Key: wanted(theFile) + "fromTheFuture: 1\n"}, "does not know fromTheFuture"},
		{"other spellings of values", withFile(func(in *Input) {
			in.File = []byte(theFile + "syncFrequency: 60s\npodPidsLimit: -5\nreadOnlyPort: 0\n")
			in.Live = liveWith(`"maxPods"`, `"podPidsLimit":-1,"maxPods"`)
		}), map[string]string{Key: wanted(theFile) + "syncFrequency: 60s\npodPidsLimit: -5\nreadOnlyPort: 0\n"}, ""},
		{"logging shows more than is written", withFile(func(in *Input) {
			in.File = []byte(theFile + "logging: {verbosity: 2}\n")
			in.Live = liveWith(`"maxPods"`, `"logging":{"format":"text","verbosity":2},"maxPods"`)
		}), map[string]string{Key: wanted(theFile) + "logging: {verbosity: 2}\n"}, ""},
		{"report frequency follows", withFile(func(in *Input) {
			in.File = []byte(theFile + "nodeStatusUpdateFrequency: 20s\n")
			in.Live = liveWith(`"maxPods"`, `"nodeStatusUpdateFrequency":"20s","nodeStatusReportFrequency":"20s","maxPods"`)
		}), map[string]string{Key: wanted(theFile) + "nodeStatusUpdateFrequency: 20s\n"}, ""},
		{"a ConfigMap", withConfigMap(theFile, nil), map[string]string{Key: wanted(theFile)}, ""},
		{"a ConfigMap with more in it", withConfigMap(theFile, func(in *Input) { in.Assigned.Data["resolv.conf"] = "nameserver 127.0.0.1\n" }),
			map[string]string{Key: wanted(theFile), "resolv.conf": "nameserver 127.0.0.1\n"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := NewPlan(c.in)
			if err != nil || plan.Unchanged {
				t.Fatalf("got %+v, %v", plan, err)
			}
			if !reflect.DeepEqual(plan.ConfigMap.Data, c.data) {
				t.Errorf("got %q, want %q", plan.ConfigMap.Data, c.data)
			}
			if !strings.Contains(strings.Join(plan.Warnings, "\n"), c.warn) {
				t.Errorf("warnings %q", plan.Warnings)
			}
			checkPlan(t, c.in, plan)
		})
	}
}

// checkPlan wants what holds for every plan.
func checkPlan(t *testing.T, in Input, plan Plan) {
	t.Helper()
	if errs := validation.IsDNS1123Subdomain(plan.ConfigMap.Name); len(errs) > 0 {
		t.Errorf("name %q: %s", plan.ConfigMap.Name, errs)
	}
	file, fatal := kubelet.DecodeConfig("", []byte(plan.ConfigMap.Data[Key]))
	if fatal != nil {
		t.Fatalf("the result does not decode: %s", fatal.Message)
	}
	if layer, ok := file.Lookup(in.Setting.Key); !ok && !same(in.Want, in.Setting.Default) || ok && layer.Value != in.Want {
		t.Errorf("the result gives %v", layer.Value)
	}
	if !sameSource(plan.Previous, in.Spec) {
		t.Errorf("previous is %+v", plan.Previous)
	}
	checkPatch(t, plan)
	next := in
	next.Assigned = plan.ConfigMap.DeepCopy()
	next.Assigned.UID, next.Assigned.ResourceVersion = "m9", "9"
	assign(&next, Key)
	next.Live = withLive(t, in.Live, in.Setting.Key, in.Want)
	again, err := NewPlan(next)
	if err != nil || !again.Unchanged || again.ConfigMap != nil {
		t.Errorf("a second plan: %+v, %v", again, err)
	}
}

// withLive sets the value in an answer of /configz.
func withLive(t *testing.T, answer []byte, key string, value any) []byte {
	t.Helper()
	var decoded map[string]any
	if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	for name, v := range decoded {
		if strings.EqualFold(name, "kubeletconfig") {
			config, _ = v.(map[string]any)
		}
	}
	put(config, key, value)
	out, err := json.Marshal(map[string]any{"kubeletconfig": config})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkPatch applies the patch as an API server does.
func checkPatch(t *testing.T, plan Plan) {
	t.Helper()
	before, err := json.Marshal(corev1.Node{Spec: corev1.NodeSpec{ProviderID: "x", ConfigSource: plan.Previous}})
	if err != nil {
		t.Fatal(err)
	}
	patched, err := strategicpatch.StrategicMergePatch(before, plan.Patch, corev1.Node{})
	if err != nil {
		t.Fatal(err)
	}
	var after corev1.Node
	if err := json.Unmarshal(patched, &after); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(after.Spec, corev1.NodeSpec{ProviderID: "x", ConfigSource: plan.Source}) {
		t.Errorf("patched to %+v", after.Spec)
	}
}

func TestNewPlanUnchanged(t *testing.T) {
	for name, in := range map[string]Input{
		"live and file": withFile(func(in *Input) {
			in.File, in.Live = []byte(wanted(theFile)), liveWith(`Chains":false`, `Chains":true`)
		}),
		"by default": withFile(func(in *Input) {
			in.File, in.Live = []byte(header), liveWith(`Chains":false`, `Chains":true`)
		}),
		"by flag": withFile(func(in *Input) {
			in.Start.Args = append(in.Start.Args, kubelet.Arg{Text: "--make-iptables-util-chains"})
			in.File, in.Live = []byte(theFile), liveWith(`Chains":false`, `Chains":true`)
		}),
	} {
		if plan, err := NewPlan(in); err != nil || !plan.Unchanged || plan.Patch != nil {
			t.Errorf("%s: %+v, %v", name, plan, err)
		}
	}
}

func TestDiff(t *testing.T) {
	in := withConfigMap(header+"maxPods: 64\nenforceNodeAllocatable: []\nstaticPodURLHeader: {Authorization: [Bearer s3cret]}\nmakeIPTablesUtilChains: false\n", func(in *Input) {
		in.Live = liveWith(`"maxPods"`, `"staticPodURLHeader":{"Authorization":["Bearer s3cret"]},"maxPods"`)
	})
	plan, err := NewPlan(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"--- kube-system/theirs\n", "+++ kube-system/" + plan.ConfigMap.Name + "\n", "-makeIPTablesUtilChains: false\n", "+makeIPTablesUtilChains: true\n"} {
		if !strings.Contains(plan.Diff, line) {
			t.Errorf("no %q in\n%s", line, plan.Diff)
		}
	}
	if strings.Contains(plan.Diff, "s3cret") || !strings.Contains(plan.ConfigMap.Data[Key], "s3cret") {
		t.Errorf("the header is not masked, or lost:\n%s", plan.Diff)
	}
}

func TestConfigMapName(t *testing.T) {
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 61)
	seen := map[string]string{}
	for _, c := range []struct{ node, data string }{
		{"n1", "x"}, {"n1", "y"}, {"n2", "x"}, {long, "x"}, {long[:252] + "e", "x"}, {strings.Repeat("a", 235) + "." + "bbbbbbbbb", "x"}, {strings.Repeat("a", 229) + "-b-cccccccc", "x"},
	} {
		name := configMapName(c.node, map[string]string{Key: c.data})
		if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 || !strings.HasPrefix(name, "fleet-") {
			t.Errorf("%q: %s", name, errs)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%q is the name for %q and %q", name, c.node, other)
		}
		seen[name] = c.node + c.data
	}
	if a, b := configMapName("n", map[string]string{"a": "1", "b": "2"}), configMapName("n", map[string]string{"a": `1" "b": "2`}); a == b {
		t.Error("two contents have one name")
	}
}

// TestFields holds the table against the kubelet's own types and flags.
func TestFields(t *testing.T) {
	if !slices.IsSortedFunc(fields, func(a, b field) int { return strings.Compare(a.key, b.key) }) {
		t.Error("not sorted")
	}
	for _, f := range fields {
		for _, name := range f.flags {
			if unknownFlag("v1.20.2", name) && unknownFlag("v1.23.17", name) {
				t.Errorf("%s: no kubelet has the flag --%s", f.key, name)
			}
		}
	}
	known := 0
	for _, f := range fields {
		typ, ok := typeOf(reflect.TypeFor[v1beta1.KubeletConfiguration](), strings.Split(f.key, "."))
		if ok {
			known++
		}
		if ok && typ.Kind() == reflect.Pointer != f.pointer {
			t.Errorf("%s: pointer is %v in the table", f.key, f.pointer)
		}
	}
	if known < len(fields)-3 { // some are gone from the types of today
		t.Errorf("only %d of %d are in the types", known, len(fields))
	}
}

func unknownFlag(version, name string) bool {
	fatal := kubelet.ParseArgs(kubelet.Setting{Flag: name}, start(version, "--"+name+"=1")).Fatal
	return fatal != nil && strings.HasPrefix(fatal.Message, "unknown flag")
}

func typeOf(t reflect.Type, keys []string) (reflect.Type, bool) {
	for _, key := range keys {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		found := false
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name == key {
				t, found = t.Field(i).Type, true
				break
			}
		}
		if !found {
			return nil, false
		}
	}
	return t, true
}

// FuzzNewPlan plans on any base and any live answer.
func FuzzNewPlan(f *testing.F) {
	for _, seed := range []struct{ file, live, args string }{
		{theFile, theLive, ""},
		{wanted(theFile), theLive, "--max-pods=3"},
		{"{}", theLive, ""},
		{`{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration"}`, `{"kubeletconfig":{}}`, ""},
		{header + "a: &a [1]\nb: *a\n", `{"kubeletconfig":{"authentication":7,"x":{"y":[{}]}}}`, "--feature-gates=A=true"},
	} {
		f.Add([]byte(seed.file), []byte(seed.live), seed.args, true, true)
		f.Add([]byte(seed.file), []byte(seed.live), seed.args, false, false)
	}
	f.Fuzz(func(t *testing.T, file, live []byte, args string, hasFile, want bool) {
		in := withFile(func(in *Input) {
			in.File, in.Live, in.Want = file, live, want
			if !hasFile {
				in.Start.Args = in.Start.Args[1:]
			}
			for a := range strings.FieldsSeq(args) {
				in.Start.Args = append(in.Start.Args, kubelet.Arg{Text: a})
			}
		})
		plan, err := NewPlan(in)
		var refusal *Error
		if err != nil && (!errors.As(err, &refusal) || refusal.Code == "" || strings.Contains(refusal.Message, "\n")) {
			t.Fatalf("refused with %T %q", err, err)
		}
		if err == nil && !plan.Unchanged {
			checkPlan(t, in, plan)
		}
	})
}
