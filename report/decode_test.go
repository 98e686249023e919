package report

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"fleet/audit"
)

func TestDecodeToleratesNewFields(t *testing.T) {
	doc := render(t, "json", full(), TextOptions{})
	for _, place := range []string{`"run": {`, `"control": {`, `"summary": {`, `"node": {`, `"running": {`, `"source": {`, `"change": {`} {
		newer := strings.Replace(doc, place, place+`"invented_later": {"a": [1]},`, 1)
		if newer == doc {
			t.Fatalf("no %s", place)
		}
		got, err := Decode(strings.NewReader(newer))
		if err != nil {
			t.Errorf("in %s: %v", place, err)
		}
		if diff := cmp.Diff(full().published(), got); diff != "" {
			t.Errorf("in %s: %s", place, diff)
		}
	}
}

func TestDecodeMendsWhatIsNull(t *testing.T) {
	doc := render(t, "json", bare(), TextOptions{})
	doc = strings.NewReplacer(`"labels": {}`, `"labels": null`, `"evidence": []`, `"evidence": null`).Replace(doc)
	r, err := Decode(strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	if h := r.Hosts[0]; h.Labels == nil || h.Evidence == nil {
		t.Errorf("labels %v, evidence %v, want both empty and not nil", h.Labels, h.Evidence)
	}
}

func TestDecodeKeepsTheTypeOfValues(t *testing.T) {
	for _, v := range []any{true, false, nil, "Webhook", int64(110)} {
		r := full()
		r.Hosts[0].Running = &audit.Witness{Value: v}
		r.Control.Expected = v
		got, err := Decode(strings.NewReader(render(t, "json", r, TextOptions{})))
		if err != nil {
			t.Fatal(err)
		}
		if got.Hosts[0].Running.Value != v || got.Control.Expected != v {
			t.Errorf("%v (%T) came back as %v (%T)", v, v, got.Hosts[0].Running.Value, got.Hosts[0].Running.Value)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := render(t, "json", full(), TextOptions{})
	stream := render(t, "ndjson", full(), TextOptions{})
	replace := func(doc, old, new string) string {
		bad := strings.Replace(doc, old, new, 1)
		if bad == doc {
			t.Fatalf("%s is not in the document", old)
		}
		return bad
	}
	for _, c := range []struct{ name, doc, want string }{
		{"nothing", "", "unexpected EOF"},
		{"no JSON", "hosts: []", "not JSON"},
		{"an array", "[]", "not JSON"},
		{"null", "null", "no schema"},
		{"something else", `{"kind": "NodeList"}`, "no schema"},
		{"a newer version", replace(good, "fleet.report/v1", "fleet.report/v2"), `its schema is "fleet.report/v2"`},
		{"cut short", good[:len(good)/2], "unexpected EOF"},
		{"two documents", good + good, "after its end"},
		{"trailing text", good + "x", "after its end"},
		{"no run", replace(good, `"run"`, `"ran"`), "no run"},
		{"no control", replace(good, `"control"`, `"ctl"`), "no control"},
		{"no hosts", replace(good, `"hosts"`, `"nodes"`), "no hosts"},
		{"no summary", replace(good, `"summary"`, `"sum"`), "no summary"},
		{"a summary that lies", replace(good, `"fail": 1`, `"fail": 0`), "does not agree"},
		{"another status", replace(good, `"status": "fail"`, `"status": "failed"`), `status "failed"`},
		{"a host without status", replace(good, `"status": "fail",`, ""), `status ""`},
		{"a host without name", replace(good, `"name": "n1",`, ""), "no name"},
		{"another layer", replace(good, `"kind": "flag"`, `"kind": "hearsay"`), `source "hearsay"`},
		{"another outcome", replace(good, `"outcome": "changed"`, `"outcome": "done"`), `outcome "done"`},
		{"a negative line", replace(good, `"line": 3`, `"line": -3`), "line is negative"},
		{"a negative duration", replace(good, `"duration_ms": 12`, `"duration_ms": -12`), "duration is negative"},
		{"negative seconds", replace(good, `"seconds": 1.5`, `"seconds": -1`), "negative seconds"},
		{"a negative wave", replace(good, `"wave": 2`, `"wave": -2`), "wave is negative"},
		{"a negative pid", replace(good, `"kubelet_pid": 7`, `"kubelet_pid": -7`), "kubelet_pid is negative"},
		{"a value that is no scalar", replace(good, `"value": false`, `"value": {}`), "neither"},
		{"a value that is no whole number", replace(good, `"value": false`, `"value": 1.5`), "whole number"},
		{"an expected value that is no scalar", replace(good, `"expected": true`, `"expected": []`), "neither"},
		{"a time out of range", replace(good, "2026-11-22T03:00:00Z", "9999-12-31T23:59:59-23:00"), "out of range"},
		{"a stream without hosts and summary", stream[:strings.IndexByte(stream, '\n')], "after 0 hosts: it ends without its summary"},
		{"a stream without summary", stream[:strings.LastIndexByte(strings.TrimSpace(stream), '\n')], "after 1 hosts: it ends without its summary"},
		{"a stream with a host after the summary", stream + `{"name": "x"}`, "after its end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Decode(strings.NewReader(c.doc))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "cannot read report: ") {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if errors.Is(err, io.EOF) {
				t.Error("the error reads as a good end of input")
			}
			if diff := cmp.Diff(Report{}, r); diff != "" {
				t.Errorf("a report came with the error: %s", diff)
			}
		})
	}
}

func TestDecodeRefusesAHostTwice(t *testing.T) {
	r := full()
	r.Hosts = append(r.Hosts, r.Hosts[0])
	r.Summary = Summarise(r.Hosts)
	if _, err := Decode(strings.NewReader(render(t, "json", r, TextOptions{}))); err == nil || !strings.Contains(err.Error(), `"n1" is there twice`) {
		t.Errorf("got %v", err)
	}
}

func TestDecodeIsBounded(t *testing.T) {
	doc := render(t, "json", full(), TextOptions{})
	if _, err := decode(strings.NewReader(doc), int64(len(doc))); err != nil {
		t.Errorf("a report of just the limit: %v", err)
	}
	if _, err := decode(strings.NewReader(doc), int64(len(doc))-1); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a report above the limit: got %v", err)
	}
}

func TestDecodePassesReadErrorsOn(t *testing.T) {
	cause := errors.New("disk on fire")
	if _, err := Decode(iotest.ErrReader(cause)); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range append(fixtures(f), full(), bare()) {
		for _, write := range []Writer{WriteJSON, WriteNDJSON} {
			var b strings.Builder
			if err := write(&b, r, TextOptions{}); err != nil {
				f.Fatal(err)
			}
			f.Add(b.String())
		}
	}
	document, message := compiled(f)
	f.Fuzz(func(t *testing.T, doc string) {
		r, err := decode(strings.NewReader(doc), 1<<20)
		if err != nil {
			return
		}
		for _, format := range []string{"json", "ndjson"} {
			again := render(t, format, r, TextOptions{})
			got, err := Decode(strings.NewReader(again))
			if err != nil {
				t.Fatalf("%v\n%s", err, again)
			}
			if diff := cmp.Diff(r, got); diff != "" {
				t.Fatal(diff)
			}
			if format == "json" {
				validate(t, document, []byte(again))
				continue
			}
			for line := range strings.Lines(again) {
				validate(t, message, []byte(line))
			}
		}
	})
}
