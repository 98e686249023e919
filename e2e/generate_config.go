package e2e

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// yamlBools are ways to write a boolean, or nothing, in YAML.
var yamlBools = []weighted{
	{24, "false"}, {16, "true"}, {2, "False"}, {2, "FALSE"}, {2, "no"}, {2, "No"}, {1, "NO"}, {2, "off"}, {1, "OFF"}, {1, "n"}, {1, "N"},
	{1, "True"}, {1, "TRUE"}, {1, "yes"}, {1, "on"}, {1, "y"}, {1, "Y"}, {3, "null"}, {2, "~"}, {2, ""}, {1, "Null"}, {1, "NULL"},
	{1, "!!bool false"}, {1, "&x false"}, {1, "false # comment"}, {1, "\n  false"}, {1, "!!null null"}, {1, "false\t"},
}

// yamlValues are further things to write there.
var yamlValues = []weighted{
	{2, `"false"`}, {1, `'true'`}, {2, "0"}, {1, "1"}, {1, "0.0"}, {1, "[false]"}, {1, "{}"}, {1, "{a: false}"}, {1, "fAlse"},
	{1, `!!bool "false"`}, {1, "!!str false"}, {1, "false#no comment"},
	{1, "!local false"}, {1, "|\n  false"}, {1, ">-\n  false"}, {1, "no way"}, {1, "tru"}, {1, "*y"},
	{1, "! false"}, {1, "'false"}, {1, "@false"}, {1, "%false"}, {1, "`false`"}, {1, "- false"}, {1, "? false"}, {1, "0b0"}, {1, "0o0"},
}

var jsonBools = []weighted{{24, "false"}, {16, "true"}, {4, "null"}}

var jsonValues = []weighted{
	{2, `"false"`}, {1, `"true"`}, {1, "0"}, {1, "1"}, {1, "False"}, {1, "FALSE"}, {1, "no"},
	{1, "[]"}, {1, "{}"}, {1, "[false]"}, {1, "tru"}, {1, "''"}, {1, `""`}, {1, "false,"}, {1, "1e400"}, {1, "NaN"}, {1, "0x0"}, {1, "-0"}, {1, "+1"},
}

// keys are ways to write the key; the first is right.
var keys = []weighted{
	{60, "makeIPTablesUtilChains"}, {3, "makeIptablesUtilChains"}, {2, "MakeIPTablesUtilChains"}, {1, "makeiptablesutilchains"},
	{1, "make-iptables-util-chains"}, {1, "makeIPTablesUtilChains "}, {1, "makeIPTablesUtilChain"},
}

// otherKeys are members of a JSON object, which are entries of a YAML mapping as
// well, that a kubelet takes.
var otherKeys = []weighted{
	{4, `"maxPods": 110`}, {2, `"eventRecordQPS": 0`}, {3, `"eventRecordQPS": 7`}, {2, `"eventRecordQPS": null`}, {1, `"eventRecordQPS": 7.0`},
	{3, `"serializeImagePulls": false`}, {1, `"serializeImagePulls": null`}, {2, `"featureGates": {"RotateKubeletServerCertificate": true}`},
	{1, `"featureGates": null`}, {2, `"unknownKey": 1`}, {1, `"unknownKey": {"makeIPTablesUtilChains": false}`},
	{1, `"spec": {"makeIPTablesUtilChains": false}`}, {2, `"authentication": {"anonymous": {"enabled": true}}`},
	{1, `"authentication": {"x509": {"makeIPTablesUtilChains": false}}`}, {2, `"clusterDNS": ["10.0.0.10"]`}, {1, `"clusterDNS": []`},
	{2, `"streamingConnectionIdleTimeout": "4h0m0s"`}, {2, `"evictionHard": {"memory.available": "100Mi"}`}, {1, `"metadata": {"name": "x"}`},
	{1, `"kind": "KubeletConfiguration"`}, {1, `"apiVersion": "kubelet.config.k8s.io/v1beta1"`}, {1, `"logging": {"format": "text"}`}, {1, `"": 1`},
	{1, `"é": "ü"`}, {1, `"x": "\ud83d\ude00"`}, {1, `"registerWithTaints": [{"key": "a", "effect": "NoSchedule"}]`}, {1, `"tlsCipherSuites": null`},
	{1, `"staticPodPath": "x"`},
}

// brokenKeys are members whose values have the wrong type.
var brokenKeys = []weighted{
	{1, `"eventRecordQPS": "7"`}, {1, `"eventRecordQPS": 7.5`}, {1, `"eventRecordQPS": 99999999999`}, {1, `"eventRecordQPS": 1e1`},
	{1, `"featureGates": {"RotateKubeletServerCertificate": "true"}`}, {1, `"authentication": []`}, {1, `"clusterDNS": "10.0.0.10"`},
	{1, `"streamingConnectionIdleTimeout": 4`}, {1, `"streamingConnectionIdleTimeout": "4"`}, {1, `"evictionHard": {"memory.available": 100}`},
	{1, `"maxPods": "110"`}, {1, `"maxPods": 9223372036854775808`},
}

// config makes up the content of a configuration file.
func (g *gen) config() string {
	text := g.intactConfig()
	if g.careless(0.2) {
		text = g.spoil(text)
	}
	return text
}

func (g *gen) intactConfig() string {
	if g.chance(0.45) {
		return g.jsonConfig()
	}
	return g.yamlConfig()
}

// typeMeta chooses the two members that every file must have, most of the time
// right.
func (g *gen) typeMeta() []string {
	version, kind := `"apiVersion": "kubelet.config.k8s.io/v1beta1"`, `"kind": "KubeletConfiguration"`
	wrong := -1
	if g.careless(0.15) {
		wrong = g.r.IntN(5)
	}
	switch wrong {
	case 0:
		return []string{version}
	case 1:
		return []string{kind}
	case 2:
		return nil
	case 3:
		return []string{version, pick(g, `"kind": "kubeletConfiguration"`, `"kind": "Pod"`, `"kind": ""`, `"kind": null`, `"kind": 1`, `"Kind": "KubeletConfiguration"`,
			`"kind": "CredentialProviderConfig"`, `"kind": "SerializedNodeConfigSource"`)}
	case 4:
		return []string{kind, pick(g, `"apiVersion": "v1"`, `"apiVersion": "kubelet.config.k8s.io/v1alpha1"`, `"apiVersion": "kubelet.config.k8s.io/v1"`,
			`"apiVersion": "kubelet/v1beta1"`, `"apiVersion": ""`, `"apiVersion": "kubelet.config.k8s.io/V1beta1"`, `"apiVersion": "kubelet.config.k8s.io/v1beta1/x"`, `"apiversion": "kubelet.config.k8s.io/v1beta1"`)}
	}
	return []string{version, kind}
}

// members chooses everything in a file but the key itself, and says where.
func (g *gen) members() []string {
	members := g.typeMeta()
	for range pick(g, 0, 0, 1, 1, 2, 3) {
		members = append(members, g.weigh(either(g.careless(0.2), brokenKeys, otherKeys)))
	}
	return members
}

func (g *gen) jsonConfig() string {
	members := g.members()
	for range pick(g, 0, 1, 1, 1, 1, 1, 1, 2) {
		key := `"` + g.weigh(keys) + `"`
		if g.chance(0.05) {
			key = `"make\u0049PTablesUtil\u0043hains"`
		}
		members = append(members, key+pick(g, ": ", ":", " : ", ":\t", ":\n")+g.weigh(either(g.careless(0.3), jsonValues, jsonBools)))
	}
	g.r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	indent := pick(g, "    ", "  ", "\t", "", " ")
	text := "{\n" + indent + strings.Join(members, ",\n"+indent) + "\n}"
	if indent == "" {
		text = "{" + strings.Join(members, ",") + "}"
	}
	if g.careless(0.15) {
		return text + pick(g, "\n---\n", "\n# end\n", "\n{}\n", "x", ",", "\x00")
	}
	return pick(g, "", "", "", "", "\n", " ", "\t", "\r\n", "\ufeff") + text + pick(g, "\n", "\n", "\n", "", "\n\n", " ", "\r\n")
}

func (g *gen) yamlConfig() string {
	if g.chance(0.08) {
		return "{" + strings.Join(append(g.members(), pick(g, "'makeIPTablesUtilChains': false", "makeIPTablesUtilChains: no", `"makeIPTablesUtilChains":false`)), ", ") + "}\n"
	}
	var entries []string
	for _, m := range g.members() {
		entries = append(entries, g.unquoteKey(m))
	}
	for range pick(g, 0, 1, 1, 1, 1, 1, 1, 2) {
		entries = append(entries, g.yamlEntry())
	}
	g.r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	if g.careless(0.2) {
		entries = append(entries, pick(g, "# makeIPTablesUtilChains: false", "  # indented", "", "---", "...", "---\nmakeIPTablesUtilChains: true", "... \nx", "--- {}"))
	}
	eol := pick(g, "\n", "\n", "\n", "\n", "\n", "\r\n", "\r")
	if eol == "\r" && g.chance(0.7) {
		eol = "\n"
	}
	return g.yamlHead() + strings.ReplaceAll(strings.Join(entries, "\n")+pick(g, "\n", "\n", "", "\n\n"), "\n", eol)
}

func (g *gen) yamlHead() string {
	if g.chance(0.7) {
		return ""
	}
	if g.sane {
		return pick(g, "---\n", "--- \n", "# comment\n", "\n\n", "\ufeff", "# a\n---\n# b\n", "--- # c\n", "\ufeff---\n", "---\n\n", "%YAML 1.1\n---\n")
	}
	return pick(g, "---\n", "--- \n", "# comment\n", "\n\n", "\ufeff", "%YAML 1.1\n---\n", "%YAML 1.2\n---\n", "---\n---\n", "# a\n---\n# b\n", "--- # c\n", "\ufeff---\n", "%TAG ! tag:x,2000:\n---\n", "---\n\n", "-----\n", "\t\n")
}

// unquoteKey writes a member's key as YAML usually does.
func (g *gen) unquoteKey(member string) string {
	key, value, _ := strings.Cut(member, ": ")
	if bare := strings.Trim(key, `"`); g.chance(0.9) && bare != "" {
		key = bare
	}
	return key + ": " + value
}

// yamlEntry writes the key and a value, mostly plainly.
func (g *gen) yamlEntry() string {
	key, value := g.weigh(keys), g.weigh(either(g.careless(0.3), yamlValues, yamlBools))
	if !g.careless(0.3) && g.chance(0.95) {
		return key + ": " + value
	}
	return pick(g,
		`"`+key+`": `+value,
		"'"+key+"': "+value,
		"? "+key+"\n: "+value,
		key+" : "+value,
		key+":   "+value,
		key+":"+value,
		key+":\t"+value,
		" "+key+": "+value,
		"\t"+key+": "+value,
		"x: &base\n  "+key+": "+value+"\n<<: *base",
		"<<: {"+key+": false}",
		"<<: [{"+key+": false}, {"+key+": true}]",
		"a: &v false\n"+key+": *v",
		"!!str "+key+": "+value,
		key+": "+value+"\n"+key+": true",
		key+": "+value+"\n<<: {"+key+": true}",
		`"make\x49PTablesUtilChains": `+value,
		`"makeIPTables\
  UtilChains": `+value,
	)
}

// spoil damages a file.
func (g *gen) spoil(text string) string {
	cut := func() int { return g.r.IntN(len(text) + 1) }
	switch g.r.IntN(14) {
	case 0:
		return text[:cut()]
	case 1:
		return pick(g, "", "\n", " ", "# only a comment\n", "---\n", "null\n", "{}\n", "[]\n", "false\n", "\"x\"\n", "{", "\x00", "~", "...", "--- null\n---\n"+text)
	case 2:
		at := cut()
		return text[:at] + pick(g, "\x00", "\x01", "\t", "\x80", "\ufeff", "\u2028", "\x7f", "\u0085", "\xff\xfe") + text[at:]
	case 3:
		return utf16Text(text, g.chance(0.5), g.chance(0.7))
	case 4:
		return text + text
	case 5:
		return "// a comment\n" + text
	case 6:
		return strings.Replace(text, "}", ",}", 1)
	case 7:
		return strings.ReplaceAll(text, ": ", ":")
	case 8:
		return strings.ReplaceAll(text, "  ", "\t")
	case 9:
		return fmt.Sprintf("- %s", strings.ReplaceAll(text, "\n", "\n  "))
	case 10:
		return "config:\n  " + strings.ReplaceAll(text, "\n", "\n  ")
	case 11:
		return strings.ReplaceAll(text, `"`, "'")
	case 12:
		return "# comment\n" + text
	}
	return strings.ReplaceAll(text, "\n", pick(g, "\r\n", "\n\n", " \n", "\r"))
}

// utf16Text encodes a text as UTF-16, with a byte order mark or without.
func utf16Text(text string, big, mark bool) string {
	var order binary.AppendByteOrder = binary.LittleEndian
	if big {
		order = binary.BigEndian
	}
	var out []byte
	if mark {
		out = order.AppendUint16(out, 0xfeff)
	}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}
