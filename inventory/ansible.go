package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Names of groups that mean nothing to a selection: every host is in all, and
// ungrouped is what is in no other group.
const (
	ansibleAll       = "all"
	ansibleUngrouped = "ungrouped"
)

// ansibleInventory is an Ansible inventory as written.
type ansibleInventory struct {
	groups  map[string]*ansibleGroup
	ordered []*ansibleGroup // in the order of the file
	hosts   []*ansibleHost  // in the order of the file
	byName  map[string]*ansibleHost
}

type ansibleGroup struct {
	name     string
	line     int
	parents  []*ansibleGroup
	vars     ansibleVars
	depth    int // longest way from all; -1 while it is being found, 0 before
	priority int // ansible_group_priority, by default 1
}

type ansibleHost struct {
	name   string
	line   int
	vars   ansibleVars
	groups []*ansibleGroup
}

// ansibleVars are variables by name, with the line and the raw value.
type ansibleVars map[string]pair

// looksLikeAnsibleGroup reports whether a top-level value is a group: a
// mapping of hosts, children and vars.
func looksLikeAnsibleGroup(n *yaml.Node) bool {
	n = follow(n)
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !slices.Contains(ansibleSections, n.Content[i].Value) {
			return false
		}
	}
	return true
}

var ansibleSections = []string{"hosts", "children", "vars"}

// ansible reads an Ansible YAML inventory: its groups, ranges and the
// variables that say how to connect, merged as Ansible merges them. Other
// scalar variables become labels, except those whose name speaks of a secret.
// A variable that changes how to connect and cannot be honoured is a fault.
func (p *parser) ansible(top *yaml.Node) []Host {
	inv := &ansibleInventory{groups: map[string]*ansibleGroup{}, byName: map[string]*ansibleHost{}}
	all := inv.group(ansibleAll, top.Line)
	for _, kv := range p.pairs(top, "the inventory") {
		switch kv.key {
		case "_meta":
			p.addf(kv.line, "convert it: ansible-inventory -i SOURCE --list --yaml", "this is the JSON of a dynamic Ansible inventory, which is not read")
			return nil
		case "plugin":
			p.addf(kv.line, "convert it: ansible-inventory -i FILE --list --yaml", "this is the configuration of an Ansible inventory plugin, which is not run")
			return nil
		}
		p.ansibleGroup(inv, all, kv)
	}
	if inv.full() {
		p.addf(0, "split the inventory", "the inventory names more than %d hosts", MaxHosts)
		return nil
	}
	if !p.ansibleDepths(inv) {
		return nil
	}
	hosts := make([]Host, 0, len(inv.hosts))
	for _, h := range inv.hosts {
		hosts = append(hosts, p.ansibleHost(h))
	}
	return hosts
}

func (inv *ansibleInventory) group(name string, line int) *ansibleGroup {
	g := inv.groups[name]
	if g == nil {
		g = &ansibleGroup{name: name, line: line, vars: ansibleVars{}, priority: 1}
		inv.groups[name] = g
		inv.ordered = append(inv.ordered, g)
	}
	return g
}

func (inv *ansibleInventory) host(name string, line int) *ansibleHost {
	key := strings.ToLower(name)
	h := inv.byName[key]
	if h == nil {
		h = &ansibleHost{name: name, line: line, vars: ansibleVars{}}
		inv.byName[key] = h
		inv.hosts = append(inv.hosts, h)
	}
	return h
}

// full reports whether the inventory names more hosts than are read.
func (inv *ansibleInventory) full() bool {
	return len(inv.hosts) > MaxHosts
}

// ansibleGroup reads a group and the groups below it. A group may appear in
// several places; what they say adds up.
func (p *parser) ansibleGroup(inv *ansibleInventory, parent *ansibleGroup, kv pair) {
	if problem := checkGroup(kv.key); problem != "" {
		p.addf(kv.line, "", "the group %q %s", clip(kv.key), problem)
		return
	}
	g := inv.group(kv.key, kv.line)
	if g != parent && !slices.Contains(g.parents, parent) {
		g.parents = append(g.parents, parent)
	}
	what := fmt.Sprintf("the group %q", kv.key)
	if isNull(kv.value) {
		return
	}
	for _, section := range p.pairs(kv.value, what) {
		switch section.key {
		case "vars":
			if !isNull(section.value) {
				for _, v := range p.vars(section.value, "vars of "+what) {
					p.groupVar(g, v)
				}
			}
		case "children":
			for _, child := range p.ansibleSection(section.value, "children of "+what) {
				p.ansibleGroup(inv, g, child)
			}
		case "hosts":
			for _, h := range p.ansibleSection(section.value, "hosts of "+what) {
				p.ansibleHosts(inv, g, h)
			}
		default:
			p.unknownKey(section, what, ansibleSections...)
		}
	}
}

// ansibleSection lists a mapping of an inventory. Nothing at all is an empty
// mapping, and a single name is a mapping with that key, as in Ansible's own
// inventory plugin (lib/ansible/plugins/inventory/yaml.py, _parse_group).
func (p *parser) ansibleSection(n *yaml.Node, what string) []pair {
	n = follow(n)
	switch {
	case isNull(n):
		return nil
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str":
		return []pair{{key: n.Value, line: n.Line, value: &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line}}}
	}
	return p.pairs(n, what)
}

// vars lists the variables of one place.
func (p *parser) vars(n *yaml.Node, what string) []pair {
	vars := p.pairs(n, what)
	if len(vars) > maxLabels {
		p.addf(n.Line, "", "%s has more than %d variables", what, maxLabels)
		return nil
	}
	return vars
}

func (p *parser) groupVar(g *ansibleGroup, v pair) {
	if v.key != "ansible_group_priority" {
		g.vars[v.key] = v
		return
	}
	n, err := strconv.Atoi(v.value.Value)
	if err != nil {
		p.addf(v.line, "", "ansible_group_priority must be a number, but is %q", clip(v.value.Value))
		return
	}
	g.priority = n
}

// ansibleHosts reads one key of a hosts section: a name or range, perhaps with
// a port, and its variables.
func (p *parser) ansibleHosts(inv *ansibleInventory, g *ansibleGroup, kv pair) {
	t, problem := splitTarget(kv.key)
	if problem == "" && t.user != "" {
		problem = "has a user in it; write ansible_user"
	}
	if problem != "" {
		p.addf(kv.line, "", "the host %q %s", clip(kv.key), problem)
		return
	}
	names, ok := p.expand(t.host, kv.line, "host name")
	if !ok || inv.full() {
		return
	}
	var vars []pair
	if !isNull(kv.value) {
		vars = p.vars(kv.value, fmt.Sprintf("the host %q", clip(kv.key)))
	}
	if t.port != "" {
		port := pair{"ansible_port", kv.line, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: t.port, Line: kv.line}}
		vars = append([]pair{port}, vars...)
	}
	for _, name := range names {
		h := inv.host(name, kv.line)
		if !slices.Contains(h.groups, g) {
			h.groups = append(h.groups, g)
		}
		for _, v := range vars {
			h.vars[v.key] = v
		}
	}
}

// ansibleDepths finds how far each group lies below all, by the longest way,
// and refuses groups that contain themselves.
func (p *parser) ansibleDepths(inv *ansibleInventory) bool {
	for _, g := range inv.ordered {
		if !g.findDepth() {
			p.addf(g.line, "", "the group %q contains itself", g.name)
			return false
		}
	}
	return true
}

// findDepth sets the depth from the parents' depths; false means a cycle.
func (g *ansibleGroup) findDepth() bool {
	if g.depth != 0 || len(g.parents) == 0 {
		return g.depth >= 0
	}
	g.depth = -1
	deepest := 0
	for _, parent := range g.parents {
		if !parent.findDepth() {
			return false
		}
		deepest = max(deepest, parent.depth)
	}
	g.depth = deepest + 1
	return true
}

// lineage lists the groups of a host and all groups above them, weakest first:
// by depth, then priority, then name, the order in which Ansible merges their
// variables (lib/ansible/inventory/helpers.py, sort_groups).
func (h *ansibleHost) lineage() []*ansibleGroup {
	seen := map[*ansibleGroup]bool{}
	queue := slices.Clone(h.groups)
	var out []*ansibleGroup
	for len(queue) > 0 {
		g := queue[0]
		queue = queue[1:]
		if seen[g] {
			continue
		}
		seen[g] = true
		out = append(out, g)
		queue = append(queue, g.parents...)
	}
	slices.SortFunc(out, func(a, b *ansibleGroup) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority), cmp.Compare(a.name, b.name))
	})
	return out
}

// ansibleHost merges the variables of a host and reads them.
func (p *parser) ansibleHost(h *ansibleHost) Host {
	vars := ansibleVars{}
	var groups []string
	for _, g := range h.lineage() {
		maps.Copy(vars, g.vars)
		if g.name != ansibleAll && g.name != ansibleUngrouped {
			groups = append(groups, g.name)
		}
	}
	maps.Copy(vars, h.vars)
	settings := layer{}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		p.ansibleVar(settings, vars[name])
	}
	if len(settings) > maxLabels {
		p.addf(h.line, "", "the host %q has more than %d variables", h.name, maxLabels)
	}
	out := settings.host(h.name, Position{p.file, h.line})
	slices.Sort(groups)
	out.Groups = groups
	return out
}
