package inventory

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const (
	// MaxBytes is the largest inventory read. A node of a busy cluster is
	// some 20 KB of JSON and an AKS cluster has at most 5,000 of them.
	MaxBytes = 256 << 20

	// maxYAMLBytes is the largest inventory read as YAML, whose tree takes
	// more than ten times its text in memory.
	maxYAMLBytes = 64 << 20
)

// The values of Inventory.Format.
const (
	formatFleet      = "fleet"
	formatKubernetes = "kubernetes"
	formatAnsible    = "ansible"
	formatList       = "list"
)

// Parse reads an inventory and checks it. The name stands in errors and
// positions; the format is recognised by content alone:
//
//   - fleet's own YAML: a mapping with defaults, groups or hosts;
//   - a Kubernetes NodeList, a List of Nodes or a Node, JSON or YAML, as
//     kubectl get nodes -o json|yaml prints it;
//   - an Ansible YAML inventory: a mapping of groups with hosts, children and
//     vars;
//   - a plain list, one [user@]host[:port] per line.
//
// Text may be UTF-8 or, with a byte order mark, UTF-16, and lines may end in
// CR LF. The error joins up to ten *Error, each with file and line.
func Parse(name string, data []byte) (*Inventory, error) {
	return parse(name, data, limits{named: 20 * MaxHosts, globWork: maxGlobWork})
}

// limits bound the work that a small file can ask for.
type limits struct {
	named    int // names and addresses of all lists and groups together, ranges written out
	globWork int // comparisons of globs with names
}

func parse(name string, data []byte, max limits) (*Inventory, error) {
	p := &parser{problems: problems{file: name}, max: max}
	inv := &Inventory{Name: name}
	if text, ok := p.decodeText(data); ok {
		inv.Format, inv.Hosts = p.read(text)
		p.checkHosts(inv)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return inv, nil
}

// parser reads one inventory.
type parser struct {
	problems
	max      limits
	expanded int // names and addresses written out so far
}

// read recognises the format and reads the hosts.
func (p *parser) read(text []byte) (string, []Host) {
	start := firstLine(text)
	if start.text == "" {
		p.addf(0, "name at least one host; kubectl that failed prints nothing here", "the inventory is empty")
		return "", nil
	}
	if start.text[0] == '{' {
		if hosts, ok := p.kubernetesJSON(text); ok {
			return formatKubernetes, hosts
		}
	}
	if !looksLikeYAML(start.text) {
		return formatList, p.plainList(string(text))
	}
	return p.yaml(text)
}

// yaml reads the formats that are YAML.
func (p *parser) yaml(text []byte) (string, []Host) {
	top := p.yamlTree(text)
	if top == nil {
		return "", nil
	}
	if top.Kind != yaml.MappingNode {
		p.addf(top.Line, "write a mapping with hosts:, or a plain list with one host per line", "the inventory is %s", describe(top))
		return "", nil
	}
	switch recognise(top) {
	case formatKubernetes:
		return formatKubernetes, p.kubernetesYAML(top)
	case formatAnsible:
		return formatAnsible, p.ansible(top)
	}
	return formatFleet, p.fleet(top)
}

// recognise tells the YAML formats apart by their top-level keys.
func recognise(top *yaml.Node) string {
	keys := map[string]bool{}
	groups := false
	for i := 0; i+1 < len(top.Content); i += 2 {
		keys[top.Content[i].Value] = true
		groups = groups || looksLikeAnsibleGroup(top.Content[i+1])
	}
	switch {
	case keys["kind"] || keys["apiVersion"]:
		return formatKubernetes
	case keys["defaults"] || keys["groups"] || keys["hosts"]:
		return formatFleet
	case keys["all"] || keys["_meta"] || keys["plugin"] || groups:
		return formatAnsible
	}
	return formatFleet
}

// decodeText gives the inventory as UTF-8 without byte order mark. Windows
// PowerShell writes UTF-16 where a shell redirects output to a file.
func (p *parser) decodeText(data []byte) ([]byte, bool) {
	if len(data) > MaxBytes {
		p.addf(0, "", "the inventory is larger than %d MiB", MaxBytes>>20)
		return nil, false
	}
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		data = fromUTF16(data[2:], binary.LittleEndian)
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		data = fromUTF16(data[2:], binary.BigEndian)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if i := bytes.IndexByte(data, 0); i >= 0 {
		p.addf(lineAt(data, i), "write it as UTF-8 text", "the inventory is not a text file")
		return nil, false
	}
	if !utf8.Valid(data) {
		p.addf(firstInvalidLine(data), "write it as UTF-8", "the inventory has a byte that is not valid UTF-8")
		return nil, false
	}
	return data, true
}

func fromUTF16(data []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

func firstInvalidLine(data []byte) int {
	line := 1
	for l := range bytes.Lines(data) {
		if !utf8.Valid(l) {
			return line
		}
		line++
	}
	return line
}

// lineAt is the 1-based line of an offset.
func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), len(data))], []byte("\n"))
}

// sourceLine is a line of a file, trimmed.
type sourceLine struct {
	number int
	text   string
}

// firstLine finds the first line with content.
func firstLine(data []byte) sourceLine {
	n := 0
	for l := range bytes.Lines(data) {
		n++
		if s := strings.TrimSpace(string(l[:min(len(l), maxPattern)])); s != "" && s[0] != '#' {
			return sourceLine{n, s}
		}
	}
	return sourceLine{}
}

// yamlKey matches a line that begins a mapping: a colon at its end or before a
// space, which host:port is not.
var yamlKey = regexp.MustCompile(`^(?:"[^"]*"|'[^']*'|[^\s"'#:@\[\]][^\s:]*)\s*:(?:\s|$)`)

// looksLikeYAML tells YAML from a plain list by the first line with content.
func looksLikeYAML(line string) bool {
	switch {
	case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "%YAML"),
		line == "-", strings.HasPrefix(line, "- "), strings.HasPrefix(line, "? "):
		return true
	case strings.ContainsRune(`{}&!*"'|>`, rune(line[0])):
		return true
	case line[0] == '[' && json.Valid([]byte(line)):
		return true
	}
	return yamlKey.MatchString(line)
}
