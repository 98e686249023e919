// Package remote knows one host over SSH: the user's and the system's
// ssh_config, host keys, credentials, a jump host, how to become root and how
// to run a script, with a deadline at every stage. It refuses to know the
// kubelet and other hosts.
package remote

import "fmt"

// Code is the stable reason for which a host could not be reached or used.
// There is one code per cause. A cause met on the jump host instead of the
// host itself carries the prefix "jump-".
type Code string

// The codes. What each excludes is said where two are easily confused.
const (
	CodeConfig Code = "ssh-config" // ssh_config has a line we cannot honour for this host

	CodeDNS         Code = "unreachable-dns"      // the name does not resolve
	CodeRefused     Code = "unreachable-refused"  // the port answers with a reset
	CodeNoRoute     Code = "unreachable-no-route" // no route, or host or network unreachable
	CodeUnreachable Code = "unreachable"          // any other failure before the first byte

	CodeTimeoutConnect   Code = "timeout-connect"   // no TCP connection in time
	CodeTimeoutHandshake Code = "timeout-handshake" // connected, no key exchange in time
	CodeTimeoutAuth      Code = "timeout-auth"      // keys exchanged, no answer to authentication in time
	CodeTimeoutCommand   Code = "timeout-command"   // logged in, the command did not end in time

	CodeNotSSH   Code = "not-ssh"  // the port speaks something else
	CodeBusy     Code = "ssh-busy" // the server turned the connection away before key exchange (MaxStartups, PerSourcePenalties)
	CodeKex      Code = "ssh-no-common-algorithm"
	CodeProtocol Code = "ssh-protocol"    // the handshake broke off for any other reason
	CodeLost     Code = "connection-lost" // the link died after login; what the command did is not known

	CodeInterrupted Code = "interrupted"        // the caller's context was cancelled, not the host's fault
	CodeForward     Code = "forwarding-refused" // the jump host does not forward to the host; always with the prefix "jump-"

	CodeHostKeyUnknown Code = "host-key-unknown"
	CodeHostKeyChanged Code = "host-key-changed"
	CodeHostKeyRevoked Code = "host-key-revoked"
	CodeHostKeyCert    Code = "host-key-certificate" // expired, wrong principal or no matching authority
	CodeHostKeyFile    Code = "host-key-file"        // known_hosts could not be read or written

	CodeAuthNone       Code = "auth-no-key"     // nothing to offer: no agent, no readable key
	CodeAuthRefused    Code = "auth-refused"    // the server refused every key offered
	CodeAuthKeyFile    Code = "auth-key-file"   // a key file was named but cannot be read or parsed
	CodeAuthPassphrase Code = "auth-passphrase" // the key is encrypted and no passphrase, or a wrong one, was given
	CodeAuthAgent      Code = "auth-agent"      // the agent is the only source of keys and does not answer

	CodeNoShell      Code = "no-shell"            // logged in, but the server runs no command for this account
	CodeOutput       Code = "output-too-large"    // the command's output passed its limit
	CodeSudoPassword Code = "sudo-password"       // sudo wants a password and none was given
	CodeSudoWrong    Code = "sudo-wrong-password" // sudo refused the password given
	CodeSudoDenied   Code = "sudo-not-allowed"    // the account may not use sudo
	CodeSudoMissing  Code = "sudo-missing"        // no sudo on the host
	CodeSudoTTY      Code = "sudo-tty"            // sudo insists on a terminal (requiretty)
	CodeSudoFailed   Code = "sudo-failed"         // any other failure of sudo
)

// Error is a failure to reach or use one host.
type Error struct {
	Reason Code
	Msg    string // what happened, with names, fingerprints and file:line where they help; lower case
	Err    error  // cause, may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return fmt.Sprintf("%s: %v", e.Msg, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Code returns the reason code as a string, so that other packages can find it
// with errors.As and an interface of one method instead of importing remote.
func (e *Error) Code() string { return string(e.Reason) }
