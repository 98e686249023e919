package configz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// labelHostname is the label with the host's own name, which the node's name
// usually is, but with --hostname-override need not be.
const labelHostname = "kubernetes.io/hostname"

// Identity is what is known of a host, to find its Node object and to make
// sure that it is the same machine.
type Identity struct {
	// Names are what the node may be called, the best first.
	Names []string
	// Address is where the host is reached. It finds a node whose name is
	// none of Names when there are no ids, and proves nothing.
	Address string
	// BootID and MachineID are the host's own (/proc/sys/kernel/random/boot_id,
	// /etc/machine-id); both "" when nobody asked the host.
	BootID, MachineID string
}

// known tells whether there is something to compare a Node with.
func (id Identity) known() bool { return id.BootID != "" || id.MachineID != "" }

// Node is the Node object of a host.
type Node struct {
	Name           string
	KubeletVersion string
	OS             string // osImage, as PRETTY_NAME of os-release
	BootID         string
	Addresses      []string
}

// node is what is read of a Node (core/v1).
type node struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Reason  string `json:"reason"`
			Message string `json:"message"`

			LastHeartbeatTime time.Time `json:"lastHeartbeatTime"`
		} `json:"conditions"`
		Info struct {
			BootID         string `json:"bootID"`
			MachineID      string `json:"machineID"`
			OSImage        string `json:"osImage"`
			KubeletVersion string `json:"kubeletVersion"`
		} `json:"nodeInfo"`
	} `json:"status"`
}

func (n *node) public() Node {
	out := Node{Name: n.Metadata.Name, KubeletVersion: n.Status.Info.KubeletVersion, OS: n.Status.Info.OSImage, BootID: n.Status.Info.BootID}
	for _, a := range n.Status.Addresses {
		out.Addresses = append(out.Addresses, a.Address)
	}
	return out
}

// Find gives the Node object of a host: the one of its name, else the one with
// its boot id, host name or address in the list of all. Where the host's ids
// are known they must agree. The error is an *Error.
func (c *Client) Find(ctx context.Context, id Identity) (Node, error) {
	names := nodeNames(id.Names)
	for _, name := range names {
		n, err := c.node(ctx, name)
		var e *Error
		if errors.As(err, &e) && e.Reason == CodeNoNode {
			continue
		}
		if err != nil {
			return Node{}, err
		}
		return c.sameMachine(n, id)
	}
	all, err := c.list(ctx)
	if err != nil {
		return Node{}, c.notFound(names, err)
	}
	found := search(all, names, id)
	switch len(found) {
	case 0:
		return Node{}, c.notFound(names, nil)
	case 1:
		return c.sameMachine(found[0], id)
	}
	return Node{}, fault(CodeSeveralNodes, "%s has %d nodes that may be this host: %s, %s",
		c.name, len(found), found[0].Metadata.Name, found[1].Metadata.Name)
}

// nodeNames leaves out what can be no node's name: the host said it, and it is
// going to be a part of a URL. A kubelet calls its node by the host's name in
// lower case (k8s.io/kubernetes/pkg/util/node.GetHostname).
func nodeNames(names []string) []string {
	var out []string
	for _, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		if len(validation.IsDNS1123Subdomain(name)) == 0 && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// search finds the nodes that may be the host: those with its boot id, else
// its host name, else its address. The ids win, because they are the machine's
// own.
func search(all []node, names []string, id Identity) []*node {
	for _, is := range []func(*node) bool{
		func(n *node) bool { return id.BootID != "" && strings.EqualFold(n.Status.Info.BootID, id.BootID) },
		func(n *node) bool { return slices.Contains(names, strings.ToLower(n.Metadata.Labels[labelHostname])) },
		func(n *node) bool { return id.Address != "" && slices.Contains(n.public().Addresses, id.Address) },
	} {
		var found []*node
		for i := range all {
			if is(&all[i]) {
				found = append(found, &all[i])
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

func (c *Client) notFound(names []string, err error) *Error {
	text := "no name of the host can be a node's"
	if len(names) > 0 {
		text = fmt.Sprintf("%s has no node %s", c.name, strings.Join(names, " or "))
	}
	var e *Error
	if errors.As(err, &e) && e.Reason != CodeForbidden {
		return e
	}
	if err != nil {
		text += ", and does not let this account list nodes to look for another name"
	}
	return fault(CodeNoNode, "%s", text)
}

// sameMachine holds the ids of a Node against the host's. A boot id that both
// have decides: a Node with another one is another machine of that name, in
// another cluster for one, or has not been brought up to date since a reboot;
// in both cases what its kubelet says is no evidence of this host.
func (c *Client) sameMachine(n *node, id Identity) (Node, error) {
	if !id.known() {
		return n.public(), nil
	}
	info := n.Status.Info
	for _, pair := range []struct{ what, node, host string }{
		{"boot id", info.BootID, id.BootID},
		{"machine id", info.MachineID, id.MachineID},
	} {
		switch {
		case pair.node == "" || pair.host == "":
			continue
		case strings.EqualFold(pair.node, pair.host):
			return n.public(), nil
		}
		return Node{}, fault(CodeMismatch, "the node %s of %s has the %s %s, the host has %s",
			n.Metadata.Name, c.name, pair.what, pair.node, pair.host)
	}
	return Node{}, fault(CodeUnverified, "the node %s of %s and the host have no id in common that could be compared", n.Metadata.Name, c.name)
}

// Ready tells whether the cluster calls the node Ready, and if not, in its
// words, why. The kubelet has to have said so since its start, which is a time by
// the node's own clock and zero for whenever: the cluster repeats the last word of
// a kubelet that fell silent for some 40 seconds (--node-monitor-grace-period).
func (c *Client) Ready(ctx context.Context, name string, started time.Time) (bool, string, error) {
	n, err := c.node(ctx, name)
	if err != nil {
		return false, "", err
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type != "Ready" {
			continue
		}
		why := oneLine(c.mask(condition.Reason + ": " + condition.Message))
		if condition.Status != "True" || started.IsZero() || since(condition.LastHeartbeatTime, started) {
			return condition.Status == "True", why, nil
		}
		alive, err := c.renewed(ctx, name, started)
		if err == nil && !alive {
			why = "the kubelet has not reported to the API server since its start"
		}
		return alive, why, err
	}
	return false, "the node has no condition Ready", nil
}

// since compares a time of the API with one of the node, of which one or the
// other may have whole seconds only.
func since(t, start time.Time) bool { return !t.Before(start.Add(-time.Second)) }

// renewed tells whether the kubelet has renewed its lease since its start: it
// does so at once and every 10 seconds, while a status that did not change is
// reported again after 5 minutes only (KEP-589). Where there is no lease, or it
// may not be read, nothing speaks against the node.
func (c *Client) renewed(ctx context.Context, name string, started time.Time) (bool, error) {
	body, err := c.get(ctx, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"+name, nil, nodeLimit)
	var e *Error
	if errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
		return true, nil
	}
	var lease struct {
		Spec struct {
			RenewTime time.Time `json:"renewTime"`
		} `json:"spec"`
	}
	if err == nil {
		err = decode(body, &lease)
	}
	return err == nil && since(lease.Spec.RenewTime, started), err
}

func (c *Client) node(ctx context.Context, name string) (*node, error) {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return nil, fault(CodeNoNode, "%q can be no node's name", name)
	}
	body, err := c.get(ctx, "/api/v1/nodes/"+name, nil, nodeLimit)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return nil, &Error{Reason: CodeNoNode, Status: e.Status, Msg: e.Msg}
	}
	if err != nil {
		return nil, err
	}
	n := &node{}
	if err := decode(body, n); err != nil {
		return nil, err
	}
	if n.Kind != "Node" || n.Metadata.Name != name {
		return nil, fault(CodeUndecodable, "%s answers with a %q named %q instead of the node %s", c.name, n.Kind, n.Metadata.Name, name)
	}
	return n, nil
}

// decode reads an answer that must be one JSON text.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	switch {
	case err == nil:
		return nil
	case !json.Valid(body) && unfinished(body):
		return fault(CodeTruncated, "the answer ends in the middle")
	}
	return fault(CodeUndecodable, "the answer is not what was asked for: %v", err)
}

// unfinished tells a JSON text that ends too soon from one with a fault.
func unfinished(body []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		if _, err := dec.Token(); err != nil {
			var syntax *json.SyntaxError
			return !errors.As(err, &syntax)
		}
	}
}

// pageSize is how many nodes are asked for at a time.
const pageSize = "500"

// listLimit bounds the list of nodes, in bytes: a node of a busy cluster is
// some 20 KB, and AKS has at most 5,000 of them.
const listLimit = 256 << 20

// List gives the cluster's nodes that match a label selector, "" for all, as
// kubectl get nodes -o json prints them.
func (c *Client) List(ctx context.Context, selector string) ([]byte, error) {
	items := []json.RawMessage{}
	query := url.Values{"limit": {pageSize}}
	if selector != "" {
		query.Set("labelSelector", selector)
	}
	for total := 0; ; {
		body, err := c.get(ctx, "/api/v1/nodes", query, int64(listLimit-total))
		if err != nil {
			return nil, err
		}
		total += len(body)
		var page struct {
			Kind     string
			Metadata struct{ Continue string }
			Items    []json.RawMessage
		}
		if err := decode(body, &page); err != nil {
			return nil, err
		}
		if page.Kind != "NodeList" {
			return nil, fault(CodeUndecodable, "%s answers with a %q instead of a list of nodes", c.name, page.Kind)
		}
		items = append(items, page.Items...)
		if page.Metadata.Continue == "" || total >= listLimit {
			return json.Marshal(map[string]any{"apiVersion": "v1", "kind": "NodeList", "items": items})
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

// list gives all nodes and asks for them once: whoever needs it needs it for
// many hosts.
func (c *Client) list(ctx context.Context) ([]node, error) {
	c.listing.Lock()
	defer c.listing.Unlock()
	if c.nodes != nil {
		return c.nodes, nil
	}
	data, err := c.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var all struct{ Items []node }
	if err := decode(data, &all); err != nil {
		return nil, err
	}
	c.nodes = append([]node{}, all.Items...)
	return c.nodes, nil
}
