// Package apidouble is an API server with one node, for tests: the few endpoints
// that Dynamic Kubelet Configuration needs, with real strategic merge patches and
// optimistic locking, and behind the node a kubelet that goes through the states
// which one of 1.20 goes through (pkg/kubelet/kubeletconfig). It shares no code
// with the package that it tests.
package apidouble

//lint:file-ignore SA1019 spec.configSource is deprecated with the feature that this is about

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Node is the name of the node.
const Node = "node-1"

// Server is the API server and the kubelet of its node.
type Server struct {
	http *httptest.Server

	mu         sync.Mutex
	version    int // the last resourceVersion given out
	node       *corev1.Node
	configMaps map[string]*corev1.ConfigMap // by namespace/name
	kubelet    kubelet
	fault      func(r *http.Request) int
	after      func(r *http.Request)
	requests   []string
}

// New starts a server whose node runs with the options' configuration.
func New(t *testing.T, o Options) *Server {
	t.Helper()
	s := &Server{configMaps: map[string]*corev1.ConfigMap{}}
	s.node = &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: Node, UID: "node-uid-1", ResourceVersion: s.next()}}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	s.kubelet = kubelet{o: o}
	if err := s.kubelet.boot(); err != nil {
		t.Fatalf("the kubelet's own configuration: %v", err)
	}
	s.publish()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); s.loop(stop) }()
	t.Cleanup(func() { close(stop); <-done; s.http.Close() })
	return s
}

// Client is a client of the server.
func (s *Server) Client(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: s.http.URL, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Fault makes the server answer with the status that f returns, unless it is 0.
// It is called before the request is carried out; AfterRequest after that, and
// before the answer.
func (s *Server) Fault(f func(r *http.Request) int)    { s.do(func() { s.fault = f }) }
func (s *Server) AfterRequest(f func(r *http.Request)) { s.do(func() { s.after = f }) }

// Requests lists what was asked for, "VERB path".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Spec and Status are the node's spec.configSource and status.config.
func (s *Server) Spec() (spec *corev1.NodeConfigSource) {
	s.do(func() { spec = s.node.Spec.ConfigSource.DeepCopy() })
	return spec
}

func (s *Server) Status() (status *corev1.NodeConfigStatus) {
	s.do(func() { status = s.node.Status.Config.DeepCopy() })
	return status
}

// Names lists the ConfigMaps, "namespace/name".
func (s *Server) Names() (names []string) {
	s.do(func() { names = slices.Sorted(maps.Keys(s.configMaps)) })
	return names
}

// Change changes the node as someone else would.
func (s *Server) Change(f func(n *corev1.Node)) {
	s.do(func() { f(s.node); s.node.ResourceVersion = s.next() })
}

// Kill stops the kubelet for good; DeleteNode removes the Node object.
func (s *Server) Kill()       { s.do(func() { s.kubelet.dead = true }) }
func (s *Server) DeleteNode() { s.do(func() { s.node = nil }) }

// AddConfigMap puts a ConfigMap there.
func (s *Server) AddConfigMap(cm *corev1.ConfigMap) { s.do(func() { s.add(cm) }) }

func (s *Server) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *Server) next() string {
	s.version++
	return strconv.Itoa(s.version)
}

func (s *Server) add(cm *corev1.ConfigMap) {
	cm.ResourceVersion = s.next()
	cm.UID = types.UID("map-uid-" + cm.ResourceVersion)
	s.configMaps[cm.Namespace+"/"+cm.Name] = cm
}

// failure is an answer that is no success.
type failure struct {
	code   int
	reason metav1.StatusReason
	text   string
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fault, after := s.fault, s.after
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if fault != nil {
		if code := fault(r); code != 0 {
			answer(w, nil, &failure{code, reasonFor(code), "injected"})
			return
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var out any
	var failed *failure
	s.do(func() { out, failed = s.route(r, body) })
	if after != nil {
		after(r)
	}
	answer(w, out, failed)
}

func reasonFor(code int) metav1.StatusReason {
	return map[int]metav1.StatusReason{403: metav1.StatusReasonForbidden, 401: metav1.StatusReasonUnauthorized,
		500: metav1.StatusReasonInternalError, 504: metav1.StatusReasonTimeout, 422: metav1.StatusReasonInvalid}[code]
}

func answer(w http.ResponseWriter, out any, failed *failure) {
	w.Header().Set("Content-Type", "application/json")
	if failed != nil {
		w.WriteHeader(failed.code)
		out = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: int32(failed.code), Reason: failed.reason, Message: failed.text}
	}
	if raw, ok := out.([]byte); ok {
		w.Write(raw)
		return
	}
	json.NewEncoder(w).Encode(out)
}

// route carries out one request.
func (s *Server) route(r *http.Request, body []byte) (any, *failure) {
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/")
	switch {
	case path[0] == "nodes" && (s.node == nil || path[1] != Node):
		return nil, &failure{404, metav1.StatusReasonNotFound, "nodes not found"}
	case path[0] == "nodes" && len(path) == 4 && path[3] == "configz":
		return s.kubelet.configz()
	case path[0] == "nodes" && r.Method == http.MethodGet:
		return s.node.DeepCopy(), nil
	case path[0] == "nodes" && r.Method == http.MethodPatch:
		return s.patch(body)
	case path[0] == "namespaces" && len(path) >= 3 && path[2] == "configmaps":
		return s.configMap(r, path[1], path[3:], body)
	}
	return nil, &failure{404, metav1.StatusReasonNotFound, "no such path"}
}

// patch applies a strategic merge patch under the preconditions in it.
func (s *Server) patch(body []byte) (any, *failure) {
	before, err := json.Marshal(s.node)
	if err != nil {
		return nil, &failure{500, metav1.StatusReasonInternalError, err.Error()}
	}
	patched, err := strategicpatch.StrategicMergePatch(before, body, corev1.Node{})
	after := &corev1.Node{}
	if err == nil {
		err = json.Unmarshal(patched, after)
	}
	switch {
	case err != nil:
		return nil, &failure{400, metav1.StatusReasonBadRequest, err.Error()}
	case after.ResourceVersion != s.node.ResourceVersion || after.UID != s.node.UID:
		return nil, &failure{409, metav1.StatusReasonConflict, "the object has been modified"}
	}
	if source := after.Spec.ConfigSource; source != nil {
		ref := source.ConfigMap
		if ref == nil || ref.Namespace == "" || ref.Name == "" || ref.KubeletConfigKey == "" || ref.UID != "" || ref.ResourceVersion != "" {
			return nil, &failure{422, metav1.StatusReasonInvalid, "spec.configSource is invalid"}
		}
	}
	if s.kubelet.o.GateOff {
		after.Spec.ConfigSource = s.node.Spec.ConfigSource
	}
	after.ResourceVersion = s.next()
	s.node = after
	return after.DeepCopy(), nil
}

func (s *Server) configMap(r *http.Request, namespace string, name []string, body []byte) (any, *failure) {
	switch r.Method {
	case http.MethodPost:
		return s.create(namespace, body)
	case http.MethodDelete:
		return s.delete(namespace+"/"+name[0], body)
	}
	if len(name) == 0 {
		return s.list(namespace, r.URL.Query().Get("labelSelector")), nil
	}
	cm, ok := s.configMaps[namespace+"/"+name[0]]
	if !ok {
		return nil, &failure{404, metav1.StatusReasonNotFound, "configmaps not found"}
	}
	return cm.DeepCopy(), nil
}

func (s *Server) create(namespace string, body []byte) (any, *failure) {
	cm := &corev1.ConfigMap{}
	if err := json.Unmarshal(body, cm); err != nil || cm.Namespace != namespace {
		return nil, &failure{400, metav1.StatusReasonBadRequest, fmt.Sprint("no ConfigMap: ", err)}
	}
	if _, ok := s.configMaps[namespace+"/"+cm.Name]; ok {
		return nil, &failure{409, metav1.StatusReasonAlreadyExists, "configmaps already exists"}
	}
	s.add(cm)
	return cm.DeepCopy(), nil
}

func (s *Server) delete(key string, body []byte) (any, *failure) {
	cm, ok := s.configMaps[key]
	if !ok {
		return nil, &failure{404, metav1.StatusReasonNotFound, "configmaps not found"}
	}
	var options metav1.DeleteOptions
	if err := json.Unmarshal(body, &options); err != nil {
		return nil, &failure{400, metav1.StatusReasonBadRequest, err.Error()}
	}
	if p := options.Preconditions; p != nil && p.UID != nil && *p.UID != cm.UID {
		return nil, &failure{409, metav1.StatusReasonConflict, "the UID in the precondition does not match"}
	}
	delete(s.configMaps, key)
	return cm, nil
}

func (s *Server) list(namespace, selector string) *corev1.ConfigMapList {
	list := &corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"}}
	label, value, _ := strings.Cut(selector, "=")
	for _, key := range slices.Sorted(maps.Keys(s.configMaps)) {
		if cm := s.configMaps[key]; cm.Namespace == namespace && (label == "" || cm.Labels[label] == value) {
			list.Items = append(list.Items, *cm.DeepCopy())
		}
	}
	return list
}
