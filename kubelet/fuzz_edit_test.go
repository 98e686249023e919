package kubelet

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// editTestSeeds adds the contents of the cases in a folder.
func editTestSeeds(f *testing.F, folder string, add func(comment string, files []txtar.File)) {
	cases, err := filepath.Glob("testdata/" + folder + "/*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(string(a.Comment), a.Files)
	}
}

// editTestError holds an error to what it promises.
func editTestError(t *testing.T, err error) {
	t.Helper()
	var e *EditError
	if !errors.As(err, &e) || e.Code() == "" || strings.ContainsAny(e.Error(), "\n\r\x1b") || len(e.Error()) > maxMessage+20 {
		t.Errorf("error %#v", err)
	}
}

// editTestKept is how many bytes at both ends of old are still at the ends of
// now.
func editTestKept(old, now []byte) int {
	n := 0
	for n < min(len(old), len(now)) && old[n] == now[n] {
		n++
	}
	old, now = old[n:], now[n:]
	for i := 0; i < min(len(old), len(now)) && old[len(old)-1-i] == now[len(now)-1-i]; i++ {
		n++
	}
	return n
}

// FuzzEditConfig sets the key in any bytes.
func FuzzEditConfig(f *testing.F) {
	editTestSeeds(f, "edit-config", func(_ string, files []txtar.File) {
		for i := 0; i < len(files); i += 2 {
			f.Add([]byte(editTestUnescape(string(files[i].Data))))
		}
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		now, err := EditConfig("/k", data, "makeIPTablesUtilChains", true)
		if err != nil {
			editTestError(t, err)
			return
		}
		editTestTwice(t, EditConfig, now, "makeIPTablesUtilChains")
		after, fatal := DecodeConfig("/k", now)
		if fatal != nil || after.config.MakeIPTablesUtilChains == nil || !*after.config.MakeIPTablesUtilChains {
			t.Fatalf("%q became %q: %v", data, now, fatal)
		}
		before, fatal := DecodeConfig("/k", data)
		if fatal != nil {
			return // only the value was at fault
		}
		if before.config.MakeIPTablesUtilChains == nil && editTestKept(data, now) < len(data) && !strings.Contains(string(data), "akeIPTablesUtilChains") && !strings.Contains(string(data), `\`) {
			t.Errorf("%q became %q, which is no insertion", data, now)
		}
		after.config.MakeIPTablesUtilChains = before.config.MakeIPTablesUtilChains
		if !reflect.DeepEqual(before.config, after.config) {
			t.Errorf("%q became %q: %s", data, now, cmp.Diff(before.config, after.config))
		}
	})
}

// FuzzEditDropIn sets the key in any bytes of a drop-in.
func FuzzEditDropIn(f *testing.F) {
	editTestSeeds(f, "edit-config", func(_ string, files []txtar.File) {
		for i := 0; i < len(files); i += 2 {
			f.Add([]byte(editTestUnescape(string(files[i].Data))))
		}
	})
	s := editTestSetting
	f.Fuzz(func(t *testing.T, data []byte) {
		now, err := EditDropIn("/d/1.conf", data, s.Key, true)
		if err != nil {
			editTestError(t, err)
			return
		}
		editTestTwice(t, EditDropIn, now, s.Key)
		d := Disk{
			Files: map[string]File{"/d/1.conf": {Path: "/d/1.conf", State: StatePresent, Data: now}},
			Dirs:  map[string]Dir{"/d": {Path: "/d", State: StatePresent, Entries: []string{"/d/1.conf"}}},
		}
		r := Resolve(s, Start{Args: argsOf("--config-dir=/d"), Version: "v1.31.0"}, d)
		if r.Fatal == nil && r.Value != true {
			t.Errorf("%q became %q, and the value is %v", data, now, r.Value)
		}
	})
}

// FuzzEditArgs sets the flag in any unit, drop-in and environment file, some of
// which may not be changed.
func FuzzEditArgs(f *testing.F) {
	const unit = "/etc/systemd/system/kubelet.service"
	editTestSeeds(f, "edit-args", func(_ string, files []txtar.File) {
		content := map[string]string{}
		for _, file := range files {
			p := file.Name
			if strings.HasPrefix(p, "/") && !strings.HasSuffix(p, "kubelet.service") && !strings.HasSuffix(p, ".conf") {
				p = "/e"
			}
			content[p] = editTestUnescape(string(file.Data))
		}
		env := strings.NewReplacer("EnvironmentFile=-/etc/default/kubelet", "EnvironmentFile=/e", "EnvironmentFile=/etc/default/kubelet", "EnvironmentFile=/e", "EnvironmentFile=/etc/e", "EnvironmentFile=/e")
		f.Add(env.Replace(content[unit]), content[unit+".d/x.conf"], content["/e"], uint8(0))
	})
	f.Fuzz(func(t *testing.T, service, dropIn, env string, locked uint8) {
		files := map[string]string{unit: service, unit + ".d/x.conf": dropIn, "/e": env}
		names := []string{unit, unit + ".d/x.conf", "/e"}
		editable := func(p string) bool { return locked&(1<<slices.Index(names, p)) == 0 }
		d := unitTestDisk("kubelet", files, nil)
		edits, err := editTestArgs(Manager{}, d, editable)
		if err != nil {
			editTestError(t, err)
			return
		}
		before := editTestOthers(t, d)
		editTestApply(t, d, edits)
		for _, e := range edits {
			if !editable(e.Path) {
				t.Errorf("%s was not to be edited", e.Path)
			}
		}
		if diff := cmp.Diff(before, editTestOthers(t, d)); diff != "" {
			t.Errorf("other arguments (-before +after):\n%s%q", diff, edits)
		}
		c, editErr := Manager{}.command("kubelet", d)
		if editErr != nil {
			t.Fatalf("%v after %q", editErr, edits)
		}
		if r := Resolve(editTestSetting, c.start, d); r.Value != true || r.Source.Kind != SourceFlag {
			t.Errorf("%v from %v after %q", r.Value, r.Source, edits)
		}
		if again, err := editTestArgs(Manager{}, d, editable); err != nil || again != nil {
			t.Errorf("a second edit gives %q, %v", again, err)
		}
	})
}

// editTestOthers are the words of the command line that do not set the flag.
func editTestOthers(t *testing.T, d Disk) []string {
	t.Helper()
	c, err := Manager{}.command("kubelet", d)
	if err != nil {
		t.Fatal(err)
	}
	texts := c.texts()
	for _, u := range slices.Backward(flagUses(editTestSetting, c.start)) {
		texts = slices.Delete(texts, u.index, u.index+u.words)
	}
	return texts
}
