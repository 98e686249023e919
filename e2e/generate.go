package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"fleet/lab/real/judge"
)

// judgeFlags let a kubelet start in one of the lab's machines, whatever its
// configuration file says, and answer /configz to anybody there.
const judgeFlags = "--anonymous-auth=true --authentication-token-webhook=false --authorization-mode=AlwaysAllow" +
	" --cgroup-driver=cgroupfs --cgroups-per-qos=false --enforce-node-allocatable=none --fail-swap-on=false" +
	" --local-storage-capacity-isolation=false --container-runtime-endpoint=unix:///run/containerd/containerd.sock"

// Generate makes up the layout with that number. The same number gives the same
// layout, so that a number is all that is needed to meet it again.
func Generate(seed uint64) judge.Layout {
	g := &gen{r: rand.New(rand.NewPCG(seed, 0)), unit: "kubelet.service", exe: "/usr/bin/kubelet", fixed: judgeFlags}
	g.sane = g.chance(0.5)
	g.configuration()
	g.unitFiles()
	return g.layout()
}

// GenerateUnit makes up a layout for systemd alone: the unit has the name that
// is given, shares no file with a unit of another name, and its arguments need
// not make sense to a kubelet.
func GenerateUnit(seed uint64, unit string) judge.Layout {
	g := &gen{r: rand.New(rand.NewPCG(seed, 1)), unit: unit, exe: judge.DumperPath, wild: true}
	g.unitFiles()
	return g.layout()
}

// gen is a layout that is being made up.
type gen struct {
	r     *rand.Rand
	unit  string
	exe   string
	fixed string // arguments that ExecStart begins with
	wild  bool   // only systemd is asked
	sane  bool   // meant to start

	args  []string // arguments that name configuration files
	files []judge.File
}

func (g *gen) layout() judge.Layout {
	seen := map[string]bool{}
	l := judge.Layout{Unit: g.unit}
	for _, f := range g.files {
		if !seen[f.Path] {
			l.Files = append(l.Files, f)
		}
		seen[f.Path] = true
	}
	return l
}

func (g *gen) put(path, text string) { g.files = append(g.files, newFile(path, text)) }

// newFile keeps content that is not text as bytes, which JSON can carry.
func newFile(path, content string) judge.File {
	if content != strings.ToValidUTF8(content, "") {
		return judge.File{Path: path, Data: []byte(content)}
	}
	return judge.File{Path: path, Text: content}
}

func (g *gen) chance(p float64) bool { return g.r.Float64() < p }

// careless says whether to do a thing wrong, which a layout that is meant to
// start never does.
func (g *gen) careless(p float64) bool { return g.chance(p) && !g.sane }

func either[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// pick chooses one of the values.
func pick[T any](g *gen, values ...T) T { return values[g.r.IntN(len(values))] }

// weighted is a value that is chosen as often as its weight says.
type weighted struct {
	weight int
	value  string
}

func (g *gen) weigh(values []weighted) string {
	total := 0
	for _, v := range values {
		total += v.weight
	}
	n := g.r.IntN(total)
	for _, v := range values {
		if n -= v.weight; n < 0 {
			return v.value
		}
	}
	return ""
}

// flagForms are ways to write a boolean flag that a kubelet takes; {} stands
// for the flag's name, {_} for the name with underscores.
var flagForms = []weighted{
	{20, "--{}=false"}, {20, "--{}=true"}, {8, "--{}"},
	{2, "--{}=False"}, {2, "--{}=FALSE"}, {2, "--{}=f"}, {2, "--{}=F"}, {2, "--{}=0"},
	{2, "--{}=True"}, {2, "--{}=TRUE"}, {2, "--{}=t"}, {2, "--{}=T"}, {2, "--{}=1"},
	{4, "--{_}=false"}, {2, "--{_}"}, {2, "--make_iptables-util_chains=false"}, {1, "--make-iptables_util-chains"},
}

// brokenForms are ways that it does not take. Words are separated by one blank.
var brokenForms = []weighted{
	{1, "--{}=no"}, {1, "--{}=off"}, {1, "--{}=yes"}, {1, "--{}="}, {1, "--{}=tRUE"}, {1, "--{}=00"}, {1, "--{}=false,true"},
	{2, "--{} false"}, {2, "--{} true"}, {2, "--{}:true"}, {1, "--{}:false"}, {2, "-{}=false"}, {1, "-{}"}, {1, "---{}=false"},
	{1, "--{}==false"}, {1, "--=false"}, {1, "-- --{}=false"}, {1, "--Make-IPTables-Util-Chains=false"},
	{1, "--{}-=false"}, {1, "--make-iptables-util-chain=false"}, {1, "--no-{}"}, {1, "{}=false"}, {1, "-"}, {1, "--"},
}

// otherFlags are further arguments that a kubelet takes. Some take the argument
// after them as their value, whatever it is. Flags whose values the kubelet
// validates beyond their type are left out, because the project does not judge
// that, and so are those for which it makes directories, which would stay.
var otherFlags = []weighted{
	{6, "--v=2"}, {3, "--v 2"}, {2, "-v 2"}, {2, "-v=2"}, {2, "-v2"}, {3, "--max-pods=110"}, {3, "--max-pods 30"}, {2, "--max_pods 30"},
	{4, "--cluster-domain=a=b,c=d"}, {3, "--cluster-domain a=b"}, {2, "--runtime-cgroups"}, {1, "--cluster-domain"}, {1, "--pod-infra-container-image"},
	{3, "--pod-infra-container-image=a<1%,b<10%"}, {2, "--event-qps=0"}, {2, "--event-qps 7"}, {2, "--event_qps=9"}, {1, "--event-qps=0x10"},
	{2, "--serialize-image-pulls=false"}, {1, "--feature-gates=RotateKubeletServerCertificate=true"}, {2, "--rotate-certificates=false"}, {1, "--vmodule=a=1"},
	{1, "--version=false"}, {1, "--enable-server"}, {2, "--cluster-dns=10.0.0.10"}, {1, "--register-node=false"}, {1, "--volume-plugin-dir=/tmp/plugins"},
	{1, "--streaming-connection-idle-timeout=4h"}, {1, "--pod-infra-container-image=pause"}, {1, "--runtime-cgroups=/x"}, {1, "--system-reserved=cpu=1m"},
	{1, "--help=false"}, {1, "-h=false"},
}

// brokenFlags are further arguments that end the kubelet, not all of them with
// an error.
var brokenFlags = []weighted{
	{1, "--event-qps=many"}, {1, "--feature-gates= "}, {1, "--rotate-certificates false"}, {1, "--container-runtime=remote"},
	{1, "--no-such-flag"}, {1, "--no-such-flag=x"}, {1, "--log-dir=/tmp"}, {1, "--logtostderr"}, {1, "--v"}, {1, "-v"}, {1, "--version"}, {1, "--version=raw"}, {1, "--version=yes"},
	{1, "--help"}, {1, "-h"}, {1, "-vh"}, {1, "--cluster-dns"}, {1, "--streaming-connection-idle-timeout=4"}, {1, "kubelet"}, {1, ""}, {1, "--keep-terminated-pod-volumes=false"},
}

// flag chooses an argument, or a few that belong together.
func (g *gen) flag() []string {
	broken := g.careless(0.3)
	if g.chance(0.35) {
		return strings.Split(g.weigh(either(broken, brokenFlags, otherFlags)), " ")
	}
	name := "make-iptables-util-chains"
	if g.chance(0.06) {
		name = "serialize-image-pulls"
	}
	forms := strings.NewReplacer("{}", name, "{_}", strings.ReplaceAll(name, "-", "_"))
	return strings.Split(forms.Replace(g.weigh(either(broken, brokenForms, flagForms))), " ")
}

// flags chooses a command line: flags, and the configuration files' arguments
// somewhere between them.
func (g *gen) flags() []string {
	groups := [][]string{}
	for range pick(g, 0, 1, 1, 1, 2, 2, 3, 4) {
		groups = append(groups, g.flag())
	}
	if len(g.args) > 0 {
		groups = append(groups, g.args)
	}
	g.r.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	var words []string
	for _, group := range groups {
		words = append(words, group...)
	}
	return words
}

// configuration makes up a configuration file and a drop-in directory, or
// neither, and the arguments that name them.
func (g *gen) configuration() {
	if g.chance(0.3) {
		return
	}
	path := pick(g, "/etc/kubernetes/kubelet/kubelet-config.json", "/etc/default/kubeletconfig.json", "/var/lib/kubelet/config.yaml")
	g.configFile(path)
	name := path
	if g.careless(0.08) {
		name = pick(g, "/etc/kubernetes/nowhere.yaml", "/etc/kubernetes", strings.TrimPrefix(path, "/"), "/etc/kubernetes/../.."+path, "/"+path, path+"/", path+" ", "")
	}
	g.args = append(g.args, g.pathFlag("--config", name)...)
	if g.chance(0.08) {
		second := "/etc/kubernetes/second.yaml"
		g.put(second, g.config())
		g.args = append(g.args, g.pathFlag("--config", second)...)
	}
	if g.chance(0.3) {
		g.dropInDirectory(path)
	}
}

// pathFlag writes a flag that takes a path, in one of its spellings.
func (g *gen) pathFlag(flag, path string) []string {
	if g.chance(0.3) {
		return []string{flag, path}
	}
	return []string{flag + "=" + path}
}

// configFile puts the file of --config on the disk, or something else there.
func (g *gen) configFile(path string) {
	switch n := g.r.IntN(60); {
	case n == 0 && !g.sane:
		g.files = append(g.files, judge.File{Path: path, Dir: true})
	case n == 1 || n == 2:
		g.files = append(g.files, judge.File{Path: path, Link: "/etc/kubernetes/real.yaml"})
		g.put("/etc/kubernetes/real.yaml", g.config())
	case n == 3 && !g.sane:
		g.files = append(g.files, judge.File{Path: path, Link: "/etc/kubernetes/nowhere"})
	default:
		g.put(path, g.config())
	}
	g.files[len(g.files)-1].Mode = pick[uint32](g, 0, 0, 0o600)
	if g.files[len(g.files)-1].Dir {
		g.files[len(g.files)-1].Mode = 0o755
	}
}

// dropInDirectory puts a directory for --config-dir on the disk.
func (g *gen) dropInDirectory(config string) {
	dir := pick(g, config+".d", "/etc/kubernetes/kubelet.conf.d")
	names := []string{"10-a.conf", "20-b.conf", "00-default.conf", "9-c.conf", "99-local.yaml", "50-x.conf.bak", ".hidden.conf", "UPPER.CONF",
		"a.conf", "a/10-in.conf", "a.conf~", "z.json", "b/c/deep.conf", "30-empty.conf", "A.conf", "a-b.conf", "é.conf"}
	g.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:g.r.IntN(5)] {
		path := dir + "/" + name
		switch {
		case g.careless(0.06):
			g.files = append(g.files, judge.File{Path: path, Link: pick(g, "/etc/kubernetes/nowhere", config, "/etc/default")})
		case g.chance(0.02) && !strings.Contains(name, "/"):
			g.files = append(g.files, judge.File{Path: path, Dir: true})
		default:
			g.put(path, g.config())
		}
	}
	if !g.careless(0.1) {
		g.files = append(g.files, judge.File{Path: dir, Dir: true})
	}
	if g.careless(0.08) {
		dir = pick(g, dir+"/", "/etc/kubernetes/absent.d", strings.TrimPrefix(dir, "/"), config, "")
	}
	g.args = append(g.args, g.pathFlag("--config-dir", dir)...)
}

// unitName returns the unit's name without its suffix.
func (g *gen) unitName() string { return strings.TrimSuffix(g.unit, ".service") }

// etc returns the path of a file beside the unit's own that no other unit uses.
func (g *gen) etc(name string) string {
	if g.wild {
		return fmt.Sprintf("/etc/default/%s/%s", g.unitName(), name)
	}
	return "/etc/default/" + name
}
