package report

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fleet/audit"
	"fleet/kubelet"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

var errPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

// renderings are the golden files of one report.
var renderings = []struct {
	suffix string
	format string
	text   TextOptions
}{
	{"table", "table", TextOptions{}},
	{"table-80", "table", TextOptions{Width: 80}},
	{"table-color", "table", TextOptions{Width: 120, Color: true}},
	{"wide", "wide", TextOptions{}},
	{"wide-80", "wide", TextOptions{Width: 80}},
	{"ndjson", "ndjson", TextOptions{}},
}

func TestGolden(t *testing.T) {
	for _, path := range fixturePaths(t) {
		r := readFixture(t, path)
		name := strings.TrimSuffix(path, ".json")
		for _, g := range renderings {
			t.Run(filepath.Base(name)+"."+g.suffix, func(t *testing.T) {
				golden(t, name+"."+g.suffix+".golden", render(t, g.format, r, g.text))
			})
		}
	}
}

// TestGoldenBig pins how fleets too large for a line per host are folded. They
// are generated; their goldens stand beside the others.
func TestGoldenBig(t *testing.T) {
	for name, r := range map[string]Report{
		"fleet-1000":           big(1000),
		"fleet-31-unreachable": unreachable(31),
		"fleet-30-unreachable": unreachable(30),
		"fleet-100-scattered":  scattered(100),
		"fleet-200-rollout":    rollout(200),
	} {
		for _, width := range []int{0, 80} {
			file := fmt.Sprintf("testdata/%s.table-%d.golden", name, width)
			golden(t, file, render(t, "table", r, TextOptions{Width: width}))
		}
	}
}

func render(t *testing.T, format string, r Report, o TextOptions) string {
	t.Helper()
	f, err := FormatNamed(format)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := f.Write(&buf, r, o); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is missing (go test ./report -update writes it)", path)
	} else if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./report -update rewrites it), got:\n%s", path, got)
	}
}

func fixturePaths(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	return paths
}

func readFixture(t testing.TB, path string) Report {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return r
}

func fixtures(t testing.TB) []Report {
	t.Helper()
	var out []Report
	for _, path := range fixturePaths(t) {
		out = append(out, readFixture(t, path))
	}
	return out
}

// big is a fleet of n hosts in two pools with a few troubles among them.
func big(n int) Report {
	hosts := make([]Host, n)
	for i := range hosts {
		pool := i % 2
		name := fmt.Sprintf("aks-np%d-12345678-vmss%06s", pool+1, strconv.FormatInt(int64(i/2), 36))
		hosts[i] = bigHost(i, name)
	}
	return New(bigRun(), audit.MakeIPTablesUtilChains, hosts)
}

func bigRun() Run {
	started := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	return Run{ID: "20261122T030000Z-4f2a", Command: "audit", Started: started, Finished: started.Add(8700 * time.Millisecond), Version: "v0.1.0", Inventory: "-"}
}

func bigHost(i int, name string) Host {
	h := Host{
		Name:       name,
		Address:    fmt.Sprintf("10.224.%d.%d", i/250, i%250+4),
		Labels:     map[string]string{"zone": strconv.Itoa(i % 3)},
		DurationMS: int64(200 + i%50),
	}
	h.Node = audit.Node{Hostname: h.Name, OS: "Ubuntu 22.04.5 LTS", KubeletVersion: "v1.30.6", KubeletPID: 1000 + i, Unit: "kubelet.service"}
	process := kubelet.Source{Kind: kubelet.SourceFlag, Path: fmt.Sprintf("/proc/%d/cmdline", 1000+i), Text: "--make-iptables-util-chains=false"}
	env := kubelet.Source{Kind: kubelet.SourceFlag, Path: "/etc/default/kubelet", Line: 3, Text: process.Text}
	file := kubelet.Source{Kind: kubelet.SourceFile, Path: "/etc/default/kubeletconfig.json", Line: 17 + i%2, Text: `"makeIPTablesUtilChains": true,`}
	switch {
	case i >= 40 && i < 60:
		h.fail("flag-false", "the kubelet was started with "+env.Text, "fleet remediate --method args --limit "+h.Name, process, env)
	case i == 77:
		file.Text = `"makeIPTablesUtilChains": false,`
		h.fail("file-false", "the configuration file says false", "fleet remediate --method file --limit "+h.Name, file, file)
	case i%97 == 5:
		h.unknown("timeout-connect", "no TCP connection to "+h.Address+":22 within 10s", "check the address, the firewall and --jump")
	case i%97 == 6:
		h.unknown("host-key-changed", fmt.Sprintf("%s shows SHA256:%043d, known_hosts:%d has another key", h.Address, i, i), "find out why; if the host was reimaged: ssh-keygen -R "+h.Address)
	case i%2 == 0:
		w := &audit.Witness{Value: true, Source: file}
		h.Finding.Status, h.Reason, h.Message, h.Running, h.Next = audit.StatusPass, "explicit", "the configuration file says true", w, w
	default:
		w := &audit.Witness{Value: true, Source: kubelet.Source{Kind: kubelet.SourceDefault}}
		h.Finding.Status, h.Reason, h.Message, h.Running, h.Next = audit.StatusPass, "default", "the default is true", w, w
	}
	return h
}

func (h *Host) fail(reason, message, hint string, running, next kubelet.Source) {
	h.Status, h.Reason, h.Message, h.Hint = audit.StatusFail, reason, message, hint
	h.Running = &audit.Witness{Value: false, Source: running}
	h.Next = &audit.Witness{Value: false, Source: next}
}

func (h *Host) unknown(reason, message, hint string) {
	h.Status, h.Reason, h.Message, h.Hint = audit.StatusUnknown, reason, message, hint
	h.Node = audit.Node{}
}

// unreachable is a fleet none of which answers.
func unreachable(n int) Report {
	hosts := make([]Host, n)
	for i := range hosts {
		h := Host{Name: fmt.Sprintf("node%02d", i), Address: fmt.Sprintf("10.0.0.%d", i+1)}
		h.unknown("unreachable-refused", h.Address+":22 refused the connection", "check that sshd listens on "+h.Address+", and --port")
		hosts[i] = h
	}
	return New(bigRun(), audit.MakeIPTablesUtilChains, hosts)
}

// scattered is a fleet whose hosts have names that make no ranges.
func scattered(n int) Report {
	hosts := make([]Host, n)
	for i := range hosts {
		hosts[i] = bigHost(i, fmt.Sprintf("%c%c.np%d.example.net", 'a'+i%26, 'a'+i/26, i%2))
	}
	return New(bigRun(), audit.MakeIPTablesUtilChains, hosts)
}
