package configz

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fleet/kubelet"
)

const (
	secret = "s3cr3t-t0ken-of-the-operator"
	name   = "aks-np1-12345678-vmss000000"
)

var setting = kubelet.Setting{Flag: "make-iptables-util-chains", Key: "makeIPTablesUtilChains", Default: true}

// nodeJSON is a Node as the API server gives it.
func nodeJSON(name, boot, machine string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":%q,"labels":{"kubernetes.io/hostname":"host-of-%s"}},
		"status":{"addresses":[{"type":"InternalIP","address":"10.0.0.4"}],"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","message":"posting ready status"}],
		"nodeInfo":{"bootID":%q,"machineID":%q,"kubeletVersion":"v1.34.4","osImage":"Ubuntu 22.04"}}}`, name, name, boot, machine)
}

const (
	plainConfig     = `{"kubeletconfig":{"syncFrequency":"1m0s","makeIPTablesUtilChains":%s,"enforceNodeAllocatable":["pods"]}}`
	versionedConfig = `{"kubeletconfig":{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1","makeIPTablesUtilChains":%s}}`
)

// cluster is an API server with one node, whose /configz is the test's.
type cluster struct {
	configz http.HandlerFunc
	node    string       // of the Node object, "" for none
	denied  bool         // the account may not list nodes
	lists   atomic.Int32 // requests for the list
	asked   atomic.Int32 // requests for /configz
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+secret && r.TLS != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch r.URL.Path {
	case "/api/v1/nodes/" + name + "/proxy/configz":
		c.asked.Add(1)
		c.configz(w, r)
	case "/api/v1/nodes":
		c.lists.Add(1)
		if c.denied {
			status(w, http.StatusForbidden, `nodes is forbidden: User "auditor" cannot list resource "nodes"`)
			return
		}
		fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[%s]}`, c.node)
	case "/api/v1/nodes/" + name:
		if c.node != "" {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, c.node)
			return
		}
		fallthrough
	default:
		status(w, http.StatusNotFound, "not found")
	}
}

// status answers with a Status object, as the API server does.
func status(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code})
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func answers(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { status(w, code, body) }
}

// kubeconfig writes a file for a server; user is what stands below user.
func kubeconfig(t *testing.T, url string, ca []byte, user string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	trust := ""
	if ca != nil {
		trust = fmt.Sprintf(", certificate-authority-data: %s", base64Of(ca))
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: one
clusters: [{name: c, cluster: {server: %q%s}}]
users: [{name: u, user: %s}]
contexts: [{name: one, context: {cluster: c, user: u}}]
`, url, trust, user)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func base64Of(data []byte) string {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return strings.Trim(string(text), `"`)
}

func caOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// quiet is a TLS server whose handshake errors are nobody's concern.
func quiet(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nullLog()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client serves a cluster over TLS and logs in with the token.
func client(t *testing.T, h http.Handler, o Options) *Client {
	t.Helper()
	s := quiet(t, h)
	o.Kubeconfig = kubeconfig(t, s.URL, caOf(s), "{token: "+secret+"}")
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, c *Client, id Identity) (Reading, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return c.Read(ctx, id, setting)
}

// wantCode demands an *Error with the code, whose text is one line without the
// token.
func wantCode(t *testing.T, err error, code Code, part string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != code {
		t.Fatalf("got %#v (%v), want the code %s", err, err, code)
	}
	if !strings.Contains(e.Msg, part) {
		t.Errorf("the message does not say %q: %s", part, e.Msg)
	}
	if strings.Contains(e.Msg, secret) || strings.Contains(e.Msg, "\n") || e.Msg == "" {
		t.Errorf("not one line without secrets: %q", e.Msg)
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       any
	}{
		{"true", fmt.Sprintf(plainConfig, "true"), true},
		{"false", fmt.Sprintf(plainConfig, "false"), false},
		{"E82 printed with blanks", "{\n \"kubeletconfig\": {\n \"makeIPTablesUtilChains\" : true\n}}\n", true},
		{"versioned", fmt.Sprintf(versionedConfig, "false"), false},
		{"a newer kubelet's fields", `{"kubeletconfig":{"notYetInvented":{"makeIPTablesUtilChains":true},"makeIPTablesUtilChains":false}}`, false},
		{"the words in a string", `{"kubeletconfig":{"clusterDomain":"\"makeIPTablesUtilChains\":true","makeIPTablesUtilChains":false}}`, false},
		{"further components", `{"other":{"makeIPTablesUtilChains":true},"kubeletconfig":{"makeIPTablesUtilChains":false}}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := client(t, &cluster{configz: says(c.body), node: nodeJSON(name, "b", "m")}, Options{})
			got, err := read(t, cl, Identity{Names: []string{name}, BootID: "b"})
			if err != nil || got.Value != c.want || got.Path != "/api/v1/nodes/"+name+"/proxy/configz" || got.Node.KubeletVersion != "v1.34.4" {
				t.Errorf("got %+v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	page := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(code)
			fmt.Fprint(w, "<!DOCTYPE html><title>Sign in</title>")
		}
	}
	for _, c := range []struct {
		name    string
		configz http.HandlerFunc
		want    Code
		part    string
	}{
		{"401", answers(401, "Unauthorized"), CodeUnauthenticated, "401"},
		{"403", answers(403, `User "auditor" cannot get resource "nodes/proxy"`), CodeForbidden, "nodes/proxy"},
		{"E85 404", answers(404, "the server could not find the requested resource"), CodeNotServed, "404"},
		{"405", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Debug endpoints are disabled.", http.StatusMethodNotAllowed)
		}, CodeNotServed, "Debug endpoints"},
		{"410", answers(410, "gone"), CodeGone, "410"},
		{"429", answers(429, "slow down"), CodeThrottled, "429"},
		{"500", answers(500, "boom"), CodeServerError, "boom"},
		{"502", answers(502, "bad gateway"), CodeBadGateway, "502"},
		{"E86 503", answers(503, "error trying to reach service: dial tcp 10.0.0.4:10250: connect: connection refused"), CodeUnavailable, "connection refused"},
		{"504", answers(504, "late"), CodeGatewayTimeout, "504"},
		{"418", answers(418, "tea"), CodeStatus, "418"},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, CodeStatus, "204"},
		{"a secret in the answer", answers(500, "sent Bearer "+secret+" to https://u:p@proxy"), CodeServerError, "https://***@proxy"},
		{"a secret and lines", answers(500, "a\nb "+secret), CodeServerError, "a b ***"},
		{"a page", page(200), CodeHTML, "web page"},
		{"a page by its content alone", says("\n <html>"), CodeHTML, "web page"},
		{"a page for 503", page(503), CodeUnavailable, "503 Service Unavailable"},
		{"truncated", says(`{"kubeletconfig":{"makeIPTablesUtilChains":tr`), CodeTruncated, "middle"},
		{"truncated in a string", says(`{"kubeletconfig":{"makeIPT`), CodeTruncated, "middle"},
		{"truncated at the end", says(`{"kubeletconfig":{"makeIPTablesUtilChains":true}`), CodeTruncated, "middle"},
		{"empty", says(""), CodeTruncated, "middle"},
		{"shorter than announced", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"kubeletconfig":{"makeIPTablesUtilChains":true}}`)
		}, CodeTruncated, "middle"},
		{"no JSON", says(`{"kubeletconfig":{"makeIPTablesUtilChains":yes}}`), CodeUndecodable, ""},
		{"more behind it", says(fmt.Sprintf(plainConfig, "true") + "x"), CodeUndecodable, ""},
		{"a list", says(`[]`), CodeUndecodable, ""},
		{"no kubeletconfig", says(`{"KubeletConfig":{"makeIPTablesUtilChains":true}}`), CodeUndecodable, "kubeletconfig"},
		{"null", says(`{"kubeletconfig":null}`), CodeUndecodable, "kubeletconfig"},
		{"a string for the value", says(fmt.Sprintf(plainConfig, `"true"`)), CodeUndecodable, "published type"},
		{"another kind", says(`{"kubeletconfig":{"kind":"KubeProxyConfiguration","apiVersion":"kubeproxy.config.k8s.io/v1alpha1"}}`), CodeUndecodable, "published type"},
		{"half a kind", says(`{"kubeletconfig":{"kind":"KubeletConfiguration","makeIPTablesUtilChains":true}}`), CodeUndecodable, "published type"},
		{"E83", says(`{"kubeletconfig":{"syncFrequency":"1m0s"}}`), CodeNoKey, "makeIPTablesUtilChains"},
		{"null for the value", says(fmt.Sprintf(plainConfig, "null")), CodeNoKey, ""},
		{"another case", says(`{"kubeletconfig":{"makeIptablesUtilChains":true}}`), CodeNoKey, ""},
		{"huge", func(w http.ResponseWriter, _ *http.Request) {
			line := []byte(strings.Repeat(" ", 1<<16))
			for {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		}, CodeTooLarge, "1 MiB"},
		{"closed without a word", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, CodeNetwork, ""},
		{"no answer", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, CodeTimeout, "700ms"},
		{"an endless answer", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, CodeTimeout, "700ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			double := &cluster{configz: c.configz, node: nodeJSON(name, "b", "m")}
			cl := client(t, double, Options{Timeout: 700 * time.Millisecond})
			got, err := read(t, cl, Identity{Names: []string{name}, BootID: "b"})
			wantCode(t, err, c.want, c.part)
			if got.Value != nil {
				t.Errorf("a value beside an error: %v", got.Value)
			}
			if got.Path == "" || got.Node.Name != name {
				t.Errorf("it is not said what was asked: %+v", got)
			}
		})
	}
}

// TestRedirect makes sure that the credentials go nowhere else.
func TestRedirect(t *testing.T) {
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	cl := client(t, &cluster{node: nodeJSON(name, "b", "m"), configz: func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/login?state=abc", http.StatusFound)
	}}, Options{})
	_, err := read(t, cl, Identity{Names: []string{name}})
	wantCode(t, err, CodeRedirect, other.URL)
	if asked.Load() > 0 || strings.Contains(err.Error(), "abc") {
		t.Errorf("the redirect was followed %d times: %v", asked.Load(), err)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		name, after string
		refusals    int32
		requests    int32
		ok          bool
	}{
		{"once", "0", 1, 2, true},
		{"a second", "1", 1, 2, true},
		{"again", "0", 5, 2, false},
		{"longer than the limit", "60", 1, 1, false},
		{"none", "", 1, 1, false},
		{"nonsense", "-5", 1, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			double := &cluster{node: nodeJSON(name, "b", "m")}
			double.configz = func(w http.ResponseWriter, _ *http.Request) {
				if double.asked.Load() <= c.refusals {
					w.Header().Set("Retry-After", c.after)
					status(w, 429, "too many requests")
					return
				}
				fmt.Fprintf(w, plainConfig, "true")
			}
			cl := client(t, double, Options{Timeout: 5 * time.Second})
			_, err := read(t, cl, Identity{Names: []string{name}})
			if c.ok && err != nil {
				t.Error(err)
			}
			if !c.ok {
				wantCode(t, err, CodeThrottled, "429")
			}
			if got := double.asked.Load(); got != c.requests {
				t.Errorf("asked %d times, want %d", got, c.requests)
			}
		})
	}
}

func TestConnection(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := quiet(t, &cluster{})
	picky := httptest.NewUnstartedServer(&cluster{})
	picky.TLS = needClientCertificate()
	picky.Config.ErrorLog = nullLog()
	picky.StartTLS()
	defer picky.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	token := "{token: " + secret + "}"
	script := func(text string) string {
		file := filepath.Join(t.TempDir(), "plugin")
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("{exec: {apiVersion: client.authentication.k8s.io/v1, command: %s, interactiveMode: Never}}", file)
	}
	for _, c := range []struct {
		name, url string
		ca        []byte
		user      string
		want      Code
	}{
		{"refused", closed.URL, nil, token, CodeRefused},
		{"unknown authority", secure.URL, nil, token, CodeTLS},
		{"another name", strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), caOf(secure), token, CodeTLS},
		{"plain behind https", strings.Replace(plain.URL, "http:", "https:", 1), nil, token, CodeTLS},
		{"wants a client certificate", picky.URL, caOf(picky), token, CodeTLS},
		{"no such name", "https://api.invalid", nil, token, CodeDNS},
		{"says nothing", "https://" + mute.Addr().String(), nil, token, CodeTimeout},
		{"a wrong token", secure.URL, caOf(secure), "{token: wrong}", CodeUnauthenticated},
		{"a plug-in that fails", secure.URL, caOf(secure), script("exit 3"), CodeCredentials},
		{"a plug-in that hangs", secure.URL, caOf(secure), script("exec sleep 4"), CodeTimeout},
		{"a plug-in that is not there", secure.URL, caOf(secure), "{exec: {apiVersion: client.authentication.k8s.io/v1, command: /no/such/plugin, interactiveMode: Never}}", CodeCredentials},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl, err := New(Options{Kubeconfig: kubeconfig(t, c.url, c.ca, c.user), Timeout: 700 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			_, err = read(t, cl, Identity{Names: []string{name}})
			wantCode(t, err, c.want, "")
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestCredentials reaches the server with what a kubeconfig may hold.
func TestCredentials(t *testing.T) {
	s := quiet(t, &cluster{configz: says(fmt.Sprintf(plainConfig, "true")), node: nodeJSON(name, "b", "m")})
	tokenFile := filepath.Join(t.TempDir(), "token")
	plugin := filepath.Join(t.TempDir(), "plugin")
	for file, text := range map[string]string{
		tokenFile: secret + "\n",
		plugin:    "#!/bin/sh\nprintf '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"" + secret + "\"}}'\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for what, user := range map[string]string{
		"token":      "{token: " + secret + "}",
		"token file": "{tokenFile: " + tokenFile + "}",
		"plug-in":    "{exec: {apiVersion: client.authentication.k8s.io/v1, command: " + plugin + ", interactiveMode: Never}}",
	} {
		t.Run(what, func(t *testing.T) {
			cl, err := New(Options{Kubeconfig: kubeconfig(t, s.URL, caOf(s), user)})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := read(t, cl, Identity{Names: []string{name}}); err != nil || r.Value != true {
				t.Errorf("got %v, %v", r, err)
			}
		})
	}
}

// TestProxyURL goes the way of kubectl proxy, whose prefix may be any.
func TestProxyURL(t *testing.T) {
	double := &cluster{configz: says(fmt.Sprintf(plainConfig, "false")), node: nodeJSON(name, "b", "m")}
	s := httptest.NewServer(http.StripPrefix("/custom", double))
	defer s.Close()
	cl, err := New(Options{APIURL: s.URL + "/custom/"})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := read(t, cl, Identity{Names: []string{name}}); err != nil || r.Value != false {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("clusters: ["+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	good := kubeconfig(t, "https://127.0.0.1:1", nil, "{token: x}")
	for _, c := range []struct {
		name string
		o    Options
		part string
	}{
		{"no kubeconfig", Options{}, "--kubeconfig"},
		{"no such file", Options{Kubeconfig: "/no/such/file"}, "/no/such/file"},
		{"broken", Options{Kubeconfig: broken}, "kubeconfig"},
		{"no such context", Options{Kubeconfig: good, Context: "nowhere"}, "nowhere"},
		{"no scheme", Options{APIURL: "localhost:8001"}, "http://localhost:8001"},
		{"no host", Options{APIURL: "http://"}, "http://localhost:8001"},
		{"another scheme", Options{APIURL: "ftp://localhost"}, "http://localhost:8001"},
		{"plain to another machine", Options{APIURL: "http://10.0.0.1:8001"}, "plain http"},
		{"plain to a name", Options{APIURL: "http://localhost.example.net:8001"}, "plain http"},
		{"credentials", Options{APIURL: "https://me:" + secret + "@api.example.net"}, "credentials"},
		{"a query", Options{APIURL: "http://localhost:8001/?token=" + secret}, "without ?"},
		{"control characters", Options{APIURL: "http://localhost:8001/\x00" + secret}, "cannot be parsed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.o)
			if err == nil || !strings.Contains(err.Error(), c.part) || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v, want a fault with %q and without the secret", err, c.part)
			}
		})
	}
	for _, url := range []string{"http://localhost:8001", "http://127.0.0.1:8001/", "http://[::1]:8001/k8s", "https://api.example.net"} {
		if _, err := New(Options{APIURL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestParallelIsBounded(t *testing.T) {
	var now, most atomic.Int32
	cl := client(t, &cluster{node: nodeJSON(name, "b", "m"), configz: func(w http.ResponseWriter, _ *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		fmt.Fprintf(w, plainConfig, "true")
	}}, Options{Parallel: 3})
	errs := make(chan error)
	for range 24 {
		go func() {
			_, err := cl.Value(t.Context(), Node{Name: name}, setting)
			errs <- err
		}()
	}
	for range 24 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > 3 {
		t.Errorf("%d requests at once", most.Load())
	}
}

// TestContextEnds tells a caller's end from the server's slowness, also while
// it waits for its turn.
func TestContextEnds(t *testing.T) {
	cl := client(t, &cluster{node: nodeJSON(name, "b", "m"), configz: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, Options{Parallel: 1})
	busy, release := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := cl.Value(busy, Node{Name: name}, setting)
		var e *Error
		if !errors.As(err, &e) || e.Reason != CodeInterrupted {
			t.Errorf("got %v", err)
		}
	}()
	for len(cl.places) == 0 {
		time.Sleep(time.Millisecond)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := cl.Value(short, Node{Name: name}, setting)
	wantCode(t, err, CodeTimeout, "deadline")
	release()
	<-done
}
