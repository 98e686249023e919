package kubelet

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseArgs holds ParseArgs to pflag itself for any command line.
func FuzzParseArgs(f *testing.F) {
	for _, c := range slices.Concat(resolveCases, moreCases) {
		f.Add(strings.ReplaceAll(c.args, " ", "\x00"), uint8(4), uint8(0))
	}
	f.Add("-vh\x00-hv=3\x00--v_=\x00-test.v\x00-hv\x005", uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, cmdline string, version, setting uint8) {
		st := Start{
			Args:    SplitCmdline("/proc/7/cmdline", []byte(cmdline)),
			Version: testVersions[int(version)%len(testVersions)],
		}
		s := testSettings[int(setting)%len(testSettings)]
		checkAgainstPflag(t, s, st, false)
		checkAgainstPflag(t, s, st, true)

		first := ParseArgs(s, st)
		if first.Fatal != nil && strings.ContainsAny(first.Fatal.Message, "\n\r\x00\x1b") {
			t.Errorf("the message has control characters: %q", first.Fatal.Message)
		}
		var words []string
		for _, a := range st.Args {
			words = append(words, a.Text)
		}
		for _, o := range first.Occurrences {
			if !strings.Contains(strings.Join(words, " "), o.Source.Text) {
				t.Errorf("source %q is not of the command line", o.Source.Text)
			}
		}
	})
}

// checkInInput holds a source to the file that it names.
func checkInInput(t *testing.T, s Source, files map[string]File) {
	t.Helper()
	if s.Kind != SourceFile && s.Kind != SourceDropIn || s.Line == 0 {
		return
	}
	lines := bytes.Split(files[s.Path].Data, []byte{'\n'})
	if s.Line > len(lines) || !bytes.Contains(lines[s.Line-1], []byte(s.Text)) {
		t.Errorf("%s: no such text: %q", place(s.Path, s.Line), s.Text)
	}
	if len(s.Text) > maxSourceText {
		t.Errorf("%s: text of %d bytes", place(s.Path, s.Line), len(s.Text))
	}
}

// checkResolved holds a resolution to what its fields promise.
func checkResolved(t *testing.T, s Setting, st Start, d Disk) Resolution {
	t.Helper()
	r := Resolve(s, st, d)
	if diff := cmp.Diff(r, Resolve(s, st, d)); diff != "" {
		t.Errorf("two answers to one question: %s", diff)
	}
	determined := r.Fatal == nil && r.Blocked == nil && len(r.Need) == 0
	if determined != (r.Value != nil) {
		t.Errorf("value %v, fatal %v, blocked %v, need %q", r.Value, r.Fatal, r.Blocked, r.Need)
	}
	for _, l := range append(r.Masked, Layer{Source: r.Source}) {
		checkInInput(t, l.Source, d.Files)
	}
	for _, fatal := range []*Fatal{r.Fatal, r.Blocked} {
		if fatal == nil {
			continue
		}
		checkInInput(t, fatal.Source, d.Files)
		if strings.ContainsAny(fatal.Message, "\n\r\x1b") || len(fatal.Message) > maxMessage+20 {
			t.Errorf("message of %d bytes: %q", len(fatal.Message), fatal.Message)
		}
	}
	for _, w := range r.Warnings {
		if strings.ContainsAny(w, "\n\r\x1b") || len(w) > maxMessage+20 {
			t.Errorf("warning of %d bytes: %q", len(w), w)
		}
	}
	return r
}

// FuzzDecodeConfig resolves any bytes as the file of --config.
func FuzzDecodeConfig(f *testing.F) {
	for _, c := range slices.Concat(resolveCases, moreCases) {
		for _, path := range slices.Sorted(maps.Keys(c.files)) {
			f.Add([]byte(c.files[path]), uint8(0))
		}
	}
	f.Add([]byte(jsonHead+`,"authentication":{"anonymous":{"enabled":false}},"authentication":{"anonymous":null}}`), uint8(4))
	f.Add([]byte(yamlHead+"a: &a {makeIPTablesUtilChains: no}\n<<: [*a, *a]\n"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, setting uint8) {
		s := testSettings[int(setting)%len(testSettings)]
		st := Start{Args: argsOf("--config=/k"), Version: "v1.34.4"}
		d := Disk{Files: map[string]File{"/k": {Path: "/k", State: StatePresent, Data: data}}}
		r := checkResolved(t, s, st, d)
		if explicit := r.Source.Kind == SourceFile; explicit && r.Source.Path != "/k" {
			t.Errorf("value from %q", r.Source.Path)
		}
		// An empty directory of drop-ins changes nothing.
		st.Args = append(st.Args, argsOf("--config-dir=/d")...)
		d.Dirs = map[string]Dir{"/d": {Path: "/d", State: StatePresent}}
		if with := checkResolved(t, s, st, d); with.Value != r.Value || with.Source != r.Source {
			t.Errorf("%v from %v, and with an empty directory %v from %v", r.Value, r.Source, with.Value, with.Source)
		}
	})
}

// FuzzDropIns resolves any bytes as a main file and two drop-ins, by the rules
// of any release.
func FuzzDropIns(f *testing.F) {
	for _, c := range slices.Concat(resolveCases, moreCases) {
		if _, ok := c.files["/d/"]; !ok {
			continue
		}
		contents := []string{"", ""}
		for _, path := range slices.Sorted(maps.Keys(c.files)) {
			if strings.HasPrefix(path, "/d/") && path != "/d/" {
				contents = append(contents, c.files[path])
			}
		}
		n := len(contents)
		f.Add([]byte(c.files["/k"]), []byte(contents[n-2]), []byte(contents[n-1]), "/d/1.conf\n/d/2.conf", uint8(4), uint8(0))
	}
	f.Fuzz(func(t *testing.T, main, one, two []byte, entries string, version, setting uint8) {
		st := Start{
			Args:    argsOf("--config=/k", "--config-dir=/d"),
			Version: testVersions[int(version)%len(testVersions)],
			Env:     map[string]string{dropInGate: ""},
		}
		d := Disk{
			Files: map[string]File{"/k": {State: StatePresent, Data: main}},
			Dirs:  map[string]Dir{"/d": {Path: "/d", State: StatePresent, Entries: strings.Split(entries, "\n")}},
		}
		files := DropInFiles(d.Dirs["/d"])
		for i, content := range [][]byte{one, two} {
			if i < len(files) {
				d.Files[files[i]] = File{Path: files[i], State: StatePresent, Data: content}
			}
		}
		r := checkResolved(t, testSettings[int(setting)%len(testSettings)], st, d)
		for _, l := range append(r.Masked, Layer{Source: r.Source}) {
			if l.Source.Kind == SourceDropIn && !slices.Contains(files, l.Source.Path) {
				t.Errorf("a value from %q, which is no drop-in", l.Source.Path)
			}
		}
	})
}
