package inventory

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// fleetFile is an inventory in fleet's own format, as written.
type fleetFile struct {
	defaults layer
	groups   []fleetGroup
	entries  []entry // every element of every hosts list, in the order of the file
}

type fleetGroup struct {
	name     string
	settings layer
}

// entry is one element of a hosts list: a name, which may hold ranges or be a
// glob, or a mapping that describes a host.
type entry struct {
	names     []string
	addresses []string // one per name, nil when not said
	addressAt int      // line of the addresses
	settings  layer
	described bool // the entry says more than the name
	glob      bool
	line      int
	group     int // index in groups, -1 for the top-level hosts
}

// fleet reads fleet's own format.
func (p *parser) fleet(top *yaml.Node) []Host {
	var f fleetFile
	for _, kv := range p.pairs(top, "the inventory") {
		switch kv.key {
		case "defaults":
			f.defaults = p.defaults(kv.value)
		case "groups":
			p.groups(&f, kv.value)
		case "hosts":
			p.hostList(&f, kv.value, "hosts", -1)
		default:
			p.unknownKey(kv, "the inventory", "defaults", "groups", "hosts")
		}
	}
	return p.resolve(&f)
}

// settingKeys are the keys that defaults, groups and hosts share.
var settingKeys = []string{keyUser, keyIdentity, keyJump, keyBecome, keyPort, keyLabels}

func (p *parser) defaults(n *yaml.Node) layer {
	out := layer{}
	for _, kv := range p.pairs(n, "defaults") {
		if !p.setting(out, kv) {
			p.unknownKey(kv, "defaults", settingKeys...)
		}
	}
	return out
}

func (p *parser) groups(f *fleetFile, n *yaml.Node) {
	for _, kv := range p.pairs(n, "groups") {
		switch problem := checkGroup(kv.key); {
		case problem != "":
			p.addf(kv.line, "", "the group %q %s", clip(kv.key), problem)
			continue
		case kv.key == groupReserved:
			p.addf(kv.line, "put what concerns every host under defaults", "the group name %q is reserved: it means every host", kv.key)
			continue
		}
		p.group(f, kv)
	}
}

func (p *parser) group(f *fleetFile, group pair) {
	what := fmt.Sprintf("the group %q", group.key)
	index := len(f.groups)
	g := fleetGroup{name: group.key, settings: layer{}}
	hosts := false
	for _, kv := range p.pairs(group.value, what) {
		switch {
		case kv.key == "hosts":
			hosts = true
			p.hostList(f, kv.value, "hosts of "+what, index)
		case !p.setting(g.settings, kv):
			p.unknownKey(kv, what, append([]string{"hosts"}, settingKeys...)...)
		}
	}
	if !hosts && follow(group.value).Kind == yaml.MappingNode {
		p.addf(group.line, "list them under hosts:", "%s has no hosts", what)
	}
	f.groups = append(f.groups, g)
}

func (p *parser) hostList(f *fleetFile, n *yaml.Node, what string, group int) {
	n = follow(n)
	if n.Kind != yaml.SequenceNode {
		p.addf(n.Line, "begin each host with a dash: - NAME or - name: NAME", "%s must be a list, but is %s", what, describe(n))
		return
	}
	if len(n.Content) == 0 {
		p.addf(n.Line, "name at least one host", "%s is an empty list", what)
	}
	for _, item := range n.Content {
		e, ok := p.hostEntry(item)
		if !ok {
			continue
		}
		e.group = group
		if e.glob && group < 0 {
			p.addf(e.line, "a glob chooses among hosts written elsewhere; it belongs under the hosts of a group", "the host name %q has a wildcard", clip(e.names[0]))
			continue
		}
		f.entries = append(f.entries, e)
	}
}

// hostEntry reads one element of a hosts list.
func (p *parser) hostEntry(item *yaml.Node) (entry, bool) {
	n := follow(item)
	e := entry{line: item.Line}
	if n.Kind != yaml.MappingNode {
		name, ok := p.text(n, "a host")
		if !ok {
			return e, false
		}
		return p.named(e, name, n.Line)
	}
	e.settings = layer{}
	name, address := pair{}, pair{}
	for _, kv := range p.pairs(n, "a host") {
		switch {
		case kv.key == "name":
			name = kv
			continue
		case kv.key == keyAddress:
			address = kv
		case !p.setting(e.settings, kv):
			p.unknownKey(kv, "a host", append([]string{"name", keyAddress}, settingKeys...)...)
		}
		e.described = true
	}
	if name.value == nil {
		p.addf(item.Line, "write name: NAME", "a host has no name")
		return e, false
	}
	text, ok := p.text(name.value, "name")
	if ok {
		e, ok = p.named(e, text, name.line)
	}
	if ok && e.glob && e.described {
		p.addf(name.line, "describe hosts by name or range, or set it for the group", "the host name %q has a wildcard", clip(text))
		return e, false
	}
	if ok && address.value != nil {
		return p.addressed(e, address, text)
	}
	return e, ok
}

// named expands and checks the name of an entry.
func (p *parser) named(e entry, name string, line int) (entry, bool) {
	if strings.ContainsAny(name, "*?") {
		e.glob, e.names = true, []string{name}
		return e, true
	}
	names, ok := p.expand(name, line, "host name")
	e.names = names
	return e, ok
}

// addressed expands and checks the address of an entry.
func (p *parser) addressed(e entry, address pair, name string) (entry, bool) {
	text, ok := p.text(address.value, keyAddress)
	if !ok {
		return e, false
	}
	t, problem := splitTarget(text)
	switch {
	case problem != "":
		p.addf(address.line, "", "the address %q %s", clip(text), problem)
		return e, false
	case t.user != "":
		p.addf(address.line, "put the user under user:", "the address %q has a user in it", clip(text))
		return e, false
	case t.port != "":
		p.addf(address.line, "put the port under port:", "the address %q has a port in it", clip(text))
		return e, false
	}
	addresses, ok := p.expand(t.host, address.line, keyAddress)
	if !ok {
		return e, false
	}
	if len(addresses) != len(e.names) {
		p.addf(address.line, "give the address a range of the same count, or each host its own entry",
			"the name %q stands for %s, but the address %q for %d", clip(name), count(len(e.names), "host"), clip(text), len(addresses))
		return e, false
	}
	e.addresses, e.addressAt = addresses, address.line
	return e, true
}

// expand writes out the ranges of a host name or address and checks the
// result.
func (p *parser) expand(s string, line int, what string) ([]string, bool) {
	if p.expanded > p.max.named {
		return nil, false
	}
	names, err := Expand(s)
	if err != nil {
		p.addf(line, "", "%v", err)
		return nil, false
	}
	if p.expanded += len(names); p.expanded > p.max.named {
		p.addf(line, "split the inventory", "the inventory has more than %d names and addresses", p.max.named)
		return nil, false
	}
	for _, name := range names {
		if problem := checkHost(name); problem != "" {
			p.addf(line, hostHint(name), "the %s %q %s", what, clip(name), problem)
			return nil, false
		}
	}
	return names, true
}

// hostHint tells what to write instead of a name that is none.
func hostHint(name string) string {
	_, problem := splitTarget(name)
	switch {
	case problem == "" && strings.ContainsAny(name, "@:"):
		return "write it as a mapping: name, address, user, port"
	case strings.ContainsAny(name, " \t,"):
		return "write one host to a line"
	}
	return ""
}

// setting reads one of settingKeys into a layer. It reports false for any
// other key.
func (p *parser) setting(into layer, kv pair) bool {
	switch kv.key {
	case keyUser:
		p.scalar(into, kv, checkUser)
	case keyPort:
		p.scalar(into, kv, checkPort)
	case keyBecome:
		p.become(into, kv)
	case keyJump:
		p.jump(into, kv)
	case keyIdentity:
		p.identity(into, kv)
	case keyLabels:
		p.labels(into, kv)
	default:
		return false
	}
	return true
}

func (p *parser) scalar(into layer, kv pair, check func(string) string) {
	if s, ok := p.checked(kv.value, kv.key, check); ok {
		into[kv.key] = setting{text: s, line: kv.line}
	}
}

func (p *parser) become(into layer, kv pair) {
	if n := kv.value; n.Kind == yaml.ScalarNode && n.Tag == "!!bool" {
		p.addf(n.Line, "write become: sudo or become: none", "become must be a way to become root, but is the truth value %s", n.Value)
		return
	}
	p.scalar(into, kv, checkBecome)
}

func (p *parser) jump(into layer, kv pair) {
	s, ok := p.text(kv.value, keyJump)
	if !ok {
		return
	}
	jump, problem := parseJump(s)
	if problem != "" {
		p.addf(kv.line, "", "jump %q %s", clip(s), problem)
		return
	}
	into[keyJump] = setting{text: jump, line: kv.line}
}

func (p *parser) identity(into layer, kv pair) {
	files := []*yaml.Node{kv.value}
	if kv.value.Kind == yaml.SequenceNode {
		files = kv.value.Content
	}
	if len(files) == 0 {
		p.addf(kv.line, "name a private key file or take the key out", "identity has no value")
		return
	}
	s := setting{line: kv.line}
	for _, f := range files {
		file, ok := p.checked(f, keyIdentity, checkIdentity)
		if !ok {
			return
		}
		s.list = append(s.list, file)
	}
	into[keyIdentity] = s
}

func (p *parser) labels(into layer, kv pair) {
	pairs := p.pairs(kv.value, keyLabels)
	if len(pairs) > maxLabels {
		p.addf(kv.line, "", "there are more than %d labels", maxLabels)
		return
	}
	for _, l := range pairs {
		if problem := checkLabelKey(l.key); problem != "" {
			p.addf(l.line, "", "the label key %q %s", clip(l.key), problem)
			continue
		}
		if l.value.Kind == yaml.ScalarNode && l.value.Tag == "!!bool" {
			into[labelPrefix+l.key] = setting{text: l.value.Value, line: l.line}
			continue
		}
		if s, ok := p.checked(l.value, "the label "+l.key, checkPrintable); ok {
			into[labelPrefix+l.key] = setting{text: s, line: l.line}
		}
	}
}

// unknownKey refuses a key, names the likely slip and lists what may stand
// there.
func (p *parser) unknownKey(kv pair, what string, known ...string) {
	hint := "known keys: " + strings.Join(known, ", ")
	if near := nearest(kv.key, slices.Values(known)); len(near) > 0 {
		hint = "did you mean " + near[0] + "? " + hint
	}
	p.addf(kv.line, hint, "unknown key %q in %s", clip(kv.key), what)
}
