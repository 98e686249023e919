package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"fleet/audit"
	"fleet/configz"
	"fleet/lab"
	"fleet/report"
)

// apiNode is a node as the API double knows it.
type apiNode struct {
	bootID  string
	address string
	labels  map[string]string
	value   string // of the setting in /configz, "" for a kubelet that cannot be reached
}

// apiDouble is the part of an API server that fleet asks, behind a kubectl
// proxy: no credentials, plain http on loopback.
type apiDouble map[string]apiNode

func (d apiDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/nodes")
	name, configz := strings.CutSuffix(strings.TrimPrefix(path, "/"), "/proxy/configz")
	n, ok := d[name]
	switch {
	case path == "":
		d.list(w, r.URL.Query().Get("labelSelector"))
	case !ok:
		http.Error(w, `{"kind":"Status","message":"not found"}`, http.StatusNotFound)
	case !configz:
		_ = json.NewEncoder(w).Encode(n.object(name))
	case n.value == "":
		http.Error(w, `{"kind":"Status","message":"error trying to reach service"}`, http.StatusServiceUnavailable)
	default:
		fmt.Fprintf(w, `{"kubeletconfig":{"makeIPTablesUtilChains":%s}}`, n.value)
	}
}

// list knows selectors of one label.
func (d apiDouble) list(w http.ResponseWriter, selector string) {
	items := []any{}
	for name, n := range d {
		key, value, _ := strings.Cut(selector, "=")
		if selector == "" || n.labels[key] == value {
			items = append(items, n.object(name))
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "NodeList", "apiVersion": "v1", "items": items})
}

func (n apiNode) object(name string) map[string]any {
	return map[string]any{
		"kind": "Node", "apiVersion": "v1", "metadata": map[string]any{"name": name, "labels": n.labels},
		"status": map[string]any{
			"addresses": []any{map[string]any{"type": "InternalIP", "address": n.address}},
			"nodeInfo":  map[string]any{"bootID": n.bootID, "kubeletVersion": "v1.34.4", "osImage": "Ubuntu 22.04.5 LTS"},
		},
	}
}

func (d apiDouble) serve(t *testing.T) string {
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	return s.URL
}

// TestThirdWitness audits simulated nodes with an API double that agrees,
// contradicts, is of another cluster, or cannot tell.
func TestThirdWitness(t *testing.T) {
	const prefix = "aks-np1-12345678-vmss00000"
	fleet := start(t, []lab.NodeSpec{
		{Name: prefix + "0"},
		{Name: prefix + "1", Set: lab.Layers{Flags: []string{"--make-iptables-util-chains=false"}}},
		{Name: prefix + "2"},
		{Name: prefix + "3"},
		{Name: prefix + "4"},
		{Name: prefix + "5"},
	})
	_, plain := fleet.audit(t)
	double := apiDouble{}
	for i, h := range plain.Hosts {
		if h.Live != nil {
			t.Errorf("%s: a witness that nobody asked: %+v", h.Name, h.Live)
		}
		double[h.Name] = apiNode{bootID: h.Node.BootID, address: h.Address, value: []string{"true", "false", "false", "", "true", "true"}[i]}
	}
	other := double[prefix+"4"]
	other.bootID = "another-boot"
	double[prefix+"4"] = other
	delete(double, prefix+"5")
	_, rep := fleet.audit(t, "--api-url", double.serve(t))
	for i, want := range []string{
		"pass default live=true",
		"fail flag-false live=false",
		"fail witnesses-disagree live=false",
		"pass default live=<nil> configz-unavailable",
		"pass default live=<nil> identity-mismatch",
		"pass default live=<nil> configz-no-node",
	} {
		h := rep.Hosts[i]
		if h.Live == nil {
			t.Errorf("%s: nobody was asked", h.Name)
			continue
		}
		code, _, _ := strings.Cut(h.Live.Problem, ":")
		got := strings.TrimSpace(fmt.Sprintf("%s %s live=%v %s", h.Status, h.Reason, h.Live.Value, code))
		if got != want {
			t.Errorf("%s: got %s, want %s\n%s %q", h.Name, got, want, h.Message, h.Notes)
		}
		if code != "" && !strings.Contains(strings.Join(h.Notes, "\n"), code) {
			t.Errorf("%s: no note says %s: %q", h.Name, code, h.Notes)
		}
	}
	if text := rep.Hosts[2].Message; !strings.Contains(text, "started with true by default, its live configuration says false, the next start: true by default") {
		t.Errorf("not all three are shown: %s", text)
	}
}

// TestThirdWitnessSurvivesADeadAPIServer keeps the verdicts of SSH.
func TestThirdWitnessSurvivesADeadAPIServer(t *testing.T) {
	fleet := start(t, []lab.NodeSpec{{Name: "a"}})
	dead := httptest.NewServer(nil)
	dead.Close()
	code, rep := fleet.audit(t, "--api-url", dead.URL)
	if h := rep.Hosts[0]; code != report.ExitOK || h.Reason != "default" || h.Live == nil || !strings.HasPrefix(h.Live.Problem, "configz-refused") {
		t.Errorf("exit code %d, %+v", code, h)
	}
}

// runHere runs one command in this process with an empty home.
func runHere(t *testing.T, dir string, vars map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(name string) string {
		if value, ok := vars[name]; ok {
			return value
		}
		return map[string]string{"HOME": dir, "XDG_STATE_HOME": filepath.Join(dir, "state")}[name]
	}}
	code = run(args, env)
	return code, out.String(), errs.String()
}

func TestLiveOnly(t *testing.T) {
	double := apiDouble{
		"good":    {bootID: "1", address: "10.0.0.1", value: "true", labels: map[string]string{"agentpool": "np1"}},
		"bad":     {bootID: "2", address: "10.0.0.2", value: "false", labels: map[string]string{"agentpool": "np2"}},
		"away":    {bootID: "3", address: "10.0.0.3", labels: map[string]string{"agentpool": "np2"}},
		"windows": {bootID: "4", address: "10.0.0.4", labels: map[string]string{"kubernetes.io/os": "windows"}},
	}
	url := double.serve(t)
	dir := t.TempDir()
	t.Chdir(dir)
	for _, c := range []struct {
		name string
		vars map[string]string
		args []string
		code int
		want string // "HOST STATUS REASON", sorted by the report's own order of names
		from string // the report's inventory
	}{
		{"the cluster, as nothing else is there", nil, nil, report.ExitIncomplete,
			"away unknown configz-unavailable, bad fail live-false, good pass live, windows not-applicable os-windows", "cluster"},
		{"the cluster by selector", nil, []string{"-i", "cluster:agentpool=np1"}, report.ExitOK, "good pass live", "cluster:agentpool=np1"},
		{"the cluster and a limit", nil, []string{"-i", "cluster", "--limit", "agentpool=np2,!away"}, report.ExitFail, "bad fail live-false", "cluster"},
		{"the cluster by the environment", map[string]string{"FLEET_INVENTORY": "cluster:agentpool=np1"}, nil, report.ExitOK, "good pass live", "cluster:agentpool=np1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := runHere(t, dir, c.vars, append([]string{"audit", "--live-only", "--api-url", url, "-o", "json"}, c.args...)...)
			rep, err := report.Decode(strings.NewReader(out))
			if err != nil {
				t.Fatalf("%v\n%s%s", err, out, errs)
			}
			found := map[string]report.Host{}
			var got []string
			for _, h := range rep.Hosts {
				found[h.Name] = h
			}
			for _, name := range []string{"away", "bad", "good", "windows"} {
				if h, ok := found[name]; ok {
					got = append(got, fmt.Sprintf("%s %s %s", name, h.Status, h.Reason))
				}
			}
			if strings.Join(got, ", ") != c.want || code != c.code || rep.Run.Inventory != c.from {
				t.Errorf("got %d %s from %q, want %d %s from %q", code, strings.Join(got, ", "), rep.Run.Inventory, c.code, c.want, c.from)
			}
			if h, ok := found["good"]; ok && (h.Node.KubeletVersion != "v1.34.4" || h.Node.OS != "Ubuntu 22.04.5 LTS" || len(h.Evidence) != 1 || h.Address != "10.0.0.1") {
				t.Errorf("good: %+v", h)
			}
		})
	}
}

// TestLiveOnlyOfAnInventory finds nodes by the inventory's names and
// addresses, and wonders about a node with another address.
func TestLiveOnlyOfAnInventory(t *testing.T) {
	url := apiDouble{"one": {address: "10.0.0.1", value: "true"}, "two": {address: "10.0.0.2", value: "true"}}.serve(t)
	dir := t.TempDir()
	list := filepath.Join(dir, "list")
	data := []byte("hosts:\n  - {name: one, address: 10.0.0.9}\n  - {name: bastion-two, address: 10.0.0.2}\n  - {name: three, address: 10.0.0.3}\n  - two.example.net\n")
	if err := os.WriteFile(list, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, errs := runHere(t, dir, nil, "audit", "-i", list, "--live-only", "--api-url", url, "-o", "json")
	rep, err := report.Decode(strings.NewReader(out))
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	for i, want := range []struct{ reason, node, note string }{
		{"live", "one", "one machine"}, {"live", "two", ""}, {"configz-no-node", "", ""}, {"live", "two", ""},
	} {
		h := rep.Hosts[i]
		if h.Reason != want.reason || h.Node.Hostname != want.node || !strings.Contains(strings.Join(h.Notes, " "), want.note) || want.note == "" && len(h.Notes) > 0 {
			t.Errorf("%s: %s of %q, notes %q", h.Name, h.Reason, h.Node.Hostname, h.Notes)
		}
	}
}

// TestEachLiveCodeHasItsHint holds the codes of configz against the catalogue.
func TestEachLiveCodeHasItsHint(t *testing.T) {
	source, err := os.ReadFile("../../configz/error.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^\tCode\w+\s+Code = "([a-z-]+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 25 {
		t.Fatalf("found only %d codes in configz", len(codes))
	}
	for _, m := range codes {
		if meaning, hint := audit.Explain(string(m[1])); meaning == "" || hint == "" {
			t.Errorf("%s: meaning %q, hint %q", m[1], meaning, hint)
		}
	}
	var coded interface{ Code() string }
	if !errors.As(&configz.Error{Reason: configz.CodeTLS}, &coded) {
		t.Error("an error of configz names no code")
	}
}

// TestExampleOfRights holds the example against what the client asks for, and
// against more than that.
func TestExampleOfRights(t *testing.T) {
	data, err := os.ReadFile("../../examples/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role struct {
		Kind  string
		Rules []struct {
			APIGroups []string `yaml:"apiGroups"`
			Resources []string
			Verbs     []string
		}
	}
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&role); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range role.Rules {
		got = append(got, fmt.Sprint(r.APIGroups, r.Resources, r.Verbs))
	}
	if want := "[] [nodes] [get list]; [] [nodes/proxy] [get]; [coordination.k8s.io] [leases] [get]"; role.Kind != "ClusterRole" || strings.Join(got, "; ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, "; "), want)
	}
}
