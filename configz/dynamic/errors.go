package dynamic

import "fmt"

// Codes of errors. One code is one cause.
const (
	// Nothing was changed, because it should not be.
	CodeGone           = "dynamic-config-gone"            // this kubelet does not have it
	CodeVersion        = "dynamic-config-version-unknown" // whether it has it cannot be told
	CodeFlagWins       = "dynamic-config-flag-wins"       // a flag would beat the ConfigMap
	CodeUnsettled      = "dynamic-config-unsettled"       // another assignment is under way, or has failed
	CodeBaseUnknown    = "dynamic-config-base-unknown"    // the configuration in use could not be read
	CodeBaseDiffers    = "dynamic-config-base-differs"    // the kubelet runs with something else than its configuration says
	CodeLiveUnreadable = "dynamic-config-live-unreadable" // the answer of /configz is of no use
	CodeUnsupported    = "dynamic-config-unsupported"     // the configuration does not fit into a ConfigMap, or the edit did not take
	CodeConflict       = "dynamic-config-conflict"        // something changed since the plan, or is in the way

	// The change did not come about, or did not hold.
	CodeInterrupted = "dynamic-config-interrupted"  // before anything was changed
	CodeForbidden   = "dynamic-config-forbidden"    // the API server does not allow it
	CodeAPI         = "dynamic-config-api"          // the API server failed or could not be reached
	CodeDropped     = "dynamic-config-dropped"      // the API server ignores spec.configSource
	CodeRejected    = "dynamic-config-rejected"     // the kubelet reports an error in status.config
	CodeTimeout     = "dynamic-config-timeout"      // the kubelet did not take it over in time
	CodeLiveDiffers = "dynamic-config-live-differs" // it was taken over, and the live value is not the wanted one
	CodeSuperseded  = "dynamic-config-superseded"   // someone else changed spec.configSource meanwhile
	CodeNodeGone    = "dynamic-config-node-gone"    // the Node object is gone, or is another one
)

// Error is why a plan was not made or a change did not come about.
type Error struct {
	Code    string
	Message string // one line; says what to do
}

func (e *Error) Error() string { return e.Message }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
