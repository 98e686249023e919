package remote

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// check judges the key a server shows. Nil lets it in; any other answer is an
// *Error that names the fingerprint and the line that decided.
func (k *knownHosts) check(s Settings, h hostKeys, key ssh.PublicKey) error {
	if s.HostKeys.Value == HostKeysOff {
		return nil
	}
	if e := h.revoked(key); e != nil {
		return &Error{Reason: CodeHostKeyRevoked, Msg: fmt.Sprintf("the host key %s is marked @revoked at %s", fingerprint(key), e.pos())}
	}
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		certErr := h.checkCertificate(cert, time.Now())
		if certErr == nil {
			return nil
		}
		// ssh(1) then looks at the plain key inside the certificate.
		if h.vouches(cert.Key) == nil {
			return certErr
		}
		key = cert.Key
	}
	if h.vouches(key) != nil {
		return nil
	}
	if e := h.contradicts(); e != nil {
		return changed(h, key, *e)
	}
	if len(h.errs) > 0 {
		return &Error{Reason: CodeHostKeyFile, Msg: "cannot check the host key " + fingerprint(key), Err: errors.Join(h.errs...)}
	}
	if s.HostKeys.Value == HostKeysAcceptNew {
		return k.accept(s, h, key)
	}
	return unknown(s, h, key)
}

// fingerprint names a key as ssh-keygen -l does.
func fingerprint(key ssh.PublicKey) string {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

func changed(h hostKeys, key ssh.PublicKey, known hostEntry) *Error {
	return &Error{Reason: CodeHostKeyChanged, Msg: fmt.Sprintf("the host key of %s has changed: it shows %s, but %s has %s",
		h.name, fingerprint(key), known.pos(), fingerprint(known.key))}
}

func unknown(s Settings, h hostKeys, key ssh.PublicKey) *Error {
	msg := fmt.Sprintf("the host key of %s is not known: it shows %s, and no line for it is in %s",
		h.name, fingerprint(key), strings.Join(s.knownHostsFiles(), " or "))
	if h.hasAuthority() {
		msg += " (only a @cert-authority, but the host shows no certificate)"
	}
	return &Error{Reason: CodeHostKeyUnknown, Msg: msg}
}

// revoked returns the line that revokes a key, or the authority of a
// certificate, for this host.
func (h hostKeys) revoked(key ssh.PublicKey) *hostEntry {
	keys := []ssh.PublicKey{key}
	if cert, ok := key.(*ssh.Certificate); ok {
		keys = append(keys, cert.Key, cert.SignatureKey)
	}
	for _, e := range append(h.entries[:len(h.entries):len(h.entries)], h.loose...) {
		for _, k := range keys {
			if e.marker == markerRevoked && sameKey(e.key, k) {
				return &e
			}
		}
	}
	return nil
}

// vouches returns the line that has the plain key for this host. A line of an
// authority never does.
func (h hostKeys) vouches(key ssh.PublicKey) *hostEntry {
	for _, e := range append(h.entries[:len(h.entries):len(h.entries)], h.loose...) {
		if e.marker == markerNone && sameKey(e.key, key) {
			return &e
		}
	}
	return nil
}

// contradicts returns a line with another plain key for this host, of
// whatever type: to ssh(1), too, that is a changed key. Lines for the name
// without port only ever vouch.
func (h hostKeys) contradicts() *hostEntry {
	for _, e := range h.entries {
		if e.marker == markerNone {
			return &e
		}
	}
	return nil
}

func (h hostKeys) hasAuthority() bool {
	for _, e := range h.entries {
		if e.marker == markerAuthority {
			return true
		}
	}
	return false
}

// checkCertificate judges a host certificate as ssh(1) does
// (sshkey.c, sshkey_cert_check_host): an authority known for the host,
// a principal that matches its name, wildcards allowed, and the time.
func (h hostKeys) checkCertificate(cert *ssh.Certificate, now time.Time) error {
	fault := func(format string, args ...any) error {
		return &Error{Reason: CodeHostKeyCert, Msg: fmt.Sprintf("the host certificate %s of %s cannot be trusted: ", fingerprint(cert), h.name) +
			fmt.Sprintf(format, args...)}
	}
	authority := h.authority(cert.SignatureKey)
	if authority == nil {
		return fault("no @cert-authority line for the host has its authority %s", fingerprint(cert.SignatureKey))
	}
	if cert.CertType != ssh.HostCert {
		return fault("it is not a host certificate")
	}
	principal, ok := h.principal(cert.ValidPrincipals)
	if !ok {
		return fault("it is for %s, not for %s", printable([]byte(strings.Join(cert.ValidPrincipals, ","))), h.bare)
	}
	if cert.Signature != nil && cert.Signature.Format == ssh.KeyAlgoRSA {
		return fault("it is signed with SHA-1")
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return now }}
	if err := checker.CheckCert(principal, cert); err != nil {
		return fault("%v (authority at %s)", plain(err), authority.pos())
	}
	return nil
}

func (h hostKeys) authority(key ssh.PublicKey) *hostEntry {
	for _, e := range append(h.entries[:len(h.entries):len(h.entries)], h.loose...) {
		if e.marker == markerAuthority && sameKey(e.key, key) {
			return &e
		}
	}
	return nil
}

// principal finds the entry of a certificate's list that covers the host. An
// empty list covers every host.
func (h hostKeys) principal(list []string) (string, bool) {
	for _, p := range list {
		if matchPattern(h.bare, p) {
			return p, true
		}
	}
	return "", len(list) == 0
}

// accept adds a new key to the first known_hosts file of the user. The file is
// locked against other processes and read again if it has changed, so that two
// runs neither add a key twice nor overlook a contradiction.
func (k *knownHosts) accept(s Settings, h hostKeys, key ssh.PublicKey) error {
	path := s.KnownHosts.Value[0]
	k.mu.Lock()
	defer k.mu.Unlock()
	fault := func(err error) error {
		return &Error{Reason: CodeHostKeyFile, Msg: "cannot add the host key of " + h.name, Err: err}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fault(err)
	}
	defer f.Close()
	unlock, err := lockFile(f)
	if err != nil {
		return fault(err)
	}
	defer unlock()
	file := k.read(path)
	if file.stamp != stampOf(path) {
		file = k.load(path)
		k.files[path] = file
	}
	now := hostKeys{name: h.name, bare: h.bare}
	now.add(file.entries)
	switch e := now.contradicts(); {
	case now.revoked(key) != nil:
		return &Error{Reason: CodeHostKeyRevoked, Msg: fmt.Sprintf("the host key %s is marked @revoked at %s", fingerprint(key), now.revoked(key).pos())}
	case now.vouches(key) != nil:
		return nil
	case e != nil:
		return changed(h, key, *e)
	}
	if err := appendEntry(f, h.name, key, s.HashKnownHosts.Value); err != nil {
		return fault(err)
	}
	k.remember(path, h.name, key)
	return nil
}

// remember takes over the line just written without reading the file again.
func (k *knownHosts) remember(path, name string, key ssh.PublicKey) {
	file := k.files[path]
	file.entries = append(file.entries, hostEntry{file: path, line: 0, patterns: name, key: key})
	file.stamp = stampOf(path)
}

// appendEntry writes one line in one write, after completing an unfinished
// last line.
func appendEntry(f *os.File, name string, key ssh.PublicKey, hash bool) error {
	if hash {
		name = knownhosts.HashHostname(name)
	}
	line := name + " " + strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n") + "\n"
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if last := make([]byte, 1); info.Size() > 0 && info.Mode().IsRegular() {
		if _, err := f.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	return err
}

// fileStamp tells whether a file was written to since it was read.
type fileStamp struct {
	size     int64
	modified int64
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{size: -1}
	}
	return fileStamp{info.Size(), info.ModTime().UnixNano()}
}
