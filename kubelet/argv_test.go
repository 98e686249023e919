package kubelet

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// testSetting is the control's own setting.
var testSetting = Setting{Flag: "make-iptables-util-chains", Key: "makeIPTablesUtilChains", Default: true}

// argsOf makes a command line as /proc/PID/cmdline would give it.
func argsOf(words ...string) []Arg {
	if len(words) == 0 {
		return nil
	}
	return SplitCmdline("/proc/7/cmdline", []byte(strings.Join(words, "\x00")+"\x00"))
}

func TestFlagTableIsSorted(t *testing.T) {
	for i := 1; i < len(flagTable); i++ {
		if flagTable[i-1].name >= flagTable[i].name {
			t.Errorf("%s stands before %s", flagTable[i-1].name, flagTable[i].name)
		}
	}
}

// dumpKinds maps pflag's types to the kinds that read their values.
var dumpKinds = map[string][]flagKind{
	"bool": {kindBool}, "int": {kindInt}, "int32": {kindInt32}, "int64": {kindInt64}, "duration": {kindDuration},
	"string": {kindString}, "stringSlice": {kindStringSlice}, "ip": {kindIP}, "Level": {kindInt32Decimal}, "version": {kindVersion},
	"mapStringString": {kindMapEqual, kindPairEqual, kindMapLess, kindOther}, "mapStringBool": {kindMapBool},
	"colonSeparatedMultimapStringString": {kindMapColon},
	"quantity":                           {kindOther}, "pattern=N,...": {kindOther}, "[]v1.Taint": {kindOther}, "reserved-memory": {kindOther},
}

// TestFlagTableAgainstRealKubelet holds the table to the flag set of a kubelet
// that was built (internal/flagdump), in both directions.
func TestFlagTableAgainstRealKubelet(t *testing.T) {
	data, err := os.ReadFile("testdata/flags-1.34.4.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSpace(line), "\t")
		name, kind, noOpt, short, origin := f[0], f[1], f[2], f[3], f[4]
		seen[name] = true
		spec, ok := findFlag(name)
		if !ok || !spec.knownTo(34) {
			t.Errorf("--%s is missing from the table for 1.34", name)
			continue
		}
		if !slices.Contains(dumpKinds[kind], spec.kind) {
			t.Errorf("--%s: kind %d in the table, type %s in the kubelet", name, spec.kind, kind)
		}
		if got := spec.kind.noOptValue(); got != strings.Trim(noOpt, "-") {
			t.Errorf("--%s: without a value it is %q in the table, %q in the kubelet", name, got, noOpt)
		}
		if got := strings.Trim(string(rune(spec.short)), "\x00"); got != strings.Trim(short, "-") {
			t.Errorf("--%s: shorthand %q in the table, %q in the kubelet", name, got, short)
		}
		if spec.global != (origin == "global") {
			t.Errorf("--%s: global is %v in the table, %s in the kubelet", name, spec.global, origin)
		}
	}
	for _, spec := range flagTable {
		if spec.knownTo(34) && !seen[spec.name] {
			t.Errorf("--%s is in the table for 1.34 and not in the kubelet", spec.name)
		}
	}
}

func TestParseArgs(t *testing.T) {
	for _, tt := range []struct {
		version string
		args    string // words
		want    string // values of the occurrences
		fatal   string
		warning string
	}{
		{"v1.34.4", "", "", "", ""},
		{"v1.34.4", "--make-iptables-util-chains=true --make-iptables-util-chains=0 --make-iptables-util-chains", "true false true", "", ""},
		{"v1.34.4", "--v 4 -v=4 -v4 -v 4 --make-iptables-util-chains=F", "false", "", ""},
		{"v1.34.4", "-version", "", `invalid argument "ersion" for "-v, --v" flag: strconv.ParseUint: parsing "ersion": invalid syntax`, ""},
		{"v1.34.4", "--help", "", helpMessage, ""},
		{"v1.34.4", "-h", "", helpMessage, ""},
		{"v1.34.4", "--help --help=false", "", "", ""},
		{"v1.34.4", "--version", "", "asked for its version: the kubelet prints it and exits", ""},
		{"v1.34.4", "--version=raw", "", "asked for its version: the kubelet prints it and exits", ""},
		{"v1.34.4", "--version=false", "", "", ""},
		{"v1.34.4", "--version=v1.34.4", "", "", ""},
		{"v1.34.4", "--version word", "", "unknown command word", ""},
		{"v1.34.4", "---x", "", "bad flag syntax: ---x", ""},
		{"v1.34.4", "--=x", "", "bad flag syntax: --=x", ""},
		{"v1.34.4", "--config", "", "flag needs an argument: --config", ""},
		{"v1.34.4", "-v", "", "flag needs an argument: 'v' in -v", ""},
		{"v1.34.4", "-x", "", "unknown shorthand flag: 'x' in -x", ""},
		{"v1.34.4", "-", "", "unknown command -", ""},
		{"v1.34.4", "--read-only-port=x", "", `invalid argument "x" for "--read-only-port" flag: strconv.ParseInt: parsing "x": invalid syntax`, ""},
		{"v1.34.4", "--sync-frequency 1", "", `invalid argument "1" for "--sync-frequency" flag: time: missing unit in duration "1"`, ""},
		{"v1.34.4", "--fail-swap-on=no", "", `invalid argument "no" for "--fail-swap-on" flag: strconv.ParseBool: parsing "no": invalid syntax`, ""},
		{"v1.34.4", "--eviction-hard memory.available=1Gi", "", `invalid argument "memory.available=1Gi" for "--eviction-hard" flag: malformed pair, expect string<string`, ""},
		{"v1.34.4", "--kube-reserved cpu", "", `invalid argument "cpu" for "--kube-reserved" flag: malformed pair, expect string=string`, ""},
		{"v1.34.4", "--feature-gates=A=maybe", "", `invalid argument "A=maybe" for "--feature-gates" flag: invalid value of A: maybe, err: strconv.ParseBool: parsing "maybe": invalid syntax`, ""},
		{"v1.34.4", "--address=010.0.0.01 --address=::1 --address=", "", "", ""},
		{"v1.34.4", "--address=10.0.0", "", `invalid argument "10.0.0" for "--address" flag: "10.0.0" is not a valid IP address`, ""},
		// a flag of another release
		{"v1.30.1", "--container-runtime=remote", "", "unknown flag: --container-runtime (known to kubelets up to 1.26, this is v1.30.1)", ""},
		{"v1.26.3", "--container-runtime=remote", "", "", ""},
		{"", "--container-runtime=remote", "", "", ""},
		{"v1.27.1", "--config-dir /etc/k.d", "", "unknown flag: --config-dir (known to kubelets from 1.28 on, this is v1.27.1)", ""},
		{"v1.35.0", "--pod-infra-container-image=x", "", "unknown flag: --pod-infra-container-image (known to kubelets up to 1.34, this is v1.35.0)", ""},
		{"v1.37.2", "--boot-id-file=/x", "", "", "flag --boot-id-file may be gone since 1.37; kubelet v1.37.2 would then refuse to start"},
		// a flag of no release
		{"v1.34.4", "--no-such-flag", "", "unknown flag: --no-such-flag", ""},
		{"", "--no-such-flag", "", "unknown flag: --no-such-flag", ""},
		{"v1.36.0", "--no-such-flag x --make-iptables-util-chains=false", "false", "", "flag --no-such-flag is not in the table of flags of 1.20 to 1.34; kubelet v1.36.0 may know it"},
		{"v1.36.0", "--no-such-flag --make-iptables-util-chains=false", "false", "", "flag --no-such-flag is not in the table of flags of 1.20 to 1.34; kubelet v1.36.0 may know it"},
		{"v1.36.0", "--no-such-flag=x y", "", "unknown command y", "flag --no-such-flag is not in the table of flags of 1.20 to 1.34; kubelet v1.36.0 may know it"},
		{"v1.19.3", "--redirect-container-streaming", "", "", "flag --redirect-container-streaming is not in the table of flags of 1.20 to 1.34; kubelet v1.19.3 may know it"},
		// near relatives of the wanted flag are wrong in every release
		{"v1.36.0", "--make-iptables-util-chains:true", "", "unknown flag: --make-iptables-util-chains:true", ""},
		{"v1.36.0", "--makeIPTablesUtilChains=true", "", "unknown flag: --makeIPTablesUtilChains", ""},
		{"v1.36.0", "--make-iptables-util-chain=true", "", "unknown flag: --make-iptables-util-chain", ""},
		{"v1.36.0", "--make-iptable-utils-chains=true", "", "unknown flag: --make-iptable-utils-chains", ""},
		// what stands after the first error is still known
		{"v1.34.4", "--make-iptables-util-chains:true --make-iptables-util-chains=false", "false", "unknown flag: --make-iptables-util-chains:true", ""},
	} {
		t.Run(tt.version+" "+tt.args, func(t *testing.T) {
			got := ParseArgs(testSetting, Start{Args: argsOf(strings.Fields(tt.args)...), Version: tt.version})
			var values []string
			for _, o := range got.Occurrences {
				values = append(values, fmt.Sprint(o.Value))
			}
			fatal := ""
			if got.Fatal != nil {
				fatal = got.Fatal.Message
			}
			if strings.Join(values, " ") != tt.want || fatal != tt.fatal || strings.Join(got.Warnings, "|") != tt.warning {
				t.Errorf("got %q, fatal %q, warnings %q; want %q, %q, %q", values, fatal, got.Warnings, tt.want, tt.fatal, tt.warning)
			}
		})
	}
}

func TestParseArgsSources(t *testing.T) {
	origin := Source{Kind: SourceFlag, Path: "/etc/default/kubelet", Line: 3, Text: "KUBELET_FLAGS=--config /a --config= --config-dir=/d --make_iptables-util_chains=f"}
	var args []Arg
	for word := range strings.FieldsSeq("--config /a --config= --config-dir=/d --make_iptables-util_chains=f") {
		args = append(args, Arg{Text: word, Origin: origin})
	}
	at := func(text string) Source {
		return Source{Kind: SourceFlag, Path: origin.Path, Line: origin.Line, Text: text}
	}
	want := ParsedArgs{
		Config: "", ConfigSource: at("--config="),
		ConfigDir: "/d", ConfigDirSource: at("--config-dir=/d"),
		Occurrences: []Occurrence{{Value: false, Source: at("--make_iptables-util_chains=f")}},
	}
	if diff := cmp.Diff(want, ParseArgs(testSetting, Start{Args: args})); diff != "" {
		t.Error(diff)
	}
	two := ParseArgs(Setting{Flag: "read-only-port"}, Start{Args: argsOf("--read-only-port", "0x10")})
	if o := two.Occurrences[0]; o.Value != int64(16) || o.Source.Text != "--read-only-port 0x10" {
		t.Errorf("got %v from %q", o.Value, o.Source.Text)
	}
}

func TestSplitCmdline(t *testing.T) {
	for in, want := range map[string][]string{
		"":                               nil,
		"\x00":                           nil,
		"kubelet\x00":                    {"kubelet"},
		"kubelet\x00--a=b c\nd\x00":      {"kubelet", "--a=b c\nd"}, // E27
		"kubelet\x00\x00x\x00":           {"kubelet", "", "x"},
		"kubelet\x00without a last zero": {"kubelet", "without a last zero"},
	} {
		var got []string
		for _, a := range SplitCmdline("/proc/1/cmdline", []byte(in)) {
			got = append(got, a.Text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestKubeletArgs(t *testing.T) {
	for in, want := range map[string]string{
		"kubelet --v 2":                         "--v 2",
		"/opt/bin/kubelet":                      "",
		"/usr/local/bin/hyperkube kubelet --v2": "--v2",
		"hyperkube apiserver --v2":              "no",
		"hyperkube":                             "no",
		"":                                      "no",
	} {
		args, ok := KubeletArgs(argsOf(strings.Fields(in)...))
		var words []string
		for _, a := range args {
			words = append(words, a.Text)
		}
		got := strings.Join(words, " ")
		if !ok {
			got = "no"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestConfigPaths(t *testing.T) {
	for _, tt := range []struct{ cwd, args, config, dir string }{
		{"/", "", "", ""},
		{"/var/lib", "--config kubelet_conf.json --config-dir=d", "/var/lib/kubelet_conf.json", "/var/lib/d"},
		{"/var/lib", "--config=/etc//k8s/../k.json --config-dir /etc/k.d/", "/etc/k.json", "/etc/k.d/"},
		{"", "--config k.json", "k.json", ""},
		{"/", "--config /a --config=/b", "/b", ""},
		{"/", "--config /a --config=", "", ""},
		{"/", "--broken --config /a", "/a", ""},
	} {
		config, dir := ConfigPaths(Start{Cwd: tt.cwd, Args: argsOf(strings.Fields(tt.args)...)})
		if config != tt.config || dir != tt.dir {
			t.Errorf("%q: got %q and %q, want %q and %q", tt.args, config, dir, tt.config, tt.dir)
		}
	}
}

// TestParseArgsAgain shows where the second reading of the command line differs
// from the first.
func TestParseArgsAgain(t *testing.T) {
	for args, want := range map[string]string{
		"--make-iptables-util-chains=false":                        "false",
		"--log-cadvisor-usage --make-iptables-util-chains=false":   "",
		"--log-cadvisor-usage=1 --make-iptables-util-chains=false": "false",
		"--fail-swap-on --make-iptables-util-chains=false":         "false",
		"--log-cadvisor-usage":                                     "flag needs an argument: --log-cadvisor-usage",
		"--help=false":                                             helpMessage,
	} {
		got := parseArgsAgain(testSetting, Start{Args: argsOf(strings.Fields(args)...), Version: "v1.34.4"})
		text := ""
		switch {
		case got.Fatal != nil:
			text = got.Fatal.Message
		case len(got.Occurrences) > 0:
			text = fmt.Sprint(got.Occurrences[0].Value)
		}
		if text != want {
			t.Errorf("%s: got %q, want %q", args, text, want)
		}
	}
}

// checkedValue is a pflag.Value for the kinds pflag has no type for.
type checkedValue struct {
	kind flagKind
	text string
}

func (v *checkedValue) String() string { return v.text }
func (v *checkedValue) Type() string   { return "checked" }
func (v *checkedValue) Set(s string) error {
	if err := v.kind.check(s); err != nil {
		return err
	}
	v.text = s
	return nil
}

// noOp is cliflag.NoOp of k8s.io/component-base.
type noOp struct{}

func (noOp) String() string   { return "" }
func (noOp) Set(string) error { return nil }
func (noOp) Type() string     { return "NoOp" }

// pflagSet builds what NewKubeletCommand builds for a release, out of the table;
// again is the set of the second reading.
func pflagSet(release int, again bool) *pflag.FlagSet {
	fs := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	for _, spec := range flagTable {
		switch {
		case !spec.knownTo(release) || again && spec.name == "help":
		case again && spec.global:
			fs.VarP(noOp{}, spec.name, shorthand(spec), "")
		default:
			pflagAdd(fs, spec)
		}
	}
	return fs
}

func shorthand(spec flagSpec) string { return strings.Trim(string(rune(spec.short)), "\x00") }

func pflagAdd(fs *pflag.FlagSet, spec flagSpec) {
	switch short := shorthand(spec); spec.kind {
	case kindBool:
		fs.BoolP(spec.name, short, false, "")
	case kindInt:
		fs.IntP(spec.name, short, 0, "")
	case kindInt32:
		fs.Int32P(spec.name, short, 0, "")
	case kindInt64:
		fs.Int64P(spec.name, short, 0, "")
	case kindUint64:
		fs.Uint64P(spec.name, short, 0, "")
	case kindFloat64:
		fs.Float64P(spec.name, short, 0, "")
	case kindDuration:
		fs.DurationP(spec.name, short, 0, "")
	case kindString:
		fs.StringP(spec.name, short, "", "")
	case kindStringSlice:
		fs.StringSliceP(spec.name, short, nil, "")
	default:
		fs.VarP(&checkedValue{kind: spec.kind}, spec.name, short, "")
		fs.Lookup(spec.name).NoOptDefVal = spec.kind.noOptValue()
	}
}

// isASCII tells command lines apart whose errors can be compared: pflag garbles
// other shorthands.
func isASCII(words []string) bool {
	return !strings.ContainsFunc(strings.Join(words, ""), func(r rune) bool { return r > '~' })
}

// checkAgainstPflag compares one reading of a command line with pflag's own.
func checkAgainstPflag(t *testing.T, s Setting, st Start, again bool) {
	t.Helper()
	var words []string
	for _, a := range st.Args {
		words = append(words, a.Text)
	}
	fs := pflagSet(releaseOf(st.Version), again)
	err := fs.Parse(words)
	p := argvParser{setting: s, release: releaseOf(st.Version), version: st.Version, args: st.Args, again: again}
	p.run()
	switch {
	case err == nil && p.out.Fatal != nil:
		t.Fatalf("%q: pflag accepts it, here it fails: %s", words, p.out.Fatal.Message)
	case err != nil && p.out.Fatal == nil:
		t.Fatalf("%q: pflag says %v, here it passes", words, err)
	case err == pflag.ErrHelp:
		return // here the message is our own
	case err != nil && isASCII(words) && !strings.HasPrefix(p.out.Fatal.Message, strings.TrimSuffix(oneLine(err.Error()), "...")):
		t.Fatalf("%q: pflag says %q, here it is %q", words, err, p.out.Fatal.Message)
	case err != nil:
		return
	}
	var rest []string
	for _, a := range p.words {
		rest = append(rest, a.Text)
	}
	if !slices.Equal(rest, fs.Args()) {
		t.Fatalf("%q: pflag leaves %q, here it leaves %q", words, fs.Args(), rest)
	}
	checkValue(t, fs, s.Flag, p.out.Occurrences)
	if config := fs.Lookup("config").Value.String(); p.out.Config != config {
		t.Fatalf("%q: --config is %q for pflag, %q here", words, config, p.out.Config)
	}
}

func checkValue(t *testing.T, fs *pflag.FlagSet, name string, occurrences []Occurrence) {
	t.Helper()
	f := fs.Lookup(name)
	if f == nil {
		return
	}
	if f.Changed != (len(occurrences) > 0) {
		t.Fatalf("--%s: changed is %v for pflag, %d occurrences here", name, f.Changed, len(occurrences))
	}
	if f.Changed && f.Value.String() != fmt.Sprint(occurrences[len(occurrences)-1].Value) {
		t.Fatalf("--%s is %q for pflag, %v here", name, f.Value, occurrences[len(occurrences)-1].Value)
	}
}

// testSettings are settings of every kind of value.
var testSettings = []Setting{
	testSetting,
	{Flag: "read-only-port", Key: "readOnlyPort", Default: int64(0)},
	{Flag: "streaming-connection-idle-timeout", Key: "streamingConnectionIdleTimeout", Default: "4h0m0s"},
	{Flag: "authorization-mode", Key: "authorization.mode", Default: "Webhook"},
	{Flag: "anonymous-auth", Key: "authentication.anonymous.enabled", Default: false},
}

var testVersions = []string{"v1.20.2", "v1.26.3", "v1.28.5", "v1.30.1", "v1.34.4", ""}

// TestParseArgsAgainstPflag is the property of FuzzParseArgs on command lines that
// are mostly well formed, which mutation seldom finds.
func TestParseArgsAgainstPflag(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	values := []string{"true", "false", "1", "0", "T", "x", "", "5s", "a=b", "a<b", "-v", "--", "10.0.0.1", "/etc/kubelet.json", "2"}
	for range 3000 {
		s := testSettings[rnd.IntN(len(testSettings))]
		var words []string
		for range 1 + rnd.IntN(6) {
			name, value := flagTable[rnd.IntN(len(flagTable))].name, values[rnd.IntN(len(values))]
			if rnd.IntN(3) == 0 {
				name = s.Flag
			}
			if rnd.IntN(4) == 0 {
				name = strings.Replace(name, "-", "_", 1+rnd.IntN(3))
			}
			switch rnd.IntN(5) {
			case 0:
				words = append(words, "--"+name)
			case 1:
				words = append(words, "--"+name, value)
			case 2:
				words = append(words, "-v"+value)
			default:
				words = append(words, "--"+name+"="+value)
			}
		}
		st := Start{Args: argsOf(words...), Version: testVersions[rnd.IntN(len(testVersions))]}
		checkAgainstPflag(t, s, st, rnd.IntN(3) == 0)
	}
}

func TestReleaseOf(t *testing.T) {
	for in, want := range map[string]int{
		"v1.34.4": 34, "1.30": 30, "v1.29.6-eks-1": 29, "v1.28+": 28, "v1.30.0-hotfix.20240828": 30,
		"": 0, "v2.3.4": 0, "1": 0, "v1.x": 0, "Kubernetes v1.34.4": 0, "v1.99999999999999999999": 0,
	} {
		if got := releaseOf(in); got != want {
			t.Errorf("%q: got %d, want %d", in, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	if got, want := oneLine("a\nb\tc\x1b[31m\xff"), `a b c\x1b[31m`+"\ufffd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := oneLine(strings.Repeat("x", 5000)); len(got) > maxMessage+10 {
		t.Errorf("%d bytes", len(got))
	}
}
