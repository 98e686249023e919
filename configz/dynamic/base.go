package dynamic

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/yaml"

	"fleet/kubelet"
)

// base is the configuration that is going to be edited.
type base struct {
	name   string // how to call it
	path   string // of a file, "" for a ConfigMap
	data   []byte
	raw    map[string]any    // data without types
	others map[string]string // further entries of the ConfigMap
	file   *kubelet.ConfigFile
	made   bool // there is no such thing; it is made from /configz
}

// readBase finds the configuration in use.
func (p *planner) readBase() *Error {
	config := kubelet.ParseArgs(p.in.Setting, p.in.Start).Config
	switch {
	case p.in.Spec != nil:
		if refusal := p.baseFromConfigMap(); refusal != nil {
			return refusal
		}
	case config == "":
		p.base = base{name: "/configz", made: true, data: []byte("{}")}
		p.base.raw = map[string]any{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
		return nil
	case p.in.File == nil:
		return refuse(CodeBaseUnknown, "cannot read %s, which the kubelet was started with; read it with root's rights", config)
	default:
		p.base = base{name: config, path: p.absolute(config), data: p.in.File}
	}
	if len(p.base.data) > maxData || !utf8.Valid(p.base.data) {
		return tooLarge(p.base.name, len(p.base.data))
	}
	file, raw, refusal := decode(p.base.name, p.base.data)
	if refusal != nil {
		return refusal
	}
	p.base.file, p.base.raw = file, raw
	p.warnings = append(p.warnings, file.Warnings...)
	return nil
}

func (p *planner) baseFromConfigMap() *Error {
	ref, cm := p.in.Spec.ConfigMap, p.in.Assigned
	text, ok := cm.Data[ref.KubeletConfigKey]
	if !ok {
		return refuse(CodeBaseUnknown, "ConfigMap %s has no key %s, which spec.configSource names; mend spec.configSource first", place(p.in.Spec), ref.KubeletConfigKey)
	}
	others := maps.Clone(cm.Data)
	delete(others, ref.KubeletConfigKey)
	if _, taken := others[Key]; taken || len(cm.BinaryData) > 0 {
		return refuse(CodeUnsupported, "ConfigMap %s holds more than a configuration; change it by hand", place(p.in.Spec))
	}
	p.base = base{name: place(p.in.Spec), data: []byte(text), others: others}
	return nil
}

// absolute resolves a path of the command line.
func (p *planner) absolute(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", p.in.Start.Cwd, name)
}

// decode reads a configuration with the kubelet's own codecs, and once more
// without types.
func decode(name string, data []byte) (*kubelet.ConfigFile, map[string]any, *Error) {
	file, fatal := kubelet.DecodeConfig(name, data)
	if fatal != nil {
		return nil, nil, refuse(CodeBaseUnknown, "cannot read the kubelet's configuration: %s", fatal.Message)
	}
	text, err := yaml.ToJSON(data)
	var raw map[string]any
	if err == nil {
		err = json.Unmarshal(text, &raw)
	}
	if err != nil || raw == nil {
		return nil, nil, refuse(CodeBaseUnknown, "cannot read the kubelet's configuration %s: it is no object", name)
	}
	return file, raw, nil
}

// value is what the base gives to the setting.
func (p *planner) value(file *kubelet.ConfigFile) any {
	if file != nil {
		if layer, ok := file.Lookup(p.in.Setting.Key); ok {
			return layer.Value
		}
	}
	return p.in.Setting.Default
}

// checkBase holds the base against /configz. What differs is filled in where the
// base is made up; where it is a file or a ConfigMap, the kubelet was started
// with something else, and assigning it would change more than the setting.
func (p *planner) checkBase() *Error {
	byFlag := p.in.Setting.Flag != "" && p.flag(p.in.Setting.Flag) != nil
	if same(p.was, p.in.Want) && (byFlag || same(p.value(p.base.file), p.in.Want)) {
		p.done = true
		return nil
	}
	if _, secret := p.base.raw["staticPodURLHeader"]; secret && p.in.Spec == nil {
		return refuse(CodeUnsupported, "%s holds staticPodURLHeader, which may be a credential, and many can read a ConfigMap; change the file instead", p.base.name)
	}
	differences := p.compare(p.base.raw)
	if p.base.made {
		for _, d := range differences {
			put(p.base.raw, d.key, d.live)
		}
		return nil
	}
	if p.in.Spec != nil && !same(p.value(p.base.file), p.was) {
		differences = append(differences, difference{key: p.in.Setting.Key})
	}
	if len(differences) == 0 {
		return nil
	}
	return refuse(CodeBaseDiffers, "the kubelet runs with other values than %s gives for %s: it was changed since the kubelet started; restart the kubelet, or put the old values back, and plan again",
		p.base.name, keys(differences))
}

// edit sets the key in the base. Relative paths of a file become absolute: the
// kubelet resolves them against the directory of the file it read, which for a
// ConfigMap is the checkpoint below --dynamic-config-dir (configfiles.NewFsLoader).
func (p *planner) edit() *Error {
	if p.base.made {
		return p.makeUp()
	}
	data, err := kubelet.EditConfig(p.base.name, p.base.data, p.in.Setting.Key, p.in.Want)
	if err != nil {
		return refuse(CodeUnsupported, "cannot set %s in %s: %v; change it by hand", p.in.Setting.Key, p.base.name, err)
	}
	for _, f := range fields {
		relative, ok := p.relative(f)
		if !ok {
			continue
		}
		absolute := path.Join(path.Dir(p.base.path), relative)
		if data, err = kubelet.EditConfig(p.base.name, data, f.key, absolute); err != nil {
			return refuse(CodeUnsupported, "cannot make %s absolute in %s: %v; change it by hand", f.key, p.base.name, err)
		}
		p.warn("%s is made absolute: a ConfigMap is not beside %s", f.key, p.base.name)
	}
	p.data = data
	return nil
}

// relative returns the relative path that a file gives to a field.
func (p *planner) relative(f field) (string, bool) {
	v, _ := lookup(p.base.raw, f.key)
	text, _ := v.(string)
	return text, f.path && p.base.path != "" && text != "" && !path.IsAbs(text)
}

// makeUp writes a configuration where there is none.
func (p *planner) makeUp() *Error {
	put(p.base.raw, p.in.Setting.Key, p.in.Want)
	data, err := json.MarshalIndent(p.base.raw, "", "  ")
	if err != nil {
		return refuse(CodeUnsupported, "cannot write a configuration: %v; change the arguments instead", err)
	}
	p.data = append(data, '\n')
	return nil
}

// checkResult reads the edited configuration as the kubelet is going to and wants
// the key to have the wanted value, and everything else to be as /configz shows.
func (p *planner) checkResult() *Error {
	file, raw, refusal := decode(p.base.name+" after the edit", p.data)
	if refusal != nil {
		return refuse(CodeUnsupported, "%s; change it by hand", refusal.Message)
	}
	if got := p.value(file); !same(got, p.in.Want) {
		return refuse(CodeUnsupported, "the edit of %s gives %s the value %v, not %v; change it by hand", p.base.name, p.in.Setting.Key, got, p.in.Want)
	}
	if left := p.compare(raw); len(left) > 0 {
		return refuse(CodeBaseDiffers, "a configuration made from %s would change %s too; change the arguments instead", p.base.name, keys(left))
	}
	p.ignored(raw)
	return nil
}

// ignored warns of top-level keys that no kubelet with Dynamic Kubelet
// Configuration knows.
func (p *planner) ignored(raw map[string]any) {
	known := map[string]bool{"apiVersion": true, "kind": true}
	for _, f := range fields {
		top, _, _ := strings.Cut(f.key, ".")
		known[top] = true
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if _, live := p.live[key]; !known[key] && !live {
			p.warn("%s: kubelet %s does not know %s and ignores it", p.base.name, p.in.Start.Version, oneLine(key))
		}
	}
}

// keys lists what differs, never the values: they may be secret.
func keys(differences []difference) string {
	const most = 8
	var names []string
	for _, d := range differences[:min(most, len(differences))] {
		names = append(names, oneLine(d.key))
	}
	if rest := len(differences) - len(names); rest > 0 {
		names = append(names, fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(names, ", ")
}
