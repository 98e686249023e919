package configz

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"k8s.io/kubelet/config/v1beta1"

	"fleet/kubelet"
)

// Reading is the value of one setting in a kubelet's live configuration.
type Reading struct {
	Node  Node
	Path  string // of the request, below the API server's URL
	Value any    // a bool, int64 or string
}

// Path is where the API server passes on a node's live configuration.
func Path(node string) string { return "/api/v1/nodes/" + node + "/proxy/configz" }

// Read finds the Node object of a host and reads a setting of its kubelet. The
// Reading's Node and Path are set once it is known whom to ask; the error is
// an *Error.
func (c *Client) Read(ctx context.Context, id Identity, s kubelet.Setting) (Reading, error) {
	n, err := c.Find(ctx, id)
	if err != nil {
		return Reading{}, err
	}
	return c.Value(ctx, n, s)
}

// Value reads a setting of a node's kubelet, flags included: /configz serves
// what the running process made of all layers.
func (c *Client) Value(ctx context.Context, n Node, s kubelet.Setting) (Reading, error) {
	out := Reading{Node: n, Path: Path(n.Name)}
	body, err := c.get(ctx, out.Path, nil, configLimit)
	if err != nil {
		return out, err
	}
	out.Value, err = value(out.Path, body, s)
	return out, err
}

// Config gives a node's live configuration as a versioned object in JSON.
func (c *Client) Config(ctx context.Context, n Node) ([]byte, error) {
	body, err := c.get(ctx, Path(n.Name), nil, configLimit)
	if err != nil {
		return nil, err
	}
	return object(body)
}

// Answer gives the whole answer of a node's /configz, as the kubelet wrote it.
func (c *Client) Answer(ctx context.Context, n Node) ([]byte, error) {
	return c.get(ctx, Path(n.Name), nil, configLimit)
}

// value finds a setting in the answer of /configz, decoded as the published
// type.
func value(path string, body []byte, s kubelet.Setting) (any, error) {
	data, err := object(body)
	if err != nil {
		return nil, err
	}
	file, fatal := kubelet.DecodeConfig(path, data)
	if fatal != nil {
		return nil, fault(CodeUndecodable, "the live configuration is not of the published type: %s", fatal.Message)
	}
	layer, ok := file.Lookup(s.Key)
	if !ok {
		return nil, fault(CodeNoKey, "the live configuration holds no %s, which a kubelet always serves", s.Key)
	}
	return layer.Value, nil
}

// object takes the kubelet's configuration out of the answer of /configz. From
// Kubernetes 1.36 on it is a versioned object (component-base/configz); before,
// the same content comes without kind and apiVersion, which are filled in.
func object(body []byte) ([]byte, error) {
	var whole map[string]json.RawMessage
	if err := decode(body, &whole); err != nil {
		return nil, err
	}
	var config map[string]json.RawMessage
	if inner, ok := whole["kubeletconfig"]; !ok || json.Unmarshal(inner, &config) != nil || config == nil {
		return nil, fault(CodeUndecodable, "the answer has no object kubeletconfig, which a kubelet's /configz has")
	}
	if config["kind"] == nil && config["apiVersion"] == nil {
		config["kind"], config["apiVersion"] = quoted("KubeletConfiguration"), quoted(v1beta1.SchemeGroupVersion.String())
	}
	return json.Marshal(config)
}

func quoted(s string) json.RawMessage { return json.RawMessage(`"` + s + `"`) }

// PollValue reads a setting again and again, until it has the wanted value or
// ctx ends. A kubelet that is being restarted does not answer for a while: that
// is waited out like a wrong value. At the end the last reading is returned,
// with an *Error of what was last in the way.
func (c *Client) PollValue(ctx context.Context, n Node, s kubelet.Setting, want any, every time.Duration) (Reading, error) {
	var last Reading
	var lastErr error
	for {
		r, err := c.Value(ctx, n, s)
		switch {
		case err == nil && r.Value == want:
			return r, nil
		case err == nil:
			last, lastErr = r, fault(CodeStillOther, "the live configuration of node %s says %v", n.Name, r.Value)
		case lastErr == nil || ctx.Err() == nil:
			last, lastErr = r, err // the end of the wait itself explains nothing
		}
		if sleep(ctx, every) != nil {
			return last, pollEnd(ctx, lastErr)
		}
	}
}

func pollEnd(ctx context.Context, last error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault(CodeInterrupted, "interrupted while the live configuration was waited for")
	}
	return last
}
