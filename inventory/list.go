package inventory

import (
	"regexp"
	"slices"
	"strings"
)

// plainList reads a plain list: one [user@]host[:port] per line, ranges allowed, an
// IPv6 address in brackets when a port follows, # begins a comment. The node/
// that kubectl get nodes -o name puts before a name is dropped.
func (p *parser) plainList(text string) []Host {
	var hosts []Host
	number := 0
	for line := range strings.Lines(text) {
		number++
		words := strings.Fields(withoutComment(line))
		if len(words) == 0 {
			continue
		}
		if msg, hint := foreignFormat(words); msg != "" {
			p.addf(number, hint, "%s", msg)
			return nil
		}
		if len(words) > 1 {
			p.addf(number, wordsHint(words), "a line of a plain list holds one host, but this has %d words", len(words))
			continue
		}
		hosts = append(hosts, p.listed(strings.TrimPrefix(words[0], "node/"), number)...)
		if len(hosts) > MaxHosts {
			p.addf(number, "split the inventory", "the inventory names more than %d hosts", MaxHosts)
			return nil
		}
	}
	return hosts
}

// withoutComment cuts a line at a # that begins it or follows a space.
func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

var iniSection = regexp.MustCompile(`^\[[A-Za-z_][\w.-]*(:\w+)?\]$`)

// foreignFormat recognises a line of a format that is not a plain list, and
// tells what to do about it.
func foreignFormat(words []string) (msg, hint string) {
	section := len(words) == 1 && iniSection.MatchString(words[0]) && checkIPv6(strings.Trim(words[0], "[]")) != ""
	variable := slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "ansible_") })
	switch {
	case section || variable:
		return "this is an Ansible inventory in INI format, which is not read", "convert it: ansible-inventory -i FILE --list --yaml"
	case len(words) > 1 && words[0] == "NAME" && words[1] == "STATUS":
		return "this is a table of kubectl, which lacks the addresses", "pipe kubectl get nodes -o json instead"
	}
	return "", ""
}

// wordsHint tells what to do about a line with several words.
func wordsHint(words []string) string {
	if netipValid(words[0]) {
		return "an address and a name together are written in YAML, as address: and name:"
	}
	return "write one [user@]host[:port] to a line, or YAML"
}

// listed makes the hosts of one line.
func (p *parser) listed(word string, line int) []Host {
	t, problem := splitTarget(word)
	if problem != "" {
		p.addf(line, "write [user@]host[:port], an IPv6 address in brackets", "%q %s", clip(word), problem)
		return nil
	}
	names, ok := p.expand(t.host, line, "host")
	if !ok {
		return nil
	}
	port, _ := parsePort(t.port)
	hosts := make([]Host, len(names))
	for i, name := range names {
		hosts[i] = Host{Name: name, Address: name, User: t.user, Port: port, Position: Position{p.file, line}}
	}
	return hosts
}
