package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fleet/audit"
	"fleet/configz"
	"fleet/configz/dynamic"
	"fleet/lab"
	"fleet/remediate"
	"fleet/report"
)

// bearer is the token of the tests' kubeconfig. The double says it back wherever
// it can.
const bearer = "t0ken-that-nobody-may-see"

const chainsFlag = "--make-iptables-util-chains="

// mirror is an API server whose nodes' /configz says what the simulated kubelets
// run with, as long as nothing is wrong.
type mirror struct {
	t      *testing.T
	fleet  started
	bootID map[string]string

	asked    atomic.Int32 // requests for /configz
	honest   int32        // how many of them are answered as it is; the others as below
	code     int          // status of the others, 0 for a value
	value    string       // which the others give
	notReady bool         // what the cluster calls the nodes
	silent   bool         // the nodes have said nothing for an hour
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer "+bearer {
		m.t.Errorf("%s without the token", r.URL)
	}
	name, configz := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/nodes/"), "/proxy/configz")
	lease, leased := strings.CutPrefix(r.URL.Path, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/")
	switch {
	case configz:
		m.configz(w, r, name)
	case leased && m.bootID[lease] != "":
		fmt.Fprintf(w, `{"kind":"Lease","spec":{"renewTime":%q}}`, m.said().Format("2006-01-02T15:04:05.000000Z07:00"))
	case m.bootID[name] != "":
		_ = json.NewEncoder(w).Encode(m.node(name))
	default:
		refuse(w, r, http.StatusNotFound)
	}
}

// refuse answers with a status whose message holds the token.
func refuse(w http.ResponseWriter, r *http.Request, code int) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","message":"no to %s, which came with %s"}`, r.URL.Path, r.Header.Get("Authorization"))
}

func (m *mirror) said() time.Time {
	if m.silent {
		return time.Now().Add(-time.Hour)
	}
	return time.Now()
}

func (m *mirror) node(name string) map[string]any {
	status := "True"
	if m.notReady {
		status = "False"
	}
	return map[string]any{"kind": "Node", "apiVersion": "v1", "metadata": map[string]any{"name": name}, "status": map[string]any{
		"conditions": []any{map[string]any{"type": "Ready", "status": status, "reason": "KubeletSaid", "message": "token " + bearer,
			"lastHeartbeatTime": m.said().UTC().Format(time.RFC3339)}},
		"nodeInfo": map[string]any{"bootID": m.bootID[name], "kubeletVersion": "v1.34.4"},
	}}
}

func (m *mirror) configz(w http.ResponseWriter, r *http.Request, name string) {
	value := m.value
	switch honest := m.asked.Add(1) <= m.honest; {
	case honest:
		value = m.running(name)
	case m.code != 0:
		refuse(w, r, m.code)
		return
	}
	fmt.Fprintf(w, `{"kubeletconfig":{"makeIPTablesUtilChains":%s}}`, value)
}

// running is the value that a simulated kubelet was started with.
func (m *mirror) running(name string) string {
	n, err := m.fleet.Node(name)
	if err != nil {
		m.t.Error(err)
	}
	for _, arg := range slices.Backward(n.KubeletArgv()) {
		if value, ok := strings.CutPrefix(arg, chainsFlag); ok {
			return value
		}
	}
	return "true"
}

// kubeconfig serves the double and returns how it is reached.
func (m *mirror) kubeconfig() string {
	s := httptest.NewTLSServer(m)
	m.t.Cleanup(s.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	file := filepath.Join(m.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}], users: [{name: u, user: {token: %q}}]}`, s.URL, ca, bearer)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return file
}

// mirrored are two simulated nodes whose flags say false, and their API server.
func mirrored(t *testing.T) *mirror {
	t.Helper()
	sick := lab.Layers{Flags: []string{chainsFlag + "false"}}
	m := &mirror{t: t, bootID: map[string]string{}, honest: 1 << 30,
		fleet: start(t, []lab.NodeSpec{{Name: "one", Set: sick}, {Name: "two", Set: sick}})}
	_, rep := m.fleet.audit(t)
	for _, h := range rep.Hosts {
		m.bootID[h.Name] = h.Node.BootID
	}
	return m
}

// remediate runs the command on the hosts and demands that the token is in
// nothing it leaves.
func (m *mirror) remediate(hosts string, args ...string) (int, report.Report) {
	m.t.Helper()
	code, out, errs := runHere(m.t, m.fleet.dir, nil, append([]string{"remediate", "--yes", "-o", "json",
		"-i", filepath.Join(m.fleet.dir, "nodes.yaml"), "--known-hosts", filepath.Join(m.fleet.dir, "known_hosts"), "--ssh-config", "none",
		"--kubeconfig", m.kubeconfig(), "--healthy-for", "1s", "--health-timeout", "10s", "--confirm-timeout", "8s", "--limit", hosts}, args...)...)
	rep, err := report.Decode(strings.NewReader(out))
	if err != nil {
		m.t.Fatalf("exit code %d: %v\n%s", code, err, errs)
	}
	left := out + errs + contents(m.t, filepath.Join(m.fleet.dir, "state"))
	if strings.Contains(left, bearer) {
		m.t.Errorf("the token is in %q", left)
	}
	return code, rep
}

// contents is all that is written below a directory.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		all.Write(data)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return all.String()
}

// TestConfigzIsTheProof changes a node by the live configuration, with an API
// server that says what is so, nothing, or something else.
func TestConfigzIsTheProof(t *testing.T) {
	for _, c := range []struct {
		name    string
		wrong   func(*mirror)
		args    []string
		code    int
		outcome string // and reason
		says    string
		after   string // what the kubelet runs with
		touched bool
	}{
		{"seen", func(*mirror) {}, []string{"--method", "configz"}, report.ExitOK, "changed", "/configz is the proof", "true", true},
		{"not heard", func(m *mirror) { m.honest, m.code = 0, 503 }, []string{"--method", "configz"},
			report.ExitFail, "refused configz-unavailable", "--method args or auto would work", "false", false},
		{"not allowed", func(m *mirror) { m.honest, m.code = 0, 403 }, []string{"--method", "configz"},
			report.ExitFail, "refused configz-forbidden", "which has to prove the change", "false", false},
		{"another machine", func(m *mirror) { m.bootID["one"] = "of-another-cluster" }, []string{"--method", "configz"},
			report.ExitFail, "refused identity-mismatch", "boot id", "false", false},
		{"no such node", func(m *mirror) { delete(m.bootID, "one") }, []string{"--method", "configz"},
			report.ExitFail, "refused configz-", "", "false", false},
		{"not heard, the next method", func(m *mirror) { m.honest, m.code = 0, 503 }, []string{"--method", "configz,args"}, report.ExitOK, "changed", "", "true", true},
		{"not heard, auto asks for no proof", func(m *mirror) { m.honest, m.code = 0, 503 }, []string{"--method", "auto"}, report.ExitOK, "changed", "", "true", true},
		{"not heard, a dry run", func(m *mirror) { m.honest, m.code = 0, 503 }, []string{"--method", "configz", "--dry-run"},
			report.ExitFail, "refused configz-unavailable", "", "false", false},
		{"says otherwise afterwards", func(m *mirror) { m.honest, m.value = 1, "false" }, []string{"--method", "configz"},
			report.ExitFail, "rolled-back live-differs", "it says false", "false", true},
		{"says otherwise afterwards, auto", func(m *mirror) { m.honest, m.value = 1, "false" }, []string{"--method", "auto"},
			report.ExitFail, "rolled-back live-differs", "it says false", "false", true},
		{"silent afterwards", func(m *mirror) { m.honest, m.code = 1, 502 }, []string{"--method", "configz"},
			report.ExitFail, "rolled-back live-differs", "configz-bad-gateway", "false", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := mirrored(t)
			c.wrong(m)
			node, err := m.fleet.Node("one")
			if err != nil {
				t.Fatal(err)
			}
			file, pid := flagsOf(t, node), node.KubeletPID()
			code, rep := m.remediate("one", c.args...)
			got := rep.Hosts[0].Change
			said := strings.TrimSpace(string(got.Outcome) + " " + got.Reason)
			if code != c.code || said != c.outcome && !(strings.HasSuffix(c.outcome, "-") && strings.HasPrefix(said, c.outcome)) || !strings.Contains(got.Message, c.says) {
				t.Errorf("exit code %d, %s: %s; want %d, %s, %q", code, said, got.Message, c.code, c.outcome, c.says)
			}
			if after := m.running("one"); after != c.after || (node.KubeletPID() != pid) != c.touched || (flagsOf(t, node) == file) != (c.after == "false") {
				t.Errorf("the kubelet runs with %s, restarted %v, file as before %v", after, node.KubeletPID() != pid, flagsOf(t, node) == file)
			}
			if live := rep.Hosts[0].Live; got.Outcome == report.OutcomeChanged && c.args[1] == "configz" && (live == nil || live.Value != true) {
				t.Errorf("changed, and live is %+v", live)
			}
		})
	}
}

func flagsOf(t *testing.T, n lab.Node) string {
	t.Helper()
	data, err := n.ReadFile("/etc/default/kubelet")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestReadyIsPartOfTheGate changes two nodes one after the other.
func TestReadyIsPartOfTheGate(t *testing.T) {
	for _, c := range []struct {
		name  string
		wrong func(*mirror)
		code  int
		want  string // outcomes and reasons
		says  string // of the first
	}{
		{"ready", func(*mirror) {}, report.ExitOK, "changed, changed", ""},
		{"not ready", func(m *mirror) { m.notReady = true }, report.ExitIncomplete, "failed-after-change node-not-ready, not-reached budget", "KubeletSaid: token ***"},
		{"ready by an old word", func(m *mirror) { m.silent = true }, report.ExitIncomplete, "failed-after-change node-not-ready, not-reached budget", "has not reported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := mirrored(t)
			c.wrong(m)
			code, rep := m.remediate("one,two", "--method", "args", "--batch", "1", "--pool-limit", "100%")
			var got []string
			for _, h := range rep.Hosts {
				got = append(got, strings.TrimSpace(string(h.Change.Outcome)+" "+h.Change.Reason))
			}
			if said := strings.Join(got, ", "); code != c.code || said != c.want || !strings.Contains(rep.Hosts[0].Change.Message, c.says) {
				t.Errorf("exit code %d, %s: %s; want %d, %s, %q", code, said, rep.Hosts[0].Change.Message, c.code, c.want, c.says)
			}
			if second := m.running("two"); (second == "true") != (c.code == report.ExitOK) {
				t.Errorf("the second node runs with %s", second)
			}
		})
	}
}

// TestConfigzIsNotAskedForBlindly: without an API server there is no proof.
func TestConfigzIsNotAskedForBlindly(t *testing.T) {
	for _, method := range []string{"configz", "file,configz"} {
		code, out, errs := runHere(t, t.TempDir(), nil, "remediate", "--method", method)
		if code != report.ExitUsage || out != "" || !strings.Contains(errs, "--kubeconfig or --api-url") {
			t.Errorf("%s: exit code %d, %s%s", method, code, out, errs)
		}
	}
}

// TestAssigning gives every end of planning an assignment its proposal.
func TestAssigning(t *testing.T) {
	coded := func(code string) error { return &dynamic.Error{Code: code, Message: "why"} }
	for _, c := range []struct {
		name string
		plan dynamic.Plan
		err  error
		over bool
		want string // reason of the refusal, "nothing", "assign" or "error"
	}{
		{"not on this kubelet", dynamic.Plan{}, coded(dynamic.CodeGone), false, ""},
		{"refused", dynamic.Plan{}, coded(dynamic.CodeFlagWins), true, dynamic.CodeFlagWins},
		{"not heard", dynamic.Plan{}, &configz.Error{Reason: configz.CodeForbidden, Msg: "why"}, true, "configz-forbidden"},
		{"broken", dynamic.Plan{}, errors.New("why"), false, "error"},
		{"as wanted", dynamic.Plan{Node: "n", Unchanged: true}, nil, true, "nothing"},
	} {
		p, over, err := proposal{}.assigning(c.plan, c.err)
		got := ""
		switch {
		case err != nil:
			got = "error"
		case p.plan.Refused != nil:
			got = p.plan.Refused.Code
		case p.plan.Nothing:
			got = "nothing"
		case p.assign != nil:
			got = "assign"
		}
		if got != c.want || over != c.over {
			t.Errorf("%s: got %q %v, want %q %v", c.name, got, over, c.want, c.over)
		}
	}
}

func TestWantsAssignment(t *testing.T) {
	for _, c := range []struct {
		method remediate.Method
		reason string
		want   bool
	}{
		{remediate.MethodConfigz, "file-false", true},
		{remediate.MethodConfigz, "live-false", true},
		{remediate.MethodAuto, "live-false", true},
		{remediate.MethodAuto, "file-false", false},
		{remediate.MethodFile, "live-false", false},
	} {
		if got := wantsAssignment(c.method, audit.Finding{Reason: c.reason}); got != c.want {
			t.Errorf("%s of %s: %v", c.method, c.reason, got)
		}
	}
}
