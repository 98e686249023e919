package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// The formats are read from yaml.Node rather than decoded into structs: only
// the node has the line, and only its text is what the author wrote. Decoding
// makes 18 of a port 022, takes the last of two equal keys and drops a second
// document.

// maxYAMLNodes bounds a document after its aliases are written out. What
// maxYAMLBytes can hold without aliases stays below it in practice.
const maxYAMLNodes = 20_000_000

// yamlTree parses a single YAML document and returns its content, nil when
// there is a fault.
func (p *parser) yamlTree(text []byte) *yaml.Node {
	if len(text) > maxYAMLBytes {
		p.addf(0, "kubectl get nodes -o json is read up to 256 MiB", "the inventory is larger than %d MiB of YAML", maxYAMLBytes>>20)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		p.yamlError(text, err)
		return nil
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		p.addf(0, "name at least one host", "the inventory is empty")
		return nil
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.yamlError(text, err)
		return nil
	case len(second.Content) > 0 && !isNull(second.Content[0]):
		p.addf(second.Content[0].Line, "write one document, or keep one file for each", "the inventory has a second YAML document, which would be ignored")
		return nil
	}
	if n := expandedSize(doc.Content[0], map[*yaml.Node]int{}); n > maxYAMLNodes {
		p.addf(0, "write it without repeated aliases", "the inventory has more than %d values, or an alias that contains itself", maxYAMLNodes)
		return nil
	}
	return doc.Content[0]
}

// expandedSize counts the nodes below n with every alias written out, and
// stops counting beyond maxYAMLNodes. An anchor that contains itself counts as
// endless.
func expandedSize(n *yaml.Node, anchors map[*yaml.Node]int) int {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if size, ok := anchors[n]; ok {
		return size
	}
	if n.Anchor != "" {
		anchors[n] = maxYAMLNodes + 1
	}
	size := 1
	for _, c := range n.Content {
		size = min(size+expandedSize(c, anchors), maxYAMLNodes+1)
	}
	if n.Anchor != "" {
		anchors[n] = size
	}
	return size
}

var (
	yamlErrorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// yamlError turns an error of the YAML library, which gives its line as text
// only, into ours. The line is where the library noticed, or the start of the
// block that it was reading.
func (p *parser) yamlError(text []byte, err error) {
	line, msg := 1, err.Error() // the library leaves the first line out
	if m := yamlErrorLine.FindStringSubmatch(msg); m != nil {
		if m[1] != "" {
			line, _ = strconv.Atoi(m[1])
		}
		msg = m[2]
	}
	hint := "see the indentation, and that every [ { and quote is closed"
	switch {
	case strings.Contains(msg, "',' or"):
		hint = "close the bracket; inside [ ] and { } a name with a range stands in quotes"
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = "text with a colon and a space in it stands in quotes"
	case strings.Contains(msg, "cannot start any token") && tabIndented(text):
		hint = "YAML is indented with spaces, never with tabs"
	case unknownAnchor.MatchString(msg):
		line = lineAt(text, bytes.Index(text, []byte("*"+unknownAnchor.FindStringSubmatch(msg)[1])))
		hint = "define &NAME before *NAME; text that begins with * stands in quotes"
	}
	p.addf(line, hint, "cannot read this as YAML, here or a few lines below: %s", msg)
}

func tabIndented(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\t")) || bytes.Contains(text, []byte("\n\t")) || bytes.Contains(text, []byte(" \t"))
}

// pair is one key of a mapping with its value, aliases followed.
type pair struct {
	key   string
	line  int
	value *yaml.Node
}

// pairs lists a mapping in the order of the file, merge keys (<<) written out
// after the keys that stand in the mapping itself. What names the mapping in
// errors. A key that stands twice is a fault.
func (p *parser) pairs(n *yaml.Node, what string) []pair {
	n = follow(n)
	if n.Kind != yaml.MappingNode {
		p.addf(n.Line, "", "%s must be a mapping (key: value), but is %s", what, describe(n))
		return nil
	}
	out := make([]pair, 0, len(n.Content)/2)
	seen := make(map[string]int, len(n.Content)/2)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := follow(n.Content[i]), n.Content[i+1]
		line := n.Content[i].Line
		if k.Tag == "!!merge" {
			merged = append(merged, v)
			continue
		}
		if k.Kind != yaml.ScalarNode || k.Tag == "!!null" {
			p.addf(line, "", "a key of %s must be text, but is %s", what, describe(k))
			continue
		}
		if first := seen[k.Value]; first > 0 {
			p.addf(line, fmt.Sprintf("the first stands on line %d", first), "%s has the key %q twice", what, clip(k.Value))
			continue
		}
		seen[k.Value] = line
		out = append(out, pair{k.Value, line, follow(v)})
	}
	for _, m := range merged {
		out = p.merge(out, seen, m, what)
	}
	return out
}

// merge appends the keys of a merged mapping, or list of mappings, that are
// not there yet.
func (p *parser) merge(out []pair, seen map[string]int, n *yaml.Node, what string) []pair {
	n = follow(n)
	sources := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		sources = n.Content
	}
	for _, s := range sources {
		for _, kv := range p.pairs(s, "what is merged into "+what) {
			if seen[kv.key] == 0 {
				seen[kv.key] = kv.line
				out = append(out, kv)
			}
		}
	}
	return out
}

// follow returns what an alias stands for, any other node itself.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// text reads a scalar as its author wrote it. A number is taken by its text,
// so that a label 1 is "1"; a truth value and a missing value are faults,
// since they are more likely a slip than a name.
func (p *parser) text(n *yaml.Node, what string) (string, bool) {
	n = follow(n)
	if n.Kind == yaml.ScalarNode {
		switch n.Tag {
		case "!!str", "!!int", "!!float", "!!timestamp":
			return n.Value, true
		case "!!null":
			p.addf(n.Line, "give it one or take the key out", "%s has no value", what)
			return "", false
		case "!!bool":
			p.addf(n.Line, "put it in quotes if it is meant as text", "%s must be text, but is the truth value %s", what, n.Value)
			return "", false
		}
	}
	p.addf(n.Line, "", "%s must be text, but is %s", what, describe(n))
	return "", false
}

// checked reads a scalar and passes it through a check.
func (p *parser) checked(n *yaml.Node, what string, check func(string) string) (string, bool) {
	s, ok := p.text(n, what)
	if !ok {
		return "", false
	}
	if problem := check(s); problem != "" {
		p.addf(n.Line, "", "%s %q %s", what, clip(s), problem)
		return "", false
	}
	return s, true
}

// describe names the kind of a node for a message, never its value.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!str":
		return "text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a truth value"
	}
	return "a " + clip(n.Tag) + " value"
}
