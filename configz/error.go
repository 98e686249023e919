package configz

import (
	"fmt"
	"strings"
)

// Code says why there is no live value. Each is a reason code of a finding.
type Code string

// One code for each cause.
const (
	CodeUnauthenticated Code = "configz-unauthenticated" // HTTP 401
	CodeForbidden       Code = "configz-forbidden"       // HTTP 403
	CodeNotServed       Code = "configz-not-served"      // HTTP 404 or 405 on the path itself
	CodeGone            Code = "configz-gone"            // HTTP 410
	CodeThrottled       Code = "configz-throttled"       // HTTP 429, also after the wait it asked for
	CodeServerError     Code = "configz-server-error"    // HTTP 500
	CodeBadGateway      Code = "configz-bad-gateway"     // HTTP 502
	CodeUnavailable     Code = "configz-unavailable"     // HTTP 503
	CodeGatewayTimeout  Code = "configz-gateway-timeout" // HTTP 504
	CodeStatus          Code = "configz-status"          // any other status
	CodeRedirect        Code = "configz-redirect"        // HTTP 3xx, never followed
	CodeHTML            Code = "configz-html"            // a page for people
	CodeTruncated       Code = "configz-truncated"       // ends in the middle
	CodeUndecodable     Code = "configz-undecodable"     // no JSON, or not of the published type
	CodeNoKey           Code = "configz-no-key"          // decodes, but does not hold the setting
	CodeTooLarge        Code = "configz-too-large"       // more than is accepted
	CodeTLS             Code = "configz-tls"             // no trust in the server, or it in us
	CodeRefused         Code = "configz-refused"         // nothing listens
	CodeDNS             Code = "configz-dns"             // the server's name does not resolve
	CodeNetwork         Code = "configz-network"         // any other failure on the way
	CodeTimeout         Code = "configz-timeout"         // no answer within the limit
	CodeCredentials     Code = "configz-credentials"     // the credential plug-in or token file failed
	CodeNoNode          Code = "configz-no-node"         // the cluster has no such node
	CodeSeveralNodes    Code = "configz-several-nodes"   // more than one node may be meant
	CodeUnverified      Code = "configz-unverified"      // neither side gives an id to compare
	CodeMismatch        Code = "identity-mismatch"       // a node of that name, but another machine
	CodeInterrupted     Code = "interrupted"             // the run was aborted
	CodeStillOther      Code = "configz-not-as-wanted"   // read, but not the wanted value before the deadline
)

// Error is why there is no live value of one node.
type Error struct {
	Reason Code
	Msg    string // one line, without secrets
	Status int    // of HTTP, 0 when there was no answer
}

func (e *Error) Error() string { return e.Msg }

// Code returns the reason code, which a report shows.
func (e *Error) Code() string { return string(e.Reason) }

// fault makes an error of one line.
func fault(code Code, layout string, args ...any) *Error {
	return &Error{Reason: code, Msg: oneLine(fmt.Sprintf(layout, args...))}
}

// oneLine makes a text of others one line of a bounded length.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
