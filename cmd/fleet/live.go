package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/configz"
	"fleet/inventory"
)

// clusterFlags is how the cluster's API server is reached.
type clusterFlags struct {
	kubeconfig string
	context    string
	apiURL     string

	cmd    *cobra.Command
	client *configz.Client
}

func (c *clusterFlags) flags(cmd *cobra.Command) {
	c.cmd = cmd
	f := cmd.Flags()
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "reach the cluster's API server by this kubeconfig `FILE`; \"\" for kubectl's own ($KUBECONFIG, ~/.kube/config)")
	f.StringVar(&c.context, "context", "", "`CONTEXT` of the kubeconfig")
	f.StringVar(&c.apiURL, "api-url", "", "reach the API server by a running kubectl proxy, `URL` as http://localhost:8001")
	_ = cmd.MarkFlagFilename("kubeconfig")
}

// given tells whether the command line names an API server, be it by an empty
// --kubeconfig, which is kubectl's own.
func (c *clusterFlags) given() bool {
	return slices.ContainsFunc([]string{"kubeconfig", "context", "api-url"}, c.cmd.Flags().Changed)
}

// open reads the kubeconfig, once. It contacts nothing.
func (c *clusterFlags) open() (*configz.Client, error) {
	if c.client != nil {
		return c.client, nil
	}
	if c.apiURL != "" && (c.context != "" || c.kubeconfig != "") {
		return nil, usageError{errors.New("--api-url names the API server already; leave --kubeconfig and --context out")}
	}
	if c.apiURL == "" && c.cmd.Flags().Changed("api-url") {
		return nil, usageError{errors.New("--api-url is empty; write it as http://localhost:8001")}
	}
	client, err := configz.New(configz.Options{Kubeconfig: c.kubeconfig, Context: c.context, APIURL: c.apiURL, Version: versionText()})
	if err != nil {
		return nil, usageError{err}
	}
	c.client = client
	return client, nil
}

// clusterInventory is how the command line names the cluster itself as the
// inventory, alone or with a label selector behind a colon.
const clusterInventory = "cluster"

// clusterSelector takes the label selector out of the name of an inventory,
// and tells whether the name is the cluster's at all. A file of that name is
// written ./cluster.
func clusterSelector(name string) (selector string, ok bool) {
	word, selector, _ := strings.Cut(name, ":")
	return selector, word == clusterInventory
}

// inventory lists the cluster's nodes and reads them as kubectl get nodes -o
// json | fleet -i - would.
func (c *clusterFlags) inventory(name, selector string) (*inventory.Inventory, error) {
	client, err := c.open()
	if err != nil {
		return nil, err
	}
	data, err := client.List(context.Background(), selector) // its requests have their own limits
	if err != nil {
		return nil, fmt.Errorf("cannot list the cluster's nodes: %w%s", err, hintOf(err))
	}
	inv, err := inventory.Parse(name, data)
	if err != nil {
		return nil, err
	}
	for i := range inv.Hosts {
		inv.Hosts[i].Position.Line = 0 // the list has no lines that anybody sees
	}
	return inv, nil
}

// hintOf gives the catalogue's next step for an error with a code.
func hintOf(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		if _, hint := audit.Explain(coded.Code()); hint != "" {
			return " (" + hint + ")"
		}
	}
	return ""
}

// askLive hears the third witness. It never fails: why there is no value is a
// part of the answer. No client is nobody to ask.
func askLive(ctx context.Context, client *configz.Client, id configz.Identity) *audit.Live {
	if client == nil {
		return nil
	}
	r, err := client.Read(ctx, id, audit.MakeIPTablesUtilChains.Setting)
	live := &audit.Live{Value: r.Value, Path: r.Path, Node: audit.Node{
		Hostname: r.Node.Name, OS: r.Node.OS, BootID: r.Node.BootID, KubeletVersion: r.Node.KubeletVersion,
	}}
	var e *configz.Error
	switch {
	case errors.As(err, &e):
		live.Value, live.Reason, live.Problem = nil, e.Code(), audit.Mask(e.Msg)
	case err != nil:
		live.Value, live.Reason, live.Problem = nil, string(configz.CodeNetwork), audit.Mask(err.Error())
	case !onAddress(id, r.Node):
		live.Note = fmt.Sprintf("the node %s has the addresses %s, the inventory says %s: make sure that they are one machine",
			r.Node.Name, strings.Join(r.Node.Addresses, ", "), id.Address)
	}
	return live
}

// onAddress tells whether a node has the inventory's address, as far as that
// can be told: an id of the machine says more, and a name may resolve to
// anything.
func onAddress(id configz.Identity, n configz.Node) bool {
	return id.BootID != "" || net.ParseIP(id.Address) == nil || len(n.Addresses) == 0 || slices.Contains(n.Addresses, id.Address)
}

// identityOf is what a node is looked up and recognised by, after it was
// reached over SSH.
func identityOf(f audit.Facts) configz.Identity {
	return configz.Identity{Names: f.NodeNames(), BootID: f.BootID, MachineID: f.Machine}
}

// liveHost judges a host by its live configuration alone. It is found by the
// name in the inventory, else by the address.
func liveHost(ctx context.Context, client *configz.Client, h inventory.Host) (audit.Finding, error) {
	if finding, ok := audit.Exempt(h.Labels); ok {
		return finding, nil
	}
	short, _, _ := strings.Cut(h.Name, ".")
	live := askLive(ctx, client, configz.Identity{Names: []string{h.Name, short}, Address: h.Address})
	if errors.Is(ctx.Err(), context.Canceled) {
		return audit.Finding{}, ctx.Err() // the runner words it
	}
	return audit.MakeIPTablesUtilChains.JudgeLive(*live), nil
}
