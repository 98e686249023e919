package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled returns the schema of a document and of one line of a stream.
func compiled(t testing.TB) (document, message *jsonschema.Schema) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.json", value); err != nil {
		t.Fatal(err)
	}
	if document, err = c.Compile("report.json"); err != nil {
		t.Fatal(err)
	}
	if message, err = c.Compile("report.json#/$defs/message"); err != nil {
		t.Fatal(err)
	}
	return document, message
}

func validate(t testing.TB, s *jsonschema.Schema, doc []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatalf("not JSON: %v\n%s", err, doc)
	}
	if err := s.Validate(value); err != nil {
		t.Errorf("%v\n%s", err, doc)
	}
}

func TestReportsFollowTheSchema(t *testing.T) {
	document, message := compiled(t)
	for _, r := range append(fixtures(t), full(), bare(), big(200), unreachable(3)) {
		validate(t, document, []byte(render(t, "json", r, TextOptions{})))
		for line := range strings.Lines(render(t, "ndjson", r, TextOptions{})) {
			validate(t, message, []byte(line))
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	document, _ := compiled(t)
	good := render(t, "json", full(), TextOptions{})
	for _, c := range []struct{ name, old, new string }{
		{"another version", `"schema": "fleet.report/v1"`, `"schema": "fleet.report/v2"`},
		{"another status", `"status": "fail"`, `"status": "failed"`},
		{"another layer", `"kind": "flag"`, `"kind": "hearsay"`},
		{"another outcome", `"outcome": "changed"`, `"outcome": "done"`},
		{"labels null", `"labels": {`, `"labels": null, "x": {`},
		{"evidence null", `"evidence": [`, `"evidence": null, "x": [`},
		{"local time", `"2026-11-22T03:00:00Z"`, `"2026-11-22T03:00:00+01:00"`},
		{"no time", `"2026-11-22T03:00:00Z"`, `"yesterday"`},
		{"a value that is no scalar", `"value": false`, `"value": []`},
		{"a negative line", `"line": 3`, `"line": -3`},
		{"no running", `"running": {`, `"ran": {`},
		{"no summary", `"summary": {`, `"sum": {`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatalf("%s is not in the document", c.old)
			}
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
			if err != nil {
				t.Fatal(err)
			}
			if document.Validate(value) == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

// TestSchemaKnowsEveryField keeps the schema complete: what a report can hold
// is described there, and what is described there a report can hold.
func TestSchemaKnowsEveryField(t *testing.T) {
	var schema, doc map[string]any
	if err := json.Unmarshal([]byte(Schema()), &schema); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(render(t, "json", full(), TextOptions{})), &doc); err != nil {
		t.Fatal(err)
	}
	compareFields(t, "report", schema, schema, doc)
}

func compareFields(t *testing.T, path string, root, schema map[string]any, value any) {
	t.Helper()
	schema = deref(root, schema)
	switch v := value.(type) {
	case []any:
		items, ok := schema["items"].(map[string]any)
		if !ok || len(v) == 0 {
			t.Fatalf("%s: nothing to compare", path)
		}
		compareFields(t, path+"[0]", root, items, v[0])
	case map[string]any:
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return // a map with free keys
		}
		for key, field := range v {
			if sub, ok := properties[key].(map[string]any); ok {
				compareFields(t, path+"."+key, root, sub, field)
			} else {
				t.Errorf("%s.%s is not in the schema", path, key)
			}
		}
		for key := range properties {
			if _, ok := v[key]; !ok {
				t.Errorf("%s.%s is in the schema and not in a report", path, key)
			}
		}
	}
}

func deref(root, schema map[string]any) map[string]any {
	if choice, ok := schema["anyOf"].([]any); ok {
		schema = choice[0].(map[string]any)
	}
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		return deref(root, root["$defs"].(map[string]any)[name].(map[string]any))
	}
	return schema
}
