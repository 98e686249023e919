package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"fleet/lab"

	"golang.org/x/crypto/ssh"
)

// client is one SSH connection to a simulated node, by the library itself, so
// that nothing of the product is between the test and the double.
func client(t *testing.T, f *lab.Fleet, name, user string) *ssh.Client {
	t.Helper()
	c, err := dial(t, f, name, user)
	if err != nil {
		t.Fatalf("dial %s: %v", name, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func dial(t *testing.T, f *lab.Fleet, name, user string) (*ssh.Client, error) {
	t.Helper()
	addr, err := f.Address(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := f.HostKey(name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(f.ClientKey())
	if err != nil {
		t.Fatal(err)
	}
	return ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(key),
	})
}

// result is what one command did.
type result struct {
	stdout, stderr string
	exit           int
	err            error // any other than an exit status
}

func (r result) String() string {
	return fmt.Sprintf("exit %d err %v\nstdout: %s\nstderr: %s", r.exit, r.err, r.stdout, r.stderr)
}

func run(t *testing.T, c *ssh.Client, line, stdin string) result {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatalf("open a session: %v", err)
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr, s.Stdin = &out, &errs, strings.NewReader(stdin)
	r := result{err: s.Run(line)}
	r.stdout, r.stderr = out.String(), errs.String()
	if exit, ok := r.err.(*ssh.ExitError); ok {
		r.exit, r.err = exit.ExitStatus(), nil
	}
	return r
}

// start starts a fleet that lasts as long as the test.
func start(t *testing.T, nodes ...lab.NodeSpec) *lab.Fleet {
	t.Helper()
	return startWith(t, lab.Options{Nodes: nodes})
}

// sudoScript runs a script as the product does on an AKS node.
func sudoScript(t *testing.T, c *ssh.Client, script string) result {
	t.Helper()
	return run(t, c, "sudo -n -- sh -c 'echo READY; exec sh -s'", script)
}

func startWith(t *testing.T, opts lab.Options) *lab.Fleet {
	t.Helper()
	opts.Dir = t.TempDir()
	f, err := lab.Start(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func executable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode()&0o111 != 0
}
