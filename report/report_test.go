package report

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet/audit"
	"fleet/kubelet"
)

func hosts(statuses ...audit.Status) []Host {
	out := make([]Host, len(statuses))
	for i, s := range statuses {
		out[i] = Host{Name: string(rune('a' + i)), Finding: audit.Finding{Status: s}}
	}
	return out
}

func TestSummarise(t *testing.T) {
	got := Summarise(hosts("pass", "fail", "unknown", "not-applicable", "pass", "no such status", ""))
	want := Summary{Total: 7, Pass: 2, Fail: 1, Unknown: 3, NotApplicable: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts []Host
		want  int
	}{
		{"no hosts", nil, ExitOK},
		{"pass", hosts("pass", "pass"), ExitOK},
		{"not applicable", hosts("pass", "not-applicable"), ExitOK},
		{"fail", hosts("pass", "fail"), ExitFail},
		{"unknown", hosts("pass", "unknown"), ExitIncomplete},
		{"unknown wins over fail", hosts("unknown", "fail"), ExitIncomplete},
		{"fail before unknown", hosts("fail", "unknown"), ExitIncomplete},
		{"a status of no version", hosts("excellent"), ExitIncomplete},
		{"changed", changed("pass", OutcomeChanged), ExitOK},
		{"unchanged", changed("pass", OutcomeUnchanged), ExitOK},
		{"changed and not judged after", changed("unknown", OutcomeChanged), ExitIncomplete},
		{"changed and failing still", changed("fail", OutcomeChanged), ExitFail},
		{"planned", changed("fail", OutcomePlanned), ExitFail},
		{"planned is not done", changed("pass", OutcomePlanned), ExitFail},
		{"unchanged and not concerned", changed("not-applicable", OutcomeUnchanged), ExitOK},
		{"unknown wins over refused", append(changed("pass", OutcomeUnknown), changed("fail", OutcomeRefused)...), ExitIncomplete},
		{"rolled back", changed("fail", OutcomeRolledBack), ExitFail},
		{"refused", changed("pass", OutcomeRefused), ExitFail},
		{"failed before", changed("pass", OutcomeFailedBeforeChange), ExitFail},
		{"failed after", changed("pass", OutcomeFailedAfterChange), ExitFail},
		{"not reached", changed("fail", OutcomeNotReached), ExitIncomplete},
		{"unknown outcome", changed("pass", OutcomeUnknown), ExitIncomplete},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A summary that lies must not matter.
			r := Report{Hosts: c.hosts, Summary: Summary{Total: 9, Pass: 9}}
			if got := ExitCode(r); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestExitCodeOfRollback(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts []Host
		want  int
	}{
		{"no hosts", nil, ExitOK},
		{"rolled back", changed("fail", OutcomeRolledBack), ExitOK},
		{"rolled back and not judged after", changed("unknown", OutcomeRolledBack), ExitOK},
		{"nothing to roll back", changed("pass", OutcomeUnchanged), ExitOK},
		{"changed", changed("pass", OutcomeChanged), ExitFail},
		{"planned", changed("pass", OutcomePlanned), ExitFail},
		{"refused", changed("pass", OutcomeRefused), ExitFail},
		{"failed before", changed("pass", OutcomeFailedBeforeChange), ExitFail},
		{"failed after", changed("pass", OutcomeFailedAfterChange), ExitFail},
		{"not reached", changed("pass", OutcomeNotReached), ExitIncomplete},
		{"unknown outcome", changed("pass", OutcomeUnknown), ExitIncomplete},
		{"a host of which nothing is told", hosts("pass"), ExitIncomplete},
		{"the highest wins", append(changed("fail", OutcomeUnknown), changed("fail", OutcomeRefused)...), ExitIncomplete},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ExitCode(Report{Run: Run{Command: "rollback"}, Hosts: c.hosts}); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestExitCodeOfAnInterruptedRun(t *testing.T) {
	for _, command := range []string{"audit", "rollback"} {
		if got := ExitCode(Report{Run: Run{Command: command, Interrupted: true}, Hosts: hosts("unknown")}); got != ExitInterrupted {
			t.Errorf("%s: got %d", command, got)
		}
	}
}

func changed(s audit.Status, o Outcome) []Host {
	hs := hosts(s)
	hs[0].Change = &Change{Outcome: o}
	return hs
}

func TestNewTakesTheControlOver(t *testing.T) {
	r := New(Run{ID: "x"}, audit.MakeIPTablesUtilChains, hosts("pass"))
	want := Control{
		ID:         "make-iptables-util-chains",
		Title:      audit.MakeIPTablesUtilChains.Title,
		Benchmarks: audit.MakeIPTablesUtilChains.Benchmarks,
		Flag:       "make-iptables-util-chains",
		Key:        "makeIPTablesUtilChains",
		Expected:   true,
	}
	if diff := cmp.Diff(want, r.Control); diff != "" {
		t.Error(diff)
	}
	if r.Schema != SchemaName || r.Summary != (Summary{Total: 1, Pass: 1}) {
		t.Errorf("schema %q, summary %+v", r.Schema, r.Summary)
	}
}

// full is a report in which every field is set.
func full() Report {
	zone := time.FixedZone("CET", 3600)
	started := time.Date(2026, 11, 22, 4, 0, 0, 0, zone)
	source := kubelet.Source{Kind: kubelet.SourceFlag, Path: "/etc/default/kubelet", Line: 3, Text: "--make-iptables-util-chains=false"}
	w := &audit.Witness{Value: false, Source: source, Problem: "p"}
	h := Host{
		Name: "n1", Address: "10.0.0.4", Labels: map[string]string{"zone": "1"},
		Finding: audit.Finding{
			Status: audit.StatusFail, Reason: "flag-false", Message: "m", Hint: "h",
			Running: w, Next: w, Live: w,
			Node: audit.Node{
				Hostname: "n1", OS: "Ubuntu", BootID: "b", KubeletVersion: "v1.34.4", KubeletPID: 7,
				KubeletStarted: &started, Config: "/c", ConfigDir: "/d", Unit: "kubelet.service",
			},
			Notes:    []string{"note"},
			Evidence: []audit.Evidence{{Command: "c", Exit: 1, Stdout: "o"}},
		},
		Change: &Change{
			Method: "file", Outcome: OutcomeChanged, Reason: "r", Message: "m", Hint: "h",
			Diff: "d", Backup: "b", Restarted: true, Seconds: 1.5, Wave: 2,
		},
		DurationMS: 12,
	}
	run := Run{ID: "r", Command: "audit", Started: started, Finished: started.Add(time.Second), Version: "v", Inventory: "i", Interrupted: true}
	return New(run, audit.MakeIPTablesUtilChains, []Host{h})
}

func TestFullReportSetsEveryField(t *testing.T) {
	// full feeds the tests below; a field it leaves zero would go untested.
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.IsZero() && v.Kind() != reflect.Int && path != "Report.Hosts.Finding.Running.Value" {
			if v.Kind() != reflect.Interface && v.Kind() != reflect.Bool {
				t.Errorf("%s is not set", path)
			}
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			walk(path, v.Elem())
		case reflect.Slice:
			walk(path, v.Index(0))
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	walk("Report", reflect.ValueOf(full()))
}

func TestRoundTrip(t *testing.T) {
	for name, write := range map[string]Writer{"json": WriteJSON, "ndjson": WriteNDJSON} {
		for _, r := range append(fixtures(t), full(), bare(), big(200)) {
			var buf bytes.Buffer
			if err := write(&buf, r, TextOptions{}); err != nil {
				t.Fatal(err)
			}
			got, err := Decode(&buf)
			if err != nil {
				t.Fatalf("%s of %s: %v", name, r.Run.ID, err)
			}
			if diff := cmp.Diff(r.published(), got); diff != "" {
				t.Errorf("%s of %s: %s", name, r.Run.ID, diff)
			}
		}
	}
}

// bare is a report of a host about which nothing at all is known.
func bare() Report {
	return New(Run{}, audit.Control{}, []Host{{Name: "n", Finding: audit.Finding{Status: audit.StatusUnknown}}})
}

func TestJSONKeepsItsPromises(t *testing.T) {
	var buf bytes.Buffer
	if err := WriteJSON(&buf, bare(), TextOptions{}); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Control map[string]any
		Hosts   []map[string]any
	}
	if err := json.Unmarshal(buf.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	h := doc.Hosts[0]
	if _, ok := h["labels"].(map[string]any); !ok {
		t.Errorf("labels is %v, want an object", h["labels"])
	}
	if _, ok := h["evidence"].([]any); !ok {
		t.Errorf("evidence is %v, want an array", h["evidence"])
	}
	for _, key := range []string{"running", "next"} {
		if v, ok := h[key]; !ok || v != nil {
			t.Errorf("%s is %v (present %t), want null", key, v, ok)
		}
	}
	for _, key := range []string{"live", "change", "notes"} {
		if v, ok := h[key]; ok {
			t.Errorf("%s is %v, want it absent", key, v)
		}
	}
}

func TestJSONTimesAreUTC(t *testing.T) {
	var buf bytes.Buffer
	if err := WriteJSON(&buf, full(), TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"started": "2026-11-22T03:00:00Z"`,
		`"finished": "2026-11-22T03:00:01Z"`,
		`"kubelet_started": "2026-11-22T03:00:00Z"`,
	} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("no %s in\n%s", want, buf.String())
		}
	}
}

func TestWritersLeaveTheReportAlone(t *testing.T) {
	r, want := full(), full()
	for _, f := range Formats() {
		if err := f.Write(&bytes.Buffer{}, r, TextOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
}

func TestWritersPassErrorsOn(t *testing.T) {
	for _, f := range Formats() {
		if err := f.Write(brokenPipe{}, full(), TextOptions{}); err != errPipe {
			t.Errorf("%s: got %v, want %v", f.Name, err, errPipe)
		}
	}
}

func TestJSONKeysStayUnique(t *testing.T) {
	r := full()
	r.Hosts[0].Labels = map[string]string{"k\xff": "2", "k\xfe": "1", "k": "0"}
	var buf bytes.Buffer
	if err := WriteJSON(&buf, r, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := Decode(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"k\uFFFD": "2", "k": "0"}, got.Hosts[0].Labels); diff != "" {
		t.Error(diff)
	}
}
