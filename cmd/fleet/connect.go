package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/inventory"
	"fleet/remote"
	"fleet/runner"
)

// connection is how hosts are reached: the flags every connecting command has.
type connection struct {
	user           string
	identity       []string
	sshConfig      string
	knownHosts     []string
	hostKeys       string
	become         bool
	noBecome       bool
	askBecomePass  bool
	parallel       int
	connectTimeout time.Duration
	timeout        time.Duration
}

func (c *connection) flags(cmd *cobra.Command, timeout time.Duration) {
	f := cmd.Flags()
	f.StringVarP(&c.user, "user", "u", "", "log in as `USER`")
	f.StringArrayVar(&c.identity, "identity", nil, "private key `FILE`; may be repeated")
	f.StringVar(&c.sshConfig, "ssh-config", "", "ssh_config `FILE`, or none (default: the user's and the system's, as ssh)")
	f.StringArrayVar(&c.knownHosts, "known-hosts", nil, "known_hosts `FILE`; may be repeated (default: as ssh)")
	f.StringVar(&c.hostKeys, "host-keys", "", "host keys: strict, accept-new or off (default: ssh_config's, else strict)")
	f.BoolVar(&c.become, "become", false, "become root with sudo, whatever the inventory says")
	f.BoolVar(&c.noBecome, "no-become", false, "run as the login user, whatever the inventory says")
	f.BoolVar(&c.askBecomePass, "ask-become-pass", false, "ask once for the password that sudo wants")
	f.IntVar(&c.parallel, "parallel", runner.DefaultParallel, "hosts at a time")
	f.DurationVar(&c.connectTimeout, "connect-timeout", 0, "limit for each of connection, key exchange and login (default: ssh_config's, else 10s)")
	f.DurationVar(&c.timeout, "timeout", timeout, "limit for each host")
	_ = cmd.RegisterFlagCompletionFunc("host-keys", cobra.FixedCompletions(hostKeyPolicies(), cobra.ShellCompDirectiveNoFileComp))
}

func hostKeyPolicies() []string {
	return []string{string(remote.HostKeysStrict), string(remote.HostKeysAcceptNew), string(remote.HostKeysOff)}
}

// check refuses values that no run can use.
func (c *connection) check() error {
	switch {
	case c.become && c.noBecome:
		return usageError{errors.New("--become and --no-become exclude each other")}
	case c.parallel < 1:
		return usageError{fmt.Errorf("--parallel %d: at least 1 host at a time", c.parallel)}
	case c.timeout <= 0:
		return usageError{fmt.Errorf("--timeout %s: must be more than nothing", c.timeout)}
	case !slices.Contains(hostKeyPolicies(), c.hostKeys) && c.hostKeys != "":
		return usageError{fmt.Errorf("--host-keys %q: want %s", c.hostKeys, strings.Join(hostKeyPolicies(), ", "))}
	case c.connectTimeout < 0:
		return usageError{fmt.Errorf("--connect-timeout %s: must not be negative", c.connectTimeout)}
	}
	return nil
}

// dialer prepares what all connections of a run share.
func (c *connection) dialer(env environment) (*remote.Dialer, error) {
	hostname, _ := os.Hostname()
	d, err := remote.NewDialer(remote.Options{
		User:           c.user,
		Identity:       c.identity,
		SSHConfig:      c.sshConfig,
		KnownHosts:     c.knownHosts,
		HostKeys:       remote.HostKeyPolicy(c.hostKeys),
		ConnectTimeout: c.connectTimeout,
		AgentSocket:    env.getenv("SSH_AUTH_SOCK"),
		Home:           env.home(),
		LocalUser:      env.localUser(),
		LocalHostname:  hostname,
		Passphrase: func(file string) ([]byte, error) {
			return env.askSecret("passphrase of " + file + ": ")
		},
		Warn: env.warn,
	})
	if err != nil {
		return nil, usageError{err}
	}
	return d, nil
}

// applyBecome lets the command line's --become and --no-become win over the
// inventory.
func (c *connection) applyBecome(hosts []inventory.Host) {
	for i := range hosts {
		switch {
		case c.become:
			hosts[i].Become = inventory.BecomeSudo
		case c.noBecome:
			hosts[i].Become = inventory.BecomeNone
		}
	}
}

// becomePassword asks for sudo's password when that was wanted.
func (c *connection) becomePassword(env environment) ([]byte, error) {
	if !c.askBecomePass {
		return nil, nil
	}
	password, err := env.askSecret("sudo password: ")
	if err != nil {
		return nil, usageError{fmt.Errorf("--ask-become-pass: %w", err)}
	}
	if len(password) == 0 {
		return nil, usageError{errors.New("--ask-become-pass: the password is empty")}
	}
	return password, nil
}

// shell makes a connection what audit asks for.
type shell struct {
	conn     *remote.Conn
	become   inventory.Become
	password []byte
}

// Sh implements audit.Shell.
func (s shell) Sh(ctx context.Context, script []byte) (audit.Answer, error) {
	out, err := s.conn.Run(ctx, remote.Command{Line: "sh -s", Stdin: script, Become: s.become, Password: s.password})
	return audit.Answer{Stdout: out.Stdout, Stderr: out.Stderr, Exit: out.Exit}, err
}
