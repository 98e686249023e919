package e2e

import (
	"fmt"
	"strings"

	"fleet/lab/real/judge"
)

// Places for a unit and its drop-ins, the usual one most often.
var unitDirs = []weighted{
	{12, "/etc/systemd/system"}, {2, "/run/systemd/system"}, {4, "/usr/lib/systemd/system"}, {1, "/usr/local/lib/systemd/system"},
}

// variableNames are environment variables that ExecStart refers to. The last
// ones are those nobody refers to.
var variableNames = []string{"KUBELET_FLAGS", "KUBELET_ARGS", "KUBELET_EXTRA_ARGS", "KUBELET_CONFIG_FILE_FLAGS", "KUBELET_KUBEADM_ARGS", "k_1", "_X"}

// references are ways in which ExecStart uses a variable V.
var references = []weighted{
	{60, "$V"}, {4, "${V}"}, {1, `"$V"`}, {1, `"${V}"`}, {1, "'$V'"}, {1, "$V "}, {1, "$$V"}, {1, "x$V"}, {1, "--v=${V}"}, {1, "$V,"}, {1, "${V"}, {1, "$ V"}, {1, "${V}${V}"},
	{1, "$V$V"}, {1, "${V:-x}"}, {1, "$\\\nV"},
}

// odd are words that test quoting rather than the kubelet.
var odd = []string{
	"a b", "", "it's", `say "hi"`, `back\slash`, "100%", "%n", "%%", "%p-%i", "%N", "%z", "%", "$HOME", "$$", "${X}", "$", "$UNSET", "tab\there", "a=b", "#x", ";", "; x",
	"é", "'", `"`, "a;b", `\`, "~", "*", "{a,b}", "-", `--x='a b'`, `\x41`, `\101`, `\u00e9`, `\s`, `\n`, `\q`, "a\\", `"a"b`, `a"b c"d`, `'a'"b"`, "a\u00a0b", "\\\tx",
	"--make-iptables-util-chains=false", "--config /a", `--node-labels="a=b c"`, "%E/x", "%t", "<", "|", "&", ">x", "`x`", "(a)", "!", "@x", "+x", ":", "%u", "%h", "%%n", "%j",
}

// unitFiles makes up the unit, its drop-ins and its environment files around
// the arguments.
func (g *gen) unitFiles() {
	words := g.flags()
	if g.wild {
		words = nil
		for range 1 + g.r.IntN(6) {
			words = append(words, pick(g, odd...))
		}
	}
	u := &unitGen{gen: g, dir: g.weigh(unitDirs)}
	head := u.variables(words)
	u.service(head)
	u.dropIns()
	u.place()
}

// unitGen is a unit that is being made up.
type unitGen struct {
	*gen
	dir   string
	refs  []string   // what ExecStart ends with
	lines []string   // of the [Service] section of the unit
	extra [][]string // lines of [Service] sections of drop-ins
}

// variables spreads some of the words over environment variables and returns
// those that stay in ExecStart.
func (u *unitGen) variables(words []string) []string {
	names := append([]string{}, variableNames...)
	u.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	count := pick(u.gen, 0, 1, 1, 1, 2, 2, 3)
	head := words
	for i := range count {
		at := u.r.IntN(len(head) + 1)
		u.variable(names[i], head[at:])
		head = head[:at]
		reference := "$V"
		if !u.sane {
			reference = u.weigh(references)
		}
		u.refs = append([]string{strings.ReplaceAll(reference, "V", names[i])}, u.refs...)
	}
	if u.chance(0.1) {
		u.variable("NOBODY_ASKS", u.flag())
	}
	if u.chance(0.05) {
		u.refs = append(u.refs, "$UNSET_VARIABLE")
	}
	return head
}

// variable sets a variable somewhere, and now and then somewhere else to
// something else as well.
func (u *unitGen) variable(name string, words []string) {
	value := u.value(words)
	if u.chance(0.15) {
		u.carry(name, u.value(u.flag()))
	}
	u.carry(name, value)
	if u.chance(0.08) {
		u.carry(name, u.value(u.flag()))
	}
}

// value joins words the way $V splits them.
func (u *unitGen) value(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = u.quoteWord(w)
	}
	return strings.Join(quoted, pick(u.gen, " ", " ", " ", " ", "  ", "\t"))
}

// quoteWord quotes a word for the splitting of a variable's value, when it
// needs it or for fun.
func (u *unitGen) quoteWord(w string) string {
	if u.forgets() || (w != "" && !strings.ContainsAny(w, " \t\"'\\") && u.chance(0.95)) {
		return w
	}
	if !strings.Contains(w, "'") && u.chance(0.5) {
		return "'" + strings.ReplaceAll(w, `\`, `\\`) + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
}

// forgets says whether to forget what has to be escaped.
func (u *unitGen) forgets() bool {
	if u.wild {
		return u.chance(0.4)
	}
	return u.gen.careless(0.06)
}

// carry sets a variable in the unit, in a drop-in or in an environment file.
func (u *unitGen) carry(name, value string) {
	switch u.r.IntN(5) {
	case 0:
		u.lines = append(u.lines, u.environment(name, value))
	case 1, 2:
		u.extra = append(u.extra, []string{u.environment(name, value)})
	default:
		u.environmentFile(name, value)
	}
}

// environment writes an Environment= line.
func (u *unitGen) environment(name, value string) string {
	if !u.forgets() {
		value = strings.ReplaceAll(value, "%", "%%")
	}
	double := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
	single := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value)
	key := pick(u.gen, "Environment=", "Environment=", "Environment=", "Environment = ", "Environment=  ", " Environment=")
	if u.sane {
		return key + pick(u.gen, `"`+name+"="+double+`"`, `"`+name+"="+double+`"`, "'"+name+"="+single+"'", `"A=1" "`+name+"="+double+`" B=2`,
			`"`+name+"="+double+`" \`+"\n  C=3", "\"A=1\" \\\n# a comment between\n  '"+name+"="+single+"'", `"`+name+"="+strings.ReplaceAll(double, " ", "\\x20")+`"`)
	}
	return key + pick(u.gen,
		`"`+name+"="+double+`"`, `"`+name+"="+double+`"`, `"`+name+"="+double+`"`, `"`+name+"="+double+`"`,
		"'"+name+"="+single+"'", "'"+name+"="+single+"'",
		name+"="+value, name+`="`+double+`"`, name+"='"+single+"'",
		`"A=1" "`+name+"="+double+`" B=2`,
		`"`+name+"="+double+`" \`+"\n  C=3",
		"\"A=1\" \\\n# a comment between\n  '"+name+"="+single+"'",
		`"`+name+"="+strings.ReplaceAll(double, " ", "\\x20")+`"`,
		`"`+name+"="+double+`"x`,
		`"`+name+"="+double,
		`"`+name+" = "+double+`"`,
	)
}

// environmentFile writes a file with the variable and refers to it.
func (u *unitGen) environmentFile(name, value string) {
	path := u.etc(pick(u.gen, "kubelet", "kubelet", "kubelet-extra", "kubelet.env"))
	optional := pick(u.gen, "", "", "-")
	reference := "EnvironmentFile=" + optional + path
	odd := u.r.IntN(25)
	if u.sane {
		odd = -1
	}
	switch odd {
	case 0:
		reference = "EnvironmentFile=" + optional + `"` + path + `"`
	case 1:
		reference = "EnvironmentFile=" + optional + path + "*"
	case 2:
		reference = "EnvironmentFile=" + optional + strings.TrimPrefix(path, "/")
	case 3:
		reference = "EnvironmentFile=" + optional + path + "-missing"
	case 4:
		reference = reference + " " + path
	case 5:
		reference = "EnvironmentFile=\n" + reference
	}
	if u.chance(0.5) {
		u.lines = append(u.lines, reference)
	} else {
		u.extra = append(u.extra, []string{reference})
	}
	u.put(path, u.environmentText(name, value))
}

// environmentText writes the content of an environment file.
func (u *unitGen) environmentText(name, value string) string {
	double := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
	if u.forgets() {
		double = value
	}
	if u.sane {
		return pick(u.gen, "", "", "# comment\n", "; comment\n", "\n", "OTHER=1\n", "NODE=a b\n", "OTHER=\"two\nlines\"\n") + pick(u.gen,
			name+"="+value, name+"="+value, name+`="`+double+`"`, name+" = "+value, "  "+name+"="+value+"   ", name+"="+strings.ReplaceAll(value, " ", " \\\n"),
			name+`="`+strings.ReplaceAll(double, " ", " \\\n ")+`"`) + pick(u.gen, "\n", "\n", "\n\n", "")
	}
	line := pick(u.gen,
		name+"="+value, name+"="+value, name+"="+value, name+"="+value,
		name+`="`+double+`"`, name+`="`+double+`"`, name+`="`+double+`"`,
		name+"='"+strings.ReplaceAll(value, "'", "")+"'", name+"='"+value+"'",
		name+" = "+value, "  "+name+"="+value+"   ", "export "+name+"="+value, name+"="+value+" # not a comment",
		name+`="`+strings.ReplaceAll(double, " ", " \\\n ")+`"`,
		name+"="+strings.ReplaceAll(value, " ", " \\\n"),
		name+`="`+strings.ReplaceAll(double, " ", "\n")+`"`,
		name+`="`+double+`"x`, name+"="+`"`+double+`" 'and more'`, name+`=x"`+double+`"`,
		name+"="+strings.ReplaceAll(value, " ", `\ `), name+"=\\\n"+value, "a"+name+"="+value, name+"-="+value,
		name+`="`+double, name+"='"+value, name+":"+value, name+"=", name,
	)
	noise := func() string {
		if u.chance(0.7) {
			return ""
		}
		return pick(u.gen, "# comment\n", "; comment\n", "\n", "OTHER=1\n", "OTHER=\"two\nlines\"\n", "# comment \\\n", "NODE=a b\n", "9X=1\n", "=x\n", "   \n", "\ufeff", "\r\n",
			"# "+name+"=--no\n", name+"=--v=3\n", "X='\n'\n", "\x00\n", "\xff=1\n", "A=\\\n\\\n\n")
	}
	eol := pick(u.gen, "\n", "\n", "\n", "\n", "\n", "", "\r\n", "\n\n")
	return noise() + line + eol + noise()
}

// execWord writes a word of ExecStart.
func (u *unitGen) execWord(w string) string {
	if u.forgets() {
		return w
	}
	escaped := strings.NewReplacer("%", "%%", "$", "$$").Replace(w)
	if escaped != "" && escaped != ";" && !strings.ContainsAny(escaped, " \t\"'\\;") && u.chance(0.9) {
		return escaped
	}
	double := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(escaped)
	single := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(escaped)
	return pick(u.gen, `"`+double+`"`, `"`+double+`"`, "'"+single+"'",
		strings.NewReplacer(`\`, `\\`, " ", `\x20`, "\t", `\t`, `"`, `\"`, "'", `\'`, ";", `\x3b`).Replace(escaped),
		strings.NewReplacer(`\`, `\\`, " ", `\s`, "\t", `\011`, `"`, `\x22`, "'", `\047`).Replace(escaped))
}

// service writes the [Service] section around ExecStart.
func (u *unitGen) service(head []string) {
	words := []string{u.exe}
	if u.fixed != "" {
		words = append(words, u.fixed)
	}
	for _, w := range head {
		words = append(words, u.execWord(w))
	}
	words = append(words, u.refs...)
	glue := pick(u.gen, " ", " ", " \\\n    ", " \\\n        ", "  ", " \\\n# between\n ", " \\\n; between\n  ", "\t")
	exec := "ExecStart=" + pick(u.gen, "", "", "", "", "", "", "", "", " ", "-", "@") + strings.Join(words, glue)
	if strings.HasPrefix(exec, "ExecStart=@") {
		exec = strings.Replace(exec, "@"+u.exe+glue, "@"+u.exe+" kubelet-by-another-name"+glue, 1)
	}
	switch u.r.IntN(14) {
	case 0:
		u.extra = append(u.extra, []string{"ExecStart=", exec})
		exec = "ExecStart=" + u.exe + " " + u.fixed + " --v=9"
	case 1:
		if u.gen.careless(0.3) {
			u.extra = append(u.extra, []string{exec})
		}
	case 2:
		exec = "ExecStart=\n" + exec
	}
	at := u.r.IntN(len(u.lines) + 1)
	u.lines = append(u.lines[:at:at], append([]string{exec}, u.lines[at:]...)...)
}

// noise are further lines of a [Service] section.
func (u *unitGen) noise() []string {
	common := []string{"# comment", "; comment", "", "Restart=no", "RestartSec=1", "KillMode=process", "Slice=runtime.slice", "CPUAccounting=true", "Foo=bar", "X-Foo=bar", "  # indented comment",
		"LimitNOFILE=4096", "WorkingDirectory=/etc/kubernetes", "WorkingDirectory=-/nowhere", "WorkingDirectory=/", "ExecStartPre=/bin/true", "ExecStartPre=-/bin/false", "Environment=", "Type=simple",
		"Type=exec", "Delegate=yes", "OOMScoreAdjust=-999", "StandardOutput=journal", "UnsetEnvironment=KUBELET_ARGS", "UnsetEnvironment=NOBODY_ASKS", "Environment=LANG=C", "Environment=9BAD=x", "SyslogIdentifier=kubelet", "SuccessExitStatus=143"}
	rare := []string{"EnvironmentFile=", "ExecStart=", "no equals sign", "[Unit]\nDescription=again\n[Service]", "[Foo]\nBar=1\n[Service]", "[ Service ]", "[service]", "WorkingDirectory=~", "WorkingDirectory=/nowhere",
		"Type=", "Type=nonsense", "PassEnvironment=KUBELET_ARGS", "UnsetEnvironment=", "environment=KUBELET_ARGS=--v=4", "Environment", "=x", "Environment=%z", "# ends in a backslash \\", "[Service",
		"WorkingDirectory=etc", "WorkingDirectory=", "User=root", "Group=root", "RootDirectory=/", "\ufeff", "Environment=\"A=1\"\"B=2\"", "Environment=A=%%x %n", "ExecStart", "ExecStart=;", ".include /etc/passwd", "Restart=sometimes"}
	var lines []string
	for range pick(u.gen, 0, 0, 1, 2, 3) {
		if u.gen.careless(0.15) {
			lines = append(lines, pick(u.gen, rare...))
		} else {
			lines = append(lines, pick(u.gen, common...))
		}
	}
	return lines
}

// section mixes noise into lines and puts a header before them.
func (u *unitGen) section(lines []string) string {
	header := "[Service]"
	if u.gen.careless(0.03) {
		header = pick(u.gen, "[Service] ", " [Service]", "[service]", "", "[Unit]", "# first\n[Service]", "[Service]\n[Service]", "\n\n[Service]", "[Service]\r", "\ufeff[Service]", "[X-Service]", "[Service]x")
	}
	all := append([]string{header}, lines...)
	for _, n := range u.noise() {
		at := 1 + u.r.IntN(len(all))
		all = append(all[:at:at], append([]string{n}, all[at:]...)...)
	}
	eol := "\n"
	if u.gen.careless(0.03) {
		eol = pick(u.gen, "\r\n", "\n\n", "\r")
	}
	return strings.Join(all, eol) + pick(u.gen, eol, eol, eol, "")
}

// dropIns gives the lines that are left to drop-ins of various names, mostly in
// the order of their names.
func (u *unitGen) dropIns() {
	names := []string{"10-kubelet-args.conf", "10-kubeadm.conf", "20-extra.conf", "9-nine.conf", "30-last.conf", "a.conf", "Z.conf", "50-x.conf"}
	u.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i, lines := range u.extra {
		name := names[i%len(names)]
		if u.gen.careless(0.04) {
			name = pick(u.gen, "10-x.conf.bak", "10-x", ".10-x.conf", "10-x.CONF", "sub/10-x.conf", ".conf", "x.conf~")
		}
		u.dropIn(name, u.section(lines))
	}
	if u.chance(0.06) {
		u.dropIn(names[len(names)-1], pick(u.gen, "", "# nothing\n", "[Service]\n", "[Unit]\nDescription=x\n", "Environment=KUBELET_ARGS=--no\n", "[Service]\nEnvironment=KUBELET_ARGS=\n", "\x00", "[Service]\n\x00"))
	}
	if u.chance(0.04) {
		u.files = append(u.files, judge.File{Path: u.weigh(unitDirs) + "/" + u.unit + ".d/" + names[0], Link: pick(u.gen, "/dev/null", "/nowhere", "/etc/hostname")})
	}
}

func (u *unitGen) dropIn(name, text string) {
	dir := u.weigh(unitDirs)
	suffix := u.unit + ".d/"
	if prefix, _, ok := strings.Cut(u.unitName(), "-"); ok && u.chance(0.03) && !u.wild {
		suffix = prefix + "-.service.d/"
	}
	u.put(dir+"/"+suffix+name, text)
	if u.chance(0.05) { // the same name in another place hides the one or the other
		u.put(u.weigh(unitDirs)+"/"+suffix+name, u.section([]string{u.environment(pick(u.gen, variableNames...), u.value(u.flag()))}))
	}
}

// place puts the unit file itself on the disk.
func (u *unitGen) place() {
	head := pick(u.gen, "[Unit]\nDescription=Kubelet\n\n", "[Unit]\nDescription=Kubelet\nAfter=containerd.service\nWants=containerd.service\n\n", "# kubelet\n[Unit]\nDescription=x\nStartLimitIntervalSec=0\n", "")
	tail := pick(u.gen, "", "", "\n[Install]\nWantedBy=multi-user.target\n")
	text := head + u.section(u.lines) + tail
	path := u.dir + "/" + u.unit
	switch n := u.r.IntN(100); {
	case n == 0 && !u.sane:
		u.files = append(u.files, judge.File{Path: path, Link: pick(u.gen, "/dev/null", "/nowhere")})
	case n == 1 && !u.sane:
		u.put(path, "")
	case n < 4:
		u.put(u.etc("the-unit"), text)
		u.files = append(u.files, judge.File{Path: path, Link: u.etc("the-unit")})
	case n < 7: // hidden by, or hiding, another one
		u.put(path, text)
		u.put(u.weigh(unitDirs)+"/"+u.unit, fmt.Sprintf("[Service]\nExecStart=%s %s --v=8\n", u.exe, u.fixed))
	default:
		u.put(path, text)
	}
}
