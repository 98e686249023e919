package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected output under testdata")

// examples are the inventories among the examples.
func examples() []string { return []string{"../examples/node*", "../examples/ansible*"} }

// TestParse reads every file of testdata/ok and the examples, and compares the
// hosts with the .golden file of the same name. A new case is a new file.
func TestParse(t *testing.T) {
	for _, path := range inputs(t, append(examples(), "testdata/ok/*")...) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			inv, err := Load(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join("testdata/ok", filepath.Base(path)+".golden"), dump(t, inv))
		})
	}
}

// TestParseErrors reads every file of testdata/err and compares the error with
// the .want file of the same name.
func TestParseErrors(t *testing.T) {
	for _, path := range inputs(t, "testdata/err/*") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			inv, err := Parse(filepath.Base(path), data)
			if err == nil {
				t.Fatalf("no error, but the hosts:\n%s", dump(t, inv))
			}
			requireErrors(t, err)
			compare(t, path+".want", err.Error()+"\n")
		})
	}
}

// inputs lists the files that match, without those that hold expected output.
func inputs(t *testing.T, patterns ...string) []string {
	t.Helper()
	var out []string
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: no test files (%v)", pattern, err)
		}
		for _, path := range paths {
			if ext := filepath.Ext(path); ext != ".golden" && ext != ".want" {
				out = append(out, path)
			}
		}
	}
	return out
}

// dump writes an inventory as text: the format, then a JSON line per host.
func dump(t testing.TB, inv *Inventory) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "format %s\n", inv.Format)
	for _, h := range inv.Hosts {
		h.Position.File = filepath.Base(h.Position.File)
		line, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", line)
	}
	return b.String()
}

func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); go test -update rewrites it\n%s", golden, diff)
	}
}

// requireErrors checks that an error is one *Error or joins at most
// maxReported of them and a count.
func requireErrors(t testing.TB, err error) {
	t.Helper()
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	if len(list) > maxReported+1 {
		t.Errorf("%d errors at once", len(list))
	}
	for _, e := range list {
		var ie *Error
		if !errors.As(e, &ie) || ie.Msg == "" {
			t.Errorf("%T is not an *Error: %v", e, e)
		}
		if strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("control character in %q", e)
		}
	}
}

// TestParseEncodings reads one inventory in the encodings that editors and
// shells of Windows write.
func TestParseEncodings(t *testing.T) {
	text := "hosts:\n  - name: a\n    address: 10.0.0.1\n  - b\n"
	utf16 := func(order string) string {
		var b strings.Builder
		for _, c := range "\ufeff" + text {
			if hi, lo := byte(c>>8), byte(c); order == "be" {
				b.Write([]byte{hi, lo})
			} else {
				b.Write([]byte{lo, hi})
			}
		}
		return b.String()
	}
	want, err := Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]string{
		"BOM": "\ufeff" + text, "CR LF": strings.ReplaceAll(text, "\n", "\r\n"),
		"UTF-16LE": utf16("le"), "UTF-16BE": utf16("be"),
		"BOM and CR LF": "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n"),
	} {
		got, err := Parse("x", []byte(in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestOrigins(t *testing.T) {
	inv, err := Parse("n.yaml", []byte(`defaults: {user: azureuser}
groups:
  np1:
    jump: bastion
    labels: {pool: np1}
    hosts: [a]
hosts:
  - name: a
    address: 10.0.0.1
    port: 2222
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"user": 1, "jump": 4, "labels.pool": 5, "address": 9, "port": 10}
	got := map[string]int{}
	for key, at := range inv.Hosts[0].Origins {
		got[key] = at.Line
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseBounds(t *testing.T) {
	var many strings.Builder
	for i := range MaxHosts + 1 {
		fmt.Fprintf(&many, "host%d\n", i)
	}
	bomb := "x0: &x0 [a,a,a,a,a,a,a,a,a,a]\n"
	for i := 1; i < 10; i++ {
		bomb += fmt.Sprintf("x%d: &x%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*x%d,", i-1), 10))
	}
	for name, tt := range map[string]struct{ in, want string }{
		"too many lines":     {many.String(), "more than 100000 hosts"},
		"too long a range":   {"hosts: ['a[0:999999]']", "more than 100000 hosts"},
		"too many ranges":    {"hosts: ['a[0:99999]', 'b[0:99999]']", "more than 100000 hosts"},
		"product of ranges":  {"hosts: ['a[0:9999]b[0:9999]']", "more than 100000 hosts"},
		"huge range":         {"hosts: ['a[0:999999999999999999]b[0:999999999999999999]']", "more than 100000 hosts"},
		"alias bomb":         {bomb + "hosts: [a]\n", "alias"},
		"alias cycle":        {"hosts: &h [*h]\n", "alias"},
		"ansible range":      {"all: {hosts: {'a[0:99999]': , 'b[0:99999]': }}", "more than 100000 hosts"},
		"large YAML":         {"hosts: [a] #" + strings.Repeat("x", maxYAMLBytes), "MiB"},
		"deep nesting":       {"hosts: " + strings.Repeat("[", 100_000), "YAML"},
		"many errors at one": {strings.Repeat("a b\n", 50_000), "more errors, not shown"},
	} {
		_, err := Parse("f", []byte(tt.in))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %.300v, want %q", name, err, tt.want)
			continue
		}
		requireErrors(t, err)
	}
}

// TestParseWork asks for much work in few bytes.
func TestParseWork(t *testing.T) {
	groups := "groups:\n"
	for i := range 30 {
		groups += fmt.Sprintf("  g%d: {hosts: ['n*']}\n", i)
	}
	named, globs := "more than 2000 names and addresses", "too many globs"
	for name, tt := range map[string]struct{ in, want string }{
		"one range many times": {"hosts:\n" + strings.Repeat("  - a[0:99]\n", 100), "more errors, not shown"},
		"range in many groups": {strings.ReplaceAll(groups, "n*", "n[0:99]"), named},
		"glob in many groups":  {groups + "hosts: ['n[0:99]']\n", globs},
		"glob of many ranges":  {"groups: {g: {hosts: ['n[0:999]*']}}\nhosts: ['n[0:99]']\n", globs},
		"ansible":              {"all: {children: {a: {hosts: {'n[0:999]': }}, b: {hosts: {'n[0:999]': }}, c: {hosts: {'n[0:999]': }}}}\n", named},
	} {
		_, err := parse("f", []byte(tt.in), limits{named: 2000, globWork: 2000})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %.300v, want %q", name, err, tt.want)
		}
	}
}

func TestParseAddressBehindJump(t *testing.T) {
	inv, err := Parse("f", []byte(`hosts:
  - {name: a, address: 10.224.0.4, jump: one}
  - {name: b, address: 10.224.0.4, jump: two}
  - {name: c, address: 10.224.0.4, jump: two, port: 2222}
`))
	if err != nil || len(inv.Hosts) != 3 {
		t.Errorf("three machines behind two jump hosts and a forwarded port are refused: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range append(examples(), "testdata/ok/*", "testdata/err/*") {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			if len(data) < 8<<10 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := Parse("fuzz", data)
		if err != nil {
			requireErrors(t, err)
			return
		}
		requireSound(t, inv)
	})
}

// requireSound checks what every parsed inventory promises.
func requireSound(t *testing.T, inv *Inventory) {
	t.Helper()
	if len(inv.Hosts) == 0 || len(inv.Hosts) > MaxHosts {
		t.Fatalf("%d hosts", len(inv.Hosts))
	}
	seen := map[string]bool{}
	var names []string
	for _, h := range inv.Hosts {
		key := strings.ToLower(h.Name)
		if seen[key] {
			t.Errorf("duplicate %q", h.Name)
		}
		seen[key] = true
		names = append(names, h.Name)
		if checkHost(h.Name) != "" || checkHost(h.Address) != "" || h.Port < 0 || h.Port > 65535 {
			t.Errorf("unsound host %+v", h)
		}
		if h.Position.Line < 1 {
			t.Errorf("host without a line: %+v", h)
		}
		if h.User != "" && checkUser(h.User) != "" || h.Become != "" && checkBecome(string(h.Become)) != "" {
			t.Errorf("unsound login %+v", h)
		}
	}
	if len(names) > 1000 {
		return // nothing new, but slow
	}
	requireFold(t, names)
	all, err := inv.Select([]string{"*"}, Sources{})
	if err != nil || len(all) != len(inv.Hosts) {
		t.Errorf("* selects %d of %d: %v", len(all), len(inv.Hosts), err)
	}
}
