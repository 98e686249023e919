//go:build linux

package real

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// client writes what an operator needs to reach the nodes.
func (b *builder) client() error {
	dir := b.state.path("client")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := []struct {
		name, text string
		mode       os.FileMode
	}{
		{"id_ed25519", string(b.login.private), 0o600},
		{"id_ed25519.pub", b.login.public + "\n", 0o644},
		{"known_hosts", b.knownHosts(), 0o644},
		{"nodes.yaml", b.inventory(filepath.Join(dir, "id_ed25519")), 0o644},
		{"ssh_config", b.sshConfig(dir), 0o644},
	}
	if b.control != nil {
		files = append(files, struct {
			name, text string
			mode       os.FileMode
		}{"kubeconfig", b.control.kubeconfig("admin", b.control.admin, controlFront), 0o600})
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), f.mode); err != nil {
			return fmt.Errorf("cannot write for the operator: %w", err)
		}
	}
	return nil
}

// knownHosts lists the host key of every node under its name and address.
func (b *builder) knownHosts() string {
	var lines strings.Builder
	for _, n := range b.nodes {
		fmt.Fprintf(&lines, "%s,%s %s\n", n.Name, n.Address, b.hosts[n.Name].public)
	}
	return lines.String()
}

// inventory is the fleet in the project's own inventory format.
func (b *builder) inventory(key string) string {
	var y strings.Builder
	fmt.Fprintf(&y, "defaults: {user: %s, identity: %s, become: sudo}\nhosts:\n", LoginUser, key)
	for _, n := range b.nodes {
		fmt.Fprintf(&y, "  - name: %s\n    address: %s\n", n.Name, n.Address)
		if n.Jump != "" {
			fmt.Fprintf(&y, "    jump: %s@%s\n", LoginUser, b.address(n.Jump))
		}
		if len(n.Labels) > 0 {
			var labels []string
			for k, v := range n.Labels {
				labels = append(labels, fmt.Sprintf("%s: %q", k, v))
			}
			slices.Sort(labels)
			fmt.Fprintf(&y, "    labels: {%s}\n", strings.Join(labels, ", "))
		}
	}
	return y.String()
}

// sshConfig lets plain ssh reach every node by its name.
func (b *builder) sshConfig(dir string) string {
	var c strings.Builder
	for _, n := range b.nodes {
		fmt.Fprintf(&c, "Host %s\n  HostName %s\n", n.Name, n.Address)
		if n.Jump != "" {
			fmt.Fprintf(&c, "  ProxyJump %s\n", n.Jump)
		}
	}
	fmt.Fprintf(&c, "Host *\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n",
		LoginUser, filepath.Join(dir, "id_ed25519"), filepath.Join(dir, "known_hosts"))
	return c.String()
}

func (b *builder) address(node string) string {
	for _, n := range b.nodes {
		if n.Name == node {
			return n.Address
		}
	}
	return node
}
