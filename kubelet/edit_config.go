package kubelet

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// EditConfig sets a key, dotted when nested, of a kubelet configuration file to
// a bool, int64 or string and changes nothing else. The file is JSON or YAML by
// its content, as the kubelet tells them apart. Every occurrence of the key is
// set, so that none says otherwise; where there is none, one is inserted. The
// result decodes to the value and otherwise to what the file decoded to before.
// Data that needs no change is returned as it is.
func EditConfig(path string, data []byte, key string, value any) ([]byte, error) {
	e := configEditor{path: path, keys: strings.Split(key, "."), value: value, same: func(a, b string) bool { return a == b }}
	e.decode = func(data []byte) (map[string]any, string) {
		if raw := configRaw(data); raw != nil {
			return raw, ""
		}
		_, fatal := DecodeConfig(path, data)
		return nil, fatalMessage(fatal)
	}
	e.gives = func(data []byte) (bool, string) {
		file, fatal := DecodeConfig(path, data)
		if fatal != nil {
			return false, fatal.Message
		}
		layer, ok := file.Lookup(key)
		return ok && layer.Value == value, ""
	}
	return e.edit(data)
}

// EditDropIn is EditConfig for a file of --config-dir, whose keys ignore case:
// every spelling that sets the value is changed.
func EditDropIn(path string, data []byte, key string, value any) ([]byte, error) {
	e := configEditor{path: path, keys: strings.Split(key, "."), value: value, same: strings.EqualFold, dropIn: true}
	e.decode = func(data []byte) (map[string]any, string) {
		raw, _, err := decodeDropIn(data)
		if err != nil {
			return nil, oneLine(decodeMessage(err))
		}
		return raw, ""
	}
	e.gives = func(data []byte) (bool, string) {
		raw, why := e.decode(data)
		leaves := foldLeaves(raw, e.keys)
		other := func(l leaf) bool { return l.value != value }
		return len(leaves) > 0 && !slices.ContainsFunc(leaves, other), why
	}
	return e.edit(data)
}

func fatalMessage(f *Fatal) string {
	if f == nil {
		return "it cannot be decoded"
	}
	return f.Message
}

// configEditor sets one key of one file.
type configEditor struct {
	path   string
	keys   []string
	value  any
	dropIn bool
	same   func(a, b string) bool // whether two keys are one
	// decode reads a file without types, or says why it cannot.
	decode func([]byte) (map[string]any, string)
	// gives tells whether a file gives the value, or why the kubelet would not
	// start with it.
	gives func([]byte) (bool, string)
}

func (e configEditor) edit(data []byte) ([]byte, error) {
	if _, ok := editText(e.value); !ok {
		return nil, editErrorf(EditCannot, "cannot edit %s: %T is no value of a setting", e.path, e.value)
	}
	before, why := e.decode(data)
	if why == "" && len(data) == 0 {
		why = "it is empty"
	}
	if why != "" {
		return nil, editErrorf(EditWouldNotStart, "cannot edit %s: the kubelet does not start with it: %s", e.path, why)
	}
	root, ok := readWritten(data, len(e.keys))
	if !ok {
		return nil, editErrorf(EditCannot, "cannot edit %s: its form is not understood; change it by hand", e.path)
	}
	wrong := editErrorf(EditCannot, "cannot edit %s: the form of %s is not understood; change it by hand", e.path, strings.Join(e.keys, "."))
	for _, changes := range e.candidates(data, root) {
		after, ok := applyChanges(data, changes)
		if !ok {
			continue
		}
		if wrong = e.wrong(before, after); wrong == nil {
			return after, nil
		}
	}
	return nil, wrong
}

// wrong tells why new content will not do, nil when it does.
func (e configEditor) wrong(before map[string]any, after []byte) *EditError {
	now, why := e.decode(after)
	if why != "" {
		return editErrorf(EditCannot, "cannot edit %s: it could not be decoded afterwards: %s; change it by hand", e.path, why)
	}
	gives, fatal := e.gives(after)
	switch {
	case fatal != "":
		return editErrorf(EditWouldNotStart, "cannot edit %s: the kubelet would not start with it: %s", e.path, fatal)
	case !gives:
		return editErrorf(EditCannot, "cannot edit %s: the kubelet would not read the new value; change it by hand", e.path)
	case !reflect.DeepEqual(e.without(before, e.keys), e.without(now, e.keys)):
		return editErrorf(EditCannot, "cannot edit %s: something else would change with it; change it by hand", e.path)
	}
	return nil
}

// without copies a document without a key, and without the parents that are
// empty then.
func (e configEditor) without(doc map[string]any, keys []string) map[string]any {
	out := maps.Clone(doc)
	for name, v := range doc {
		if !e.same(name, keys[0]) {
			continue
		}
		sub, isMap := v.(map[string]any)
		if isMap && len(keys) > 1 {
			sub = e.without(sub, keys[1:])
			out[name] = sub
		}
		if len(keys) == 1 || isMap && len(sub) == 0 || v == nil && !e.dropIn {
			delete(out, name)
		}
	}
	return out
}

// candidates are the ways to make the change, best first.
func (e configEditor) candidates(data []byte, root written) [][]change {
	leaves := e.leaves(root, e.keys)
	if len(leaves) == 0 {
		return e.insertions(data, root)
	}
	var changes []change
	for _, l := range leaves {
		if !e.means(data, l) {
			changes = append(changes, e.replacement(data, l))
		}
	}
	return [][]change{changes}
}

// leaves are the values written for the key.
func (e configEditor) leaves(w written, keys []string) []written {
	var leaves []written
	for _, m := range w.members {
		switch {
		case !e.same(m.name, keys[0]):
		case len(keys) == 1:
			leaves = append(leaves, m.value)
		default:
			leaves = append(leaves, e.leaves(m.value, keys[1:])...)
		}
	}
	return leaves
}

// means tells whether a scalar as written is the wanted value already: yes is
// true in YAML.
func (e configEditor) means(data []byte, w written) bool {
	if w.shape != writtenScalar {
		return false
	}
	text := string(data[w.start:w.end])
	if !isJSON(data) {
		text = strings.TrimLeft(strings.TrimPrefix(text, w.anchor), " \t")
	}
	doc := configRaw([]byte("apiVersion: v1\nkind: X\nvalue: " + text + "\n"))
	return doc["value"] == e.value
}

// replacement puts the wanted value in the place of another. What is no scalar
// gives a change that cannot be made.
func (e configEditor) replacement(data []byte, w written) change {
	text := e.text(data)
	switch {
	case w.shape != writtenScalar && w.shape != writtenNull:
		return change{span: span{1, 0}}
	case w.anchor != "":
		text = w.anchor + " " + text
	case w.start == w.end:
		text = " " + text
	}
	return change{w.span, text}
}

// text is the value as the file writes it.
func (e configEditor) text(data []byte) string {
	text, _ := editText(e.value)
	if _, isString := e.value.(string); isString {
		quoted, _ := json.Marshal(text)
		return string(quoted)
	}
	return text
}

// insertions are the ways to write the key where it is not, in the innermost
// parent that is there.
func (e configEditor) insertions(data []byte, root written) [][]change {
	parent, keys := root, e.keys
	for len(keys) > 1 {
		i := slices.IndexFunc(parent.members, func(m writtenMember) bool { return e.same(m.name, keys[0]) })
		for j := i + 1; i >= 0 && j < len(parent.members); j++ { // the last one counts
			if e.same(parent.members[j].name, keys[0]) {
				i = j
			}
		}
		if i < 0 {
			break
		}
		parent, keys = parent.members[i].value, keys[1:]
	}
	switch parent.shape {
	case writtenFlow:
		return [][]change{{insertFlow(data, parent, e.flowEntry(data, parent, root, keys))}}
	case writtenBlock:
		return e.insertBlock(data, parent, keys)
	case writtenNull:
		text := "{" + e.flowEntry(data, parent, root, keys) + "}"
		if parent.start == parent.end {
			text = " " + text
		}
		return [][]change{{{parent.span, text}}}
	}
	return nil
}

// head finds the last member of those that say what the file is, kind and
// apiVersion, -1 for none: the place to insert at is behind it.
func head(members []writtenMember) int {
	last := -1
	for i, m := range members {
		if m.name == "kind" || m.name == "apiVersion" && last == i-1 {
			last = i
		}
	}
	return last
}

// flowEntry writes keys and value in the manner of a mapping in braces, or of
// the whole file where that one is empty.
func (e configEditor) flowEntry(data []byte, w, root written, keys []string) string {
	if len(w.members) == 0 && root.shape == writtenFlow {
		w = root
	}
	quote, colon := "", ": "
	if isJSON(data) {
		quote = `"`
	}
	if w.shape == writtenFlow && len(w.members) > 0 {
		quote, colon = flowManner(data, w.members[0])
	}
	text := e.text(data)
	for i, key := range slices.Backward(keys) {
		text = quote + key + quote + colon + text
		if i > 0 {
			text = "{" + text + "}"
		}
	}
	return text
}

// flowManner is how a member quotes its key and sets its colon. A key without
// quotes wants a blank behind the colon.
func flowManner(data []byte, m writtenMember) (quote, colon string) {
	colon = ": "
	if m.key.end <= m.key.start || data[m.key.start] != '"' {
		return "", colon
	}
	if m.value.start > m.key.end {
		if between := string(data[m.key.end:m.value.start]); strings.Trim(between, " \t") == ":" {
			colon = between
		}
	}
	return `"`, colon
}

// insertFlow writes an entry into a mapping in braces, with the white space in
// front of it that its neighbour has.
func insertFlow(data []byte, w written, entry string) change {
	n := len(w.members)
	if n == 0 {
		return change{span{w.start + 1, w.start + 1}, entry}
	}
	at := head(w.members) + 1
	if last := w.members[n-1]; at == n && last.value.end > last.key.end {
		return change{span{last.value.end, last.value.end}, "," + spaceBefore(data, last.key.start) + entry}
	}
	start := w.members[min(at, n-1)].key.start
	space := spaceBefore(data, start)
	if space == "" && quoteless(entry) {
		space = " "
	}
	return change{span{start, start}, entry + "," + space}
}

func quoteless(entry string) bool { return !strings.HasPrefix(entry, `"`) }

// spaceBefore is the white space in front of an offset.
func spaceBefore(data []byte, at int) string {
	return string(data[len(bytes.TrimRight(data[:at], " \t\r\n")):at])
}

// insertBlock writes a member into a mapping by indentation as a line of its
// own: behind the lines that say what the file is, else in front of the first
// member.
func (e configEditor) insertBlock(data []byte, w written, keys []string) [][]change {
	var ways [][]change
	if i := head(w.members); i >= 0 {
		for _, m := range []writtenMember{w.members[i], w.members[max(i-1, 0)]} {
			if c, ok := e.insertAfter(data, m, keys); ok {
				ways = append(ways, []change{c})
			}
		}
	}
	for _, m := range w.members {
		if indent, start, ok := indentOf(data, m.key); ok {
			eol := lineEnd(data, m.key.end)
			ways = append(ways, []change{{span{start, start}, e.blockEntry(data, indent, eol, keys) + eol}})
			break
		}
	}
	return ways
}

// insertAfter writes behind a member that ends on the line of its key.
func (e configEditor) insertAfter(data []byte, m writtenMember, keys []string) (change, bool) {
	indent, _, ok := indentOf(data, m.key)
	if !ok || m.value.shape != writtenScalar {
		return change{}, false
	}
	end := m.value.end
	rest, _, _ := bytes.Cut(data[end:], []byte{'\n'})
	rest, _, _ = bytes.Cut(rest, []byte{'\r'})
	if comment := bytes.TrimLeft(rest, " \t"); len(comment) > 0 && comment[0] != '#' {
		return change{}, false
	}
	end += len(rest)
	eol := lineEnd(data, end)
	entry := e.blockEntry(data, indent, eol, keys)
	if n := yamlBreak(data[end:]); n > 0 {
		return change{span{end + n, end + n}, entry + eol}, true
	}
	return change{span{end, end}, eol + entry}, true
}

// indentOf is the indentation of a key and where it begins; false when
// anything else stands in front of the key on its line.
func indentOf(data []byte, key span) (indent string, start int, ok bool) {
	if key.end <= key.start {
		return "", 0, false
	}
	start = 1 + bytes.LastIndexAny(data[:key.start], "\r\n")
	if bytes.HasPrefix(data[start:], []byte(unitBOM)) {
		start += len(unitBOM)
	}
	indent = string(data[start:key.start])
	return indent, start, strings.Trim(indent, " ") == ""
}

// lineEnd is how the line of an offset ends, or the file's first line where
// that one does not.
func lineEnd(data []byte, at int) string {
	for _, part := range [][]byte{data[at:], data} {
		if i := bytes.IndexAny(part, "\r\n"); i >= 0 {
			return string(part[i : i+yamlBreak(part[i:])])
		}
	}
	return "\n"
}

// blockEntry writes keys and value as lines, without the end of the last.
func (e configEditor) blockEntry(data []byte, indent, eol string, keys []string) string {
	var b strings.Builder
	for i, key := range keys {
		if i > 0 {
			b.WriteString(eol)
		}
		b.WriteString(indent + strings.Repeat("  ", i) + key + ":")
	}
	return b.String() + " " + e.text(data)
}
