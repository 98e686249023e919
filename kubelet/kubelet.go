// Package kubelet knows how a kubelet arrives at the value of a setting: its
// command line, its configuration file, its drop-in directory and the systemd
// unit that starts it. Every function is pure, from bytes to a value and the
// place the value came from; the package refuses to know how the bytes were
// fetched.
package kubelet

import "time"

// Setting names one kubelet setting in the two spellings that can carry it.
type Setting struct {
	// Flag is the command line flag without dashes, "make-iptables-util-chains".
	Flag string
	// Key is the key of KubeletConfiguration, dotted when nested,
	// "makeIPTablesUtilChains" or "authentication.anonymous.enabled".
	Key string
	// Default is the kubelet's built-in value: a bool, int64 or string.
	Default any
}

// SourceKind is the layer a value came from.
type SourceKind string

// The layers, strongest first. Precedence is the kubelet's own: flags are
// parsed again over the merged files (cmd/kubelet/app/server.go,
// kubeletConfigFlagPrecedence).
const (
	SourceFlag    SourceKind = "flag"
	SourceDropIn  SourceKind = "drop-in" // a file of --config-dir (KEP-3983)
	SourceFile    SourceKind = "file"    // the file of --config
	SourceDefault SourceKind = "default" // the kubelet's built-in value
)

// Source is the place a value came from. Path is empty for a default; Line is
// 1-based and 0 where lines mean nothing; Text is the argument or the source
// line as written, possibly hostile, never a whole file.
type Source struct {
	Kind SourceKind `json:"kind"`
	Path string     `json:"path"`
	Line int        `json:"line"`
	Text string     `json:"text"`
}

// Arg is one element of a command line and the place it was written: the
// process's cmdline, or the unit, drop-in or environment file whose text
// expanded to it. Origin.Kind is always SourceFlag.
type Arg struct {
	Text   string
	Origin Source
}

// FileState says what is known of a path on a node.
type FileState string

// States of a path. Only StatePresent carries data.
const (
	StatePresent    FileState = "present"
	StateMissing    FileState = "missing"     // ENOENT on the node
	StateUnreadable FileState = "unreadable"  // exists, permission refused or I/O error
	StateDirectory  FileState = "directory"   // what a program that reads it is told
	StateNotRegular FileState = "not-regular" // a socket, device, ...; for a Dir: not a directory
	StateTooLarge   FileState = "too-large"   // larger than the probe carries; Data is cut short
)

// File is one path as a node had it at the time of the probe. The zero times
// mean "not known".
type File struct {
	Path     string
	State    FileState
	Data     []byte
	Modified time.Time // st_mtime, symlinks followed
	Changed  time.Time // st_ctime, symlinks followed
	Target   string    // where a symlink leads, "" for anything else
}

// irregular tells a path that is there and is not a regular file.
func (f File) irregular() bool { return f.State == StateDirectory || f.State == StateNotRegular }

// Dir is one directory as a node had it: every path below it that is not a
// directory, in no particular order, as `find DIR ! -type d` names them
// (DIR itself is not followed when it is a symlink, as filepath.Walk does not).
type Dir struct {
	Path     string
	State    FileState // StatePresent, StateMissing, StateUnreadable, StateNotRegular
	Entries  []string
	Modified time.Time
}

// Disk is what a probe brought back of a node's files. A path that is in
// neither map was not looked at, which is not the same as missing: functions
// that need it say so in a Need list so that the caller can fetch it and ask
// again.
type Disk struct {
	Files map[string]File
	Dirs  map[string]Dir
}

// Start is one start of a kubelet: what it was, or would be, executed with.
type Start struct {
	// Args is the command line without argv[0].
	Args []Arg
	// Cwd is the working directory that relative paths resolve against.
	Cwd string
	// Env holds the few environment variables the kubelet's configuration
	// depends on (KUBELET_CONFIG_DROPIN_DIR_ALPHA); nil is fine.
	Env map[string]string
	// Version is the kubelet's version, "v1.34.4", or "" when unknown.
	Version string
}

// Fatal is a reason for which the kubelet, or systemd before it, would refuse
// to start.
type Fatal struct {
	Message string // one line, e.g. `unknown flag: --make-iptables-util-chains:true`
	Source  Source // the argument or file line at fault
}

// Resolution is the value of one Setting at one Start, and why. The value was
// determined when Fatal and Blocked are nil and Need is empty.
type Resolution struct {
	Value  any    // bool, int64 or string; nil when not determined
	Source Source // the layer that decides

	Fatal   *Fatal // would not start
	Blocked *Fatal // a file the answer needs could not be read; Message names it
	Need    []string

	Config      string   // absolute path of --config in use, "" when none
	ConfigDir   string   // absolute path of --config-dir in use, "" when none
	ConfigFiles []string // every configuration file read, in merge order

	// Masked lists the weaker layers that set the value explicitly, strongest
	// first, with the value each would give.
	Masked []Layer
	// Warnings are one line each: unknown or duplicate key, lenient decoding,
	// a near miss of the setting's name.
	Warnings []string
}

// Layer is one explicit setting of the value.
type Layer struct {
	Value  any
	Source Source
}
