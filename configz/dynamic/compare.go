package dynamic

import (
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"
)

// difference is a setting for which the running kubelet shows another value than
// its configuration gives.
type difference struct {
	key  string
	live any
}

// compare holds a configuration against /configz, the setting itself left out,
// and returns what differs, in the order of the keys.
func (p *planner) compare(raw map[string]any) []difference {
	var out []difference
	for _, f := range fields {
		if f.key == p.in.Setting.Key {
			continue
		}
		if live, differs := p.differs(f, raw); differs {
			out = append(out, difference{f.key, live})
		}
	}
	return append(out, p.strangers(raw)...)
}

// differs compares one field and returns what /configz shows of it.
func (p *planner) differs(f field, raw map[string]any) (live any, differs bool) {
	live, reported := lookup(p.live, f.key)
	written, explicit := lookup(raw, f.key)
	switch {
	case f.key == "featureGates":
		return live, !same(p.withoutFlagGates(live), p.withoutFlagGates(written))
	case p.beaten(f), f.pointer && !reported: // the kubelet does not know the latter
		return live, false
	case explicit && f.key == "logging":
		return live, !within(written, live)
	case explicit && (f.pointer || isCollection(written) || !isZero(written)):
		return p.shown(live, written), !same(live, p.resolved(f, written))
	case f.computed:
		return live, false
	}
	defaults := f.defaultsIn(raw)
	known := slices.ContainsFunc(defaults, func(d any) bool { return same(live, d) })
	// A zero that is no pointer becomes the default, so that only a flag can have
	// made it, or the release lacks the field. An empty list or map stays.
	known = known || !reported && !slices.ContainsFunc(defaults, isCollection)
	return p.shown(live, defaults[0]), !known
}

// shown is what to fill in for a value of /configz: what it leaves out of a list
// or a map was an empty one.
func (p *planner) shown(live, otherwise any) any {
	switch otherwise.(type) {
	case []any:
		if live == nil {
			return []any{}
		}
	case map[string]any:
		if live == nil {
			return map[string]any{}
		}
	}
	return live
}

// defaultsIn are what a field becomes when it is absent.
func (f field) defaultsIn(raw map[string]any) []any {
	if f.key == "nodeStatusReportFrequency" {
		// SetDefaults_KubeletConfiguration: it follows the update frequency.
		if v, ok := lookup(raw, "nodeStatusUpdateFrequency"); ok && !isZero(v) {
			return []any{v}
		}
	}
	if len(f.defaults) == 0 {
		return []any{nil}
	}
	return f.defaults
}

// beaten reports whether the command line sets a field.
func (p *planner) beaten(f field) bool {
	return slices.ContainsFunc(f.flags, func(name string) bool { return p.flag(name) != nil })
}

// resolved is a written value as the kubelet shows it: paths absolute, and any
// negative podPidsLimit as -1.
func (p *planner) resolved(f field, v any) any {
	if relative, ok := p.relative(f); ok && same(v, relative) {
		return path.Join(path.Dir(p.base.path), relative)
	}
	if limit, ok := v.(float64); ok && f.key == "podPidsLimit" && limit < 0 {
		return float64(-1)
	}
	return v
}

// within reports whether /configz shows every member that is written; it shows
// more, as the defaults of logging differ from release to release.
func within(written, live any) bool {
	members, _ := written.(map[string]any)
	shown, _ := live.(map[string]any)
	for key, v := range members {
		if !isZero(v) && !same(v, shown[key]) {
			return false
		}
	}
	return true
}

// withoutFlagGates leaves out the feature gates that the command line sets.
func (p *planner) withoutFlagGates(v any) any {
	gates, _ := v.(map[string]any)
	gates = maps.Clone(gates)
	for name := range p.flagGates() {
		delete(gates, name)
	}
	return gates
}

// strangers compares the top-level fields of /configz that the table lacks. A
// file that does not mention one leaves its default, whatever that is; where there
// is no file, what is shown is filled in.
func (p *planner) strangers(raw map[string]any) []difference {
	var out []difference
	for _, key := range slices.Sorted(maps.Keys(p.live)) {
		written, explicit := raw[key]
		if isKnown(key) || !explicit && !p.base.made || same(p.live[key], written) {
			continue
		}
		out = append(out, difference{key, p.live[key]})
	}
	return out
}

// isKnown reports whether a top-level key is in the table or says what the
// object is.
func isKnown(key string) bool {
	return key == "apiVersion" || key == "kind" ||
		slices.ContainsFunc(fields, func(f field) bool { return f.key == key || strings.HasPrefix(f.key, key+".") })
}

// lookup finds a value at a dotted key; null is none.
func lookup(m map[string]any, key string) (any, bool) {
	first, rest, nested := strings.Cut(key, ".")
	v := m[first]
	if !nested {
		return v, v != nil
	}
	sub, _ := v.(map[string]any)
	return lookup(sub, rest)
}

// put sets a value at a dotted key.
func put(m map[string]any, key string, v any) {
	first, rest, nested := strings.Cut(key, ".")
	if !nested {
		m[first] = v
		return
	}
	sub, ok := m[first].(map[string]any)
	if !ok {
		sub = map[string]any{}
		m[first] = sub
	}
	put(sub, rest, v)
}

// same compares two values as the kubelet would: 4h is 4h0m0s, 5 is 5, and
// nothing is zero.
func same(a, b any) bool {
	if isZero(a) || isZero(b) {
		return isZero(a) && isZero(b)
	}
	return reflect.DeepEqual(normal(a), normal(b))
}

// normal brings a value into the one form it is compared in.
func normal(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = normal(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for key := range v {
			out[key] = normal(v[key])
		}
		return out
	}
	return v
}

// isZero reports whether omitempty would leave a value out.
func isZero(v any) bool {
	switch v := normal(v).(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	default:
		return reflect.ValueOf(v).IsZero()
	}
}

func isCollection(v any) bool {
	switch v.(type) {
	case []any, map[string]any:
		return true
	}
	return false
}
