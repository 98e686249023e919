package remote

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// candidate is one key that may be offered to a server.
type candidate struct {
	name string // for messages: the file, or the agent's comment
	from string // where it was asked for, "agent" or "default"
	// open returns the signer. It asks for a passphrase only when the public
	// half cannot be had otherwise; signing may still ask.
	open func(a *authenticator) (ssh.Signer, error)
}

// authenticator offers one candidate after the other. x/crypto would take
// them all in one go, but stop at the first that cannot sign.
type authenticator struct {
	candidates []candidate
	stages     *stages
	settings   Settings

	mu      sync.Mutex
	nextKey int
	offered []string
	methods []string // what the server accepts
	partial []string // what it has accepted so far, wanting more
	wanted  []*Error // keys the server would have taken, but that could not sign
	faults  []*Error // keys that could not be offered
}

// next is the ssh.ClientAuthCallback.
func (a *authenticator) next(ctx *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.methods, a.partial = ctx.AllowedMethods, ctx.PartialSuccessMethods
	for contains(a.methods, "publickey") && a.nextKey < len(a.candidates) {
		c := a.candidates[a.nextKey]
		a.nextKey++
		signer, err := c.open(a)
		if err != nil {
			a.faults = append(a.faults, keyError(err))
			continue
		}
		a.offered = append(a.offered, c.name)
		return ssh.PublicKeys(&watchedSigner{Signer: signer, a: a}), nil
	}
	return nil, a.failure("the server refused")
}

func keyError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Reason: CodeAuthKeyFile, Msg: "cannot use a key", Err: err}
}

// refused is failure for callers that do not hold mu.
func (a *authenticator) refused(who string) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure(who)
}

// failure says why nobody was let in. A key that the server wanted but that
// could not sign is the most telling cause; next comes a refusal, and last
// that there was nothing to offer.
func (a *authenticator) failure(who string) *Error {
	if len(a.wanted) > 0 {
		return a.wanted[0]
	}
	user := a.settings.User.Value
	if len(a.methods) > 0 && !contains(a.methods, "publickey") {
		return &Error{Reason: CodeAuthRefused, Msg: fmt.Sprintf("cannot log in as %s: the server accepts only %s%s",
			user, printable([]byte(strings.Join(a.methods, ", "))), a.after())}
	}
	if len(a.offered) > 0 {
		return &Error{Reason: CodeAuthRefused, Msg: fmt.Sprintf("cannot log in as %s: %s after %s%s%s",
			user, who, plural(len(a.offered), "key"), a.list(), a.after())}
	}
	if len(a.faults) > 0 {
		return a.faults[0]
	}
	return &Error{Reason: CodeAuthNone, Msg: fmt.Sprintf("cannot log in as %s: no key to offer (no agent key, no readable key file)", user)}
}

func (a *authenticator) after() string {
	if len(a.partial) == 0 {
		return ""
	}
	return ", after it accepted " + printable([]byte(strings.Join(a.partial, ", ")))
}

// list names the keys offered and counts those the server did not want to
// hear of any more.
func (a *authenticator) list() string {
	s := " (" + strings.Join(a.offered, ", ")
	if rest := len(a.candidates) - a.nextKey; rest > 0 {
		s += fmt.Sprintf("; %d more not offered", rest)
	}
	for _, f := range a.faults {
		s += "; " + f.Error()
	}
	return s + ")"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// watchedSigner records that a key the server wanted could not sign.
type watchedSigner struct {
	ssh.Signer
	a *authenticator
}

// Algorithms limits RSA keys to SHA-2 signatures, as OpenSSH has since 8.8.
func (w *watchedSigner) Algorithms() []string {
	if m, ok := w.Signer.(ssh.MultiAlgorithmSigner); ok {
		return m.Algorithms()
	}
	switch t := plainType(w.PublicKey().Type()); t {
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	default:
		return []string{t}
	}
}

// SignWithAlgorithm signs, or leaves the reason why not.
func (w *watchedSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	sig, err := signWith(w.Signer, data, algorithm)
	if err != nil {
		w.a.mu.Lock()
		w.a.wanted = append(w.a.wanted, keyError(err))
		w.a.mu.Unlock()
	}
	return sig, err
}

func signWith(s ssh.Signer, data []byte, algorithm string) (*ssh.Signature, error) {
	if as, ok := s.(ssh.AlgorithmSigner); ok {
		return as.SignWithAlgorithm(rand.Reader, data, algorithm)
	}
	return s.Sign(rand.Reader, data)
}

// plainType is the key type under a certificate type.
func plainType(t string) string {
	plain, isCert := strings.CutSuffix(t, "-cert-v01@openssh.com")
	if isCert && strings.HasPrefix(plain, "sk-") {
		return plain + "@openssh.com"
	}
	return plain
}
