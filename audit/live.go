package audit

import (
	"fmt"
	"strings"

	"fleet/kubelet"
)

// Live is the third witness: what the API server's configz endpoint says of
// the running kubelet, flags included.
type Live struct {
	Value any    // nil when it could not be read
	Path  string // of the request, "" when it is not known whom to ask

	// Reason and Problem say why there is no value: a code of the catalogue and
	// one line.
	Reason  string
	Problem string

	// Node and Note are what the Node object says of the host, and what is odd
	// about it. They count where nobody asked the host itself.
	Node Node
	Note string
}

// SourceLive is the kind of the third witness's source.
const SourceLive kubelet.SourceKind = "live"

// heard tells whether the third witness has a value to weigh.
func (l *Live) heard() bool { return l != nil && l.Value != nil }

func (l *Live) layer() kubelet.Layer {
	return kubelet.Layer{Value: l.Value, Source: kubelet.Source{Kind: SourceLive, Path: l.Path}}
}

// witness gives the report's view, nil when nobody asked.
func (l *Live) witness() *Witness {
	if l == nil {
		return nil
	}
	w := &Witness{Value: l.Value, Source: sourceText(l.layer().Source)}
	if l.Value == nil {
		w.Problem = l.Reason + ": " + l.Problem
	}
	return w
}

// missing is the note on a third witness that could not be heard, with the next
// step, because the finding's own hint is about the verdict.
func (l *Live) missing() string {
	text := "the live configuration could not be read: " + l.Reason + ": " + l.Problem
	if _, hint := Explain(l.Reason); hint != "" {
		text += "; " + hint
	}
	return text
}

// exhibit is the benchmark's own question to the live configuration and its
// answer.
func (l *Live) exhibit(key string) []Evidence {
	if !l.heard() {
		return nil
	}
	return []Evidence{{Command: fmt.Sprintf("kubectl get --raw %s | jq .kubeletconfig.%s", l.Path, key), Stdout: format(l.Value) + "\n"}}
}

// JudgeLive gives the finding on a node from its live configuration alone.
// What decides the value, and what the next start gives, cannot be told from
// it. It is pure.
func (c Control) JudgeLive(l Live) Finding {
	f := Finding{Live: l.witness(), Node: l.Node, Evidence: append([]Evidence{}, l.exhibit(c.Setting.Key)...)}
	if l.Note != "" {
		f.Notes = []string{l.Note}
	}
	switch {
	case l.Value == nil:
		f.Status, f.Reason, f.Message = StatusUnknown, l.Reason, l.Problem
	case l.Value == c.Expected:
		f.Status, f.Reason = StatusPass, "live"
		f.Message = format(l.Value) + " by its live configuration; what sets it and what the next start gives was not looked at"
	default:
		f.Status, f.Reason = StatusFail, "live-false"
		f.Message = format(l.Value) + " by its live configuration; what sets it was not looked at"
	}
	return advise(f, "", c)
}

// NodeNames lists what the cluster may call the host, the best first: the
// kubelet's --hostname-override, then the host's own name in lower case, then
// its first label (k8s.io/kubernetes/pkg/util/node.GetHostname; a cloud
// provider usually takes the same).
func (f Facts) NodeNames() []string {
	var names []string
	if p := findSubject(f).process; p != nil && len(p.Argv) > 0 {
		given := kubelet.ParseArgs(kubelet.Setting{Flag: "hostname-override", Default: ""}, p.start()).Occurrences
		if len(given) > 0 {
			if name, ok := given[len(given)-1].Value.(string); ok && name != "" {
				names = append(names, name)
			}
		}
	}
	if f.Hostname != "" {
		short, _, _ := strings.Cut(f.Hostname, ".")
		names = append(names, strings.ToLower(f.Hostname), strings.ToLower(short))
	}
	return names
}
