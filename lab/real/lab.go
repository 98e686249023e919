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
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"fleet/lab/real/judge"
)

// Options say which lab to bring up. The zero value is the fleet of DefaultNodes
// under the name DefaultName.
type Options struct {
	Name  string // "": DefaultName
	Nodes []Node // nil: DefaultNodes; Address is given out by Up, "" or "back" on input
	Log   io.Writer
	// Legacy brings up LegacyVersion instead of KubernetesVersion.
	Legacy bool
}

// DefaultName is the lab that is meant when none is named.
const DefaultName = "lab"

// DefaultNodes is a small fleet with a node in every shape. Its last node is
// reached only through the one before it.
func DefaultNodes() []Node {
	pool := func(name string) map[string]string { return map[string]string{"agentpool": name} }
	return []Node{
		{Name: "aks-flags-12345678-vmss000000", Shape: ShapeAKSFlags, Labels: pool("flags")},
		{Name: "aks-config-12345678-vmss00000a", Shape: ShapeAKSConfig, Labels: pool("config")},
		{Name: "cis-al2", Shape: ShapeEKSAL2, Labels: pool("al2")},
		{Name: "al2023", Shape: ShapeAL2023, Labels: pool("al2023")},
		{Name: "kubeadm", Shape: ShapeKubeadm, Labels: pool("kubeadm")},
		{Name: "aks-inner-12345678-vmss000000", Shape: ShapeAKSFlags, Jump: "kubeadm", Labels: pool("inner")},
	}
}

// Lab is a set of nodes that are up.
type Lab struct {
	Name  string
	Nodes []*Node

	state *state
}

// Up brings a lab up and returns when every node has booted and, where its
// shape has a kubelet, is Ready. A lab that is there by that name already,
// whole or in part, is removed first. When Up fails or ctx ends it leaves
// nothing behind.
func Up(ctx context.Context, o Options) (*Lab, error) {
	b, err := newBuilder(o)
	if err != nil {
		return nil, err
	}
	if err := Down(ctx, b.state.Name); err != nil {
		return nil, err
	}
	if o.Legacy {
		b.made, err = provisionLegacy(ctx, b.log)
	} else {
		b.made, err = provision(ctx, b.log, b.control != nil)
	}
	if err != nil {
		return nil, err
	}
	if err := b.build(ctx); err != nil {
		// The caller's context may be what ended; cleaning up has to happen all the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(err, Down(ctx, b.state.Name))
	}
	return open(b.state), nil
}

// Open returns a lab that is up.
func Open(name string) (*Lab, error) {
	s, err := readState(name)
	if err != nil {
		return nil, err
	}
	return open(s), nil
}

func open(s *state) *Lab {
	l := &Lab{Name: s.Name, state: s}
	for _, n := range s.Nodes {
		l.Nodes = append(l.Nodes, &Node{Name: n.Name, Address: n.Address, Jump: n.Jump, Shape: n.Shape, Labels: n.Labels, state: s})
	}
	return l
}

// Node returns the node of that name, nil when there is none.
func (l *Lab) Node(name string) *Node {
	if i := slices.IndexFunc(l.Nodes, func(n *Node) bool { return n.Name == name }); i >= 0 {
		return l.Nodes[i]
	}
	return nil
}

// Running reports whether the node's machine is up.
func (n *Node) Running() bool { return leader(n.state.nodeMarker(n.Name)) != 0 }

// Command prepares a command that runs on this machine, but in the network
// from which the nodes can be reached.
func (l *Lab) Command(ctx context.Context, args ...string) *exec.Cmd {
	return inNamespace(ctx, l.state.operator(), args...)
}

// Prefix is what to put before a command on a command line to run it in the
// network from which the nodes can be reached.
func (l *Lab) Prefix() string { return "ip netns exec " + l.state.operator() }

// Dial connects to an address of the lab's network.
func (l *Lab) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return dialIn(ctx, l.state.operator(), network, address)
}

// Paths of the files an operator needs: an inventory, the host keys of the
// nodes, the key that logs in, an ssh_config that knows all this, and a
// kubeconfig that may do everything ("" when there is no API server).
func (l *Lab) Inventory() string  { return l.state.path("client", "nodes.yaml") }
func (l *Lab) KnownHosts() string { return l.state.path("client", "known_hosts") }
func (l *Lab) Key() string        { return l.state.path("client", "id_ed25519") }
func (l *Lab) SSHConfig() string  { return l.state.path("client", "ssh_config") }
func (l *Lab) Kubeconfig() string {
	if p := l.state.path("client", "kubeconfig"); exists(p) {
		return p
	}
	return ""
}

// builder brings one lab up.
type builder struct {
	state   *state
	nodes   []Node // all machines that get an address, without the control plane
	made    artefacts
	control *control // nil when no node has a kubelet
	login   sshKey
	hosts   map[string]sshKey // host key of each node
	log     func(format string, args ...any)
}

func newBuilder(o Options) (*builder, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Nodes == nil {
		o.Nodes = DefaultNodes()
	}
	if !labName.MatchString(o.Name) {
		return nil, fmt.Errorf("cannot name a lab %q: lower case letters, digits and dashes, at most 16", o.Name)
	}
	b := &builder{hosts: map[string]sshKey{}, log: logger(o.Log)}
	b.state = &state{Name: o.Name, ID: token(), Owner: os.Getpid(), OwnerStart: startTime(os.Getpid()),
		Sysctls: readSysctls(), Inotify: inotifyBefore(), NamespaceMount: namespaceMount()}
	kubelets := false
	for i, n := range o.Nodes {
		if _, ok := shapes()[n.Shape]; !ok {
			return nil, fmt.Errorf("cannot make node %s: no shape %q", n.Name, n.Shape)
		}
		n.Address = fmt.Sprintf("%s%d", frontPrefix, 10+i)
		if n.Jump != "" {
			n.Address = fmt.Sprintf("%s%d", backPrefix, 10+i)
		}
		n.state = b.state
		b.nodes = append(b.nodes, n)
		b.state.Nodes = append(b.state.Nodes, nodeState{Name: n.Name, Address: n.Address, Jump: n.Jump, Shape: n.Shape, Labels: n.Labels})
		kubelets = kubelets || n.Shape != ShapeBare
	}
	return b, b.keys(kubelets)
}

// keys makes every secret of the lab.
func (b *builder) keys(control bool) (err error) {
	if b.login, err = newSSHKey(LoginUser); err != nil {
		return fmt.Errorf("cannot make the login key: %w", err)
	}
	for _, n := range b.nodes {
		if b.hosts[n.Name], err = newSSHKey("root@" + n.Name); err != nil {
			return fmt.Errorf("cannot make a host key: %w", err)
		}
	}
	if control {
		b.control, err = newControl(b.nodes)
	}
	return err
}

// build does everything that Down has to undo.
func (b *builder) build(ctx context.Context) error {
	if err := b.state.write(); err != nil {
		return err
	}
	if err := raiseInotify(); err != nil {
		return err
	}
	if err := b.disk(ctx); err != nil {
		return err
	}
	if err := createNetwork(ctx, b.state); err != nil {
		return err
	}
	if err := b.client(); err != nil {
		return err
	}
	if b.control != nil {
		if err := b.startControl(ctx); err != nil {
			return err
		}
	}
	for i := range b.nodes {
		if err := b.start(ctx, i); err != nil {
			return err
		}
	}
	return b.await(ctx)
}

// disk mounts the memory file system and puts the judges' helper into a layer.
func (b *builder) disk(ctx context.Context) error {
	for _, dir := range []string{b.state.disk(), b.state.path("console")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := syscall.Mount("fleet-lab", b.state.disk(), "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("cannot mount the lab's disk: %w", err)
	}
	tools := b.state.disk("layer", toolsPath)
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return err
	}
	cmd := goCommand(ctx, "", "build", "-trimpath", "-o", tools+"/", "fleet/lab/real/cmd/agent", "fleet/lab/real/cmd/dumper")
	cmd.Env = append(cmd.Env, "GOFLAGS=-buildvcs=false", b.state.marker())
	_, err := output(cmd)
	return err
}

// start boots node i.
func (b *builder) start(ctx context.Context, i int) error {
	n := &b.nodes[i]
	addresses := []string{n.Address}
	if slices.ContainsFunc(b.nodes, func(other Node) bool { return other.Jump == n.Name }) {
		addresses = append(addresses, fmt.Sprintf("%s%d", backPrefix, 10+i))
	}
	files := append(shapes()[n.Shape].files(*n), b.machineFiles(n.Name)...)
	if b.control != nil {
		files = append(files, b.control.nodeKubeconfig(*n))
	}
	return b.machine(ctx, n, i, addresses, []string{b.state.disk("layer"), b.made.kubelet, b.made.base}, files)
}

func (b *builder) startControl(ctx context.Context) error {
	n := &Node{Name: controlName, state: b.state}
	return b.machine(ctx, n, 200, []string{controlFront, controlBack}, []string{b.made.apiServer, b.made.base}, b.control.files)
}

func (b *builder) machine(ctx context.Context, n *Node, index int, addresses, layers []string, files []judge.File) error {
	b.log("booting %s", n.Name)
	if err := createNamespace(ctx, b.state, n.Name, index, addresses...); err != nil {
		return err
	}
	if err := n.mount(layers, files); err != nil {
		return err
	}
	return n.boot()
}

// machineFiles are what makes a node itself: its host key and who may log in.
func (b *builder) machineFiles(name string) []judge.File {
	key := b.hosts[name]
	return []judge.File{
		{Path: "/etc/hostname", Text: name + "\n"},
		{Path: "/etc/hosts", Text: "127.0.0.1 localhost\n127.0.1.1 " + name + "\n"},
		{Path: "/etc/ssh/ssh_host_ed25519_key", Mode: 0o600, Text: string(key.private)},
		{Path: "/etc/ssh/ssh_host_ed25519_key.pub", Text: key.public + "\n"},
		{Path: "/etc/ssh/authorized_keys", Text: b.login.public + " operator\n"},
		{Path: "/etc/ssh/sshd_config.d/20-lab.conf", Text: "HostKey /etc/ssh/ssh_host_ed25519_key\nAuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys\nUseDNS no\n"},
	}
}

// await waits for every machine, and for every node to be Ready.
func (b *builder) await(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for i := range b.nodes {
		g.Go(func() error { return b.nodes[i].awaitBoot(gctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if b.control == nil {
		return nil
	}
	b.log("waiting for the nodes to be Ready")
	var withKubelet []Node
	for _, n := range b.nodes {
		if n.Shape != ShapeBare {
			withKubelet = append(withKubelet, n)
		}
	}
	return b.control.awaitReady(ctx, b.state, withKubelet)
}

// Down removes every trace of a lab: processes, machines, mounts, namespaces
// and files, in whatever state it is, also while another process is still
// bringing it up. No lab by that name is fine.
func Down(ctx context.Context, name string) error {
	s, err := readState(name)
	if errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(labDir(name)) // died before anything was started
	}
	if err != nil {
		return err
	}
	if err := stopOwner(ctx, s); err != nil {
		return err
	}
	if err := powerOff(ctx, s); err != nil {
		return err
	}
	if err := killAll(ctx, func() []int { return processesWith(s.marker()) }); err != nil {
		return err
	}
	if err := removeNamespaces(ctx, s); err != nil {
		return err
	}
	return s.remove()
}

// remove takes the files away, the state last of all.
func (s *state) remove() error {
	if err := removeTree(s.disk()); err != nil {
		return err
	}
	if !s.NamespaceMount && len(allNamespaces()) == 0 { // it came with our first namespace
		syscall.Unmount("/run/netns", syscall.MNT_DETACH)
		os.Remove("/run/netns")
	}
	if err := errors.Join(restoreSysctls(s.Sysctls), s.restoreInotify(), removeGroups(s)); err != nil {
		return err
	}
	if err := os.RemoveAll(s.path()); err != nil {
		return err
	}
	os.Remove(stateRoot) // only when it was the last
	return nil
}

// powerOff kills the first process of every machine. The kernel then kills the
// rest of the machine, and nspawn removes its control groups and ends.
func powerOff(ctx context.Context, s *state) error {
	supervisors := func() []int { return processesWith(s.marker()) }
	for _, pid := range supervisors() {
		if ids := nsPIDs(pid); len(ids) == 2 && ids[1] == "1" {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for range 100 {
		if len(supervisors()) == 0 {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil // what is left is killed without asking
}

func logger(w io.Writer) func(format string, args ...any) {
	if w == nil {
		w = io.Discard
	}
	return func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
}

// namespaceMount says whether /run/netns was a mount point before any lab.
func namespaceMount() bool {
	names, _ := Names() // none to ask then
	for _, name := range names {
		if other, err := readState(name); err == nil && !other.NamespaceMount {
			return false
		}
	}
	points, err := mountsBelow("/run/netns")
	return err == nil && len(points) > 0
}
