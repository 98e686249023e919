package lab

import (
	"io/fs"
	"math"
	"time"
)

// NodeSpec says what one simulated node is. The zero value of every field but
// Name is a healthy stock AKS node.
type NodeSpec struct {
	Name   string            // host name of the node, and its name in the inventory
	Labels map[string]string // inventory labels: agentpool, zone, ...
	User   string            // the login the node accepts; "azureuser" when empty, "root" for a root login
	Become string            // the inventory's become, "" to leave it out

	Shape   Shape  // how the kubelet is launched; ShapeAKSFlags when empty
	Version string // kubelet version, "v1.34.4" when empty
	OS      string // PRETTY_NAME of os-release; by the shape when empty

	// Set is how the setting was written when the kubelet started. Later, when
	// not nil, is how it was written since: on disk, but not in the process.
	Set   Layers
	Later *Layers
	// Files are written over the shape's own.
	Files []File
	// Processes run beside the kubelet and the node's usual ones.
	Processes []Process
	State     State
	// Kubelet is how the kubelet behaves at the starts that are made on the node.
	Kubelet Behaviour
	// ReadOnly and DiskFull are the places where writing fails; see Places.
	ReadOnly, DiskFull Places

	Sudo     Sudo
	Password string // what sudo wants; no newline
	Fault    Fault
	Delay    time.Duration // wait before each command runs
	// Preamble is printed on standard output before each command, as a careless
	// line in a shell profile does.
	Preamble string
}

// Behaviour is how the kubelet behaves after it was started on the node, by hand
// or by systemd. The zero value is one that starts at once and stays healthy.
// Whether it starts at all is not said here: that comes from the files, as with
// a real kubelet. What is said of the files decides first.
type Behaviour struct {
	// Only restricts all of this to starts with this value of the setting,
	// "true" or "false", as the files give it. Any start when empty.
	Only string
	// SlowStart is how long the unit's ExecStartPre= take: systemctl waits for so
	// long, and the unit is activating without a main process.
	SlowStart time.Duration
	// HealthAfter is how long after its start the kubelet answers on its healthz
	// port, Never for one that does not. Until then connections are refused.
	HealthAfter time.Duration
	// Unhealthy makes healthz answer with status 500.
	Unhealthy bool
	// DieAfter is how long after its start the kubelet exits with status 1, 0 for
	// one that stays. systemd starts it again after RestartSec, as often as the
	// unit's start limit lets it.
	DieAfter time.Duration
	// Ineffective makes systemctl restart a success that leaves the running
	// process as it is.
	Ineffective bool
}

// Never is a time that does not come.
const Never = time.Duration(math.MaxInt64)

// Layers is how the setting makeIPTablesUtilChains is written on a node, layer
// by layer. Values are raw text, so that wrong ones can be written as well.
type Layers struct {
	// File is the value in the configuration file: `true`, `"false"`; the key is
	// absent when empty. It means nothing to a shape without a file.
	File string
	// Flags are appended to the variable that ExecStart expands last.
	Flags []string
	// DropIns are the values in files of --config-dir, by file name. They mean
	// nothing to a shape without such a directory.
	DropIns map[string]string
}

// File is one file of a node.
type File struct {
	Path string // absolute on the node
	Data string
	Mode fs.FileMode // 0600 when zero, as on AKS
	Link string      // makes a symbolic link with this text instead
	// Later says that the file was written since the kubelet started. Unit files
	// written later need a daemon-reload; the node says so.
	Later bool
	// Remove takes the file away.
	Remove bool
}

// Process is one process of a node, as /proc and ps show it.
type Process struct {
	PID, PPID int
	User      string // of ps; "root" when empty
	Argv      []string
	Exe, Cwd  string // link texts of /proc/PID/exe and cwd
	Comm      string // base name of Exe, cut to 15 bytes, when empty
	Env       []string
	Cgroup    string    // of /proc/PID/cgroup, without the leading slash; by what it is when empty
	Started   time.Time // three days before the fleet's start when zero
	// PSOnly leaves the process out of /proc: it has ended by the time anyone
	// looks, as the grep of `ps -ef | grep kubelet` has.
	PSOnly bool
}

// Shape is the way a platform launches its kubelet: unit, drop-ins, environment
// files and configuration file.
type Shape string

// The shapes.
const (
	ShapeAKSFlags Shape = "aks-flags"  // flags only, /etc/default/kubelet; the default
	ShapeAKSFile  Shape = "aks-file"   // /etc/default/kubeletconfig.json by 10-componentconfig.conf
	ShapeEKS      Shape = "eks-al2"    // the layout of the CIS text: kubelet-config.json, KUBELET_ARGS
	ShapeKubeadm  Shape = "kubeadm"    // config.yaml, kubeadm-flags.env
	ShapeAL2023   Shape = "eks-al2023" // config.json and --config-dir, NODEADM_KUBELET_ARGS
	ShapeK3s      Shape = "k3s"        // no kubelet process and no unit of that name
	ShapeBare     Shape = "no-kubelet" // nothing of Kubernetes at all
)

// State is what has become of the kubelet.
type State string

// The states.
const (
	StateRunning   State = ""           // as started
	StateStopped   State = "stopped"    // stopped by hand, unit enabled
	StateMasked    State = "masked"     // unit linked to /dev/null, nothing runs
	StateCrashLoop State = "crash-loop" // exits at each start; NRestarts rises with every session, until somebody starts it
	StateTwo       State = "two"        // a second kubelet runs beside the unit's
	StateReplaced  State = "replaced"   // the binary was replaced under the process: exe is "(deleted)"
)

// Sudo is what the node's sudoers says of the login.
type Sudo string

// The kinds of sudoers entry.
const (
	SudoNoPassword   Sudo = ""               // NOPASSWD: ALL, as on AKS
	SudoPassword     Sudo = "password"       // wants NodeSpec.Password
	SudoNotInSudoers Sudo = "not-in-sudoers" // after the right password
	SudoNotAllowed   Sudo = "not-allowed"    // some command is, ours is not
	SudoRequireTTY   Sudo = "requiretty"     // Defaults requiretty
	SudoMissing      Sudo = "missing"        // no sudo program
)

// Fault is how a node misbehaves on the wire.
type Fault string

// The faults, in the order in which a connection would meet them.
const (
	FaultNone        Fault = ""
	FaultRefuse      Fault = "refuse"       // the port is closed
	FaultMute        Fault = "mute"         // accepts TCP, says nothing
	FaultBusy        Fault = "busy"         // MaxStartups text instead of a banner, then closes
	FaultNotSSH      Fault = "not-ssh"      // an HTTP server
	FaultMuteKex     Fault = "mute-kex"     // banner, then nothing
	FaultHostKey     Fault = "host-key"     // shows another key than known_hosts says
	FaultMuteAuth    Fault = "mute-auth"    // keys exchanged, no answer to authentication
	FaultRejectKey   Fault = "reject-key"   // refuses every user key
	FaultExecRefused Fault = "exec-refused" // logged in, but runs no command
	FaultNoLogin     Fault = "nologin"      // the login shell is nologin
	FaultWindows     Fault = "windows"      // the login shell is cmd.exe
	FaultMuteCommand Fault = "mute-command" // takes the command, says nothing
	FaultReset       Fault = "reset"        // resets the connection within the answer
	FaultTruncate    Fault = "truncate"     // the answer ends early with exit status 0
	FaultGarble      Fault = "garble"       // bytes of the answer are wrong
	FaultEndless     Fault = "endless"      // output without end
	FaultLinger      Fault = "linger"       // exit status sent, channel never closed
)

const (
	defaultUser    = "azureuser"
	defaultVersion = "v1.34.4"
)

// withDefaults fills in what the zero values stand for.
func (s NodeSpec) withDefaults() NodeSpec {
	if s.User == "" {
		s.User = defaultUser
	}
	if s.Shape == "" {
		s.Shape = ShapeAKSFlags
	}
	if s.Version == "" {
		s.Version = defaultVersion
	}
	return s
}
