package kubelet

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// Occurrence is one place where a command line sets the wanted flag.
type Occurrence struct {
	Value  any    // bool, int64 or string
	Source Source // Text is the argument, "--flag value" when written as two
}

// ParsedArgs is what a kubelet learns from its command line before it opens any
// file.
type ParsedArgs struct {
	// Occurrences are the settings of the wanted flag in the order written; the
	// last one wins.
	Occurrences []Occurrence
	// Config and ConfigDir are the last values of --config and --config-dir as
	// written; "" means that none is used, also for `--config=`.
	Config, ConfigDir string
	// ConfigSource and ConfigDirSource are the arguments that gave them.
	ConfigSource, ConfigDirSource Source
	// Fatal is the first reason for which the kubelet refuses the command line
	// or exits after it. The other fields then still hold what every other
	// argument says.
	Fatal *Fatal
	// Warnings are one line each.
	Warnings []string
}

// ParseArgs reads the command line of a start by the rules of spf13/pflag and
// of NewKubeletCommand in cmd/kubelet/app/server.go: options and words may
// mix, "--" ends the options, underscores in a name are dashes
// (WordSepNormalizeFunc of component-base), one dash introduces shorthands, the
// last value wins, a word that belongs to no option is an error.
func ParseArgs(s Setting, st Start) ParsedArgs {
	p := argvParser{setting: s, release: releaseOf(st.Version), version: st.Version, args: st.Args}
	p.run()
	p.finish()
	return p.out
}

// parseArgsAgain is the second reading of the command line, over the loaded
// files (kubeletConfigFlagPrecedence in server.go). It differs from the first:
// the flags that libraries register are stand-ins that always take a value, so
// that a bare --log-cadvisor-usage swallows the next argument, and --help is not
// defined, which makes pflag print the usage and exit even for --help=false.
func parseArgsAgain(s Setting, st Start) ParsedArgs {
	p := argvParser{setting: s, release: releaseOf(st.Version), version: st.Version, args: st.Args, again: true}
	p.run()
	return p.out
}

// KubeletArgs returns the kubelet's own arguments out of a whole command line
// with its argv[0]: all but the first, or all after the subcommand when the
// binary is hyperkube. It reports false when there is no kubelet in it.
func KubeletArgs(argv []Arg) ([]Arg, bool) {
	if len(argv) == 0 {
		return nil, false
	}
	if path.Base(argv[0].Text) != "hyperkube" {
		return argv[1:], true
	}
	if len(argv) < 2 || argv[1].Text != "kubelet" {
		return nil, false
	}
	return argv[2:], true
}

// SplitCmdline splits the content of /proc/PID/cmdline at its NUL bytes, so that
// an argument keeps its blanks and newlines (proc(5)). The origin of each
// argument is file.
func SplitCmdline(file string, data []byte) []Arg {
	data = bytes.TrimSuffix(data, []byte{0})
	if len(data) == 0 {
		return nil
	}
	var args []Arg
	for word := range bytes.SplitSeq(data, []byte{0}) {
		text := string(word)
		args = append(args, Arg{Text: text, Origin: Source{Kind: SourceFlag, Path: file, Text: text}})
	}
	return args
}

// ConfigPaths names the files a start reads besides its command line: the file
// of --config and the directory of --config-dir, absolute, "" for none. A path
// that is relative to an unknown working directory stays relative.
func ConfigPaths(st Start) (config, dir string) {
	p := ParseArgs(Setting{}, st)
	return argvAbs(p.Config, st.Cwd), argvAbsDir(p.ConfigDir, st.Cwd)
}

// argvAbs is filepath.Abs on the node.
func argvAbs(name, cwd string) string {
	switch {
	case name == "":
		return ""
	case path.IsAbs(name), cwd == "":
		return path.Clean(name)
	}
	return path.Join(cwd, name)
}

// argvAbsDir is argvAbs for a path handed to filepath.WalkDir as written, where a
// trailing slash makes lstat follow a symlink.
func argvAbsDir(name, cwd string) string {
	abs := argvAbs(name, cwd)
	if abs != "" && abs != "/" && (strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.")) {
		return abs + "/"
	}
	return abs
}

// helpMessage is why --help is a reason not to start.
const helpMessage = "asked for help: the kubelet prints its usage and exits"

// argvParser is one reading of a command line.
type argvParser struct {
	setting Setting
	release int // minor release, 0 when unknown
	version string
	args    []Arg
	again   bool

	words   []Arg // arguments that belong to no option
	help    bool
	exit    *Source // --version asked for
	helpSrc Source
	out     ParsedArgs
}

func (p *argvParser) run() {
	for i := 0; i < len(p.args); {
		if p.args[i].Text == "--" {
			p.words = append(p.words, p.args[i+1:]...)
			return
		}
		i = p.step(i)
	}
}

// step reads the argument at a position, one that is not "--", and returns the
// position of the next one that is no value of it.
func (p *argvParser) step(i int) int {
	arg := p.args[i]
	i++
	switch s := arg.Text; {
	case len(s) < 2 || s[0] != '-':
		p.words = append(p.words, arg)
	case s[1] == '-':
		i += p.long(arg, p.args[i:])
	default:
		i += p.shorts(arg, p.args[i:])
	}
	return i
}

// finish applies what NewKubeletCommand checks after pflag is done.
func (p *argvParser) finish() {
	if len(p.words) > 0 {
		p.fail(argvSource(p.words[0]), "unknown command "+p.words[0].Text)
	}
	if p.help {
		p.fail(p.helpSrc, helpMessage)
	}
	if p.exit != nil {
		p.fail(*p.exit, "asked for its version: the kubelet prints it and exits")
	}
}

func (p *argvParser) fail(src Source, message string) {
	if p.out.Fatal == nil {
		p.out.Fatal = &Fatal{Message: oneLine(message), Source: src}
	}
}

// long reads one --name or --name=value and returns how many of the following
// arguments it took.
func (p *argvParser) long(arg Arg, rest []Arg) int {
	name := arg.Text[2:]
	if name[0] == '-' || name[0] == '=' {
		p.fail(argvSource(arg), "bad flag syntax: "+arg.Text)
		return 0
	}
	name, value, hasValue := strings.Cut(name, "=")
	spec, ok := p.lookup(strings.ReplaceAll(name, "_", "-"))
	if !ok {
		return p.unknown(arg, name, hasValue, rest)
	}
	switch {
	case hasValue:
		p.set(spec, value, argvSource(arg))
	case p.noOptValue(spec) != "":
		p.set(spec, p.noOptValue(spec), argvSource(arg))
	case len(rest) > 0:
		p.set(spec, rest[0].Text, argvSource(arg, rest[0]))
		return 1
	default:
		p.fail(argvSource(arg), "flag needs an argument: --"+name)
	}
	return 0
}

// shorts reads one -abc and returns how many of the following arguments it took.
func (p *argvParser) shorts(arg Arg, rest []Arg) int {
	letters := arg.Text[1:]
	for letters != "" {
		if strings.HasPrefix(letters, "test.") { // pflag leaves these to package testing
			return 0
		}
		spec, ok := findShorthand(letters[0])
		if p.again && spec.name == "help" {
			p.fail(argvSource(arg), helpMessage)
			return 0
		}
		if !ok {
			p.fail(argvSource(arg), fmt.Sprintf("unknown shorthand flag: %q in -%s", letters[0], letters))
			return 0
		}
		switch {
		case len(letters) > 2 && letters[1] == '=':
			p.set(spec, letters[2:], argvSource(arg))
			return 0
		case p.noOptValue(spec) != "":
			p.set(spec, p.noOptValue(spec), argvSource(arg))
			letters = letters[1:]
		case len(letters) > 1:
			p.set(spec, letters[1:], argvSource(arg))
			return 0
		case len(rest) > 0:
			p.set(spec, rest[0].Text, argvSource(arg, rest[0]))
			return 1
		default:
			p.fail(argvSource(arg), fmt.Sprintf("flag needs an argument: %q in -%s", letters[0], letters))
			return 0
		}
	}
	return 0
}

// lookup finds a flag that the running release may know.
func (p *argvParser) lookup(name string) (flagSpec, bool) {
	if p.again && name == "help" {
		return flagSpec{}, false
	}
	spec, ok := findFlag(name)
	return spec, ok && spec.knownTo(p.release)
}

// noOptValue is what a flag without a value stands for in this reading.
func (p *argvParser) noOptValue(spec flagSpec) string {
	if p.again && spec.global {
		return ""
	}
	return spec.kind.noOptValue()
}

// tabled reports whether a flag that the table lacks is unknown to the kubelet. A
// kubelet of unknown version is held to the table.
func (p *argvParser) tabled() bool {
	return p.release == 0 || p.release >= oldestFlagRelease && p.release <= newestFlagRelease
}

// unknown deals with a flag that the kubelet does not know, or that the table
// does not: the flag of a release outside the table is let through, and a word
// that follows it is taken for its value.
func (p *argvParser) unknown(arg Arg, name string, hasValue bool, rest []Arg) int {
	normal := strings.ReplaceAll(name, "_", "-")
	spec, known := findFlag(normal)
	message := "unknown flag: --" + name
	switch {
	case p.again && normal == "help":
		p.fail(argvSource(arg), helpMessage)
		return 0
	case known:
		p.fail(argvSource(arg), fmt.Sprintf("%s (known to kubelets %s, this is %s)", message, spec.span(), p.version))
		return 0
	case p.tabled() || argvNear(normal, p.setting.Flag):
		p.fail(argvSource(arg), message)
		return 0
	}
	p.warn(fmt.Sprintf("flag --%s is not in the table of flags of 1.%d to 1.%d; kubelet %s may know it",
		name, oldestFlagRelease, newestFlagRelease, p.version))
	if !hasValue && len(rest) > 0 && !strings.HasPrefix(rest[0].Text, "-") {
		return 1
	}
	return 0
}

func (p *argvParser) warn(message string) {
	p.out.Warnings = append(p.out.Warnings, oneLine(message))
}

// set does what Set of the flag's value does, as far as it matters here.
func (p *argvParser) set(spec flagSpec, value string, src Source) {
	if p.again && spec.global {
		return
	}
	if err := spec.kind.check(value); err != nil {
		p.fail(src, fmt.Sprintf("invalid argument %q for %q flag: %v", value, spec.usageName(), err))
		return
	}
	if spec.doubt != 0 && p.release >= spec.doubt {
		p.warn(fmt.Sprintf("flag --%s may be gone since 1.%d; kubelet %s would then refuse to start", spec.name, spec.doubt, p.version))
	}
	switch spec.name {
	case "help":
		p.help, _ = strconv.ParseBool(value)
		p.helpSrc = src
	case "version":
		p.exit = nil
		if on, err := strconv.ParseBool(value); value == "raw" || on && err == nil {
			p.exit = &src
		}
	case "config":
		p.out.Config, p.out.ConfigSource = value, src
	case "config-dir":
		p.out.ConfigDir, p.out.ConfigDirSource = value, src
	}
	if spec.name == p.setting.Flag {
		p.out.Occurrences = append(p.out.Occurrences, Occurrence{Value: spec.kind.value(value), Source: src})
	}
}

// value turns a checked value into the bool, int64 or string it means.
func (k flagKind) value(text string) any {
	switch k {
	case kindBool:
		v, _ := strconv.ParseBool(text)
		return v
	case kindInt, kindInt32, kindInt64:
		v, _ := strconv.ParseInt(text, 0, 64)
		return v
	case kindDuration:
		v, _ := time.ParseDuration(text)
		return v.String()
	}
	return text
}

// argvSource is the place of an argument, or of a flag and its value.
func argvSource(args ...Arg) Source {
	texts := make([]string, len(args))
	for i, a := range args {
		texts[i] = a.Text
	}
	src := args[0].Origin
	src.Kind, src.Text = SourceFlag, strings.Join(texts, " ")
	return src
}

// usageName names a flag as pflag's errors do.
func (f flagSpec) usageName() string {
	if f.short != 0 {
		return fmt.Sprintf("-%c, --%s", f.short, f.name)
	}
	return "--" + f.name
}

// knownTo reports whether a minor release may know the flag; the release 0, not
// known, may know every flag.
func (f flagSpec) knownTo(release int) bool {
	if release == 0 {
		return true
	}
	return release >= f.since && (f.until == 0 || release <= f.until)
}

func (f flagSpec) span() string {
	switch {
	case f.since == 0:
		return fmt.Sprintf("up to 1.%d", f.until)
	case f.until == 0:
		return fmt.Sprintf("from 1.%d on", f.since)
	}
	return fmt.Sprintf("from 1.%d to 1.%d", f.since, f.until)
}

// releaseOf returns the minor release of a kubelet version such as
// "v1.34.4-eks-1", 0 when it cannot be told.
func releaseOf(version string) int {
	major, rest, ok := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if !ok || major != "1" {
		return 0
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	minor, err := strconv.Atoi(rest[:end])
	if err != nil {
		return 0
	}
	return minor
}

// argvNear reports whether a name is most likely meant to be the wanted flag: the
// same letters in another spelling, with something stuck to it, or with one or
// two slips.
func argvNear(name, flag string) bool {
	name, flag = argvLetters(name), argvLetters(flag)
	if flag == "" {
		return false
	}
	return strings.HasPrefix(name, flag) || argvDistance(name, flag, 2) <= 2
}

// argvLetters keeps the ASCII letters and digits of a name, in lower case.
func argvLetters(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}

// argvDistance is the edit distance of two words, or limit+1 where it is certain
// to be larger than limit.
func argvDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// maxMessage bounds a message in bytes: what a node sends may be any size.
const maxMessage = 400

// oneLine makes a message safe to show: one line, no control characters, bounded.
func oneLine(message string) string {
	var b strings.Builder
	for _, r := range message {
		if b.Len() > maxMessage {
			b.WriteString("...")
			break
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case !strconv.IsPrint(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
