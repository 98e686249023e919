package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"
)

// The labels that carry the agent pool of a node. The first is the current
// one; the second is deprecated but still on older node images
// (learn.microsoft.com, "Use labels in an AKS cluster", reserved labels).
const (
	labelPool       = "kubernetes.azure.com/agentpool"
	labelPoolLegacy = "agentpool"
)

// kubeNode is what is read of a Node (core/v1).
type kubeNode struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Status struct {
		Addresses []kubeAddress `json:"addresses"`
	} `json:"status"`

	line int
}

type kubeAddress struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// address is the one to dial: the first InternalIP, which is of the node's
// primary address family; without one the Hostname, then the first
// ExternalIP, then the node's name.
func (n *kubeNode) address() string {
	for _, kind := range []string{"InternalIP", "Hostname", "ExternalIP"} {
		for _, a := range n.Status.Addresses {
			if a.Type == kind && a.Address != "" {
				return a.Address
			}
		}
	}
	return n.Metadata.Name
}

// kubeHosts makes hosts of nodes: the name, the address, every label, and the
// agent pool as the label agentpool and as a group.
func (p *parser) kubeHosts(nodes []kubeNode) []Host {
	if len(nodes) == 0 {
		p.addf(0, "see kubectl config current-context, and the selector if one was given", "the list of nodes is empty")
	}
	hosts := make([]Host, 0, len(nodes))
	for i := range nodes {
		if h, ok := p.kubeHost(&nodes[i]); ok {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func (p *parser) kubeHost(n *kubeNode) (Host, bool) {
	name, address := n.Metadata.Name, n.address()
	for _, s := range []string{name, address} {
		if problem := checkHost(s); problem != "" {
			p.addf(n.line, "", "the node %q has the name or address %q, which %s", clip(name), clip(s), problem)
			return Host{}, false
		}
	}
	if len(n.Metadata.Labels) > maxLabels {
		p.addf(n.line, "", "the node %q has more than %d labels", name, maxLabels)
		return Host{}, false
	}
	for k, v := range n.Metadata.Labels {
		if checkLabelKey(k) != "" || checkPrintable(v) != "" {
			p.addf(n.line, "", "the node %q has the label %q, which is malformed", name, clip(k))
			return Host{}, false
		}
	}
	h := Host{Name: name, Address: address, Position: Position{p.file, n.line}}
	h.Labels = maps.Clone(n.Metadata.Labels)
	pool := h.Labels[labelPool]
	if pool == "" {
		pool = h.Labels[labelPoolLegacy]
	}
	if pool == "" {
		return h, true
	}
	if problem := checkGroup(pool); problem != "" {
		p.addf(n.line, "", "the node %q has the agent pool %q, which %s", name, clip(pool), problem)
		return Host{}, false
	}
	h.Labels[labelPoolLegacy] = pool
	h.Groups = []string{pool}
	return h, true
}

// kindFault says why an object that is not a Node cannot be an inventory.
func (p *parser) kindFault(line int, kind string) {
	if kind == "Config" {
		p.addf(line, "give it with --kubeconfig; the inventory is what kubectl get nodes -o json prints", "this is a kubeconfig, not an inventory")
		return
	}
	p.addf(line, "pipe kubectl get nodes -o json", "a Kubernetes inventory is a list of nodes, but this is of kind %q", clip(kind))
}

// kubeDocument is a Kubernetes document while it is read.
type kubeDocument struct {
	kubeNode // the document itself, when it is a Node
	hasItems bool
	items    []kubeNode
}

// nodes checks the kinds and gives the nodes of a document.
func (p *parser) nodes(d *kubeDocument) []kubeNode {
	switch {
	case d.Kind == "Node":
		return []kubeNode{d.kubeNode}
	case d.Kind != "List" && d.Kind != "NodeList" || !d.hasItems:
		p.kindFault(d.line, d.Kind)
		return nil
	}
	for _, n := range d.items {
		// The items of a NodeList may leave their kind out.
		if n.Kind != "Node" && (n.Kind != "" || d.Kind == "List") {
			p.kindFault(n.line, n.Kind)
			return nil
		}
	}
	return d.items
}

// errNotKubernetes says that a JSON text is some other format's.
var errNotKubernetes = errors.New("not a Kubernetes document")

// kubernetesJSON reads a Kubernetes document in JSON, node by node, since that
// of a large cluster is some 100 MB. It reports false, and no fault, when the
// text is not one.
func (p *parser) kubernetesJSON(text []byte) ([]Host, bool) {
	r := &kubeReader{text: text, dec: json.NewDecoder(bytes.NewReader(text))}
	d, err := r.read()
	switch {
	case errors.Is(err, errNotKubernetes):
		return nil, false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		p.addf(r.lineOf(len(text)), "run kubectl get nodes -o json again", "the JSON ends in the middle")
		return nil, true
	case err != nil:
		p.addf(r.lineOf(int(r.dec.InputOffset())), "", "cannot read this as a list of Kubernetes nodes: %v", err)
		return nil, true
	}
	nodes := p.nodes(d)
	if p.any() {
		return nil, true
	}
	return p.kubeHosts(nodes), true
}

// kubeReader reads a JSON document token by token and knows its lines.
type kubeReader struct {
	text []byte
	dec  *json.Decoder
	seen bool // something only a Kubernetes document has

	offset, line int // how far lines are counted
}

// lineOf is the line of an offset; offsets must not decrease.
func (r *kubeReader) lineOf(offset int) int {
	offset = min(max(offset, r.offset), len(r.text))
	r.line += bytes.Count(r.text[r.offset:offset], []byte("\n"))
	r.offset = offset
	return r.line + 1
}

// read reads the whole document. An error before anything of Kubernetes was
// seen is errNotKubernetes.
func (r *kubeReader) read() (*kubeDocument, error) {
	d, err := r.document()
	if err == nil && r.seen {
		if _, err = r.dec.Token(); err == io.EOF {
			return d, nil
		}
		err = errors.New("there is more text after its end")
	}
	if !r.seen {
		return nil, errNotKubernetes
	}
	return nil, err
}

func (r *kubeReader) document() (*kubeDocument, error) {
	d := &kubeDocument{}
	d.line = r.lineOf(bytes.IndexByte(r.text, '{'))
	if _, err := r.dec.Token(); err != nil {
		return nil, err
	}
	for r.dec.More() {
		key, err := r.dec.Token()
		if err != nil {
			return nil, err
		}
		if err := r.value(d, key); err != nil {
			return nil, err
		}
	}
	_, err := r.dec.Token()
	return d, err
}

// value reads the value of a top-level key.
func (r *kubeReader) value(d *kubeDocument, key json.Token) error {
	switch key {
	case "apiVersion":
		r.seen = true
	case "kind":
		r.seen = true
		return r.dec.Decode(&d.Kind)
	case "metadata":
		return r.dec.Decode(&d.Metadata)
	case "status":
		return r.dec.Decode(&d.Status)
	case "items":
		r.seen, d.hasItems = true, true
		return r.items(d)
	}
	var ignored skip
	return r.dec.Decode(&ignored)
}

func (r *kubeReader) items(d *kubeDocument) error {
	open, err := r.dec.Token()
	if err != nil || open == nil {
		return err
	}
	if open != json.Delim('[') {
		return errors.New("items is not a list")
	}
	for r.dec.More() {
		var n kubeNode
		start := int(r.dec.InputOffset())
		if err := r.dec.Decode(&n); err != nil {
			return err
		}
		start += max(0, bytes.IndexByte(r.text[start:], '{'))
		n.line = r.lineOf(start)
		if len(d.items) > MaxHosts {
			return fmt.Errorf("there are more than %d nodes", MaxHosts)
		}
		d.items = append(d.items, n)
	}
	_, err = r.dec.Token()
	return err
}

// skip decodes from any JSON value and keeps nothing.
type skip struct{}

func (*skip) UnmarshalJSON([]byte) error { return nil }

// kubernetesYAML reads a Kubernetes document in YAML.
func (p *parser) kubernetesYAML(top *yaml.Node) []Host {
	d := &kubeDocument{}
	d.kubeNode = p.kubeNode(top)
	if items := p.child(top, "items"); items != nil && items.Kind == yaml.SequenceNode {
		d.hasItems = true
		for _, item := range items.Content {
			d.items = append(d.items, p.kubeNode(follow(item)))
		}
	}
	nodes := p.nodes(d)
	if p.any() {
		return nil
	}
	return p.kubeHosts(nodes)
}

// fields lists a mapping of a Kubernetes object. A null stands for a field
// that is not there, as in the API.
func (p *parser) fields(n *yaml.Node, what string) []pair {
	if isNull(n) {
		return nil
	}
	return slices.DeleteFunc(p.pairs(n, what), func(kv pair) bool { return isNull(kv.value) })
}

// child gives the value of a field, nil when it is not there.
func (p *parser) child(n *yaml.Node, key string) *yaml.Node {
	for _, kv := range p.fields(n, "a Kubernetes object") {
		if kv.key == key {
			return kv.value
		}
	}
	return nil
}

func (p *parser) kubeNode(n *yaml.Node) kubeNode {
	out := kubeNode{line: n.Line}
	for _, kv := range p.fields(n, "a Kubernetes object") {
		switch kv.key {
		case "kind":
			out.Kind, _ = p.text(kv.value, "kind")
		case "metadata":
			p.kubeMetadata(&out, kv.value)
		case "status":
			p.kubeStatus(&out, kv.value)
		}
	}
	return out
}

func (p *parser) kubeMetadata(out *kubeNode, n *yaml.Node) {
	for _, kv := range p.fields(n, "metadata") {
		switch kv.key {
		case "name":
			out.Metadata.Name, _ = p.text(kv.value, "metadata.name")
			out.line = kv.line
		case "labels":
			out.Metadata.Labels = map[string]string{}
			for _, l := range p.fields(kv.value, "metadata.labels") {
				if s, ok := p.text(l.value, "the label "+clip(l.key)); ok {
					out.Metadata.Labels[l.key] = s
				}
			}
		}
	}
}

func (p *parser) kubeStatus(out *kubeNode, n *yaml.Node) {
	addresses := p.child(n, "addresses")
	if addresses == nil || addresses.Kind != yaml.SequenceNode {
		return
	}
	for _, item := range addresses.Content {
		var a kubeAddress
		for _, kv := range p.fields(follow(item), "an address") {
			switch kv.key {
			case "type":
				a.Type, _ = p.text(kv.value, "type")
			case "address":
				a.Address, _ = p.text(kv.value, "address")
			}
		}
		out.Status.Addresses = append(out.Status.Addresses, a)
	}
}
