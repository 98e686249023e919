// Package dynamic changes a kubelet's configuration through the API server, by
// Dynamic Kubelet Configuration: a ConfigMap holds the whole configuration,
// spec.configSource of the Node names it, the kubelet takes it over, restarts and
// tells in status.config how that went. It exists in kubelets from 1.11 to 1.23
// that run with --dynamic-config-dir (KEP-281); everywhere else NewPlan refuses.
//
// NewPlan is pure. Apply and Rollback change the cluster, and end in a state that
// was looked at: as wanted, as before, or said to be neither.
//
// Who applies needs get and patch on the Node, and get, list, create and delete
// on ConfigMaps in kube-system. The kubelet has to be able to read the ConfigMap:
// the Node authorizer grants that by itself for whatever spec.configSource names
// (plugin/pkg/auth/authorizer/node, SetNodeConfigMap). Where it is not among the
// API server's --authorization-mode, group system:nodes needs get, list and watch
// on ConfigMaps in kube-system by a Role and a RoleBinding; without them
// status.config.error says "failed to sync: failed to download config".
package dynamic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet/kubelet"
)

// Namespace and Key are where the configuration is kept: the namespace of the
// ConfigMap, and the key in its data.
const (
	Namespace = "kube-system"
	Key       = "kubelet"
)

// Input is everything that a plan is made from.
type Input struct {
	Node       string // name of the Node object
	Assignment        // what Look found
	// Start is how the running kubelet was started: its own arguments, working
	// directory and version.
	Start kubelet.Start
	// File is the content of the file of --config, nil when it was not read.
	File    []byte
	Live    []byte // the whole answer of /configz
	Setting kubelet.Setting
	Want    any // bool, int64 or string
}

// Assignment is what the API server knows of a node's configuration.
type Assignment struct {
	UID types.UID // of the Node object
	// Spec and Status are spec.configSource and status.config of the Node.
	Spec   *corev1.NodeConfigSource
	Status *corev1.NodeConfigStatus
	// Assigned is the ConfigMap that Spec names, nil when there is none.
	Assigned *corev1.ConfigMap
}

// Plan is a change that was thought through. It is a value: what is shown is
// what Apply does.
type Plan struct {
	Node string
	UID  types.UID
	Key  string
	Want any
	Was  any // the live value when the plan was made

	// Unchanged tells that the kubelet runs as wanted and its configuration says
	// so; the fields below are then empty, but for Previous and Active.
	Unchanged bool

	// Previous is spec.configSource as it was, nil for the kubelet's own file.
	Previous *corev1.NodeConfigSource
	// Active is status.config.active as it was, which says what version of the
	// ConfigMap was edited; nil for the kubelet's own file.
	Active *corev1.NodeConfigSource
	// Source is spec.configSource as it is going to be.
	Source *corev1.NodeConfigSource
	// ConfigMap is what Source names.
	ConfigMap *corev1.ConfigMap
	// Patch is the strategic merge patch that makes spec.configSource Source.
	Patch []byte
	// Base names the configuration that was edited; Diff is the unified diff from
	// it to the ConfigMap, header values masked.
	Base, Diff string
	// Warnings are one line each.
	Warnings []string
}

// NewPlan works out how the key gets the wanted value on one node, or why it does
// not: the error is then an *Error.
//
// The base is the configuration in use: the assigned ConfigMap when one is active,
// else the file of --config, edited byte for byte; without either it is an empty
// object plus what /configz shows beyond the defaults. /configz alone is never the
// base: it leaves out empty lists and zeros, and the kubelet would take the
// defaults for them. It is what the base is checked with: every field it reports
// must be what the base and the defaults give, unless a flag sets it. Flags are
// left where they are: they stay in force over the ConfigMap.
func NewPlan(in Input) (Plan, error) {
	p := planner{in: in}
	for _, step := range []func() *Error{
		p.available, p.settled, p.readLive, p.flagWins, p.readBase, p.checkBase, p.edit, p.checkResult,
	} {
		if err := step(); err != nil {
			return Plan{}, err
		}
		if p.done {
			return p.unchanged(), nil
		}
	}
	return p.plan()
}

// planner is the work on one plan. Each step fills in what later ones need.
type planner struct {
	in       Input
	live     map[string]any // what is below kubeletconfig in /configz
	was      any
	base     base
	data     []byte // the edited configuration
	done     bool   // nothing needs to be changed
	warnings []string
}

func (p *planner) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

func (p *planner) unchanged() Plan {
	out := Plan{Node: p.in.Node, UID: p.in.UID, Key: p.in.Setting.Key, Want: p.in.Want, Was: p.was, Unchanged: true,
		Previous: p.in.Spec.DeepCopy(), Base: p.base.name, Warnings: p.warnings}
	if p.in.Status != nil {
		out.Active = p.in.Status.Active.DeepCopy()
	}
	return out
}

// firstRelease and lastRelease are the minor releases of 1.x whose kubelets have
// it switched on or can have it switched on (KEP-281: beta in 1.11, gone in 1.24).
const (
	firstRelease = 11
	lastRelease  = 23
)

// available refuses where the kubelet does not have Dynamic Kubelet Configuration.
func (p *planner) available() *Error {
	minor, ok := minorRelease(p.in.Start.Version)
	switch {
	case !ok:
		return refuse(CodeVersion, "cannot tell whether kubelet %q has Dynamic Kubelet Configuration; change the file or the arguments instead", p.in.Start.Version)
	case minor < firstRelease || minor > lastRelease:
		return refuse(CodeGone, "kubelet %s has no Dynamic Kubelet Configuration: it was removed in 1.24; change the file or the arguments instead", p.in.Start.Version)
	case p.flag("dynamic-config-dir") == nil || p.flag("dynamic-config-dir") == "":
		return refuse(CodeGone, "the kubelet runs without --dynamic-config-dir; change the file or the arguments instead")
	}
	if on, set := p.flagGates()["DynamicKubeletConfig"]; set && !on {
		return refuse(CodeGone, "the kubelet's feature gate DynamicKubeletConfig is off; change the file or the arguments instead")
	}
	return nil
}

// minorRelease reads the Y of v1.Y.Z.
func minorRelease(version string) (int, bool) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(version, "v"), "1.")
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	minor, err := strconv.Atoi(digits)
	return minor, ok && err == nil
}

// flag returns what the last setting of a flag gives, nil when there is none.
func (p *planner) flag(name string) any {
	all := kubelet.ParseArgs(kubelet.Setting{Flag: name}, p.in.Start).Occurrences
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1].Value
}

// flagGates are the feature gates that the command line sets. The kubelet merges
// them over those of its configuration.
func (p *planner) flagGates() map[string]bool {
	gates := map[string]bool{}
	for _, o := range kubelet.ParseArgs(kubelet.Setting{Flag: "feature-gates"}, p.in.Start).Occurrences {
		text, _ := o.Value.(string)
		for pair := range strings.SplitSeq(text, ",") {
			name, value, _ := strings.Cut(pair, "=")
			if on, err := strconv.ParseBool(strings.TrimSpace(value)); err == nil {
				gates[strings.TrimSpace(name)] = on
			}
		}
	}
	return gates
}

// settled refuses while an assignment is under way or has failed: the kubelet
// then runs with something else than spec.configSource says, or is about to.
func (p *planner) settled() *Error {
	if why := unsettled(p.in.Spec, p.in.Status); why != "" {
		return refuse(CodeUnsettled, "node %s is not settled: %s; mend or remove spec.configSource first", p.in.Node, why)
	}
	if p.in.Spec == nil {
		return nil
	}
	active, cm := p.in.Status.Active.ConfigMap, p.in.Assigned
	switch {
	case cm == nil:
		return refuse(CodeBaseUnknown, "cannot read ConfigMap %s, which the kubelet runs with; check that it exists and may be read", place(p.in.Spec))
	case cm.UID != active.UID || cm.ResourceVersion != active.ResourceVersion:
		return refuse(CodeUnsettled, "ConfigMap %s was changed and the kubelet has not taken it over; wait until status.config.active has its resourceVersion", place(p.in.Spec))
	}
	return nil
}

// unsettled says what keeps a node from running with what spec.configSource
// assigns, "" when nothing does.
func unsettled(spec *corev1.NodeConfigSource, status *corev1.NodeConfigStatus) string {
	if status == nil {
		status = &corev1.NodeConfigStatus{}
	}
	switch {
	case spec != nil && spec.ConfigMap == nil:
		return "spec.configSource names no ConfigMap"
	case status.Error != "":
		return fmt.Sprintf("status.config.error is %q", oneLine(status.Error))
	case !sameSource(status.Assigned, spec):
		return fmt.Sprintf("spec.configSource is %s and the kubelet was assigned %s", place(spec), place(status.Assigned))
	case !sameSource(status.Active, spec):
		return fmt.Sprintf("spec.configSource is %s and the kubelet runs with %s", place(spec), place(status.Active))
	case spec != nil && (status.Active.ConfigMap.UID != status.Assigned.ConfigMap.UID || status.Active.ConfigMap.ResourceVersion != status.Assigned.ConfigMap.ResourceVersion):
		return "the kubelet runs with another version of " + place(spec) + " than it was assigned"
	}
	return ""
}

// sameSource compares what two sources name; uid and resourceVersion are in
// status only.
func sameSource(a, b *corev1.NodeConfigSource) bool {
	if a == nil || a.ConfigMap == nil || b == nil || b.ConfigMap == nil {
		return (a == nil || a.ConfigMap == nil) && (b == nil || b.ConfigMap == nil)
	}
	return a.ConfigMap.Namespace == b.ConfigMap.Namespace && a.ConfigMap.Name == b.ConfigMap.Name &&
		a.ConfigMap.KubeletConfigKey == b.ConfigMap.KubeletConfigKey
}

// place names a source for people.
func place(s *corev1.NodeConfigSource) string {
	if s == nil || s.ConfigMap == nil {
		return "the kubelet's own configuration"
	}
	return fmt.Sprintf("%s/%s", s.ConfigMap.Namespace, s.ConfigMap.Name)
}

// readLive decodes the answer of /configz.
func (p *planner) readLive() *Error {
	var answer struct {
		Config map[string]any `json:"kubeletconfig"`
	}
	decoder := json.NewDecoder(bytes.NewReader(p.in.Live))
	if err := decoder.Decode(&answer); err != nil || answer.Config == nil {
		return refuse(CodeLiveUnreadable, "the answer of /configz is no kubelet configuration; ask again: kubectl get --raw /api/v1/nodes/%s/proxy/configz", p.in.Node)
	}
	p.live = answer.Config
	if gates, _ := p.live["featureGates"].(map[string]any); gates["DynamicKubeletConfig"] == false {
		return refuse(CodeGone, "the kubelet's feature gate DynamicKubeletConfig is off; change the file or the arguments instead")
	}
	value, ok := lookup(p.live, p.in.Setting.Key)
	if !ok {
		value = p.omitted()
	}
	p.was = settingValue(value)
	if p.was == nil {
		return refuse(CodeLiveUnreadable, "/configz of node %s gives %s no value that it can have; check the kubelet's version", p.in.Node, p.in.Setting.Key)
	}
	return nil
}

// omitted is the value of the setting when /configz leaves it out: the zero of
// its type, which is what omitempty leaves out; nil when that cannot be.
func (p *planner) omitted() any {
	if slices.ContainsFunc(fields, func(f field) bool { return f.key == p.in.Setting.Key && f.pointer }) {
		return nil
	}
	switch p.in.Want.(type) {
	case bool:
		return false
	case int64:
		return float64(0)
	case string:
		return ""
	}
	return nil
}

// settingValue narrows decoded JSON to what a setting can be.
func settingValue(v any) any {
	switch v := v.(type) {
	case bool, string, int64:
		return v
	case float64:
		return int64(v)
	}
	return nil
}

// flagWins refuses where a flag sets another value: it would go on to win.
func (p *planner) flagWins() *Error {
	value := p.flag(p.in.Setting.Flag)
	if p.in.Setting.Flag == "" || value == nil || same(value, p.in.Want) {
		return nil
	}
	return refuse(CodeFlagWins, "--%s=%v on the kubelet's command line beats any configuration; change the arguments instead", p.in.Setting.Flag, value)
}

// oneLine makes hostile text fit to be quoted.
func oneLine(s string) string {
	const limit = 300
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}
