package configz

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func nullLog() *log.Logger { return log.New(io.Discard, "", 0) }

func needClientCertificate() *tls.Config { return &tls.Config{ClientAuth: tls.RequireAnyClientCert} }

func TestIdentity(t *testing.T) {
	ok := says(fmt.Sprintf(plainConfig, "true"))
	for _, c := range []struct {
		name  string
		node  string
		id    Identity
		want  Code // "" for found
		part  string
		lists int32
	}{
		{"by name", nodeJSON(name, "b", "m"), Identity{Names: []string{name}, BootID: "b", MachineID: "m"}, "", "", 0},
		{"upper case", nodeJSON(name, "b", "m"), Identity{Names: []string{strings.ToUpper(name)}, BootID: "B"}, "", "", 0},
		{"the second name", nodeJSON(name, "b", "m"), Identity{Names: []string{"other", name}, BootID: "b"}, "", "", 0},
		{"nobody asked the host", nodeJSON(name, "b", "m"), Identity{Names: []string{name}}, "", "", 0},
		{"boot id decides over machine id", nodeJSON(name, "b", "m"), Identity{Names: []string{name}, BootID: "b", MachineID: "x"}, "", "", 0},
		{"by machine id alone", nodeJSON(name, "", "m"), Identity{Names: []string{name}, BootID: "b", MachineID: "m"}, "", "", 0},
		{"E87 another boot", nodeJSON(name, "other", "m"), Identity{Names: []string{name}, BootID: "b", MachineID: "m"}, CodeMismatch, "boot id", 0},
		{"E87 another machine", nodeJSON(name, "", "other"), Identity{Names: []string{name}, BootID: "b", MachineID: "m"}, CodeMismatch, "machine id", 0},
		{"nothing in common", nodeJSON(name, "", ""), Identity{Names: []string{name}, BootID: "b"}, CodeUnverified, "in common", 0},
		{"by boot id", nodeJSON(name, "b", "m"), Identity{Names: []string{"jumped"}, BootID: "b"}, "", "", 1},
		{"by label", nodeJSON(name, "b", "m"), Identity{Names: []string{"Host-of-" + name}, BootID: "b"}, "", "", 1},
		{"by label, another machine", nodeJSON(name, "x", "m"), Identity{Names: []string{"host-of-" + name}, BootID: "b"}, CodeMismatch, "", 1},
		{"by address", nodeJSON(name, "b", "m"), Identity{Names: []string{"bastion-name"}, Address: "10.0.0.4"}, "", "", 1},
		{"by address, another machine", nodeJSON(name, "x", "m"), Identity{Names: []string{"a"}, Address: "10.0.0.4", BootID: "b"}, CodeMismatch, "", 1},
		{"wrong cluster", nodeJSON(name, "x", "m"), Identity{Names: []string{"aks-other-1-vmss000000"}, Address: "10.9.9.9", BootID: "b"}, CodeNoNode, "no node aks-other-1-vmss000000", 1},
		{"twice", nodeJSON("a", "b", "m") + "," + nodeJSON("b", "b", "m"), Identity{Names: []string{"z"}, BootID: "b"}, CodeSeveralNodes, "2 nodes", 1},
		{"a path for a name", nodeJSON(name, "b", "m"), Identity{Names: []string{"../../secrets", "x/y", "a b", ""}, BootID: "q"}, CodeNoNode, "no name of the host", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			double := &cluster{configz: ok, node: c.node}
			cl := client(t, double, Options{})
			got, err := read(t, cl, c.id)
			switch {
			case c.want != "":
				wantCode(t, err, c.want, c.part)
				if double.asked.Load() > 0 {
					t.Error("the wrong node was asked")
				}
			case err != nil || got.Value != true || got.Node.Name != name:
				t.Errorf("got %+v, %v", got, err)
			}
			if got := double.lists.Load(); got != c.lists {
				t.Errorf("%d lists, want %d", got, c.lists)
			}
		})
	}
}

// TestListIsAskedOnce looks for many hosts by other things than their name.
func TestListIsAskedOnce(t *testing.T) {
	double := &cluster{configz: says(fmt.Sprintf(plainConfig, "true")), node: nodeJSON(name, "b", "m")}
	cl := client(t, double, Options{})
	for range 5 {
		if _, err := read(t, cl, Identity{Names: []string{"x"}, Address: "10.0.0.4"}); err != nil {
			t.Error(err)
		}
	}
	if double.lists.Load() != 1 {
		t.Errorf("%d lists", double.lists.Load())
	}
}

func TestListForbidden(t *testing.T) {
	cl := client(t, &cluster{denied: true, node: nodeJSON(name, "b", "m")}, Options{})
	_, err := read(t, cl, Identity{Names: []string{"x"}, Address: "10.0.0.4"})
	wantCode(t, err, CodeNoNode, "does not let this account list nodes")
	_, err = cl.List(t.Context(), "")
	wantCode(t, err, CodeForbidden, "cannot list")
}

func TestNodeIsAnotherObject(t *testing.T) {
	for _, body := range []string{`{"kind":"Pod","metadata":{"name":"` + name + `"}}`, nodeJSON("another", "b", "m"), `{"kind":"Status"}`} {
		cl := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }), Options{})
		_, err := read(t, cl, Identity{Names: []string{name}})
		wantCode(t, err, CodeUndecodable, name)
	}
}

// TestList reads pages and passes the selector on.
func TestList(t *testing.T) {
	var queries []string
	cl := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		if r.URL.Query().Get("continue") == "" {
			fmt.Fprintf(w, `{"kind":"NodeList","metadata":{"continue":"next"},"items":[%s]}`, nodeJSON("a", "1", "1"))
			return
		}
		fmt.Fprintf(w, `{"kind":"NodeList","metadata":{},"items":[%s]}`, nodeJSON("b", "2", "2"))
	}), Options{})
	data, err := cl.List(t.Context(), "agentpool=np1,zone in (1,2)")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Kind  string
		Items []node
	}
	if err := json.Unmarshal(data, &list); err != nil || list.Kind != "NodeList" || len(list.Items) != 2 || list.Items[1].Metadata.Name != "b" {
		t.Errorf("%v: %s", err, data)
	}
	for _, q := range queries {
		if !strings.Contains(q, "labelSelector=agentpool%3Dnp1%2Czone+in+%281%2C2%29") || !strings.Contains(q, "limit=500") {
			t.Errorf("asked with %s", q)
		}
	}
}

// TestReady: an old word counts only where nothing tells that it is old.
func TestReady(t *testing.T) {
	start := time.Date(2026, 11, 1, 3, 0, 0, 500e6, time.UTC)
	good := nodeJSON(name, "b", "m")
	said := func(at string) string {
		return strings.Replace(good, `"status":"True"`, `"status":"True","lastHeartbeatTime":"`+at+`"`, 1)
	}
	for _, c := range []struct {
		name  string
		node  string
		start time.Time
		lease string // renewTime, "" for no lease, or a status code
		want  bool
		text  string
	}{
		{"ready", good, time.Time{}, "500", true, "posting ready"},
		{"unknown", strings.Replace(good, `"True"`, `"Unknown"`, 1), time.Time{}, "500", false, "KubeletReady"},
		{"no such condition", strings.Replace(good, `"Ready"`, `"DiskPressure"`, 1), time.Time{}, "500", false, "no condition"},
		{"said since", said("2026-11-01T03:00:07Z"), start, "500", true, "posting ready"},
		{"said in the same second", said("2026-11-01T03:00:00Z"), start, "500", true, "posting ready"},
		{"said before, lease renewed since", said("2026-11-01T02:59:57Z"), start, "2026-11-01T03:00:01.203948Z", true, "posting ready"},
		{"said before, lease as old", said("2026-11-01T02:59:57Z"), start, "2026-11-01T02:59:52.203948Z", false, "has not reported"},
		{"said before, not ready", strings.Replace(said("2026-11-01T02:59:57Z"), `"True"`, `"False"`, 1), start, "2026-11-01T03:00:01.203948Z", false, "KubeletReady"},
		{"said before, no lease", said("2026-11-01T02:59:57Z"), start, "", true, "posting ready"},
		{"said before, lease not for us", said("2026-11-01T02:59:57Z"), start, "403", true, "posting ready"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := client(t, leased{&cluster{node: c.node}, c.lease}, Options{})
			ready, text, err := cl.Ready(t.Context(), name, c.start)
			if err != nil || ready != c.want || !strings.Contains(text, c.text) {
				t.Errorf("got %v %q %v, want %v %q", ready, text, err, c.want, c.text)
			}
		})
	}
	_, _, err := client(t, &cluster{}, Options{}).Ready(t.Context(), name, start)
	wantCode(t, err, CodeNoNode, "")
	_, _, err = client(t, leased{&cluster{node: said("2026-11-01T02:59:57Z")}, "500"}, Options{}).Ready(t.Context(), name, start)
	wantCode(t, err, CodeServerError, "")
}

// leased is a cluster with a lease of the node.
type leased struct {
	*cluster
	lease string
}

func (l leased) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(l.lease)
	switch {
	case r.URL.Path != "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"+name:
		l.cluster.ServeHTTP(w, r)
	case err == nil:
		status(w, code, "no")
	case l.lease == "":
		status(w, http.StatusNotFound, "no lease")
	default:
		fmt.Fprintf(w, `{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":%q},"spec":{"holderIdentity":%q,"renewTime":%q}}`, name, name, l.lease)
	}
}

// TestPollValue waits out a restart: the wrong value, no answer, the right one.
func TestPollValue(t *testing.T) {
	double := &cluster{node: nodeJSON(name, "b", "m")}
	double.configz = func(w http.ResponseWriter, _ *http.Request) {
		switch n := double.asked.Load(); {
		case n <= 2:
			fmt.Fprintf(w, plainConfig, "false")
		case n <= 4:
			status(w, 503, "connection refused")
		default:
			fmt.Fprintf(w, plainConfig, "true")
		}
	}
	cl := client(t, double, Options{})
	r, err := cl.PollValue(t.Context(), Node{Name: name}, setting, true, time.Millisecond)
	if err != nil || r.Value != true || double.asked.Load() != 5 {
		t.Errorf("got %v, %v after %d requests", r, err, double.asked.Load())
	}
}

func TestPollValueEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		configz http.HandlerFunc
		want    Code
		value   any
	}{
		{"stays false", says(fmt.Sprintf(plainConfig, "false")), CodeStillOther, false},
		{"stays away", answers(503, "connection refused"), CodeUnavailable, nil},
		{"goes mute", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, CodeTimeout, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := client(t, &cluster{configz: c.configz, node: nodeJSON(name, "b", "m")}, Options{})
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			r, err := cl.PollValue(ctx, Node{Name: name}, setting, true, 10*time.Millisecond)
			wantCode(t, err, c.want, "")
			if r.Value != c.value {
				t.Errorf("the last value is %v, want %v", r.Value, c.value)
			}
		})
	}
}

// TestKubernetes uses the cluster's own client over the same connection.
func TestKubernetes(t *testing.T) {
	cl := client(t, &cluster{node: nodeJSON(name, "b", "m")}, Options{})
	n, err := cl.Kubernetes().CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || n.Status.NodeInfo.KubeletVersion != "v1.34.4" {
		t.Errorf("got %v, %v", n, err)
	}
}

// FuzzValue demands of any answer a value of a setting's type, or one error
// with a code in one line.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{
		fmt.Sprintf(plainConfig, "true"), fmt.Sprintf(versionedConfig, "false"), fmt.Sprintf(plainConfig, "null"),
		`{"kubeletconfig":{"kind":1}}`, `{"kubeletconfig":[]}`, `{"kubeletconfig":{"makeIPTab`, "<html>", "\xff", `{"kubeletconfig":{},"kubeletconfig":{"makeIPTablesUtilChains":true}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := value("/api/v1/nodes/a/proxy/configz", body, setting)
		if err != nil {
			e, ok := err.(*Error)
			if !ok || e.Reason == "" || strings.ContainsAny(e.Msg, "\n\r") || len(e.Msg) > 420 || v != nil {
				t.Errorf("got %v, %#v", v, err)
			}
			return
		}
		if _, ok := v.(bool); !ok || !json.Valid(body) {
			t.Errorf("took %q for %v", body, v)
		}
	})
}
