package inventory

import (
	"fmt"
	"slices"
	"strings"
)

// maxGlobWork bounds the comparisons of globs with names, some seconds' work.
const maxGlobWork = 20_000_000

// record is a host of fleet's own format while its entries are put together.
type record struct {
	name     string
	line     int // of the description, or else of the first mention
	own      layer
	ownLine  int // of the description, 0 when there is none
	listLine int // of the mention in the top-level hosts, 0 when there is none
	address  setting
	groups   []membership
	listed   int // how many of the groups list the host; globs added the rest
}

// membership is a group of a host and the line that put it there.
type membership struct{ group, line int }

// records keeps the hosts in the order of their first mention.
type records struct {
	list  []*record
	index map[string]*record // by lower-case name
}

func (r *records) get(name string, line int) *record {
	key := strings.ToLower(name)
	if have := r.index[key]; have != nil {
		return have
	}
	rec := &record{name: name, line: line}
	r.index[key] = rec
	r.list = append(r.list, rec)
	return rec
}

// resolve puts the entries of a file together to hosts. A host may be named in
// the top-level hosts once and in any number of groups, and described in one
// of these places.
func (p *parser) resolve(f *fleetFile) []Host {
	all := &records{index: map[string]*record{}}
	for _, e := range f.entries {
		if e.glob {
			continue
		}
		if len(all.list) > MaxHosts {
			p.addf(e.line, "split the inventory", "the inventory names more than %d hosts", MaxHosts)
			return nil
		}
		if p.more > 0 {
			return nil // more errors than anyone mends at once
		}
		for i, name := range e.names {
			rec := all.get(name, e.line)
			if p.mention(rec, e) {
				p.describe(rec, e, i)
			}
		}
	}
	if !p.globs(f, all) {
		return nil
	}
	hosts := make([]Host, 0, len(all.list))
	for _, rec := range all.list {
		hosts = append(hosts, p.host(f, rec))
	}
	return hosts
}

// mention notes that an entry names a host; false when its list does already.
func (p *parser) mention(rec *record, e entry) bool {
	if e.group < 0 {
		if rec.listLine > 0 {
			p.addf(e.line, fmt.Sprintf("the first stands on line %d", rec.listLine), "the host %q is listed twice", rec.name)
			return false
		}
		rec.listLine = e.line
		return true
	}
	// The entries of a group follow one another, so it can only be the last.
	if n := len(rec.groups); n > 0 && rec.groups[n-1].group == e.group {
		p.addf(e.line, fmt.Sprintf("the first stands on line %d", rec.groups[n-1].line), "the host %q is listed twice in its group", rec.name)
		return false
	}
	rec.groups = append(rec.groups, membership{e.group, e.line})
	return true
}

// describe gives a host what its entry says of it.
func (p *parser) describe(rec *record, e entry, i int) {
	if !e.described {
		return
	}
	if rec.ownLine > 0 {
		p.addf(e.line, "keep one of them; elsewhere its bare name is enough", "the host %q is described twice, first on line %d", rec.name, rec.ownLine)
		return
	}
	rec.name, rec.line = e.names[i], e.line
	rec.own, rec.ownLine = e.settings, e.line
	if e.addresses != nil {
		rec.address = setting{text: e.addresses[i], line: e.addressAt}
	}
}

// globs puts the hosts that the globs of the groups choose into their groups.
// It reports false when it gives up.
func (p *parser) globs(f *fleetFile, all *records) bool {
	for _, rec := range all.list {
		rec.listed = len(rec.groups)
	}
	work := 0
	for _, e := range f.entries {
		if !e.glob {
			continue
		}
		match, err := newGlob(e.names[0])
		if work += len(match) * len(all.list); work > p.max.globWork {
			p.addf(e.line, "", "the inventory has too many globs for its %d hosts", len(all.list))
			return false
		}
		if err != nil {
			p.addf(e.line, "", "%v", err)
			continue
		}
		found := false
		for _, rec := range all.list {
			if match.any(rec.name) {
				found = true
				rec.join(membership{e.group, e.line})
			}
		}
		if !found {
			p.addf(e.line, "a glob chooses among hosts written elsewhere in the inventory", "the glob %q matches no host", clip(e.names[0]))
		}
	}
	return true
}

// join puts a host into a group by a glob, unless it is there. The groups that
// list the host ascend, and so do those that globs have added after them.
func (r *record) join(m membership) {
	_, listed := slices.BinarySearchFunc(r.groups[:r.listed], m.group, func(have membership, group int) int { return have.group - group })
	if n := len(r.groups); listed || n > 0 && r.groups[n-1].group == m.group {
		return
	}
	r.groups = append(r.groups, m)
}

// host merges the layers of a host: its own, then its groups', then the
// defaults.
func (p *parser) host(f *fleetFile, rec *record) Host {
	merged := p.groupSettings(f, rec).over(f.defaults)
	merged = rec.own.over(merged)
	if rec.address.text != "" {
		merged[keyAddress] = rec.address
	}
	h := merged.host(rec.name, Position{p.file, rec.line})
	for _, m := range rec.groups {
		h.Groups = append(h.Groups, f.groups[m.group].name)
	}
	slices.Sort(h.Groups)
	return h
}

// groupSettings merges what the groups of a host set. Groups have no order, so
// two that differ are a fault unless the host decides.
func (p *parser) groupSettings(f *fleetFile, rec *record) layer {
	out := layer{}
	from := map[string]string{}
	for _, m := range rec.groups {
		g := f.groups[m.group]
		for key, s := range g.settings {
			if _, own := rec.own[key]; own {
				continue
			}
			first, set := out[key]
			if set && !first.equal(s) {
				a, b := first, s
				ga, gb := from[key], g.name
				if a.line > b.line {
					a, b, ga, gb = b, a, gb, ga
				}
				p.addf(b.line, fmt.Sprintf("%s, line %d, is in both; set it for the host itself", rec.name, rec.line),
					"the groups %q (line %d) and %q set %s differently", ga, a.line, gb, key)
				continue
			}
			if !set {
				out[key], from[key] = s, g.name
			}
		}
	}
	return out
}

// checkHosts makes the checks that all formats share.
func (p *parser) checkHosts(inv *Inventory) {
	switch {
	case len(inv.Hosts) == 0 && !p.any():
		p.addf(0, "name at least one host", "the inventory has no hosts")
	case len(inv.Hosts) > MaxHosts:
		p.addf(0, "split the inventory", "the inventory names more than %d hosts", MaxHosts)
	default:
		p.checkNames(inv)
	}
	if !p.any() { // a jump host that could not be read might tell two hosts apart
		p.checkAddresses(inv.Hosts)
	}
}

// checkNames refuses a name that means two things.
func (p *parser) checkNames(inv *Inventory) {
	first := make(map[string]Position, len(inv.Hosts))
	for _, h := range inv.Hosts {
		key := strings.ToLower(h.Name)
		if at, dup := first[key]; dup {
			p.addf(h.Position.Line, "each host needs a name of its own", "the host %q is listed twice, first on line %d", h.Name, at.Line)
			continue
		}
		first[key] = h.Position
	}
	for _, g := range inv.GroupNames() {
		if at, clash := first[strings.ToLower(g)]; clash {
			p.addf(at.Line, "rename one of them, or --limit could mean either", "%q is the name of a host and of a group", g)
		}
	}
}

// endpoint is what makes two hosts the same machine to connect to. The jump
// host belongs to it, because private networks behind different jump hosts
// reuse addresses: every AKS cluster starts at 10.224.0.4 by default.
type endpoint struct {
	address, jump string
	port          int
}

// checkAddresses refuses one address under two names: one machine would be
// counted, and changed, twice.
func (p *parser) checkAddresses(hosts []Host) {
	first := make(map[endpoint]*Host, len(hosts))
	for i := range hosts {
		h := &hosts[i]
		e := endpoint{canonicalAddress(h.Address), h.Jump, h.Port}
		if e.port == 0 {
			e.port = 22
		}
		other := first[e]
		if other == nil {
			first[e] = h
			continue
		}
		if strings.EqualFold(other.Name, h.Name) {
			continue // said already
		}
		p.addf(h.addressLine(), "keep one of the two names, or give each machine its own address",
			"%q and %q (line %d) have the same address %s", h.Name, other.Name, other.addressLine(), h.Address)
	}
}

func (h *Host) addressLine() int {
	if at, ok := h.Origins[keyAddress]; ok {
		return at.Line
	}
	return h.Position.Line
}
