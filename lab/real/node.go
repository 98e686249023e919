//go:build linux

package real

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fleet/lab/real/judge"
)

// LoginUser is the account that may log in on every node and become root
// without a password.
const LoginUser = "azureuser"

// Node is one running machine of a lab.
type Node struct {
	Name    string
	Address string // in the lab's network; port 22
	Jump    string // name of the only node it can be reached through, "" when it is reachable
	Shape   string // name of its shape
	Labels  map[string]string

	state *state
}

// mount puts the node's tree together: the layers, and over them what is
// written before the boot and by the node itself. Nothing may write below
// upper from outside once it is mounted: overlayfs leaves that undefined.
func (n *Node) mount(layers []string, files []judge.File) error {
	upper, work, root := n.dir("upper"), n.dir("work"), n.dir("root")
	for _, dir := range []string{upper, work, root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := putFile(upper, layers, f); err != nil {
			return fmt.Errorf("cannot write %s of node %s: %w", f.Path, n.Name, err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(layers, ":"), upper, work)
	if err := syscall.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("cannot mount the tree of node %s: %w", n.Name, err)
	}
	return nil
}

// putFile writes f below upper. Directories on the way get the owner and mode
// they have in the layers below.
func putFile(upper string, layers []string, f judge.File) error {
	if err := putParents(upper, layers, filepath.Dir(f.Path)); err != nil {
		return err
	}
	path := filepath.Join(upper, f.Path)
	if f.Link != "" {
		return os.Symlink(f.Link, path)
	}
	mode := fs.FileMode(f.Mode)
	if mode == 0 {
		mode = 0o644
	}
	return os.WriteFile(path, f.Bytes(), mode)
}

func putParents(upper string, layers []string, dir string) error {
	if dir == "/" || exists(filepath.Join(upper, dir)) {
		return nil
	}
	if err := putParents(upper, layers, filepath.Dir(dir)); err != nil {
		return err
	}
	path := filepath.Join(upper, dir)
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	for _, layer := range layers {
		info, err := os.Stat(filepath.Join(layer, dir))
		if err != nil {
			continue
		}
		owner := info.Sys().(*syscall.Stat_t)
		return errors.Join(os.Chown(path, int(owner.Uid), int(owner.Gid)), os.Chmod(path, info.Mode().Perm()))
	}
	return nil
}

func (n *Node) dir(parts ...string) string {
	return n.state.disk(append([]string{"nodes", n.Name}, parts...)...)
}

// boot starts the machine and leaves it running on its own, in a session of
// its own and without standard input.
func (n *Node) boot() error {
	console, err := os.Create(n.state.path("console", n.Name+".log"))
	if err != nil {
		return err
	}
	defer console.Close()
	prefix, err := scope(n)
	if err != nil {
		return err
	}
	args := append(prefix, "systemd-nspawn",
		"--register=no", "--keep-unit", "--quiet", "--private-users=no", "--capability=all",
		"--network-namespace-path=/run/netns/"+n.state.namespace(n.Name),
		"--directory="+n.dir("root"), "--boot", "--machine="+n.Name, "--console=passive",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
		"--setenv="+n.state.marker(), "--setenv="+n.state.nodeMarker(n.Name))
	cmd := exec.Command(args[0], args[1:]...)
	// The kubelet writes kernel settings and control groups.
	cmd.Env = quietEnv("SYSTEMD_NSPAWN_API_VFS_WRITABLE=1", n.state.marker())
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot boot node %s: %w", n.Name, err)
	}
	go cmd.Wait() // reap it should it end while we live
	return nil
}

// awaitBoot waits until the machine's systemd has started everything it was
// going to start, with or without failures.
func (n *Node) awaitBoot(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, fmt.Errorf("node %s did not boot within 2m; its console is in %s", n.Name, n.state.path("console", n.Name+".log")))
	defer cancel()
	for {
		cmd := n.Command(ctx, "systemctl", "is-system-running")
		out, _ := cmd.Output() // the state says more than the exit code
		switch strings.TrimSpace(string(out)) {
		case "running", "degraded":
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// Command prepares a command that runs on the node as root, past its sshd. When
// the node is not up the command fails when it is started.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	pid := leader(n.state.nodeMarker(n.Name))
	enter := []string{"--target=" + strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "USER=root", n.state.marker()}
	cmd.Dir = "/"
	return cmd
}

// Run runs a shell script on the node as root, with stdin as its input, and
// returns what it printed. The error holds what it complained of.
func (n *Node) Run(ctx context.Context, script string, stdin io.Reader) (string, error) {
	cmd := n.Command(ctx, "/bin/sh", "-c", script)
	cmd.Stdin = stdin
	out, err := output(cmd)
	if err != nil {
		return out, fmt.Errorf("node %s: %w", n.Name, err)
	}
	return out, nil
}

// Dial connects to an address as the node itself sees it, "127.0.0.1:10250"
// for its kubelet.
func (n *Node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return dialIn(ctx, n.state.namespace(n.Name), network, address)
}
