package lab

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"gopkg.in/yaml.v3"
)

// inventoryHost is a host of nodes.yaml.
type inventoryHost struct {
	Name     string            `yaml:"name"`
	Address  string            `yaml:"address"`
	Port     int               `yaml:"port"`
	User     string            `yaml:"user"`
	Identity string            `yaml:"identity"`
	Become   string            `yaml:"become,omitempty"`
	Labels   map[string]string `yaml:"labels,omitempty"`
}

// WriteInventory writes nodes.yaml, known_hosts and the client key id_ed25519
// (mode 0600) into dir, which it creates. Paths in nodes.yaml are absolute, so
// that it works from any directory.
func (f *Fleet) WriteInventory(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	identity := filepath.Join(dir, "id_ed25519")
	block, err := ssh.MarshalPrivateKey(f.clientKey, "simulated fleet")
	if err != nil {
		return fmt.Errorf("write the client key: %w", err)
	}
	if err := writeMode(identity, string(pem.EncodeToMemory(block)), 0o600); err != nil {
		return fmt.Errorf("write the client key: %w", err)
	}
	nodes, err := yaml.Marshal(map[string]any{"hosts": f.inventoryHosts(identity)})
	if err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	if err := writeMode(filepath.Join(dir, "nodes.yaml"), string(nodes), 0o644); err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	if err := writeMode(filepath.Join(dir, "known_hosts"), f.knownHosts(), 0o644); err != nil {
		return fmt.Errorf("write known_hosts: %w", err)
	}
	return nil
}

func (f *Fleet) inventoryHosts(identity string) []inventoryHost {
	hosts := make([]inventoryHost, len(f.nodes))
	for i, n := range f.nodes {
		hosts[i] = inventoryHost{
			Name: n.spec.Name, Address: n.addr.IP.String(), Port: n.addr.Port, User: n.spec.User,
			Identity: identity, Become: n.spec.Become, Labels: n.spec.Labels,
		}
	}
	return hosts
}

func (f *Fleet) knownHosts() string {
	var b strings.Builder
	for _, n := range f.nodes {
		b.WriteString(knownhosts.Line([]string{n.addr.String()}, n.expected) + "\n")
	}
	return b.String()
}
