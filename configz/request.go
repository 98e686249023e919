package configz

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Limits of what is read of an answer, in bytes after decompression. A Node
// may be as large as etcd takes (1.5 MB), a live configuration is some 5 KB.
const (
	nodeLimit   = 4 << 20
	configLimit = 1 << 20
)

// answer is what came back of one request.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// get fetches one path from the API server: bounded in number, time and size.
// The error is an *Error. When the server asks for a pause that fits into the
// limit, the request is repeated once.
func (c *Client) get(ctx context.Context, path string, query url.Values, limit int64) ([]byte, error) {
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-ctx.Done():
		return nil, c.failure(ctx, ctx.Err())
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	a := c.attempt(limited, u, limit)
	if a.err == nil && a.status == http.StatusTooManyRequests && pause(limited, a.header) {
		a = c.attempt(limited, u, limit)
	}
	if a.err != nil {
		return nil, c.failure(ctx, a.err)
	}
	return a.body, c.judge(a, limit)
}

// attempt makes one request. It returns at the context's end even when a
// credential plug-in of the kubeconfig, which knows no context, does not.
func (c *Client) attempt(ctx context.Context, u *url.URL, limit int64) answer {
	back := make(chan answer, 1)
	go func() { back <- c.exchange(ctx, u, limit) }()
	select {
	case a := <-back:
		return a
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
}

func (c *Client) exchange(ctx context.Context, u *url.URL, limit int64) answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		err = &networkError{err}
	}
	return answer{resp.StatusCode, resp.Header, body, err}
}

// pause waits as long as Retry-After asks (RFC 9110, 10.2.3, in seconds as the
// API server writes it) and reports whether the request may be repeated.
func pause(ctx context.Context, header http.Header) bool {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 3600 {
		return false
	}
	wait := time.Duration(seconds) * time.Second
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false
	}
	return sleep(ctx, wait) == nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// networkError marks an error of the connection itself, as opposed to one of
// the layers above it that get credentials.
type networkError struct{ err error }

func (e *networkError) Error() string { return e.err.Error() }
func (e *networkError) Unwrap() error { return e.err }

// networkMarker is the round tripper next to the connection: client-go puts
// its layers for tokens and plug-ins around it.
type networkMarker struct{ next http.RoundTripper }

func markNetwork(next http.RoundTripper) http.RoundTripper { return networkMarker{next} }

func (m networkMarker) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.next.RoundTrip(req)
	if err != nil {
		return nil, &networkError{err}
	}
	return resp, nil
}

// WrappedRoundTripper lets client-go reach the connection below.
func (m networkMarker) WrappedRoundTripper() http.RoundTripper { return m.next }

// failure words an exchange that gave no whole answer. ctx is the caller's,
// whose end is not the server's fault.
func (c *Client) failure(ctx context.Context, err error) *Error {
	var network *networkError
	var named *net.DNSError
	where := c.name
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // without the URL, which the message names already
	}
	is := func(code Code, layout string, args ...any) *Error {
		return fault(code, "%s", c.mask(fmt.Sprintf(layout, args...)))
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return is(CodeInterrupted, "interrupted while %s was asked", where)
	case ctx.Err() != nil:
		return is(CodeTimeout, "%s did not answer before the host's deadline", where)
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return is(CodeTimeout, "%s did not answer within %s", where, c.timeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return is(CodeTruncated, "the answer of %s ends in the middle", where)
	case errors.Is(err, syscall.ECONNREFUSED):
		return is(CodeRefused, "nothing listens at %s", where)
	case errors.As(err, &named):
		return is(CodeDNS, "the name of %s does not resolve", where)
	case isTLS(err):
		return is(CodeTLS, "no trusted connection to %s: %v", where, err)
	case errors.As(err, &network):
		return is(CodeNetwork, "cannot reach %s: %v", where, err)
	}
	return is(CodeCredentials, "no credentials for %s: %v", where, err)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func isTLS(err error) bool {
	var (
		untrusted *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		record    tls.RecordHeaderError
		remote    *net.OpError
	)
	return errors.As(err, &untrusted) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &record) ||
		errors.Is(err, http.ErrSchemeMismatch) ||
		errors.As(err, &remote) && remote.Op == "remote error" // an alert that the server sent (crypto/tls)
}

// judge takes an answer for good or gives the reason why it is none.
func (c *Client) judge(a answer, limit int64) error {
	is := func(code Code, text string) error {
		return &Error{Reason: code, Status: a.status, Msg: oneLine(c.mask(text))}
	}
	html := isHTML(a)
	switch {
	case a.status >= 300 && a.status < 400:
		return is(CodeRedirect, fmt.Sprintf("%s answers with a redirect (%d) to %s", c.name, a.status, target(a.header)))
	case a.status != http.StatusOK:
		return is(statusCode(a.status), fmt.Sprintf("%s answers %d %s%s", c.name, a.status, http.StatusText(a.status), said(a, html)))
	case html:
		return is(CodeHTML, c.name+" answers with a web page")
	case int64(len(a.body)) > limit:
		return is(CodeTooLarge, fmt.Sprintf("the answer of %s is larger than %d MiB", c.name, limit>>20))
	}
	return nil
}

func statusCode(status int) Code {
	switch status {
	case http.StatusUnauthorized:
		return CodeUnauthenticated
	case http.StatusForbidden:
		return CodeForbidden
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return CodeNotServed
	case http.StatusGone:
		return CodeGone
	case http.StatusTooManyRequests:
		return CodeThrottled
	case http.StatusInternalServerError:
		return CodeServerError
	case http.StatusBadGateway:
		return CodeBadGateway
	case http.StatusServiceUnavailable:
		return CodeUnavailable
	case http.StatusGatewayTimeout:
		return CodeGatewayTimeout
	}
	return CodeStatus
}

// target is where a redirect leads, without its query: login pages carry
// state and tokens there.
func target(header http.Header) string {
	u, err := url.Parse(header.Get("Location"))
	if err != nil || u.Host == "" {
		return "another path"
	}
	return u.Scheme + "://" + u.Host
}

// said is what the server wrote beside a status: the message of its Status
// object, else the beginning of its text.
func said(a answer, html bool) string {
	var status metav1.Status
	switch {
	case html || len(bytes.TrimSpace(a.body)) == 0:
		return ""
	case json.Unmarshal(a.body, &status) == nil && status.Message != "":
		return ": " + status.Message
	}
	return ": " + string(bytes.ToValidUTF8(a.body[:min(len(a.body), 200)], nil))
}

func isHTML(a answer) bool {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	return kind == "text/html" || bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<"))
}
