//go:build linux

package real

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The lab's addresses come from 198.18.0.0/15, which is set aside for tests of
// network equipment (RFC 2544). Nodes live on the front segment; the back
// segment has no connection to the operator's namespace other than through a
// node that is on both.
const (
	operatorAddress = "198.18.0.1"
	frontPrefix     = "198.18.0."
	backPrefix      = "198.18.1."
)

// createNetwork makes the operator's namespace with a bridge for each segment.
// Only the front bridge has an address: the back segment cannot be reached from
// there.
func createNetwork(ctx context.Context, s *state) error {
	ns := s.operator()
	return ipBatch(ctx,
		"netns add "+ns,
		"-n "+ns+" link set lo up",
		"-n "+ns+" link add front type bridge",
		"-n "+ns+" link add back type bridge",
		"-n "+ns+" addr add "+operatorAddress+"/24 dev front",
		"-n "+ns+" link set front up",
		"-n "+ns+" link set back up",
	)
}

// createNamespace makes a node's namespace with an interface for each of its
// addresses. The index keeps the names of the far ends apart.
func createNamespace(ctx context.Context, s *state, node string, index int, addresses ...string) error {
	ns, op := s.namespace(node), s.operator()
	commands := []string{"netns add " + ns, "-n " + ns + " link set lo up"}
	for i, address := range addresses {
		near, far, segment := fmt.Sprintf("eth%d", i), fmt.Sprintf("n%d-%d", index, i), "front"
		if strings.HasPrefix(address, backPrefix) {
			segment = "back"
		}
		commands = append(commands,
			fmt.Sprintf("link add %s netns %s type veth peer name %s netns %s", near, ns, far, op),
			fmt.Sprintf("-n %s link set %s master %s up", op, far, segment),
			fmt.Sprintf("-n %s addr add %s/24 dev %s", ns, address, near),
			fmt.Sprintf("-n %s link set %s up", ns, near),
		)
		if segment == "front" {
			commands = append(commands, fmt.Sprintf("-n %s route add default via %s", ns, operatorAddress))
		}
	}
	return ipBatch(ctx, commands...)
}

// ipBatch runs ip(8) commands one after the other.
func ipBatch(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		if _, err := run(ctx, "ip", strings.Fields(c)...); err != nil {
			return err
		}
	}
	return nil
}

// namespaces lists the lab's network namespaces that exist.
func namespaces(s *state) []string {
	return slices.DeleteFunc(allNamespaces(), func(name string) bool { return !strings.HasPrefix(name, s.namespacePrefix()) })
}

// allNamespaces lists the network namespaces that have a name.
func allNamespaces() []string {
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		return nil // the directory comes with the first namespace
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// processesIn lists the processes in a network namespace.
func processesIn(ctx context.Context, namespace string) []int {
	out, err := run(ctx, "ip", "netns", "pids", namespace)
	if err != nil {
		return nil
	}
	var pids []int
	for _, word := range strings.Fields(out) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// removeNamespaces kills what still runs in the lab's namespaces and removes
// them, and the network with them.
func removeNamespaces(ctx context.Context, s *state) error {
	for _, ns := range namespaces(s) {
		if err := killAll(ctx, func() []int { return processesIn(ctx, ns) }); err != nil {
			return err
		}
		if _, err := run(ctx, "ip", "netns", "delete", ns); err != nil && slices.Contains(namespaces(s), ns) {
			return err
		}
	}
	return nil
}

// dialIn connects from inside a network namespace. A socket belongs to the
// namespace of the thread that made it, for good, so the thread only has to
// visit. The address must not need a resolver.
func dialIn(ctx context.Context, namespace, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := enterNamespace(namespace); err != nil {
			done <- result{err: err}
			return
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// enterNamespace moves the calling thread into a network namespace.
func enterNamespace(namespace string) error {
	f, err := os.Open(filepath.Join("/run/netns", namespace))
	if err != nil {
		return fmt.Errorf("cannot enter the network namespace: %w", err)
	}
	defer f.Close()
	_, _, errno := syscall.RawSyscall(sysSetns, f.Fd(), syscall.CLONE_NEWNET, 0)
	if errno != 0 {
		return fmt.Errorf("cannot enter the network namespace %s: %w", namespace, errno)
	}
	return nil
}

// inNamespace prepares a command that runs in a network namespace.
func inNamespace(ctx context.Context, namespace string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", namespace}, args...)...)
}
