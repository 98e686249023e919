package kubelet

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxSourceText bounds the source text that goes into a report, in bytes.
const maxSourceText = 120

// isJSON reports whether the kubelet's decoder takes the content for JSON and
// not for YAML (IsJSONBuffer of apimachinery): by its first character.
func isJSON(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeftFunc(data, unicode.IsSpace), []byte{'{'})
}

// locator finds keys in the source of one file.
type locator struct {
	data []byte
	yaml func() *yaml.Node // the first document, nil when it cannot be read
}

func newLocator(data []byte) locator {
	return locator{data: data, yaml: sync.OnceValue(func() *yaml.Node {
		var doc yaml.Node
		if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil || len(doc.Content) == 0 {
			return nil
		}
		return doc.Content[0]
	})}
}

// find tells where the file sets a key for the last time. The text is the key
// and its value as written, without what else the line holds. The line is 0 and
// the text "" when the place cannot be told.
func (l locator) find(keys ...string) (line int, text string) {
	if isJSON(l.data) {
		return locateJSON(l.data, keys)
	}
	if line, text, ok := locateYAML(l.data, l.yaml(), keys); ok {
		return line, text
	}
	return locateText(l.data, keys[len(keys)-1])
}

// span is a range of bytes.
type span struct{ start, end int }

// excerpt returns the line number of a range and its text, cut at the end of
// its first line and at a bound.
func (s span) excerpt(data []byte) (line int, text string) {
	part := data[s.start:min(s.end, s.start+maxSourceText)]
	part, _, _ = bytes.Cut(part, []byte{'\n'})
	for len(part) > 0 && s.start+len(part) < len(data) && !utf8.RuneStart(data[s.start+len(part)]) {
		part = part[:len(part)-1] // not through the middle of a character
	}
	return 1 + bytes.Count(data[:s.start], []byte{'\n'}), string(bytes.TrimRight(part, " \t\r,"))
}

// jsonFrame is one open object or array while locateJSON walks.
type jsonFrame struct {
	object  bool
	wantKey bool
	depth   int // how many of the wanted keys lead here, -1 when off the path
	next    int // depth of the value to come
	key     int // where the last key starts
}

// locateJSON walks the tokens of JSON content. Like the decoder it takes the last
// of several occurrences, wherever the objects on the way stand.
func locateJSON(data []byte, keys []string) (line int, text string) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var stack []jsonFrame
	var found *span
	for {
		start := skipJSON(data, int(dec.InputOffset()))
		token, err := dec.Token()
		if err != nil {
			break
		}
		end := int(dec.InputOffset())
		top := len(stack) - 1
		if top >= 0 && stack[top].wantKey {
			if name, ok := token.(string); ok {
				stack[top].took(name, start, keys)
				continue
			}
		}
		depth := 0
		if top >= 0 {
			depth = stack[top].next
			stack[top].wantKey = stack[top].object
		}
		switch delim, _ := token.(json.Delim); delim {
		case '{', '[':
			if depth == len(keys) && top >= 0 {
				found = &span{stack[top].key, end}
			}
			stack = append(stack, openJSON(delim, depth))
		case '}', ']':
			stack = stack[:max(top, 0)]
		default:
			if depth == len(keys) && top >= 0 {
				found = &span{stack[top].key, end}
			}
		}
	}
	if found == nil {
		return 0, ""
	}
	return found.excerpt(data)
}

// took notes a key and whether its value is on the wanted path.
func (f *jsonFrame) took(name string, start int, keys []string) {
	f.wantKey, f.key, f.next = false, start, -1
	if f.depth >= 0 && f.depth < len(keys) && keys[f.depth] == name {
		f.next = f.depth + 1
	}
}

func openJSON(delim json.Delim, depth int) jsonFrame {
	if delim == '[' {
		return jsonFrame{depth: -1, next: -1}
	}
	return jsonFrame{object: true, wantKey: true, depth: depth, next: -1}
}

// skipJSON skips what may stand between two tokens.
func skipJSON(data []byte, i int) int {
	for i < len(data) && strings.IndexByte(" \t\r\n,:", data[i]) >= 0 {
		i++
	}
	return i
}

// locateYAML finds a key in a document of YAML content.
func locateYAML(data []byte, node *yaml.Node, keys []string) (line int, text string, ok bool) {
	if node == nil {
		return 0, "", false
	}
	var key *yaml.Node
	for _, name := range keys {
		if key, node = yamlChild(node, name, 0); key == nil {
			return 0, "", false
		}
	}
	return yamlExcerpt(data, key, node)
}

// maxYAMLAliases bounds how many aliases and merge keys are followed.
const maxYAMLAliases = 16

// yamlChild finds the last pair of a mapping with a given key; a merge key (<<)
// counts when the mapping itself has none.
func yamlChild(m *yaml.Node, name string, hops int) (key, value *yaml.Node) {
	for m.Kind == yaml.AliasNode && hops < maxYAMLAliases {
		m, hops = m.Alias, hops+1
	}
	if m.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := len(m.Content) - 2; i >= 0; i -= 2 {
		if k := m.Content[i]; k.Kind == yaml.ScalarNode && k.Value == name {
			return k, m.Content[i+1]
		}
	}
	if hops >= maxYAMLAliases {
		return nil, nil
	}
	for i := len(m.Content) - 2; i >= 0; i -= 2 {
		if m.Content[i].Tag == "!!merge" {
			return yamlMerged(m.Content[i+1], name, hops+1)
		}
	}
	return nil, nil
}

// yamlMerged looks for a key in what a merge key names: a mapping, or several of
// which the first that has the key counts.
func yamlMerged(v *yaml.Node, name string, hops int) (key, value *yaml.Node) {
	if v.Kind != yaml.SequenceNode {
		return yamlChild(v, name, hops)
	}
	for _, m := range v.Content[:min(len(v.Content), maxYAMLAliases)] {
		if key, value = yamlChild(m, name, hops); key != nil {
			return key, value
		}
	}
	return nil, nil
}

// yamlExcerpt turns the nodes of a pair into line and text. The parser counts
// lines and columns in its own way (characters, several kinds of line break), so
// the place is only believed when the key stands there.
func yamlExcerpt(data []byte, key, value *yaml.Node) (line int, text string, ok bool) {
	start, ok := yamlOffset(data, key)
	if !ok {
		return 0, "", false
	}
	// What is written may be shorter than what it means: "\L" is three bytes.
	end := min(start+len(key.Value), len(data))
	if colon := bytes.IndexByte(data[end:], ':'); colon >= 0 {
		end += colon + 1
	}
	if at, ok := yamlOffset(data, value); ok && at >= end && value.Line == key.Line && value.Kind == yaml.ScalarNode {
		end = yamlScalarEnd(data, value, at)
	}
	line, text = span{start, end}.excerpt(data)
	return line, text, true
}

// yamlOffset is the position of a scalar, when the scalar's text stands there.
func yamlOffset(data []byte, n *yaml.Node) (int, bool) {
	start := 0
	for range n.Line - 1 {
		next := bytes.IndexByte(data[start:], '\n')
		if next < 0 {
			return 0, false
		}
		start += next + 1
	}
	if bytes.HasPrefix(data[start:], []byte("\ufeff")) {
		start += len("\ufeff") // a byte order mark is not counted as a column
	}
	for range n.Column - 1 {
		if start >= len(data) {
			return 0, false
		}
		_, size := utf8.DecodeRune(data[start:])
		start += size
	}
	if quoted := start < len(data) && (data[start] == '"' || data[start] == '\''); quoted {
		return start, n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0
	}
	return start, start <= len(data) && bytes.HasPrefix(data[start:], []byte(n.Value))
}

// yamlScalarEnd is where a scalar that starts at a position ends.
func yamlScalarEnd(data []byte, n *yaml.Node, at int) int {
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 {
		return min(at+len(n.Value), len(data))
	}
	if closing := bytes.IndexByte(data[at+1:], data[at]); closing >= 0 {
		return at + 1 + closing + 1
	}
	return at
}

// locateText is the last resort: the last line on which the key's name is
// followed by a colon.
func locateText(data []byte, key string) (line int, text string) {
	for end := len(data); end > 0; {
		start := bytes.LastIndex(data[:end], []byte(key))
		if start < 0 || key == "" {
			break
		}
		after := bytes.TrimLeft(data[start+len(key):], `"' `)
		if bytes.HasPrefix(after, []byte{':'}) {
			return span{start, start + len(key)}.excerpt(data)
		}
		end = start
	}
	return 0, ""
}

// lineNumber reads a line number out of an error text, 0 when the file has no
// such line.
func lineNumber(text string, data []byte) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1+bytes.Count(data, []byte{'\n'}) {
		return 0
	}
	return n
}
