package kubelet

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// writtenShape is how a value of a configuration file is written.
type writtenShape uint8

const (
	writtenOther  writtenShape = iota // a list, or what is not understood
	writtenScalar                     // on one line, an alias too
	writtenNull                       // null, ~, or nothing behind the colon
	writtenFlow                       // {a: b}, and every object of JSON
	writtenBlock                      // a mapping by indentation
)

// written is a value as it stands in a file. The span of a mapping by
// indentation means nothing, and of YAML's {} only its start does.
type written struct {
	span
	shape   writtenShape
	anchor  string // "&name" in front of a scalar
	members []writtenMember
}

// writtenMember is one pair of a mapping.
type writtenMember struct {
	name  string
	key   span
	value written
}

// readWritten reads a configuration file the kubelet can decode, down to a
// depth; false when its form is not understood.
func readWritten(data []byte, depth int) (written, bool) {
	if isJSON(data) {
		r := jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
		r.dec.UseNumber()
		root, err := r.value()
		return root, err == nil && root.shape == writtenFlow
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil || len(doc.Content) == 0 {
		return written{}, false
	}
	if !plainKeys(&doc) {
		return written{}, false
	}
	r := yamlReader{data: data, starts: yamlStarts(data)}
	root := r.value(doc.Content[0], span{}, depth)
	return root, root.shape == writtenFlow || root.shape == writtenBlock
}

// plainKeys tells whether every key of a document is a text. The kubelet's
// decoder turns numbers, booleans (on and y among them) and null into texts, two of
// which may be the same, and then takes either of them; no configuration has
// such keys.
func plainKeys(n *yaml.Node) bool {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && !plainKey(child) || !plainKeys(child) {
			return false
		}
	}
	return true
}

func plainKey(key *yaml.Node) bool {
	for key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	if key.Kind != yaml.ScalarNode {
		return false
	}
	switch tag := key.ShortTag(); {
	case tag == "!!merge":
		return true
	case tag != "!!str":
		return false
	case key.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return true
	}
	switch strings.ToLower(key.Value) {
	case "y", "n", "yes", "no", "on", "off":
		return false
	}
	return true
}

// jsonReader builds the tree of JSON content.
type jsonReader struct {
	data []byte
	dec  *json.Decoder
}

// token returns the next token and where it is written.
func (r jsonReader) token() (json.Token, span, error) {
	start := skipJSON(r.data, int(r.dec.InputOffset()))
	token, err := r.dec.Token()
	return token, span{start, int(r.dec.InputOffset())}, err
}

func (r jsonReader) value() (written, error) {
	token, at, err := r.token()
	w := written{span: at, shape: writtenScalar}
	switch token {
	case nil:
		w.shape = writtenNull
	case json.Delim('{'):
		w.shape = writtenFlow
		for err == nil && r.dec.More() {
			var m writtenMember
			if m, err = r.member(); err == nil {
				w.members = append(w.members, m)
			}
		}
	case json.Delim('['):
		w.shape = writtenOther
		for err == nil && r.dec.More() {
			_, err = r.value()
		}
	default:
		return w, err
	}
	if err == nil && w.shape != writtenNull {
		_, at, err = r.token()
		w.end = at.end
	}
	return w, err
}

func (r jsonReader) member() (writtenMember, error) {
	token, at, err := r.token()
	name, _ := token.(string)
	if err != nil {
		return writtenMember{}, err
	}
	value, err := r.value()
	return writtenMember{name, at, value}, err
}

// yamlReader builds the tree of YAML content from nodes, which know line and
// column. What does not stand where its node says is not understood.
type yamlReader struct {
	data   []byte
	starts []int
}

// yamlStarts lists the offsets of the lines as the YAML parser counts them.
func yamlStarts(data []byte) []int {
	starts := []int{0}
	for i := 0; i < len(data); {
		n := yamlBreak(data[i:])
		if n == 0 {
			i++
			continue
		}
		i += n
		starts = append(starts, i)
	}
	return starts
}

// yamlBreak is the length of the line break at the head of data, 0 for none:
// CR LF, CR, LF, NEL, LS or PS.
func yamlBreak(data []byte) int {
	for _, b := range []string{"\r\n", "\n", "\r", "\u0085", "\u2028", "\u2029"} {
		if bytes.HasPrefix(data, []byte(b)) {
			return len(b)
		}
	}
	return 0
}

// offset finds the byte of a line and column; a byte order mark is no column.
func (r yamlReader) offset(line, column int) (int, bool) {
	if line < 1 || line > len(r.starts) {
		return 0, false
	}
	at := r.starts[line-1]
	if bytes.HasPrefix(r.data[at:], []byte(unitBOM)) {
		at += len(unitBOM)
	}
	for range column - 1 {
		if at >= len(r.data) {
			return 0, false
		}
		_, size := utf8.DecodeRune(r.data[at:])
		at += size
	}
	return at, true
}

// value reads a node that belongs to a key written at key.
func (r yamlReader) value(n *yaml.Node, key span, depth int) written {
	at, ok := r.offset(n.Line, n.Column)
	if !ok {
		return written{}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.found(at, "*"+n.Value)
	case yaml.ScalarNode:
		return r.scalar(n, at, key)
	case yaml.MappingNode:
		return r.mapping(n, at, depth)
	}
	return written{}
}

// found is a scalar that is written as it is meant.
func (r yamlReader) found(at int, text string) written {
	if !bytes.HasPrefix(r.data[at:], []byte(text)) || strings.ContainsAny(text, "\r\n") {
		return written{}
	}
	return written{span: span{at, at + len(text)}, shape: writtenScalar}
}

// scalar reads a scalar behind its anchor and tag.
func (r yamlReader) scalar(n *yaml.Node, at int, key span) written {
	start := at
	anchor := ""
	if n.Anchor != "" {
		anchor = "&" + n.Anchor
	}
	at = r.skipProperties(at)
	var w written
	switch {
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		w = r.quoted(at)
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
	case n.Value == "" && start == at:
		w = r.nothing(key)
		return w
	default:
		w = r.found(at, n.Value)
	}
	if n.Tag == "!!null" && w.shape == writtenScalar {
		w.shape = writtenNull
	}
	w.start, w.anchor = start, anchor
	return w
}

// skipProperties passes anchor and tag and the blanks behind them.
func (r yamlReader) skipProperties(at int) int {
	for at < len(r.data) && (r.data[at] == '&' || r.data[at] == '!') {
		rest := r.data[at:]
		word := bytes.IndexAny(rest, " \t\r\n,")
		if word < 0 {
			return len(r.data)
		}
		at += word
		for at < len(r.data) && (r.data[at] == ' ' || r.data[at] == '\t') {
			at++
		}
	}
	return at
}

// quoted finds the end of a scalar in quotes: a double one may be escaped by a
// backslash, a single one by another.
func (r yamlReader) quoted(at int) written {
	if at >= len(r.data) || r.data[at] != '"' && r.data[at] != '\'' {
		return written{}
	}
	quote := r.data[at]
	for i := at + 1; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case c == '\\' && quote == '"':
			i++
		case c != quote:
		case quote == '\'' && i+1 < len(r.data) && r.data[i+1] == quote:
			i++
		default:
			return written{span: span{at, i + 1}, shape: writtenScalar}
		}
	}
	return written{}
}

// nothing is the place behind the colon of a key without a value.
func (r yamlReader) nothing(key span) written {
	at := key.end
	for at < len(r.data) && (r.data[at] == ' ' || r.data[at] == '\t') {
		at++
	}
	if key.end == 0 || at >= len(r.data) || r.data[at] != ':' {
		return written{}
	}
	return written{span: span{at + 1, at + 1}, shape: writtenNull}
}

func (r yamlReader) mapping(n *yaml.Node, at, depth int) written {
	w := written{span: span{at, at}, shape: writtenBlock}
	if n.Style&yaml.FlowStyle != 0 {
		w.start = r.skipProperties(at)
		w.end, w.shape = w.start, writtenFlow
		if w.start >= len(r.data) || r.data[w.start] != '{' {
			return written{}
		}
	}
	if depth == 0 {
		return w
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		w.members = append(w.members, r.member(n.Content[i], n.Content[i+1], depth))
	}
	return w
}

func (r yamlReader) member(key, value *yaml.Node, depth int) writtenMember {
	var m writtenMember
	switch {
	case key.Kind == yaml.ScalarNode:
		m.name = key.Value
	case key.Kind == yaml.AliasNode && key.Alias.Kind == yaml.ScalarNode:
		m.name = key.Alias.Value
	}
	m.key = r.value(key, span{}, 0).span
	m.value = r.value(value, m.key, depth-1)
	return m
}
