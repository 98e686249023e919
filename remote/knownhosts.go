package remote

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// marker is the role of a known_hosts line (sshd(8), SSH_KNOWN_HOSTS FILE
// FORMAT).
type marker string

const (
	markerNone      marker = ""
	markerAuthority marker = "@cert-authority"
	markerRevoked   marker = "@revoked"
)

// hostEntry is one usable line of a known_hosts file.
type hostEntry struct {
	file     string
	line     int
	marker   marker
	patterns string // comma list as written, "" when hashed
	salt     []byte // of a hashed name
	hash     []byte
	key      ssh.PublicKey
}

func (e hostEntry) pos() string {
	if e.line == 0 {
		return e.file // added by this run
	}
	return fmt.Sprintf("%s:%d", e.file, e.line)
}

// matches tells whether the line speaks of a lower-case name, which carries
// its port as [name]:port when that is not 22.
func (e hostEntry) matches(name string) bool {
	if e.hash != nil {
		mac := hmac.New(sha1.New, e.salt)
		mac.Write([]byte(name))
		return hmac.Equal(mac.Sum(nil), e.hash)
	}
	return matchList(name, strings.ToLower(e.patterns))
}

// parseKnownHosts reads a known_hosts file. A line that cannot be used is
// passed to bad and skipped, as ssh(1) does.
func parseKnownHosts(file string, data []byte, bad func(line int, why error)) []hostEntry {
	var out []hostEntry
	for i, line := range bytes.Split(data, []byte("\n")) {
		text := strings.Trim(string(line), " \t\r")
		if text == "" || text[0] == '#' {
			continue
		}
		e, err := parseHostEntry(text)
		if err != nil {
			bad(i+1, err)
			continue
		}
		e.file, e.line = file, i+1
		out = append(out, e)
	}
	return out
}

func parseHostEntry(text string) (hostEntry, error) {
	var e hostEntry
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	if strings.HasPrefix(fields[0], "@") {
		e.marker = marker(fields[0])
		if e.marker != markerAuthority && e.marker != markerRevoked {
			return e, fmt.Errorf("unknown marker %q", printable([]byte(fields[0])))
		}
		fields = fields[1:]
	}
	if len(fields) < 3 {
		return e, errors.New("not of the form \"host type key\"")
	}
	if err := e.setNames(fields[0]); err != nil {
		return e, err
	}
	blob, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		return e, errors.New("the key is not base64")
	}
	if e.key, err = ssh.ParsePublicKey(blob); err != nil {
		return e, fmt.Errorf("the key cannot be read: %w", plain(err))
	}
	if e.key.Type() != fields[1] {
		return e, fmt.Errorf("the key is of type %s, not %q", e.key.Type(), printable([]byte(fields[1])))
	}
	return e, nil
}

// setNames takes the first field: patterns, or one hashed name, |1|salt|hash.
func (e *hostEntry) setNames(field string) error {
	if field[0] != '|' {
		e.patterns = field
		return nil
	}
	parts := strings.Split(field, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return errors.New("unknown kind of hashed host name")
	}
	var err1, err2 error
	e.salt, err1 = base64.StdEncoding.DecodeString(parts[2])
	e.hash, err2 = base64.StdEncoding.DecodeString(parts[3])
	if err1 != nil || err2 != nil || len(e.hash) != sha1.Size || len(e.salt) != sha1.Size {
		return errors.New("malformed hashed host name")
	}
	return nil
}

// knownHosts holds the known_hosts files of a run, each read once and again
// only when accept-new is about to write to it.
type knownHosts struct {
	warn  *warner
	mu    sync.Mutex
	files map[string]*hostFile
}

// hostFile is one file as last read. A missing file is an empty one.
type hostFile struct {
	entries []hostEntry
	err     error
	stamp   fileStamp
}

func newKnownHosts(w *warner) *knownHosts {
	return &knownHosts{warn: w, files: make(map[string]*hostFile)}
}

// read returns the file as read before, or reads it. The caller holds mu.
func (k *knownHosts) read(path string) *hostFile {
	f := k.files[path]
	if f == nil {
		f = k.load(path)
		k.files[path] = f
	}
	return f
}

func (k *knownHosts) load(path string) *hostFile {
	f := &hostFile{stamp: stampOf(path)}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f
	}
	f.err = err
	f.entries = parseKnownHosts(path, data, func(line int, why error) {
		k.warn.printf("%s:%d: line skipped: %v", path, line, why)
	})
	return f
}

// hostKeys is what the known_hosts files say about one host.
type hostKeys struct {
	name    string      // as looked up: lower case, alias, or [host]:port
	bare    string      // without port; the name certificates carry
	entries []hostEntry // lines for name
	loose   []hostEntry // lines for bare, when that differs from name
	errs    []error     // files that could not be read
}

// lookup collects the lines for a host. ssh(1) looks up HostKeyAlias, or the
// host name with the port unless it is 22, and falls back to the name without
// port (sshconnect.c, check_host_key).
func (k *knownHosts) lookup(s Settings) hostKeys {
	h := hostNames(s)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, path := range s.knownHostsFiles() {
		f := k.read(path)
		if f.err != nil {
			h.errs = append(h.errs, f.err)
		}
		h.add(f.entries)
	}
	return h
}

func hostNames(s Settings) hostKeys {
	if alias := s.HostKeyAlias.Value; alias != "" {
		alias = strings.ToLower(alias)
		return hostKeys{name: alias, bare: alias}
	}
	h := hostKeys{bare: strings.ToLower(s.HostName.Value)}
	h.name = h.bare
	if s.Port.Value != 22 {
		h.name = fmt.Sprintf("[%s]:%d", h.bare, s.Port.Value)
	}
	return h
}

func (h *hostKeys) add(entries []hostEntry) {
	for _, e := range entries {
		if e.matches(h.name) {
			h.entries = append(h.entries, e)
		}
		if h.bare != h.name && e.matches(h.bare) {
			h.loose = append(h.loose, e)
		}
	}
}

// defaultHostKeyAlgorithms is the order of preference of ssh_config(5),
// without algorithms that rest on SHA-1.
var defaultHostKeyAlgorithms = [...]string{
	ssh.KeyAlgoED25519,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// algorithms orders the host key algorithms so that the server shows a key we
// can compare: certificates when an authority is known, then the types of the
// known keys, then the rest. Without it a host known by its RSA key would look
// changed as soon as it has another one.
func (h hostKeys) algorithms() []string {
	known := make(map[string]bool)
	authority := false
	for _, e := range append(h.entries[:len(h.entries):len(h.entries)], h.loose...) {
		switch e.marker {
		case markerNone:
			known[e.key.Type()] = true
		case markerAuthority:
			authority = true
		}
	}
	var certs, first, rest []string
	for _, algo := range defaultHostKeyAlgorithms {
		if cert, ok := certAlgorithm(algo); authority && ok {
			certs = append(certs, cert)
		}
		if known[keyTypeOf(algo)] {
			first = append(first, algo)
		} else {
			rest = append(rest, algo)
		}
	}
	return supported(append(append(certs, first...), rest...))
}

// supported drops what x/crypto cannot verify as a host key.
func supported(algos []string) []string {
	have := ssh.SupportedAlgorithms().HostKeys
	var out []string
	for _, a := range algos {
		if contains(have, a) {
			out = append(out, a)
		}
	}
	return out
}

func certAlgorithm(algo string) (string, bool) {
	certs := map[string]string{
		ssh.KeyAlgoED25519: ssh.CertAlgoED25519v01, ssh.KeyAlgoECDSA256: ssh.CertAlgoECDSA256v01,
		ssh.KeyAlgoECDSA384: ssh.CertAlgoECDSA384v01, ssh.KeyAlgoECDSA521: ssh.CertAlgoECDSA521v01,
		ssh.KeyAlgoRSASHA512: ssh.CertAlgoRSASHA512v01, ssh.KeyAlgoRSASHA256: ssh.CertAlgoRSASHA256v01,
	}
	cert, ok := certs[algo]
	return cert, ok
}

// keyTypeOf is the type a key has that signs with algo.
func keyTypeOf(algo string) string {
	if algo == ssh.KeyAlgoRSASHA256 || algo == ssh.KeyAlgoRSASHA512 {
		return ssh.KeyAlgoRSA
	}
	return algo
}
