package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubelet/config/v1beta1"
)

// DropInFiles lists the files of --config-dir that the kubelet merges, in the
// order in which it does: names that end in .conf, at any depth, as
// filepath.WalkDir visits them. A root that is itself not a directory, a symlink
// for one, is a candidate and is not entered.
func DropInFiles(d Dir) []string {
	entries := d.Entries
	if d.State == StateNotRegular && len(entries) == 0 {
		entries = []string{d.Path}
	}
	var files []string
	for _, entry := range entries {
		if path.Ext(path.Base(entry)) == ".conf" {
			files = append(files, path.Clean(entry))
		}
	}
	slices.SortFunc(files, func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	return slices.Compact(files)
}

// dropIn is one decoded file of --config-dir.
type dropIn struct {
	path   string
	source locator
	raw    map[string]any
}

// configKind is the only kind that a drop-in may have.
var configKind = v1beta1.SchemeGroupVersion.WithKind("KubeletConfiguration")

// dropInWalkError is how the kubelet words a failure at a path of --config-dir.
const dropInWalkError = "failed to merge kubelet configs: failed to walk through kubelet dropin directory %q: %s"

// newDropIn decodes one drop-in by the rules of a release.
func newDropIn(dir, file string, data []byte, release int) (dropIn, *Fatal) {
	refuse := func(err error, text string) (dropIn, *Fatal) {
		return dropIn{}, &Fatal{
			Message: oneLine(fmt.Sprintf(dropInWalkError, dir, "failed to load kubelet dropin file, path: "+file+", "+text)),
			Source:  faultSource(SourceDropIn, file, data, err),
		}
	}
	if len(data) == 0 {
		return refuse(nil, fmt.Sprintf("error: kubelet config file %q was empty", file))
	}
	raw, gvk, err := decodeDropIn(data)
	if err != nil {
		return refuse(err, "error: "+decodeMessage(err))
	}
	if !dropInKindOK(gvk, release) {
		return refuse(nil, fmt.Sprintf("unknown apiVersion/kind: %v", gvk))
	}
	return dropIn{path: file, source: newLocator(data), raw: raw}, nil
}

// dropInKindOK holds a drop-in to the one known kind, which kubelets do since
// 1.32 (kubernetes#127421); before, any kind would do.
func dropInKindOK(gvk *schema.GroupVersionKind, release int) bool {
	return release != 0 && release < 32 || gvk != nil && *gvk == configKind
}

// mergeBase is the configuration that drop-ins are merged over.
type mergeBase struct {
	file *ConfigFile // of --config, nil for none
	flag *Layer      // what the first reading of the flags gave, used without a file
}

// layer is what the base itself says of a setting.
func (b mergeBase) layer(s Setting) (Layer, bool) {
	switch {
	case b.file != nil:
		return b.file.Lookup(s.Key)
	case b.flag != nil:
		return *b.flag, true
	}
	return Layer{}, false
}

// mergeDropIns merges drop-ins over a base as mergeKubeletConfigurations of
// cmd/kubelet/app/server.go does since 1.29: a JSON merge patch (RFC 7396) over
// the base with its defaults, decoded at the end by encoding/json, which does
// not tell upper from lower case in keys.
//
// Until 1.31 the base was written with the Go names of the fields, so that a
// null in a drop-in found nothing to delete; kubernetes#127421 made it the names
// of v1beta1. The layers that set the value come back strongest first; the first
// one decides, and may be the default that a null put back.
func mergeDropIns(s Setting, base mergeBase, dropIns []dropIn, release int) ([]Layer, *Fatal) {
	keys := strings.Split(s.Key, ".")
	baseKeys := keys
	if release != 0 && release < 32 {
		baseKeys = goFieldNames(keys)
	}
	layers, doc := mergeDocument(s, base, baseKeys)
	for _, d := range dropIns {
		mergePatch(doc, d.raw)
		layers = append(layers, d.layers(keys)...)
	}
	config, err := decodeMerged(doc)
	if err != nil {
		return nil, mergedFatal(dropIns, err)
	}
	value, _, ok := configLookup(reflect.ValueOf(config), keys)
	decides := -1
	if left := foldLeaves(doc, keys); ok && len(left) > 0 {
		decides = lastSpelled(layers, left[len(left)-1].keys)
	}
	if decides < 0 {
		layers = append(layers, mergeLayer{Layer: defaultLayer(s)})
		decides = len(layers) - 1
	} else if layers[decides].Source.Kind != SourceDefault {
		layers[decides].Value = value
	}
	return strongestFirst(layers, decides), nil
}

// mergeLayer is one setting of the value and the spelling of its key.
type mergeLayer struct {
	Layer
	keys []string
}

func defaultLayer(s Setting) Layer {
	return Layer{Value: s.Default, Source: Source{Kind: SourceDefault}}
}

// mergeDocument is the part of the base that matters for a setting: its value or
// its default, under the name the base is written with.
func mergeDocument(s Setting, base mergeBase, baseKeys []string) ([]mergeLayer, map[string]any) {
	layer, ok := base.layer(s)
	if !ok {
		layer = defaultLayer(s)
	}
	doc := map[string]any{}
	if layer.Value == nil {
		return nil, doc
	}
	m := doc
	for _, key := range baseKeys[:len(baseKeys)-1] {
		next := map[string]any{}
		m[key], m = next, next
	}
	m[baseKeys[len(baseKeys)-1]] = layer.Value
	return []mergeLayer{{Layer: layer, keys: baseKeys}}, doc
}

// layers are the settings of the value in one drop-in, in the order in which
// they are decoded; null is none.
func (d dropIn) layers(keys []string) []mergeLayer {
	var layers []mergeLayer
	for _, leaf := range foldLeaves(d.raw, keys) {
		if leaf.value == nil {
			continue
		}
		line, text := d.source.find(leaf.keys...)
		layers = append(layers, mergeLayer{
			Layer: Layer{
				Value:  scalarValue(leaf.value),
				Source: Source{Kind: SourceDropIn, Path: d.path, Line: line, Text: text},
			},
			keys: leaf.keys,
		})
	}
	return layers
}

// warnings tells what is odd about the key in a drop-in.
func (d dropIn) warnings(key string) []string {
	var warnings []string
	for _, leaf := range foldLeaves(d.raw, strings.Split(key, ".")) {
		line, _ := d.source.find(leaf.keys...)
		spelled := strings.Join(leaf.keys, ".")
		if leaf.value == nil {
			warnings = append(warnings, oneLine(fmt.Sprintf("%s: null for %s puts the default back", place(d.path, line), spelled)))
		}
		if spelled != key {
			warnings = append(warnings, oneLine(fmt.Sprintf("%s: %s is taken for %s: a drop-in's keys ignore case", place(d.path, line), spelled, key)))
		}
	}
	return warnings
}

// scalarValue narrows untyped content to what a setting can be.
func scalarValue(v any) any {
	switch v.(type) {
	case bool, int64, string:
		return v
	}
	return nil
}

// lastSpelled finds the strongest layer with a given spelling, -1 for none.
func lastSpelled(layers []mergeLayer, keys []string) int {
	for i, l := range slices.Backward(layers) {
		if slices.Equal(l.keys, keys) {
			return i
		}
	}
	return -1
}

// strongestFirst turns layers in merge order round, the deciding one to the
// front. A default that does not decide is no explicit setting and is left out.
func strongestFirst(layers []mergeLayer, decides int) []Layer {
	out := []Layer{layers[decides].Layer}
	for i, l := range slices.Backward(layers) {
		if i != decides && l.Source.Kind != SourceDefault {
			out = append(out, l.Layer)
		}
	}
	return out
}

// mergePatch applies an RFC 7396 merge patch to a document in place. The patch is
// left as it is.
func mergePatch(doc, patch map[string]any) {
	for key, value := range patch {
		sub, isObject := value.(map[string]any)
		current, both := doc[key].(map[string]any)
		switch {
		case value == nil:
			delete(doc, key)
		case isObject && both:
			mergePatch(current, sub)
		default:
			doc[key] = withoutNulls(value)
		}
	}
}

// withoutNulls copies a value without the null members of its objects.
func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, member := range v {
			if member != nil {
				out[key] = withoutNulls(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = withoutNulls(element)
		}
		return out
	}
	return v
}

// leaf is one value of a document and the keys that lead to it.
type leaf struct {
	keys  []string
	value any
}

// foldLeaves finds the values at a path whose keys may differ in case, in the
// order in which encoding/json writes and reads them: sorted by key.
func foldLeaves(doc map[string]any, keys []string) []leaf {
	var leaves []leaf
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		if !strings.EqualFold(key, keys[0]) {
			continue
		}
		if len(keys) == 1 {
			leaves = append(leaves, leaf{keys: []string{key}, value: doc[key]})
			continue
		}
		sub, _ := doc[key].(map[string]any)
		for _, l := range foldLeaves(sub, keys[1:]) {
			leaves = append(leaves, leaf{keys: append([]string{key}, l.keys...), value: l.value})
		}
	}
	return leaves
}

// decodeMerged reads a merged document as the kubelet does, with encoding/json.
func decodeMerged(doc map[string]any) (*v1beta1.KubeletConfiguration, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	config := &v1beta1.KubeletConfiguration{}
	return config, json.Unmarshal(data, config)
}

// mergedFatal lays an error of the merged document at the last drop-in that sets
// the field.
func mergedFatal(dropIns []dropIn, err error) *Fatal {
	fatal := &Fatal{
		Message: oneLine("failed to merge kubelet configs: failed to unmarshal merged JSON into kubelet configuration: " + err.Error()),
		Source:  Source{Kind: SourceDropIn},
	}
	var typeError *json.UnmarshalTypeError
	if !errors.As(err, &typeError) || typeError.Field == "" {
		return fatal
	}
	for _, d := range slices.Backward(dropIns) {
		leaves := foldLeaves(d.raw, strings.Split(typeError.Field, "."))
		if len(leaves) == 0 {
			continue
		}
		fatal.Source.Path = d.path
		fatal.Source.Line, fatal.Source.Text = d.source.find(leaves[len(leaves)-1].keys...)
		break
	}
	return fatal
}

// goFieldNames turns a path of JSON names into the Go names of the fields, which
// the kubelet's internal type has without tags.
func goFieldNames(keys []string) []string {
	names := make([]string, len(keys))
	t := reflect.TypeFor[v1beta1.KubeletConfiguration]()
	for n, key := range keys {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		i := -1
		if t.Kind() == reflect.Struct {
			i = fieldIndex(t, key)
		}
		if i < 0 {
			return keys
		}
		names[n], t = t.Field(i).Name, t.Field(i).Type
	}
	return names
}

// mergeTyped merges drop-ins as kubelet 1.28 did: each is decoded like a main
// file, with defaults, and whatever is not zero in it replaces the base
// (kubernetes#119390, mergo with override; replaced by #121193). So no drop-in
// can set false, and one that does not mention a setting brings back a default
// that is not zero.
func mergeTyped(s Setting, base mergeBase, dropIns []*ConfigFile) []Layer {
	var layers []mergeLayer
	if layer, ok := base.layer(s); ok {
		layers = append(layers, mergeLayer{Layer: layer})
	} else {
		layers = append(layers, mergeLayer{Layer: defaultLayer(s)})
	}
	decides := 0
	for _, file := range dropIns {
		layer, explicit := file.Lookup(s.Key)
		if !explicit {
			layer.Value = s.Default
		}
		layer.Source.Kind, layer.Source.Path = SourceDropIn, file.Path
		zero := layer.Value == nil || reflect.ValueOf(layer.Value).IsZero()
		if !zero {
			decides = len(layers)
		}
		if !zero || explicit {
			layers = append(layers, mergeLayer{Layer: layer})
		}
	}
	return strongestFirst(layers, decides)
}
