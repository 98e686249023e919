// Package configz knows the live configuration of a kubelet as the cluster's
// API server passes it on: which Node object a host is, and what the kubelet
// there answers at /configz. It refuses to know SSH and verdicts.
//
// The path is GET /api/v1/nodes/NAME/proxy/configz. The API server authorises
// it as "get nodes/proxy" whatever follows /proxy/
// (k8s.io/kubernetes/pkg/registry/core/node/rest.ProxyREST), and then speaks to
// the kubelet as itself. The finer permission nodes/configz (KEP-2862) is
// checked by a kubelet of those who contact it directly
// (pkg/kubelet/server/auth.go); there is no path through the API server that it
// opens, as of Kubernetes 1.37.
package configz

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// DefaultParallel is how many requests are under way at a time. Each holds
	// a connection from the API server to a kubelet.
	DefaultParallel = 20
	// DefaultTimeout is the limit of one request. A kubelet answers at once; an
	// API server takes a while to find out that a kubelet does not.
	DefaultTimeout = 15 * time.Second
)

// Options say how the API server is reached. The zero value is what kubectl
// without flags does.
type Options struct {
	// Kubeconfig is a file; "" means $KUBECONFIG, else ~/.kube/config, else the
	// service account of the pod this runs in, as for kubectl.
	Kubeconfig string
	// Context is a context of the kubeconfig; "" is its current one.
	Context string
	// APIURL is a running `kubectl proxy` or another server that adds the
	// credentials itself; the kubeconfig is then not read.
	APIURL string

	Parallel int           // requests at a time; 0 is DefaultParallel
	Timeout  time.Duration // of each request; 0 is DefaultTimeout

	// Version is this program's, for the User-Agent.
	Version string
}

// Client asks one API server. It may be used from several goroutines.
type Client struct {
	name    string
	base    *url.URL
	http    *http.Client
	typed   kubernetes.Interface
	timeout time.Duration
	places  chan struct{}
	secrets []string // never to be shown

	listing sync.Mutex
	nodes   []node // every node of the cluster, once it was needed
}

// New reads the kubeconfig. It contacts nothing: every error is one of the
// command line or of the file.
func New(o Options) (*Client, error) {
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "fleet/" + o.Version
	config.WarningHandler = rest.NoWarnings{} // they would go to standard error
	config.Wrap(markNetwork)
	c := &Client{name: config.Host, timeout: o.Timeout, places: make(chan struct{}, DefaultParallel)}
	if o.Parallel > 0 {
		c.places = make(chan struct{}, o.Parallel)
	}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	for _, secret := range []string{config.BearerToken, config.Password} {
		if secret != "" {
			c.secrets = append(c.secrets, secret)
		}
	}
	if err := c.connect(config); err != nil {
		return nil, fmt.Errorf("cannot use the kubeconfig: %s", c.mask(err.Error()))
	}
	return c, nil
}

// connect prepares the two clients that share one transport: the plain one,
// which follows no redirect and leaves the limits to us, and the typed one.
func (c *Client) connect(config *rest.Config) error {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return err
	}
	c.base, c.name = base, base.Redacted()
	transport, err := rest.TransportFor(config)
	if err != nil {
		return err
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	c.typed, err = kubernetes.NewForConfigAndClient(config, c.http)
	return err
}

// Kubernetes gives the cluster's own client, for what is not reading of the
// live configuration. It follows no redirects and uses the same credentials.
func (c *Client) Kubernetes() kubernetes.Interface { return c.typed }

// Server is the URL of the API server, without credentials.
func (c *Client) Server() string { return c.name }

func (o Options) config() (*rest.Config, error) {
	if o.APIURL != "" {
		return proxyConfig(o.APIURL)
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	rules.WarnIfAllMissing = false // the error says it
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.Context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, fmt.Errorf("there is no kubeconfig: looked at %s; name one with --kubeconfig FILE, or a running kubectl proxy with --api-url", strings.Join(rules.GetLoadingPrecedence(), ", "))
	case err != nil:
		return nil, fmt.Errorf("cannot use the kubeconfig: %s", maskURLs(err.Error()))
	}
	return config, nil
}

// proxyConfig is the configuration for a server that wants no credentials of
// us. Plain http is taken on loopback only, where kubectl proxy listens: what
// is read is evidence and must not be changed on the way.
func proxyConfig(text string) (*rest.Config, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the API URL cannot be parsed; write it as http://localhost:8001")
	}
	plain := u.Scheme == "http"
	switch {
	case u.Hostname() == "" || !plain && u.Scheme != "https":
		return nil, fmt.Errorf("the API URL %q is none; write it as http://localhost:8001", u.Redacted())
	case u.User != nil:
		return nil, fmt.Errorf("the API URL %s holds credentials; put them into a kubeconfig", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the API URL must end with its path, without ? and #")
	case plain && !loopback(u.Hostname()):
		return nil, fmt.Errorf("the API URL %s is plain http to another machine; use https, or run kubectl proxy on this one", u)
	}
	return &rest.Config{Host: u.String()}, nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

var (
	urlSecret    = regexp.MustCompile(`://[^/\s"']*@`)
	bearerSecret = regexp.MustCompile(`(?i)\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]+`)
)

func maskURLs(s string) string {
	return bearerSecret.ReplaceAllString(urlSecret.ReplaceAllString(s, "://***@"), "$1 ***")
}

// mask takes the client's secrets out of a text that others wrote.
func (c *Client) mask(s string) string {
	for _, secret := range c.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return maskURLs(s)
}
