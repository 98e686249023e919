package remote

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fleet/inventory"

	"github.com/kevinburke/ssh_config"
)

// Where a value was set, when it was not a line of a file.
const (
	fromDefault     = "default"
	fromCommandLine = "command line"
)

// Value is one effective value and the place that set it: "FILE:LINE" of an
// ssh_config, "command line", "inventory FILE:LINE" or "default".
type Value[T any] struct {
	Value T
	From  string
}

// KeyFile is one identity or certificate file.
type KeyFile struct {
	Path string
	From string
	must bool // named by the user for this run, so it has to be readable
}

// Settings are the effective SSH settings of one host.
type Settings struct {
	Alias         string // the name in the inventory
	HostName      Value[string]
	Port          Value[int]
	User          Value[string]
	AddressFamily Value[string] // any, inet or inet6

	Identity       []KeyFile
	Certificates   []KeyFile
	IdentitiesOnly Value[bool]
	IdentityAgent  Value[string] // socket, "none" or "" for no agent

	Jump Value[string] // as ProxyJump, "none" when the host is dialled directly

	KnownHosts       Value[[]string] // accept-new writes to the first
	GlobalKnownHosts Value[[]string]
	HostKeys         Value[HostKeyPolicy]
	HostKeyAlias     Value[string]
	HashKnownHosts   Value[bool]

	ConnectTimeout Value[time.Duration] // of each phase of logging in
	AliveInterval  Value[time.Duration] // 0: no keepalive
	AliveCountMax  Value[int]

	hops  []hop
	depth int // number of hosts this one is a jump host for
}

// Setting is one line of an explanation.
type Setting struct {
	Keyword string // as ssh_config(5) spells it
	Value   string
	From    string
}

// List returns every value with the place that set it, for people to read.
func (s Settings) List() []Setting {
	out := []Setting{
		{"HostName", s.HostName.Value, s.HostName.From},
		{"Port", strconv.Itoa(s.Port.Value), s.Port.From},
		{"User", s.User.Value, s.User.From},
		{"AddressFamily", s.AddressFamily.Value, s.AddressFamily.From},
		{"ProxyJump", s.Jump.Value, s.Jump.From},
	}
	for _, f := range s.Identity {
		out = append(out, Setting{"IdentityFile", f.Path, f.From})
	}
	for _, f := range s.Certificates {
		out = append(out, Setting{"CertificateFile", f.Path, f.From})
	}
	return append(out,
		Setting{"IdentitiesOnly", yesNo(s.IdentitiesOnly.Value), s.IdentitiesOnly.From},
		Setting{"IdentityAgent", orNone(s.IdentityAgent.Value), s.IdentityAgent.From},
		Setting{"UserKnownHostsFile", strings.Join(s.KnownHosts.Value, " "), s.KnownHosts.From},
		Setting{"GlobalKnownHostsFile", orNone(strings.Join(s.GlobalKnownHosts.Value, " ")), s.GlobalKnownHosts.From},
		Setting{"StrictHostKeyChecking", string(s.HostKeys.Value), s.HostKeys.From},
		Setting{"HostKeyAlias", orNone(s.HostKeyAlias.Value), s.HostKeyAlias.From},
		Setting{"HashKnownHosts", yesNo(s.HashKnownHosts.Value), s.HashKnownHosts.From},
		Setting{"ConnectTimeout", s.ConnectTimeout.Value.String(), s.ConnectTimeout.From},
		Setting{"ServerAliveInterval", s.AliveInterval.Value.String(), s.AliveInterval.From},
		Setting{"ServerAliveCountMax", strconv.Itoa(s.AliveCountMax.Value), s.AliveCountMax.From},
	)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (s Settings) knownHostsFiles() []string {
	return append(s.KnownHosts.Value[:len(s.KnownHosts.Value):len(s.KnownHosts.Value)], s.GlobalKnownHosts.Value...)
}

// Resolve returns the effective settings of a host. Command line wins over
// inventory, inventory over ssh_config, ssh_config over the defaults.
//
// The host's name is what ssh(1) would be given; where the inventory has
// another address for it, Host lines may match either, and the address counts
// as HostName. Resolve reads no file and opens no connection. Its error is an
// *Error with CodeConfig.
func (d *Dialer) Resolve(h inventory.Host) (Settings, error) {
	r := request{host: h, from: "inventory " + h.Position.String(), user: d.opts.User, files: d.opts.Identity}
	if h.Position.File == "" {
		r.from = "inventory"
	}
	return d.resolve(r)
}

// request is a host to resolve: one of the inventory, or a jump host on the
// way to one.
type request struct {
	host  inventory.Host
	from  string // where the fields of host were set
	user  string // of the command line
	files []string
	extra []KeyFile // offered after the host's own
	depth int
}

// place is where a field of the host was set: a group or the defaults of the
// inventory may have set it, lines away from the host itself.
func (r request) place(key string) string {
	if at, ok := r.host.Origins[key]; ok {
		return "inventory " + at.String()
	}
	return r.from
}

// resolver builds the Settings of one request.
type resolver struct {
	d   *Dialer
	r   request
	cfg *evaluation
	s   Settings
	err *Error
}

func (d *Dialer) resolve(r request) (Settings, error) {
	if r.host.Address == "" {
		r.host.Address = r.host.Name
	}
	b := &resolver{d: d, r: r, cfg: d.config.evaluate(newEvaluation(d.opts, r))}
	b.err = b.cfg.err
	b.s = Settings{Alias: r.host.Name, depth: r.depth}
	b.endpoint()
	b.times()
	b.hostKeys()
	b.identities()
	b.jump()
	if b.err != nil {
		return Settings{}, b.err
	}
	for _, l := range b.cfg.ignored {
		d.warn.printf("%s: %s is not supported and has no effect", l.pos(), l.keyword)
	}
	return b.s, nil
}

// fail keeps the first fault.
func (b *resolver) fail(pos, format string, args ...any) {
	if b.err == nil {
		b.err = &Error{Reason: CodeConfig, Msg: pos + ": " + fmt.Sprintf(format, args...)}
	}
}

func (b *resolver) endpoint() {
	h := b.r.host
	b.s.HostName = b.text("hostname", "", h.Name)
	if h.Address != h.Name {
		b.s.HostName = Value[string]{h.Address, b.r.place("address")}
	} else if b.s.HostName.From == fromDefault {
		b.s.HostName.From = b.r.from
	} else {
		b.s.HostName.Value = b.expand(b.s.HostName, map[byte]string{'h': h.Name, '%': "%"}, false)
	}
	b.s.HostName.Value = strings.ToLower(b.s.HostName.Value)
	b.s.User = b.text("user", h.User, b.d.opts.LocalUser)
	if b.r.user != "" {
		b.s.User = Value[string]{b.r.user, fromCommandLine}
	}
	b.s.Port = Value[int]{h.Port, b.r.place("port")}
	if h.Port == 0 {
		b.s.Port = b.number("port", atoi(ssh_config.Default("Port")), 1, 65535)
	}
	b.s.AddressFamily = b.text("addressfamily", "", ssh_config.Default("AddressFamily"))
	b.s.AddressFamily.Value = strings.ToLower(b.s.AddressFamily.Value)
	if !contains([]string{"any", "inet", "inet6"}, b.s.AddressFamily.Value) {
		b.fail(b.s.AddressFamily.From, "AddressFamily %q is not one of any, inet, inet6", b.s.AddressFamily.Value)
	}
}

// The keepalive while a command runs, when ssh_config says nothing: a dead
// link is noticed after 45 s. (ssh(1) itself would wait for TCP.)
const (
	defaultAliveInterval = 15 * time.Second
	defaultAliveCountMax = 3
)

func (b *resolver) times() {
	b.s.ConnectTimeout = b.duration("connecttimeout", DefaultTimeout)
	if t := b.d.opts.ConnectTimeout; t > 0 {
		b.s.ConnectTimeout = Value[time.Duration]{t, fromCommandLine}
	}
	if b.s.ConnectTimeout.Value <= 0 {
		b.s.ConnectTimeout.Value = DefaultTimeout // "none" must not mean for ever
	}
	b.s.AliveInterval = b.duration("serveraliveinterval", defaultAliveInterval)
	b.s.AliveCountMax = b.number("serveralivecountmax", defaultAliveCountMax, 0, 1<<20)
}

func (b *resolver) hostKeys() {
	b.s.HostKeyAlias = b.text("hostkeyalias", "", "")
	b.s.HashKnownHosts = b.flag("hashknownhosts", false)
	b.s.HostKeys = b.policy()
	b.s.KnownHosts = b.files("userknownhostsfile", ssh_config.Default("UserKnownHostsFile"))
	b.s.GlobalKnownHosts = b.files("globalknownhostsfile", ssh_config.Default("GlobalKnownHostsFile"))
	if len(b.d.opts.KnownHosts) > 0 {
		var paths []string
		for _, p := range b.d.opts.KnownHosts {
			paths = append(paths, expandHome(p, b.d.opts.Home))
		}
		b.s.KnownHosts = Value[[]string]{paths, fromCommandLine}
		b.s.GlobalKnownHosts = Value[[]string]{nil, fromCommandLine}
	}
}

// policy maps StrictHostKeyChecking; "ask" is strict, since nobody can be
// asked for hundreds of hosts at once.
func (b *resolver) policy() Value[HostKeyPolicy] {
	if p := b.d.opts.HostKeys; p != "" {
		return Value[HostKeyPolicy]{p, fromCommandLine}
	}
	v := b.text("stricthostkeychecking", "", "ask")
	switch strings.ToLower(v.Value) {
	case "yes", "true", "ask":
		return Value[HostKeyPolicy]{HostKeysStrict, v.From}
	case "accept-new":
		return Value[HostKeyPolicy]{HostKeysAcceptNew, v.From}
	case "no", "false", "off":
		return Value[HostKeyPolicy]{HostKeysOff, v.From}
	}
	b.fail(v.From, "StrictHostKeyChecking %q is not one of yes, ask, accept-new, no, off", v.Value)
	return Value[HostKeyPolicy]{HostKeysStrict, v.From}
}

// defaultIdentities are ssh(1)'s default key files, the strongest first.
// DSA is gone from OpenSSH.
var defaultIdentities = [...]string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}

func (b *resolver) identities() {
	b.s.IdentitiesOnly = b.flag("identitiesonly", false)
	b.s.IdentityAgent = b.agent()
	for _, f := range b.cfg.lists["certificatefile"] {
		b.s.Certificates = append(b.s.Certificates, b.path(f))
	}
	switch {
	case len(b.r.files) > 0:
		b.named(b.r.files, fromCommandLine)
	case len(b.r.host.Identity) > 0:
		b.named(b.r.host.Identity, b.r.place("identity"))
	default:
		b.configured()
	}
	b.s.Identity = append(b.s.Identity, b.r.extra...)
}

func (b *resolver) named(files []string, from string) {
	for _, f := range files {
		path := b.expand(Value[string]{f, from}, b.tokens(), true)
		b.s.Identity = append(b.s.Identity, KeyFile{Path: path, From: from, must: true})
	}
}

// configured takes ssh_config's IdentityFile, or the default files. "none"
// only keeps the default files out.
func (b *resolver) configured() {
	list := b.cfg.lists["identityfile"]
	seen := make(map[string]bool)
	for _, f := range list {
		v := b.path(f)
		if !seen[v.Path] && !strings.EqualFold(v.Path, "none") {
			b.s.Identity = append(b.s.Identity, v)
		}
		seen[v.Path] = true
	}
	if len(list) > 0 || b.d.opts.Home == "" {
		return
	}
	for _, name := range defaultIdentities {
		path := filepath.Join(b.d.opts.Home, ".ssh", name)
		b.s.Identity = append(b.s.Identity, KeyFile{Path: path, From: fromDefault})
	}
}

// agent resolves IdentityAgent: a socket, "none", SSH_AUTH_SOCK or $VARIABLE.
func (b *resolver) agent() Value[string] {
	v := b.text("identityagent", "", "")
	switch name, isVar := strings.CutPrefix(v.Value, "$"); {
	case v.From == fromDefault || v.Value == "SSH_AUTH_SOCK":
		v.Value = b.d.opts.AgentSocket
	case v.Value == "none":
	case isVar && !strings.HasPrefix(name, "{"):
		v.Value, _ = b.d.opts.LookupEnv(name)
	default:
		v.Value = b.expand(v, b.tokens(), true)
	}
	return v
}

func (b *resolver) jump() {
	b.s.Jump = Value[string]{"none", fromDefault}
	switch l, ok := b.cfg.values["proxy"]; {
	case b.r.host.Jump != "":
		b.s.Jump = Value[string]{b.r.host.Jump, b.r.place("jump")}
	case ok && l.keyword == "proxycommand" && !strings.EqualFold(l.rest, "none"):
		b.fail(l.pos(), "ProxyCommand is not supported; use ProxyJump, or set jump: in the inventory")
		return
	case ok && l.keyword == "proxyjump":
		b.s.Jump = Value[string]{l.args[0], l.pos()}
		t := b.tokens()
		b.s.Jump.Value = b.expand(b.s.Jump, map[byte]string{'h': t['h'], 'n': t['n'], 'p': t['p'], 'r': t['r'], '%': "%"}, false)
	case ok:
		b.s.Jump = Value[string]{"none", l.pos()}
	}
	hops, err := parseHops(b.s.Jump.Value)
	switch {
	case err != nil:
		b.fail(b.s.Jump.From, "jump host %q: %v", b.s.Jump.Value, err)
	case len(hops) == 1 && hops[0].is(b.s):
		b.s.Jump.Value = "none" // a "Host *" block also speaks of the jump host itself
	default:
		b.s.hops = hops
	}
}

// text returns what the inventory, ssh_config or the default says.
func (b *resolver) text(keyword, inventoryValue, standard string) Value[string] {
	if inventoryValue != "" {
		return Value[string]{inventoryValue, b.r.place("user")}
	}
	if l, ok := b.cfg.values[keyword]; ok {
		return Value[string]{l.args[0], l.pos()}
	}
	return Value[string]{standard, fromDefault}
}

func (b *resolver) number(keyword string, standard, low, high int) Value[int] {
	v := b.text(keyword, "", "")
	if v.From == fromDefault {
		return Value[int]{standard, fromDefault}
	}
	n, err := strconv.Atoi(v.Value)
	if err != nil || n < low || n > high {
		b.fail(v.From, "%s %q is not a number from %d to %d", keyword, v.Value, low, high)
	}
	return Value[int]{n, v.From}
}

func (b *resolver) flag(keyword string, standard bool) Value[bool] {
	v := b.text(keyword, "", "")
	switch strings.ToLower(v.Value) {
	case "":
		return Value[bool]{standard, v.From}
	case "yes", "true":
		return Value[bool]{true, v.From}
	case "no", "false":
		return Value[bool]{false, v.From}
	}
	b.fail(v.From, "%s %q is not yes or no", keyword, v.Value)
	return Value[bool]{standard, v.From}
}

func (b *resolver) duration(keyword string, standard time.Duration) Value[time.Duration] {
	v := b.text(keyword, "", "")
	if v.From == fromDefault {
		return Value[time.Duration]{standard, fromDefault}
	}
	d, err := parseTime(v.Value)
	if err != nil {
		b.fail(v.From, "%s %q is not a time such as 10 or 1m30s", keyword, v.Value)
	}
	return Value[time.Duration]{d, v.From}
}

// files resolves a list of known_hosts files; "none" is an empty list.
func (b *resolver) files(keyword, standard string) Value[[]string] {
	out := Value[[]string]{From: fromDefault}
	args := strings.Fields(standard)
	if l, ok := b.cfg.values[keyword]; ok {
		args, out.From = l.args, l.pos()
	}
	if len(args) == 1 && strings.EqualFold(args[0], "none") {
		return out
	}
	for _, arg := range args {
		if b.d.opts.Home == "" && strings.HasPrefix(arg, "~") {
			continue
		}
		out.Value = append(out.Value, b.expand(Value[string]{arg, out.From}, b.tokens(), true))
	}
	return out
}

func (b *resolver) path(l configLine) KeyFile {
	return KeyFile{Path: b.expand(Value[string]{l.args[0], l.pos()}, b.tokens(), true), From: l.pos()}
}

// tokens are those of ssh_config(5), TOKENS, that need no secret hash.
func (b *resolver) tokens() map[byte]string {
	o := b.d.opts
	short, _, _ := strings.Cut(o.LocalHostname, ".")
	key := b.s.HostKeyAlias.Value
	if key == "" {
		key = b.s.HostName.Value
	}
	return map[byte]string{
		'%': "%", 'd': o.Home, 'h': b.s.HostName.Value, 'i': strconv.Itoa(os.Getuid()), 'k': key,
		'L': short, 'l': o.LocalHostname, 'n': b.s.Alias, 'p': strconv.Itoa(b.s.Port.Value),
		'r': b.s.User.Value, 'u': o.LocalUser,
	}
}

// expand replaces ~, ${VAR} and %x in a value.
func (b *resolver) expand(v Value[string], tokens map[byte]string, path bool) string {
	s := v.Value
	if path {
		s = expandHome(s, b.d.opts.Home)
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%' && i+1 < len(s):
			i++
			t, ok := tokens[s[i]]
			if !ok {
				b.fail(v.From, "%%%c is not supported in %q", s[i], v.Value)
			}
			out.WriteString(t)
		case s[i] == '%':
			b.fail(v.From, "%q ends in an unfinished %%", v.Value)
		case path && strings.HasPrefix(s[i:], "${"):
			name, _, ok := strings.Cut(s[i+2:], "}")
			value, set := b.d.opts.LookupEnv(name)
			if !ok || !set {
				b.fail(v.From, "environment variable in %q is not set", v.Value)
				return ""
			}
			out.WriteString(value)
			i += len(name) + 2
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// parseTime reads a time of sshd_config(5), TIME FORMATS, in seconds unless a
// unit is given. "none" is 0.
func parseTime(s string) (time.Duration, error) {
	if strings.EqualFold(s, "none") {
		return 0, nil
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var total time.Duration
	for i := 0; i < len(s) || i == 0; {
		j := i
		for j < len(s) && s[j] >= '0' && s[j] <= '9' {
			j++
		}
		n, err := strconv.ParseInt(s[i:j], 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%q is not a time", s)
		}
		unit := time.Second
		if j < len(s) {
			var ok bool
			if unit, ok = units[s[j]|0x20]; !ok {
				return 0, fmt.Errorf("%q is not a time", s)
			}
			j++
		}
		total += time.Duration(n) * unit
		if total < 0 || total > 1<<31*time.Second {
			return 0, fmt.Errorf("%q is out of range", s)
		}
		i = j
	}
	return total, nil
}
