package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// keyFileLimit bounds what is read of a key file.
const keyFileLimit = 1 << 20

// keyring holds the key files and the agent of a run, each read once.
type keyring struct {
	opts Options
	warn *warner
	ask  sync.Mutex // one passphrase prompt at a time

	mu     sync.Mutex
	files  map[string]*keyFile
	agents map[string]*agentClient
}

func newKeyring(o Options, w *warner) *keyring {
	return &keyring{opts: o, warn: w, files: make(map[string]*keyFile), agents: make(map[string]*agentClient)}
}

func (k *keyring) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.agents {
		a.close()
	}
	return nil
}

// keyFile is one identity file as far as it can be read without a passphrase.
type keyFile struct {
	path   string
	load   sync.Once
	err    error
	data   []byte           // the file, kept for an encrypted key only
	public ssh.PublicKey    // nil when only a passphrase would tell
	signer ssh.Signer       // nil when encrypted, or when the file is a public key
	cert   *ssh.Certificate // of path-cert.pub, nil when there is none

	asked  bool // guarded by keyring.ask
	askErr error
	opened ssh.Signer
}

func (k *keyring) file(path string) *keyFile {
	k.mu.Lock()
	f := k.files[path]
	if f == nil {
		f = &keyFile{path: path}
		k.files[path] = f
	}
	k.mu.Unlock()
	f.load.Do(func() {
		if f.err = f.read(); f.err == nil {
			f.cert = k.siblingCertificate(path)
		}
	})
	return f
}

// read parses the file. A file that holds a public key is fine: the agent
// then has the private half, as with ssh(1).
func (f *keyFile) read() error {
	data, err := readLimited(f.path, keyFileLimit)
	if err != nil {
		return err
	}
	f.signer, err = ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		f.public = f.signer.PublicKey()
		return nil
	case errors.As(err, &locked):
		f.data, f.public = data, locked.PublicKey
		if f.public == nil {
			f.public, _ = readPublicKey(f.path + ".pub")
		}
		return nil
	}
	if public, _, _, _, perr := ssh.ParseAuthorizedKey(data); perr == nil {
		f.public = public
		return nil
	}
	// The file of a key on a security token: only the agent can use it.
	if public, perr := readPublicKey(f.path + ".pub"); perr == nil && strings.HasPrefix(public.Type(), "sk-") {
		f.public = public
		return nil
	}
	return fmt.Errorf("%s is not a private key that can be read: %w", f.path, plain(err))
}

func readPublicKey(path string) (ssh.PublicKey, error) {
	data, err := readLimited(path, keyFileLimit)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return key, err
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, err
}

// siblingCertificate reads the certificate ssh(1) tries beside every identity.
func (k *keyring) siblingCertificate(path string) *ssh.Certificate {
	cert, err := readCertificate(path + "-cert.pub")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.warn.printf("certificate ignored: %v", err)
	}
	return cert
}

func readCertificate(path string) (*ssh.Certificate, error) {
	key, err := readPublicKey(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok || cert.CertType != ssh.UserCert {
		return nil, fmt.Errorf("%s is not a user certificate", path)
	}
	return cert, nil
}

// identity is a key file a host may use.
type identity struct {
	file *keyFile
	from string
}

// candidates lists the keys for a host in the order they are offered:
// certificates, then the identities named for it, then what else the agent
// has (unless IdentitiesOnly), then ssh(1)'s default files. Named keys go
// first because a server hears only a few (MaxAuthTries). A file named on the
// command line or in the inventory must be readable.
func (k *keyring) candidates(ctx context.Context, s Settings) ([]candidate, error) {
	var named, defaults []identity
	var out []candidate
	for _, v := range s.Identity {
		f := k.file(v.Path)
		switch {
		case f.err == nil && v.From == fromDefault:
			defaults = append(defaults, identity{f, v.From})
		case f.err == nil:
			named = append(named, identity{f, v.From})
		case v.must:
			return nil, &Error{Reason: CodeAuthKeyFile, Msg: "cannot use the key named by " + v.From, Err: f.err}
		case v.From != fromDefault:
			out = append(out, unusable(v.Path, v.From, &Error{Reason: CodeAuthKeyFile, Msg: "cannot use the key named in " + v.From, Err: f.err}))
		case !errors.Is(f.err, fs.ErrNotExist):
			out = append(out, unusable(v.Path, v.From, &Error{Reason: CodeAuthKeyFile, Msg: "cannot use a default key", Err: f.err}))
		}
	}
	agent, held, agentErr := k.agentKeys(ctx, s)
	all := append(named[:len(named):len(named)], defaults...)
	certs, err := k.certificates(s, all, agent, held)
	if err != nil {
		return nil, err
	}
	list := certs
	for _, id := range named {
		list = append(list, k.identityCandidate(id, agent, held)...)
	}
	if !s.IdentitiesOnly.Value {
		list = append(list, otherAgentKeys(agent, held, all)...)
	}
	for _, id := range defaults {
		list = append(list, k.identityCandidate(id, agent, held)...)
	}
	if agentErr != nil {
		out = append(out, unusable("agent", "agent", agentErr))
	}
	return append(list, out...), nil
}

// unusable is a candidate that only explains itself when nothing else helps.
func unusable(name, from string, err *Error) candidate {
	return candidate{name: name, from: from, open: func(*authenticator) (ssh.Signer, error) { return nil, err }}
}

// identityCandidate is a key file, signed by the agent when it holds the key,
// so that no passphrase is needed.
func (k *keyring) identityCandidate(id identity, agent *agentClient, held []agentKey) []candidate {
	signer := k.base(id, agent, held)
	if signer == nil {
		return nil
	}
	return []candidate{{name: id.file.path, from: id.from, open: signer}}
}

// base finds who can sign for an identity: the agent, the file, or the file
// once its passphrase is known; nil for a public key nobody holds.
func (k *keyring) base(id identity, agent *agentClient, held []agentKey) func(*authenticator) (ssh.Signer, error) {
	f := id.file
	if f.public != nil {
		if key, ok := heldKey(held, f.public); ok {
			return func(a *authenticator) (ssh.Signer, error) { return &agentSigner{agent, key, a}, nil }
		}
	}
	switch {
	case f.signer != nil:
		return func(*authenticator) (ssh.Signer, error) { return f.signer, nil }
	case f.data == nil:
		return nil
	case f.public != nil:
		return func(a *authenticator) (ssh.Signer, error) { return &lockedSigner{k, f, a}, nil }
	}
	return func(a *authenticator) (ssh.Signer, error) { return k.unlock(f, a) }
}

// certificates pairs CertificateFile and the certificates beside identities
// with the keys they certify.
func (k *keyring) certificates(s Settings, ids []identity, agent *agentClient, held []agentKey) ([]candidate, error) {
	var out []candidate
	for _, v := range s.Certificates {
		cert, err := readCertificate(v.Path)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, &Error{Reason: CodeAuthKeyFile, Msg: "cannot use the certificate named in " + v.From, Err: err}
			}
			continue
		}
		out = append(out, k.certCandidate(cert, v.Path, v.From, ids, agent, held)...)
	}
	for _, id := range ids {
		if id.file.cert != nil {
			out = append(out, k.certCandidate(id.file.cert, id.file.path+"-cert.pub", id.from, ids, agent, held)...)
		}
	}
	return out, nil
}

func (k *keyring) certCandidate(cert *ssh.Certificate, path, from string, ids []identity, agent *agentClient, held []agentKey) []candidate {
	open := k.certBase(cert.Key, ids, agent, held)
	if open == nil {
		return nil
	}
	return []candidate{{name: path, from: from, open: func(a *authenticator) (ssh.Signer, error) {
		signer, err := open(a)
		if err != nil {
			return nil, err
		}
		return ssh.NewCertSigner(cert, signer)
	}}}
}

func (k *keyring) certBase(public ssh.PublicKey, ids []identity, agent *agentClient, held []agentKey) func(*authenticator) (ssh.Signer, error) {
	for _, id := range ids {
		if id.file.public != nil && sameKey(id.file.public, public) {
			return k.base(id, agent, held)
		}
	}
	if key, ok := heldKey(held, public); ok {
		return func(a *authenticator) (ssh.Signer, error) { return &agentSigner{agent, key, a}, nil }
	}
	return nil
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// lockedSigner is an encrypted key whose public half is known. It asks for
// the passphrase when a server wants the key, not before.
type lockedSigner struct {
	ring *keyring
	file *keyFile
	a    *authenticator
}

func (l *lockedSigner) PublicKey() ssh.PublicKey { return l.file.public }

func (l *lockedSigner) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return l.SignWithAlgorithm(r, data, l.file.public.Type())
}

func (l *lockedSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := l.ring.unlock(l.file, l.a)
	if err != nil {
		return nil, err
	}
	if !sameKey(signer.PublicKey(), l.file.public) {
		return nil, &Error{Reason: CodeAuthKeyFile, Msg: l.file.path + " and its .pub file are different keys"}
	}
	return signWith(signer, data, algorithm)
}

// unlock decrypts a key file, asking at most once per file and run, with the
// clock of the waiting login stopped.
func (k *keyring) unlock(f *keyFile, a *authenticator) (ssh.Signer, error) {
	defer a.stages.pause()()
	k.ask.Lock()
	defer k.ask.Unlock()
	if !f.asked {
		f.asked = true
		f.opened, f.askErr = k.decrypt(f)
	}
	return f.opened, f.askErr
}

func (k *keyring) decrypt(f *keyFile) (ssh.Signer, error) {
	if k.opts.Passphrase == nil {
		return nil, &Error{Reason: CodeAuthPassphrase, Msg: "the key " + f.path + " is encrypted, and neither the agent holds it nor is there a passphrase"}
	}
	pass, err := k.opts.Passphrase(f.path)
	if err != nil {
		return nil, &Error{Reason: CodeAuthPassphrase, Msg: "no passphrase for the key " + f.path, Err: err}
	}
	defer clear(pass)
	signer, err := ssh.ParsePrivateKeyWithPassphrase(f.data, pass)
	if err != nil {
		return nil, &Error{Reason: CodeAuthPassphrase, Msg: "the passphrase does not open the key " + f.path}
	}
	return signer, nil
}
