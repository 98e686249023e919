//go:build linux

package real

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"fleet/lab/real/judge"
)

// The control plane is a machine of its own, with an address on each segment.
const (
	controlName  = "control"
	controlFront = frontPrefix + "2"
	controlBack  = backPrefix + "2"
	controlPort  = "6443"
)

// control is a control plane before it is started: the files of its machine
// and what is needed to talk to it.
type control struct {
	ca     authority
	admin  string            // the operator's bearer token
	tokens map[string]string // node -> bearer token
	files  []judge.File
}

const etcdUnit = `[Unit]
Description=etcd

[Service]
Type=notify
Environment=ETCD_UNSUPPORTED_ARCH=arm64
ExecStart=/usr/bin/etcd --data-dir=/var/lib/etcd-lab --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 --listen-peer-urls=http://127.0.0.1:2380
Restart=on-failure

[Install]
WantedBy=multi-user.target
`

// apiServerUnit leaves the ServiceAccount admission out, because no controller
// makes the accounts, and reaches kubelets by address, because no name server
// knows them.
const apiServerUnit = `[Unit]
Description=Kubernetes API server
After=etcd-lab.service
Requires=etcd-lab.service

[Service]
ExecStart=/usr/bin/kube-apiserver \
    --etcd-servers=http://127.0.0.1:2379 \
    --advertise-address=` + controlFront + ` \
    --secure-port=` + controlPort + ` \
    --tls-cert-file=/etc/kubernetes/pki/server.crt \
    --tls-private-key-file=/etc/kubernetes/pki/server.key \
    --token-auth-file=/etc/kubernetes/pki/tokens.csv \
    --authorization-mode=RBAC,Node \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file=/etc/kubernetes/pki/accounts.key \
    --service-account-signing-key-file=/etc/kubernetes/pki/accounts.key \
    --service-cluster-ip-range=198.19.0.0/24 \
    --disable-admission-plugins=ServiceAccount \
    --kubelet-preferred-address-types=InternalIP \
    --cert-dir=/var/run/kube-apiserver
Restart=on-failure
RestartSec=1

[Install]
WantedBy=multi-user.target
`

// newControl makes the keys, tokens and files of a control plane for nodes.
func newControl(nodes []Node) (*control, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("cannot make the certificate authority: %w", err)
	}
	cert, key, err := ca.issue("127.0.0.1", controlFront, controlBack)
	if err != nil {
		return nil, fmt.Errorf("cannot make the API server's certificate: %w", err)
	}
	accounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make the service account key: %w", err)
	}
	accountsPEM, err := pemKey(accounts)
	if err != nil {
		return nil, err
	}
	c := &control{ca: ca, admin: token(), tokens: map[string]string{}}
	users := []string{c.admin + `,admin,admin,"system:masters"`}
	for _, n := range nodes {
		c.tokens[n.Name] = token()
		users = append(users, fmt.Sprintf(`%s,system:node:%s,%s,"system:nodes"`, c.tokens[n.Name], n.Name, n.Name))
	}
	const pki = "/etc/kubernetes/pki/"
	c.files = []judge.File{
		{Path: "/etc/systemd/system/etcd-lab.service", Text: etcdUnit},
		{Path: "/etc/systemd/system/kube-apiserver.service", Text: apiServerUnit},
		{Path: "/etc/systemd/system/multi-user.target.wants/kube-apiserver.service", Link: "/etc/systemd/system/kube-apiserver.service"},
		{Path: pki + "server.crt", Text: string(cert)},
		{Path: pki + "server.key", Mode: 0o600, Text: string(key)},
		{Path: pki + "accounts.key", Mode: 0o600, Text: string(accountsPEM)},
		{Path: pki + "tokens.csv", Mode: 0o600, Text: strings.Join(users, "\n") + "\n"},
	}
	return c, nil
}

// kubeconfig is a configuration file for a client of the API server.
func (c *control) kubeconfig(user, bearer, address string) string {
	config := map[string]any{
		"apiVersion":      "v1",
		"kind":            "Config",
		"clusters":        []any{map[string]any{"name": "lab", "cluster": map[string]any{"server": "https://" + net.JoinHostPort(address, controlPort), "certificate-authority-data": c.ca.pem()}}},
		"users":           []any{map[string]any{"name": user, "user": map[string]any{"token": bearer}}},
		"contexts":        []any{map[string]any{"name": "lab", "context": map[string]any{"cluster": "lab", "user": user}}},
		"current-context": "lab",
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		panic(err) // maps of strings and bytes always encode
	}
	return string(data) + "\n"
}

// nodeKubeconfig is what the kubelet of a node reaches the API server with, by
// the server's address on the node's own segment.
func (c *control) nodeKubeconfig(n Node) judge.File {
	address := controlFront
	if strings.HasPrefix(n.Address, backPrefix) {
		address = controlBack
	}
	return judge.File{Path: kubeconfigPath, Mode: 0o600, Text: c.kubeconfig("system:node:"+n.Name, c.tokens[n.Name], address)}
}

// client talks to the API server from the operator's namespace.
func (c *control) client(s *state) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialIn(ctx, s.operator(), network, address)
		},
	}}
}

// get fetches a path from the API server as the operator.
func (c *control) get(ctx context.Context, client *http.Client, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(controlFront, controlPort)+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.admin)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, tail(string(body), 200))
	}
	return body, err
}

// awaitReady waits until every node has registered and is Ready.
func (c *control) awaitReady(ctx context.Context, s *state, nodes []Node) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	client := c.client(s)
	defer client.CloseIdleConnections()
	for {
		body, err := c.get(ctx, client, "/api/v1/nodes")
		var missing []string
		if err == nil {
			missing, err = notReady(body, nodes)
		}
		if err == nil && len(missing) == 0 {
			return nil
		}
		if failed := c.failed(ctx, s); failed != nil {
			return failed
		}
		if wait := sleep(ctx, 500*time.Millisecond); wait != nil {
			return errors.Join(fmt.Errorf("nodes not Ready in time: %s", strings.Join(missing, " ")), err, wait)
		}
	}
}

// failed tells why a part of the control plane is not going to come up.
func (c *control) failed(ctx context.Context, s *state) error {
	n := &Node{Name: controlName, state: s}
	for _, unit := range []string{"etcd-lab", "kube-apiserver"} {
		if n.Command(ctx, "systemctl", "--quiet", "is-failed", unit).Run() == nil {
			said, _ := n.Command(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=5", "--unit="+unit).Output() // no more can be said
			return fmt.Errorf("cannot start the control plane: %s failed: %s", unit, tail(string(said), 800))
		}
	}
	return nil
}

// notReady lists the nodes that a NodeList does not call Ready.
func notReady(list []byte, nodes []Node) ([]string, error) {
	var parsed struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := json.Unmarshal(list, &parsed); err != nil {
		return nil, fmt.Errorf("cannot read the list of nodes: %w", err)
	}
	ready := map[string]bool{}
	for _, item := range parsed.Items {
		for _, condition := range item.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				ready[item.Metadata.Name] = true
			}
		}
	}
	var missing []string
	for _, n := range nodes {
		if !ready[n.Name] {
			missing = append(missing, n.Name)
		}
	}
	return missing, nil
}
