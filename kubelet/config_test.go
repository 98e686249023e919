package kubelet

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLocate(t *testing.T) {
	for _, tt := range []struct{ id, data, key, want string }{
		{"block", "a: 1\nb: 2\n", "b", "2 b: 2"},
		{"last of two", "b: 1\nb: 2\n", "b", "2 b: 2"},
		{"not a prefix", "bb: 1\nb: 2\nab: 3\n", "b", "2 b: 2"},
		{"not the one below", "x:\n  b: 1\nb: 2\ny:\n  b: 3\n", "b", "3 b: 2"},
		{"nested", "x:\n  b: 1\nb: 2\n", "x.b", "2 b: 1"},
		{"flow", "{x: {b: 1, c: 2}, d: 3} # not JSON: \n", "x.c", "0 "}, // a brace makes it JSON, which it is not
		{"flow below", "x: {b: 1, c: 2}\n", "x.c", "1 c: 2"},
		{"value on the next line", "b:\n  false\n", "b", "1 b:"},
		{"empty value", "b:\nc: 1\n", "b", "1 b:"},
		{"quoted value", "b: \"no # comment\" # comment\n", "b", `1 b: "no # comment"`},
		{"comment", "b: false # b: true\n", "b", "1 b: false"},
		{"alias", "x: &x {b: 1}\ny: *x\n", "y.b", "1 b: 1"},
		{"merge list", "x: &x {b: 1}\nz: &z {b: 2}\ny:\n  <<: [*x, *z]\n", "y.b", "1 b: 1"},
		{"own key over merge", "x: &x {b: 1}\ny:\n  b: 3\n  <<: *x\n", "y.b", "3 b: 3"},
		{"merge of itself", "x: &x\n  <<: *x\n", "x.b", "0 "},
		{"byte order mark", "\ufeffb: 1\n", "b", "1 b: 1"},
		{"wide characters before", "x: {ключ: 1, b: 2}\n", "x.b", "1 b: 2"},
		{"CRLF", "a: 1\r\nb: 2\r\n", "b", "2 b: 2"},
		{"absent", "a: 1\n", "b", "0 "},
		{"unreadable YAML", "a: [\nb : 2\n", "b", "2 b"},
		{"JSON", "{\n \"a\": {\"b\": 1},\n \"b\": [true],\n \"c\": 2\n}", "c", `4 "c": 2`},
		{"JSON nested", `{"b": 1, "a": {"b": 2}}`, "a.b", `1 "b": 2`},
		{"JSON in an array", `{"a": [{"b": 1}], "c": [["b", 2]]}`, "b", "0 "},
		{"JSON last of two parents", `{"a":{"b":1},"a":{"c":2}}`, "a.b", `1 "b":1`},
		{"JSON escaped key", `{"\u0062": 1}`, "b", `1 "\u0062": 1`},
		{"JSON value on the next line", "{\"b\":\n1}", "b", `1 "b":`},
		{"JSON object", `{"b": {"x": 1}}`, "b", `1 "b": {`},
		{"JSON cut short", `{"b": 1, "c"`, "b", `1 "b": 1`},
		{"long value", "b: " + strings.Repeat("é", 200) + "\n", "b", "1 b: " + strings.Repeat("é", 58)},
	} {
		line, text := newLocator([]byte(tt.data)).find(strings.Split(tt.key, ".")...)
		want := tt.want
		if got := strings.TrimPrefix(place("", line), ":"); line == 0 && want != "0 " || line != 0 && got+" "+text != want {
			t.Errorf("%s: got line %d, %q, want %q", tt.id, line, text, want)
		}
	}
}

func TestDropInFiles(t *testing.T) {
	dir := Dir{Path: "/d", State: StatePresent, Entries: []string{
		"/d/b.conf", "/d/a.conf", "/d/a/z.conf", "/d/a/b/c.conf", "/d/.conf", "/d/x.conf~", "/d/conf", "/d/B.conf", "/d/b.conf",
	}}
	want := []string{"/d/.conf", "/d/B.conf", "/d/a/b/c.conf", "/d/a/z.conf", "/d/a.conf", "/d/b.conf"}
	if got := DropInFiles(dir); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for path, want := range map[string]int{"/etc/k.d": 0, "/etc/kubelet.conf": 1} {
		if got := DropInFiles(Dir{Path: path, State: StateNotRegular}); len(got) != want {
			t.Errorf("%s as a symlink: got %q", path, got)
		}
	}
}

// TestMergePatch takes the examples of RFC 7396, appendix A, that are objects.
func TestMergePatch(t *testing.T) {
	for _, tt := range []struct{ doc, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"a":1}`, `{"a":{"b":null,"c":[{"d":null}]}}`, `{"a":{"c":[{}]}}`},
	} {
		var doc, patch map[string]any
		if json.Unmarshal([]byte(tt.doc), &doc) != nil || json.Unmarshal([]byte(tt.patch), &patch) != nil {
			t.Fatalf("bad example %s %s", tt.doc, tt.patch)
		}
		mergePatch(doc, patch)
		got, _ := json.Marshal(doc)
		after, _ := json.Marshal(patch)
		if string(got) != tt.want || string(after) != tt.patch {
			t.Errorf("%s + %s: got %s and %s, want %s", tt.doc, tt.patch, got, after, tt.want)
		}
	}
}

func TestDecodeConfigLookup(t *testing.T) {
	file, fatal := DecodeConfig("/k", []byte(jsonHead+`,"maxPods":5,"authentication":{"x509":{"clientCAFile":"/ca"}},"evictionHard":{"a":"b"}}`))
	if fatal != nil {
		t.Fatal(fatal.Message)
	}
	for key, want := range map[string]any{
		"maxPods": int64(5), "authentication.x509.clientCAFile": "/ca",
		"authentication.webhook.enabled": nil, "evictionHard": nil, "evictionHard.a": nil, "noSuch.key": nil, "authentication": nil, "": nil,
	} {
		got, ok := file.Lookup(key)
		if diff := cmp.Diff(want, got.Value); diff != "" || ok != (want != nil) {
			t.Errorf("%s: %v %s", key, ok, diff)
		}
	}
}

func TestGoFieldNames(t *testing.T) {
	for in, want := range map[string]string{
		"makeIPTablesUtilChains": "MakeIPTablesUtilChains", "authentication.anonymous.enabled": "Authentication.Anonymous.Enabled",
		"resolvConf": "ResolverConfig", "no.such": "no.such", "maxPods.x": "maxPods.x",
	} {
		if got := strings.Join(goFieldNames(strings.Split(in, ".")), "."); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
