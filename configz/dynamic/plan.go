package dynamic

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Marks of our ConfigMaps: the label finds them, the annotation tells whose they
// are (a node's name may be longer than a label's value).
const (
	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "fleet"
	nodeAnnotation = "fleet/node"
)

// maxData is how much a ConfigMap may hold (MaxSecretSize of the API's
// validation), less some room for what is around the data.
const maxData = 1<<20 - 4<<10

// plan puts the result together.
func (p *planner) plan() (Plan, error) {
	if errs := validation.IsDNS1123Subdomain(p.in.Node); len(errs) > 0 {
		return Plan{}, refuse(CodeUnsupported, "%q cannot be the name of a node: %s", oneLine(p.in.Node), errs[0])
	}
	data := map[string]string{Key: string(p.data)}
	maps.Copy(data, p.base.others)
	if size := dataSize(data); size > maxData {
		return Plan{}, tooLarge(p.base.name, size)
	}
	out := p.unchanged()
	out.Unchanged = false
	out.ConfigMap = newConfigMap(p.in.Node, data)
	out.Source = &corev1.NodeConfigSource{ConfigMap: &corev1.ConfigMapNodeConfigSource{
		Namespace: Namespace, Name: out.ConfigMap.Name, KubeletConfigKey: Key,
	}}
	out.Patch = sourcePatch(out.Source)
	out.Diff = p.diff(place(out.Source))
	if p.base.path != "" {
		out.Warnings = append(out.Warnings, fmt.Sprintf("from then on the kubelet no longer reads %s while spec.configSource is set", p.base.path))
	}
	return out, nil
}

func tooLarge(name string, size int) *Error {
	return refuse(CodeUnsupported, "%s does not fit into a ConfigMap: %d bytes, at most %d of UTF-8 do; change the file instead", name, size, maxData)
}

func dataSize(data map[string]string) int {
	size := 0
	for key, value := range data {
		size += len(key) + len(value)
	}
	return size
}

// newConfigMap is the ConfigMap for a content. It is immutable where the API
// server knows that (1.19): another content has another name.
func newConfigMap(node string, data map[string]string) *corev1.ConfigMap {
	immutable := true
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: Namespace, Name: configMapName(node, data),
			Labels:      map[string]string{managedByLabel: managedBy},
			Annotations: map[string]string{nodeAnnotation: node},
		},
		Immutable: &immutable,
		Data:      data,
	}
}

// configMapName is fleet-NODE-HASH, the node's name cut short where that would
// be longer than a name may be. The hash covers node and content.
func configMapName(node string, data map[string]string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", node)
	for _, key := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%q %q\n", key, data[key])
	}
	const prefix = "fleet-"
	hash := fmt.Sprintf("-%.5x", h.Sum(nil))
	room := validation.DNS1123SubdomainMaxLength - len(prefix) - len(hash)
	if len(node) > room {
		node = strings.TrimRight(node[:room], "-.")
	}
	return prefix + node + hash
}

// sourcePatch is the strategic merge patch that sets spec.configSource, or
// removes it.
func sourcePatch(source *corev1.NodeConfigSource) []byte {
	return specPatch(map[string]any{"spec": map[string]any{"configSource": source}})
}

func specPatch(patch map[string]any) []byte {
	data, err := json.Marshal(patch)
	if err != nil {
		panic(err) // maps and API types always encode
	}
	return data
}

// diff is the unified diff from the base to the ConfigMap. The values of
// staticPodURLHeader, the only secrets a kubelet's configuration can hold, are
// masked.
func (p *planner) diff(name string) string {
	before := string(p.base.data)
	if p.base.made {
		before = ""
	}
	text := udiff.Unified(p.base.name, name, before, string(p.data))
	headers, _ := p.base.raw["staticPodURLHeader"].(map[string]any)
	for _, values := range headers {
		list, _ := values.([]any)
		for _, v := range list {
			secret, _ := v.(string)
			text = mask(text, secret)
		}
	}
	return text
}

// mask takes a secret out of a text in each of the ways it may be written there.
func mask(text, secret string) string {
	if secret == "" {
		return text
	}
	quoted, err := json.Marshal(secret)
	if err != nil {
		panic(err) // a string always encodes
	}
	for _, written := range []string{secret, string(quoted[1 : len(quoted)-1]), strings.ReplaceAll(secret, "'", "''")} {
		text = strings.ReplaceAll(text, written, "***")
	}
	return text
}
