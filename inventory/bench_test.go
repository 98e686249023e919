package inventory

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const benchHosts = 5000

// BenchmarkParse reads 5,000 hosts, the most an AKS cluster has, in every
// format. The Kubernetes JSON carries 10 KB of container images per node, as that
// of a busy cluster does.
func BenchmarkParse(b *testing.B) {
	for name, text := range benchInventories(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				inv, err := Parse("bench", text)
				if err != nil {
					b.Fatal(err)
				}
				if len(inv.Hosts) != benchHosts {
					b.Fatalf("%d hosts", len(inv.Hosts))
				}
			}
		})
	}
}

func benchInventories(b *testing.B) map[string][]byte {
	var ours, list, ansible strings.Builder
	ours.WriteString("defaults: {user: azureuser, identity: ~/.ssh/aks, jump: bastion, become: sudo}\nhosts:\n")
	ansible.WriteString("all:\n  vars: {ansible_user: azureuser}\n  children:\n    np1:\n      vars: {agentpool: np1}\n      hosts:\n")
	for i := range benchHosts {
		name := fmt.Sprintf("aks-np1-12345678-vmss%06d", i)
		address := fmt.Sprintf("10.224.%d.%d", i/250, i%250)
		fmt.Fprintf(&ours, "  - name: %s\n    address: %s\n    labels: {agentpool: np1, zone: \"1\"}\n", name, address)
		fmt.Fprintf(&list, "azureuser@%s:22\n", name)
		fmt.Fprintf(&ansible, "        %s: {ansible_host: %s, zone: 1}\n", name, address)
	}
	return map[string][]byte{
		"fleet": []byte(ours.String()), "list": []byte(list.String()), "ansible": []byte(ansible.String()),
		"range": []byte("hosts: ['aks-np1-vmss[000000:004999]']\n"), "kubernetes-json": kubeJSON(b), "kubernetes-yaml": kubeYAML(b),
	}
}

// kubeObjects is a list of nodes with so many container images each.
func kubeObjects(n, imageCount int) map[string]any {
	var images []any
	for i := range imageCount {
		images = append(images, map[string]any{"names": []string{
			fmt.Sprintf("mcr.microsoft.com/oss/kubernetes/image-%d@sha256:%064d", i, i),
			fmt.Sprintf("mcr.microsoft.com/oss/kubernetes/image-%d:v1.2.3", i)}, "sizeBytes": 12345678})
	}
	var items []any
	for i := range n {
		items = append(items, map[string]any{"apiVersion": "v1", "kind": "Node",
			"metadata": map[string]any{"name": fmt.Sprintf("aks-np1-12345678-vmss%06d", i),
				"labels": map[string]string{"kubernetes.azure.com/agentpool": "np1", "kubernetes.io/os": "linux"}},
			"status": map[string]any{"images": images, "addresses": []any{
				map[string]string{"type": "InternalIP", "address": fmt.Sprintf("10.224.%d.%d", i/250, i%250)}}}})
	}
	return map[string]any{"apiVersion": "v1", "kind": "List", "items": items}
}

func kubeJSON(b *testing.B) []byte {
	data, err := json.MarshalIndent(kubeObjects(benchHosts, 50), "", "    ")
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func kubeYAML(b *testing.B) []byte {
	data, err := yaml.Marshal(kubeObjects(benchHosts, 2))
	if err != nil {
		b.Fatal(err)
	}
	return data
}
