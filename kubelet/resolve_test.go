package kubelet

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	jsonHead = `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration"`
	yamlHead = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
)

// diskOf makes a disk out of "path: content" pairs. A path that ends in "/" is a
// directory that exists; every file below it is an entry.
func diskOf(files map[string]string) Disk {
	d := Disk{Files: map[string]File{}, Dirs: map[string]Dir{}}
	for path, content := range files {
		if dir, ok := strings.CutSuffix(path, "/"); ok {
			d.Dirs[dir] = Dir{Path: dir, State: StatePresent}
			continue
		}
		d.Files[path] = File{Path: path, State: StatePresent, Data: []byte(content)}
	}
	for path, dir := range d.Dirs {
		for file := range d.Files {
			if strings.HasPrefix(file, path+"/") {
				dir.Entries = append(dir.Entries, file)
			}
		}
		d.Dirs[path] = dir
	}
	return d
}

// resolveCase is one layout and what the kubelet makes of it.
type resolveCase struct {
	id      string            // row of the list of cases, with a letter for each of its inputs
	args    string            // words of the command line
	files   map[string]string // see diskOf
	version string            // v1.34.4 when empty
	env     string            // name of an environment variable that is set
	value   any
	source  string // kind path:line text
	masked  string // kind=value, strongest first
	warning string // part of the warnings, "" when there is none
	fatal   string // part of the message
}

const (
	flagF = "--make-iptables-util-chains=false"
	flagT = "--make-iptables-util-chains=true"
	withK = "--config /k"
	withD = "--config /k --config-dir /d"
)

func k(content string) map[string]string       { return map[string]string{"/k": content} }
func kYAML(line string) map[string]string      { return k(yamlHead + line) }
func kJSON(member string) map[string]string    { return k(jsonHead + "," + member + "}") }
func flagSource(text string) string            { return "flag /proc/7/cmdline " + text }
func fileLine(line int, text string) string    { return fmt.Sprintf("file /k:%d %s", line, text) }
func dropLine(path string, text string) string { return "drop-in " + path + ":3 " + text }

// dropIns is a main file and drop-ins of one line each, all of the right kind;
// names without a leading slash are below /d.
func dropIns(main string, more ...string) map[string]string {
	files := map[string]string{"/k": yamlHead + main, "/d/": ""}
	for i := 0; i < len(more); i += 2 {
		files["/d/"+more[i]] = yamlHead + more[i+1]
	}
	return files
}

const (
	keyTrue  = "makeIPTablesUtilChains: true"
	keyFalse = "makeIPTablesUtilChains: false"
)

// resolveCases are the rows E01 to E61 that concern a command line and its
// files; those marked (real) in the list say what a kubelet 1.34.4 did. E10 is a
// policy of the control; E07, E09, E46, E49, E50, E59 have more to them in
// audit and are here as far as a start can tell.
var resolveCases = []resolveCase{
	// defaults and precedence
	{id: "E01", value: true, source: "default"},
	{id: "E02", args: withK, files: kYAML("maxPods: 30\n"), value: true, source: "default"},
	{id: "E03", args: withK, files: kYAML(keyTrue), value: true, source: fileLine(3, keyTrue)},
	{id: "E03j", args: withK, files: kJSON(`"makeIPTablesUtilChains":true`), value: true, source: fileLine(1, `"makeIPTablesUtilChains":true`)},
	{id: "E04", args: withK, files: kYAML(keyFalse), value: false, source: fileLine(3, keyFalse)},
	{id: "E05", args: withK + " " + flagF, files: kYAML(keyTrue), value: false, source: flagSource(flagF), masked: "file=true"},
	{id: "E06", args: withK + " " + flagT, files: kYAML(keyFalse), value: true, source: flagSource(flagT), masked: "file=false"},
	{id: "E07", args: "--v=2", files: map[string]string{"/etc/default/kubeletconfig.json": yamlHead + keyFalse}, value: true, source: "default"},
	{id: "E08", args: withK, files: map[string]string{"/k": yamlHead, "/b": yamlHead + keyFalse}, value: true, source: "default"},
	{id: "E09", args: "--config /etc/default/kubeletconfig.json", files: map[string]string{
		"/etc/kubernetes/azure.json":      "{}",
		"/etc/default/kubeletconfig.json": jsonHead + ",\n    \"makeIPTablesUtilChains\": false\n}\n",
	}, value: false, source: `file /etc/default/kubeletconfig.json:2 "makeIPTablesUtilChains": false`},

	// flag spelling
	{id: "E11", args: "--make-iptables-util-chains", value: true, source: flagSource("--make-iptables-util-chains")},
	{id: "E12a", args: "--make-iptables-util-chains=TRUE", value: true, source: flagSource("--make-iptables-util-chains=TRUE")},
	{id: "E12b", args: "--make-iptables-util-chains=True", value: true, source: flagSource("--make-iptables-util-chains=True")},
	{id: "E12c", args: "--make-iptables-util-chains=t", value: true, source: flagSource("--make-iptables-util-chains=t")},
	{id: "E12d", args: "--make-iptables-util-chains=T", value: true, source: flagSource("--make-iptables-util-chains=T")},
	{id: "E12e", args: "--make-iptables-util-chains=1", value: true, source: flagSource("--make-iptables-util-chains=1")},
	{id: "E13a", args: "--make-iptables-util-chains=FALSE", value: false, source: flagSource("--make-iptables-util-chains=FALSE")},
	{id: "E13b", args: "--make-iptables-util-chains=False", value: false, source: flagSource("--make-iptables-util-chains=False")},
	{id: "E13c", args: "--make-iptables-util-chains=f", value: false, source: flagSource("--make-iptables-util-chains=f")},
	{id: "E13d", args: "--make-iptables-util-chains=F", value: false, source: flagSource("--make-iptables-util-chains=F")},
	{id: "E13e", args: "--make-iptables-util-chains=0", value: false, source: flagSource("--make-iptables-util-chains=0")},
	{id: "E14", args: flagT + " " + flagF, value: false, source: flagSource(flagF), masked: "flag=true"},
	{id: "E16a", args: "--make_iptables_util_chains=false", value: false, source: flagSource("--make_iptables_util_chains=false")},
	{id: "E16b", args: "--make-iptables_util-chains=false", value: false, source: flagSource("--make-iptables_util-chains=false")},
	{id: "E17", args: "--make-iptables-util-chains false", fatal: "unknown command false"},
	{id: "E18", args: "--make-iptables-util-chains:true", fatal: "unknown flag: --make-iptables-util-chains:true"},
	{id: "E19a", args: "--make-iptables-util-chains=no", fatal: `invalid argument "no" for "--make-iptables-util-chains" flag: strconv.ParseBool: parsing "no": invalid syntax`},
	{id: "E19b", args: "--make-iptables-util-chains=off", fatal: `invalid argument "off"`},
	{id: "E19c", args: "--make-iptables-util-chains=", fatal: `invalid argument "" for`},
	{id: "E19d", args: `--make-iptables-util-chains="false"`, fatal: `invalid argument "\"false\"" for`},
	{id: "E19e", args: "--make-iptables-util-chains=yes", fatal: `invalid argument "yes"`},
	{id: "E20", args: "-make-iptables-util-chains=false", fatal: "unknown shorthand flag: 'm' in -make-iptables-util-chains=false"},
	{id: "E23", args: "-- " + flagF, fatal: "unknown command " + flagF},
	{id: "E24a", args: "--config /x --config=/k", files: kYAML(keyFalse), value: false, source: fileLine(3, keyFalse)},
	{id: "E24b", args: "--config=/x --config /k", files: kYAML(keyFalse), value: false, source: fileLine(3, keyFalse)},
	{id: "E24c", args: "--config /x --config=", value: true, source: "default"},
	{id: "E25", args: "--config=k", files: kYAML(keyFalse), value: false, source: fileLine(3, keyFalse)},

	// config file content
	{id: "E31a", args: withK, files: kYAML("makeIPTablesUtilChains: null"), value: true, source: "default"},
	{id: "E31b", args: withK, files: kYAML("makeIPTablesUtilChains: ~"), value: true, source: "default"},
	{id: "E31c", args: withK, files: kYAML("makeIPTablesUtilChains:"), value: true, source: "default"},
	{id: "E31d", args: withK, files: kJSON(`"makeIPTablesUtilChains":null`), value: true, source: "default"},
	{id: "E32a", args: withK, files: kYAML("makeIPTablesUtilChains: no"), value: false, source: fileLine(3, "makeIPTablesUtilChains: no")},
	{id: "E32b", args: withK, files: kYAML("makeIPTablesUtilChains: off"), value: false, source: fileLine(3, "makeIPTablesUtilChains: off")},
	{id: "E32c", args: withK, files: kYAML("makeIPTablesUtilChains: n"), value: false, source: fileLine(3, "makeIPTablesUtilChains: n")},
	{id: "E32d", args: withK, files: kYAML("makeIPTablesUtilChains: False"), value: false, source: fileLine(3, "makeIPTablesUtilChains: False")},
	{id: "E32e", args: withK, files: kYAML("makeIPTablesUtilChains: FALSE"), value: false, source: fileLine(3, "makeIPTablesUtilChains: FALSE")},
	{id: "E34a", args: withK, files: kYAML(`makeIPTablesUtilChains: "true"`), fatal: "cannot unmarshal string into Go struct field KubeletConfiguration.makeIPTablesUtilChains of type bool"},
	{id: "E34b", args: withK, files: kYAML(`makeIPTablesUtilChains: 'false'`), fatal: "cannot unmarshal string"},
	{id: "E34c", args: withK, files: kYAML(`makeIPTablesUtilChains: 0`), fatal: "cannot unmarshal number"},
	{id: "E34d", args: withK, files: kJSON(`"makeIPTablesUtilChains":"false"`), fatal: "cannot unmarshal string"},
	{id: "E35", args: withK, files: kYAML("makeIptablesUtilChains: false"), value: true, source: "default", warning: "/k:3: makeIptablesUtilChains has no effect: the key is spelled makeIPTablesUtilChains"},
	{id: "E37a", args: withK, files: kYAML(keyTrue + "\n" + keyFalse), value: false, source: fileLine(4, keyFalse), warning: `/k:4: duplicate field "makeIPTablesUtilChains": the last one counts`},
	{id: "E37b", args: withK, files: kJSON(`"makeIPTablesUtilChains":true,` + "\n" + `"makeIPTablesUtilChains":false`), value: false, source: fileLine(2, `"makeIPTablesUtilChains":false`), warning: `/k:2: duplicate field "makeIPTablesUtilChains": the last one counts`},
	{id: "E38a", args: withK, files: kYAML(keyFalse + "\n" + keyTrue), value: true, source: fileLine(4, keyTrue), warning: "duplicate field"},
	{id: "E38b", args: withK, files: kJSON(`"makeIPTablesUtilChains":false,"makeIPTablesUtilChains":true`), value: true, source: fileLine(1, `"makeIPTablesUtilChains":true`), warning: "duplicate field"},
	{id: "E41", args: withK, files: kYAML("noSuchField: 1\n" + keyFalse), value: false, source: fileLine(4, keyFalse), warning: `/k:3: unknown field "noSuchField": the kubelet ignores it (lenient decoding)`},
	{id: "E43a", args: withK, files: k(strings.ReplaceAll(yamlHead+keyFalse+"\n", "\n", "\r\n")), value: false, source: fileLine(3, keyFalse)},
	{id: "E43b", args: withK, files: k("\ufeff" + yamlHead + keyFalse + "\n"), value: false, source: fileLine(3, keyFalse)},
	{id: "E43c", args: withK, files: k("---\n" + yamlHead + keyFalse + "\n"), value: false, source: fileLine(4, keyFalse)},
	{id: "E43d", args: "--config /k.json", files: map[string]string{"/k.json": yamlHead + keyFalse}, value: false, source: "file /k.json:3 " + keyFalse},
	{id: "E43e", args: withK, files: k("# made by hand\n" + jsonHead + ", \"makeIPTablesUtilChains\": false}\n"), value: false, source: fileLine(2, `"makeIPTablesUtilChains": false`)},
	{id: "E43f", args: withK, files: k("\n  " + jsonHead + ",\r\n\t\"makeIPTablesUtilChains\" :\tfalse }"), value: false, source: fileLine(3, "\"makeIPTablesUtilChains\" :\tfalse")},
	{id: "E44a", args: withK, files: k(jsonHead), fatal: "failed to load kubelet config file, path: /k, error: failed to decode"},
	{id: "E44b", args: withK, files: kJSON(`"makeIPTablesUtilChains":false,`), fatal: "failed to decode"},
	{id: "E44c", args: withK, files: kYAML("authentication:\n\tanonymous:\n"), fatal: "found character that cannot start any token"},
	{id: "E44d", args: withK, files: k("{ // comment\n" + jsonHead[1:] + "}"), fatal: "failed to decode"},
	{id: "E44e", args: withK, files: k("\xff\xfea\x00:\x00"), fatal: "failed to decode"},
	{id: "E44f", args: withK, files: k(""), fatal: `kubelet config file "/k" was empty`},
	{id: "E44g", args: withK, files: k("# nothing here\n"), fatal: "Object 'Kind' is missing"},
	{id: "E44h", args: withK, files: k("apiVersion: kubelet.config.k8s.io/v1beta1\n" + keyFalse), fatal: "Object 'Kind' is missing"},
	{id: "E44i", args: withK, files: k("kind: KubeletConfiguration\n" + keyFalse), fatal: "Object 'apiVersion' is missing"},
	{id: "E44j", args: withK, files: k("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfig\n"), fatal: `no kind "KubeletConfig" is registered for version "kubelet.config.k8s.io/v1beta1"`},
	{id: "E44k", args: withK, files: k("apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n"), fatal: `no kind "KubeletConfiguration" is registered for version "kubelet.config.k8s.io/v1"`},
	{id: "E44l", args: withK, files: k("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: SerializedNodeConfigSource\n"), fatal: "failed to cast object to KubeletConfiguration, unexpected type"},

	// drop-in directory
	{id: "E51", args: withD, files: dropIns(keyTrue, "10-x.conf", keyFalse), value: false, source: dropLine("/d/10-x.conf", keyFalse), masked: "file=true"},
	{id: "E52", args: withD, files: dropIns(keyFalse, "20.conf", keyTrue, "10.conf", keyFalse), value: true, source: dropLine("/d/20.conf", keyTrue), masked: "drop-in=false file=false"},
	{id: "E53", args: withD + " " + flagT, files: dropIns("", "10.conf", keyFalse), value: true, source: flagSource(flagT), masked: "drop-in=false"},
	{id: "E55", args: withD, files: dropIns("", "99-x.yaml", keyFalse, "9.conf.bak", keyFalse, "9.conf~", keyFalse, "9.CONF", keyFalse), value: true, source: "default"},
	{id: "E57a", args: withD, files: map[string]string{"/k": yamlHead, "/d/": "", "/d/1.conf": keyFalse}, fatal: `failed to merge kubelet configs: failed to walk through kubelet dropin directory "/d": failed to load kubelet dropin file, path: /d/1.conf, error: Object 'Kind' is missing`},
	{id: "E57b", args: withD, files: map[string]string{"/k": yamlHead, "/d/": "", "/d/1.conf": "kind: KubeletConfiguration\n" + keyFalse}, fatal: "path: /d/1.conf, unknown apiVersion/kind: /, Kind=KubeletConfiguration"},
	{id: "E57c", args: withD, files: map[string]string{"/k": yamlHead, "/d/": "", "/d/1.conf": "apiVersion: v1\nkind: Pod\n"}, fatal: "path: /d/1.conf, unknown apiVersion/kind: /v1, Kind=Pod"},
	{id: "E57d", args: withD, files: map[string]string{"/k": yamlHead, "/d/": "", "/d/1.conf": ""}, fatal: `kubelet config file "/d/1.conf" was empty`},
	{id: "E58", args: withD, files: dropIns("", "1.conf", `makeIPTablesUtilChains: "false"`), fatal: "failed to unmarshal merged JSON into kubelet configuration: json: cannot unmarshal string into Go struct field KubeletConfiguration.makeIPTablesUtilChains of type bool"},
	{id: "E59", args: withK, files: dropIns("", "1.conf", keyFalse), value: true, source: "default"},
	{id: "E61", args: withD, files: map[string]string{"/k": yamlHead}, fatal: `failed to walk through kubelet dropin directory "/d": lstat /d: no such file or directory`},
}

// moreCases are layouts beyond the list.
var moreCases = []resolveCase{
	{id: "the first reason counts: flags before files", args: withD + " --oops", files: k(""), fatal: "unknown flag: --oops"},
	{id: "the first reason counts: file before directory", args: withD, files: map[string]string{"/k": "x: [", "/d/": "", "/d/1.conf": ""}, fatal: "failed to load kubelet config file, path: /k"},
	{id: "a directory without a file", args: "--config-dir=/d", files: dropIns("", "1.conf", keyFalse), value: false, source: dropLine("/d/1.conf", keyFalse)},
	{id: "flag without a file, drop-ins", args: "--config-dir=/d " + flagF, files: dropIns("", "1.conf", keyTrue), value: false, source: flagSource(flagF), masked: "drop-in=true"},
	{id: "a bare library flag swallows the next in the second reading", args: withK + " --log-cadvisor-usage " + flagF, files: kYAML(keyTrue), value: true, source: fileLine(3, keyTrue)},
	{id: "and is missed at the end", args: withK + " --log-cadvisor-usage", files: kYAML(""), fatal: "flag needs an argument: --log-cadvisor-usage"},
	{id: "without a file it does not", args: "--log-cadvisor-usage " + flagF, value: false, source: flagSource(flagF)},
	{id: "swallowed over drop-ins alone: the base has it", args: "--config-dir=/d --log-cadvisor-usage " + flagF, files: dropIns(""), value: false, source: flagSource(flagF)},
	{id: "null in a drop-in", args: withD, files: dropIns(keyFalse, "1.conf", "makeIPTablesUtilChains: null"), value: true, source: "default", masked: "file=false", warning: "/d/1.conf:3: null for makeIPTablesUtilChains puts the default back"},
	{id: "null in a drop-in of 1.31 finds no key", args: withD, version: "v1.31.2", files: dropIns(keyFalse, "1.conf", "makeIPTablesUtilChains: null"), value: false, source: fileLine(3, keyFalse), warning: "null for"},
	{id: "a drop-in's keys ignore case, later spellings win", args: withD, files: dropIns("", "1.conf", "makeIptablesUtilChains: false"), value: false, source: dropLine("/d/1.conf", "makeIptablesUtilChains: false"), warning: "/d/1.conf:3: makeIptablesUtilChains is taken for makeIPTablesUtilChains"},
	{id: "earlier spellings lose to the base", args: withD, files: dropIns("", "1.conf", "MakeIPTablesUtilChains: false"), value: true, source: "default", masked: "drop-in=false", warning: "MakeIPTablesUtilChains is taken for"},
	{id: "the base of 1.30 has Go's name", args: withD, version: "v1.30.4", files: dropIns("", "1.conf", "MakeIPTablesUtilChains: false"), value: false, source: dropLine("/d/1.conf", "MakeIPTablesUtilChains: false"), warning: "MakeIPTablesUtilChains is taken for"},
	{id: "drop-in of 1.30", args: withD, version: "v1.30.4", files: dropIns(keyTrue, "1.conf", keyFalse), value: false, source: dropLine("/d/1.conf", keyFalse), masked: "file=true"},
	{id: "another kind in 1.30", args: withD, version: "v1.30.4", files: map[string]string{"/k": yamlHead, "/d/": "", "/d/1.conf": "apiVersion: v1\nkind: Pod\n" + keyFalse}, value: false, source: dropLine("/d/1.conf", keyFalse)},
	{id: "a drop-in with a key twice", args: withD, files: dropIns("", "1.conf", keyTrue+"\n"+keyFalse), fatal: "already set in map"},
	{id: "sub-directories in walking order", args: withD, files: dropIns("", "a/z.conf", keyTrue, "a.conf", keyFalse), value: false, source: dropLine("/d/a.conf", keyFalse), masked: "drop-in=true"},
	{id: "1.29 needs the gate", args: withD, version: "v1.29.6", files: dropIns(""), fatal: "flag config-dir specified but environment variable KUBELET_CONFIG_DROPIN_DIR_ALPHA not set, cannot start kubelet"},
	{id: "1.29 with the gate", args: withD, version: "v1.29.6", env: dropInGate, files: dropIns(keyTrue, "1.conf", keyFalse), value: false, source: dropLine("/d/1.conf", keyFalse), masked: "file=true"},
	{id: "1.28 cannot set false by a drop-in", args: withD, version: "v1.28.5", env: dropInGate, files: dropIns(keyTrue, "1.conf", keyFalse), value: true, source: fileLine(3, keyTrue), masked: "drop-in=false", warning: "kubelet 1.28"},
	{id: "1.28 overrides with defaults", args: withD, version: "v1.28.5", env: dropInGate, files: dropIns(keyFalse, "1.conf", "maxPods: 3"), value: true, source: "drop-in /d/1.conf", masked: "file=false", warning: "kubelet 1.28"},
	{id: "1.27 has no directory", args: withD, version: "v1.27.1", files: dropIns(""), fatal: "unknown flag: --config-dir"},
	{id: "version unknown", args: withD, version: "?", files: dropIns(keyTrue, "1.conf", keyFalse), value: false, source: dropLine("/d/1.conf", keyFalse), masked: "file=true", warning: "version is not known"},
	{id: "under spec it is no setting", args: withK, files: kYAML("spec:\n  makeIPTablesUtilChains: false\n"), value: true, source: "default", warning: `/k:3: unknown field "spec"`},
	{id: "only the first document counts", args: withK, files: kYAML("---\n" + keyFalse), value: true, source: "default"},
	{id: "a merge key", args: withK, files: kYAML("<<: {makeIPTablesUtilChains: false}\n"), value: false, source: fileLine(3, "makeIPTablesUtilChains: false")},
	{id: "trailing comment and quotes", args: withK, files: kYAML("'makeIPTablesUtilChains' : false # why\n"), value: false, source: fileLine(3, "'makeIPTablesUtilChains' : false")},
	{id: "a secret on the same line stays out", args: withK, files: kJSON(`"staticPodURLHeader":{"X":["secret"]},"makeIPTablesUtilChains":false,"x509":"secret"`), value: false, source: fileLine(1, `"makeIPTablesUtilChains":false`), warning: "unknown field"},
	{id: "missing kind does not quote the file", args: withK, files: k("secret: hunter2\n"), fatal: "failed to decode: Object 'Kind' is missing"},
}

func (c resolveCase) start() Start {
	st := Start{Args: argsOf(strings.Fields(c.args)...), Cwd: "/", Version: c.version}
	switch c.version {
	case "":
		st.Version = "v1.34.4"
	case "?":
		st.Version = ""
	}
	if c.env != "" {
		st.Env = map[string]string{c.env: "on"}
	}
	return st
}

// disk gives every path that was asked for and is not in files as missing.
func (c resolveCase) disk() Disk {
	d := diskOf(c.files)
	for _, path := range []string{"/k", "/x"} {
		if _, ok := d.Files[path]; !ok {
			d.Files[path] = File{Path: path, State: StateMissing}
		}
	}
	if _, ok := d.Dirs["/d"]; !ok {
		d.Dirs["/d"] = Dir{Path: "/d", State: StateMissing}
	}
	return d
}

func sourceText(s Source) string {
	return strings.TrimSpace(strings.TrimSpace(string(s.Kind)+" "+place(s.Path, s.Line)) + " " + s.Text)
}

func TestResolve(t *testing.T) {
	for _, c := range slices.Concat(resolveCases, moreCases) {
		t.Run(c.id, func(t *testing.T) {
			r := Resolve(testSetting, c.start(), c.disk())
			if r.Blocked != nil || len(r.Need) > 0 {
				t.Fatalf("blocked by %v, needs %q", r.Blocked, r.Need)
			}
			checkResolution(t, c, r)
		})
	}
}

func checkResolution(t *testing.T, c resolveCase, r Resolution) {
	t.Helper()
	warnings := strings.Join(r.Warnings, "\n")
	if c.fatal != "" {
		if r.Fatal == nil || !strings.Contains(r.Fatal.Message, c.fatal) {
			t.Fatalf("refusal is %v, want %q", r.Fatal, c.fatal)
		}
		if strings.Contains(r.Fatal.Message, "hunter2") {
			t.Errorf("the message quotes the file: %s", r.Fatal.Message)
		}
		return
	}
	if r.Fatal != nil {
		t.Fatalf("refused: %s", r.Fatal.Message)
	}
	if r.Value != c.value || sourceText(r.Source) != c.source {
		t.Errorf("got %v from %q, want %v from %q", r.Value, sourceText(r.Source), c.value, c.source)
	}
	var masked []string
	for _, l := range r.Masked {
		masked = append(masked, fmt.Sprintf("%s=%v", l.Source.Kind, l.Value))
	}
	if got := strings.Join(masked, " "); got != c.masked {
		t.Errorf("masked %q, want %q", got, c.masked)
	}
	if !strings.Contains(warnings, c.warning) || c.warning == "" && warnings != "" {
		t.Errorf("warnings %q, want %q", warnings, c.warning)
	}
}

// TestResolveNotKnown is E45, E46 and their kin: a path that is missing, not
// readable, or was not looked at.
func TestResolveNotKnown(t *testing.T) {
	start := Start{Args: argsOf("--config=/k", "--config-dir=/d", flagT), Cwd: "/", Version: "v1.34.4"}
	file := func(s FileState) map[string]File { return map[string]File{"/k": {Path: "/k", State: s}} }
	dir := func(s FileState, entries ...string) map[string]Dir {
		return map[string]Dir{"/d": {Path: "/d", State: s, Entries: entries}}
	}
	good := map[string]File{"/k": {State: StatePresent, Data: []byte(yamlHead)}}
	for id, tt := range map[string]struct {
		disk                 Disk
		fatal, blocked, need string
	}{
		"E45":                              {Disk{file(StateMissing), dir(StatePresent)}, `failed to load kubelet config file, path: /k, error: failed to read kubelet config file "/k", error: open /k: no such file or directory`, "", ""},
		"E46":                              {Disk{file(StateUnreadable), dir(StatePresent)}, "", "cannot read /k: permission refused or I/O error", ""},
		"too large":                        {Disk{file(StateTooLarge), dir(StatePresent)}, "", "cannot read /k: it is too large to fetch", ""},
		"a directory":                      {Disk{file(StateNotRegular), dir(StatePresent)}, "", "cannot read /k: it is not a regular file", ""},
		"nothing looked at":                {Disk{}, "", "", "/k /d"},
		"entries not fetched":              {Disk{good, dir(StatePresent, "/d/2.conf", "/d/x", "/d/1.conf")}, "", "", "/d/1.conf /d/2.conf"},
		"file first":                       {Disk{nil, dir(StatePresent, "/d/1.conf")}, "", "", "/k /d/1.conf"},
		"directory unreadable":             {Disk{good, dir(StateUnreadable)}, "", "cannot read /d: permission refused or I/O error", ""},
		"symlink for a root":               {Disk{good, dir(StateNotRegular)}, "", "", ""},
		"what is asked for may come first": {Disk{nil, dir(StateMissing)}, "", "", "/k"},
	} {
		t.Run(id, func(t *testing.T) {
			r := Resolve(testSetting, start, tt.disk)
			var fatal, blocked string
			if r.Fatal != nil {
				fatal = r.Fatal.Message
			}
			if r.Blocked != nil {
				blocked = r.Blocked.Message
			}
			if fatal != tt.fatal || blocked != tt.blocked || strings.Join(r.Need, " ") != tt.need {
				t.Errorf("fatal %q, blocked %q, need %q", fatal, blocked, r.Need)
			}
			if determined := fatal == "" && blocked == "" && len(r.Need) == 0; determined != (r.Value != nil) {
				t.Errorf("value %v although not determined, or none although it is", r.Value)
			}
		})
	}
	relative := Resolve(testSetting, Start{Args: argsOf("--config=k")}, Disk{})
	if relative.Blocked == nil || !strings.Contains(relative.Blocked.Message, "working directory is not known") {
		t.Errorf("relative path without a working directory: %+v", relative)
	}
}

// TestResolveWhole shows every field once.
func TestResolveWhole(t *testing.T) {
	start := Start{Args: argsOf("--config=etc/k.yaml", "--config-dir", "/d", "--v=2"), Cwd: "/srv", Version: "v1.34.4"}
	disk := diskOf(map[string]string{
		"/srv/etc/k.yaml": yamlHead + keyFalse + "\n", "/d/": "", "/d/10.conf": yamlHead + keyTrue + "\n", "/d/20.conf": yamlHead,
	})
	want := Resolution{
		Value:       true,
		Source:      Source{Kind: SourceDropIn, Path: "/d/10.conf", Line: 3, Text: keyTrue},
		Config:      "/srv/etc/k.yaml",
		ConfigDir:   "/d",
		ConfigFiles: []string{"/srv/etc/k.yaml", "/d/10.conf", "/d/20.conf"},
		Masked:      []Layer{{Value: false, Source: Source{Kind: SourceFile, Path: "/srv/etc/k.yaml", Line: 3, Text: keyFalse}}},
	}
	if diff := cmp.Diff(want, Resolve(testSetting, start, disk)); diff != "" {
		t.Error(diff)
	}
}

// TestResolveFatalSource checks that a refusal points at the line at fault.
func TestResolveFatalSource(t *testing.T) {
	for _, tt := range []struct{ id, args, content, source string }{
		{"flag", "--make-iptables-util-chains:true", "", flagSource("--make-iptables-util-chains:true")},
		{"word", "--make-iptables-util-chains false", "", flagSource("false")},
		{"type", withK, yamlHead + "maxPods: 1\n" + `makeIPTablesUtilChains: "true"` + "\n", fileLine(4, `makeIPTablesUtilChains: "true"`)},
		{"nested type", withK, yamlHead + "authentication:\n  anonymous:\n    enabled: 'no'\n", fileLine(5, "enabled: 'no'")},
		{"yaml syntax", withK, yamlHead + "a:\n\tb: c\n", "file /k:4"},
		{"json syntax", withK, jsonHead + ",\n\"a\": 1,\n}", "file /k:3"},
		{"missing kind", withK, "a: b", "file /k"},
	} {
		c := resolveCase{args: tt.args, files: k(tt.content)}
		r := Resolve(testSetting, c.start(), c.disk())
		if r.Fatal == nil || sourceText(r.Fatal.Source) != tt.source {
			t.Errorf("%s: got %+v, want %q", tt.id, r.Fatal, tt.source)
		}
	}
}

// TestResolveOtherSettings covers the kinds of value besides a pointer to bool.
func TestResolveOtherSettings(t *testing.T) {
	for _, tt := range []struct {
		setting int // of testSettings
		line    string
		value   any
		source  string
	}{
		{1, "readOnlyPort: 10255", int64(10255), fileLine(3, "readOnlyPort: 10255")},
		{1, "readOnlyPort: 0", int64(0), fileLine(3, "readOnlyPort: 0")},
		{1, "readOnlyPort: null", int64(0), "default"},
		{1, "", int64(0), "default"},
		{2, "streamingConnectionIdleTimeout: 5m", "5m0s", fileLine(3, "streamingConnectionIdleTimeout: 5m")},
		{2, "streamingConnectionIdleTimeout: 0s", "4h0m0s", "default"},
		{3, "authorization: {mode: AlwaysAllow}", "AlwaysAllow", fileLine(3, "mode: AlwaysAllow")},
		{3, "authorization: {}", "Webhook", "default"},
		{4, "authentication:\n  anonymous:\n    enabled: true", true, fileLine(5, "enabled: true")},
		{4, "authentication: {anonymous: }", false, "default"},
	} {
		for _, args := range []string{withK, withD} {
			c := resolveCase{args: args, files: dropIns(tt.line)}
			r := Resolve(testSettings[tt.setting], c.start(), c.disk())
			if r.Fatal != nil || r.Value != tt.value || sourceText(r.Source) != tt.source {
				t.Errorf("%s %s: got %v from %q (%v), want %v from %q", args, tt.line, r.Value, sourceText(r.Source), r.Fatal, tt.value, tt.source)
			}
		}
	}
}
