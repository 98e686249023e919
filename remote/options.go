package remote

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// HostKeyPolicy says what to do with a host key that known_hosts does not
// vouch for.
type HostKeyPolicy string

// The policies. The empty policy leaves the choice to ssh_config's
// StrictHostKeyChecking and then to HostKeysStrict.
const (
	HostKeysStrict    HostKeyPolicy = "strict"     // only known keys
	HostKeysAcceptNew HostKeyPolicy = "accept-new" // unknown keys are added, changed ones refused
	HostKeysOff       HostKeyPolicy = "off"        // any key, nothing is written
)

// DefaultTimeout bounds each of connecting, key exchange and authentication
// when neither the caller nor ssh_config says otherwise.
const DefaultTimeout = 10 * time.Second

// Options are the run-wide wishes of the caller. They win over the inventory
// and over ssh_config. The zero value behaves as ssh(1) run by a user without
// agent and home directory.
type Options struct {
	User     string   // login name for every host (not for jump hosts), "": not said
	Identity []string // private key files, ~ and tokens are expanded
	// SSHConfig is "" for the files ssh(1) reads, "none" for no file, or a
	// path that replaces both, like ssh -F.
	SSHConfig  string
	KnownHosts []string      // files; empty: ssh_config's or ssh(1)'s defaults
	HostKeys   HostKeyPolicy // "": not said
	// ConnectTimeout bounds each of connecting, key exchange and
	// authentication. 0: ssh_config's ConnectTimeout, else DefaultTimeout.
	ConnectTimeout time.Duration

	AgentSocket   string // value of SSH_AUTH_SOCK, "" for no agent
	Home          string // the user's home directory
	LocalUser     string // the user's name on this machine
	LocalHostname string // this machine's name

	// Passphrase returns the passphrase of a key file. It is asked at most
	// once per file, one file at a time, and only for a key that a server
	// would accept. Nil: never.
	Passphrase func(keyFile string) ([]byte, error)
	// Warn receives what the user should know but need not act on, each
	// distinct text once. Nil drops it. Calls are serialised.
	Warn func(format string, args ...any)
	// DialTCP replaces the TCP dial; nil uses net.Dialer.
	DialTCP func(ctx context.Context, network, addr string) (net.Conn, error)
	// LookupEnv resolves ${VAR} of ssh_config; nil uses the process's
	// environment.
	LookupEnv func(string) (string, bool)
}

// Dialer opens connections for one run. It reads ssh_config once, known_hosts
// and key files once each, and shares the agent and the jump connections
// between all hosts. It is safe for concurrent use.
type Dialer struct {
	opts   Options
	config *sshConfig
	known  *knownHosts
	keys   *keyring
	jumps  *jumpPool
	warn   *warner
}

// NewDialer reads ssh_config and prepares a run. Its error is about a
// configuration file that was named and cannot be read; faults inside a file
// are reported by Resolve and Dial for the hosts they concern.
func NewDialer(o Options) (*Dialer, error) {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.DialTCP == nil {
		o.DialTCP = new(net.Dialer).DialContext
	}
	switch o.HostKeys {
	case "", HostKeysStrict, HostKeysAcceptNew, HostKeysOff:
	default:
		return nil, &Error{Reason: CodeConfig, Msg: "host key policy " + quote(string(o.HostKeys)) +
			" is not one of strict, accept-new, off"}
	}
	config, err := loadSSHConfig(o)
	if err != nil {
		return nil, &Error{Reason: CodeConfig, Msg: "cannot read ssh_config", Err: err}
	}
	w := &warner{warn: o.Warn, seen: make(map[string]bool)}
	return &Dialer{
		opts:   o,
		config: config,
		known:  newKnownHosts(w),
		keys:   newKeyring(o, w),
		jumps:  newJumpPool(),
		warn:   w,
	}, nil
}

// Close closes the jump connections, and with them every connection that runs
// through one, and the connection to the agent.
func (d *Dialer) Close() error {
	return errors.Join(d.jumps.close(), d.keys.close())
}

// warner passes each distinct warning on once.
type warner struct {
	mu   sync.Mutex
	seen map[string]bool
	warn func(format string, args ...any)
}

func (w *warner) printf(format string, args ...any) {
	if w == nil || w.warn == nil {
		return
	}
	text := sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[text] {
		return
	}
	w.seen[text] = true
	w.warn("%s", text)
}

// Conn is a login on one host.
type Conn struct {
	client   *ssh.Client
	life     *lifeline
	settings Settings
	wire     *wire
	jump     *jumpConn // nil when dialled directly
}

// User returns the name the login was made with.
func (c *Conn) User() string { return c.settings.User.Value }

// ServerVersion returns what the server calls itself, "SSH-2.0-OpenSSH_9.6".
// The text is the server's own choice.
func (c *Conn) ServerVersion() string { return string(c.client.ServerVersion()) }

// Close ends the login. Commands still running on it fail.
func (c *Conn) Close() error {
	c.life.fail(&Error{Reason: CodeLost, Msg: "connection closed by us", Err: net.ErrClosed})
	return nil
}
