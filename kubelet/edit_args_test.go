package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// editTestSetting is the control's.
var editTestSetting = testSettings[0]

// editTestArgs edits with everything that is asked for and not on the disk
// reported as missing, as a probe would.
func editTestArgs(m Manager, d Disk, editable func(string) bool) ([]FileEdit, error) {
	for {
		edits, err := m.EditArgs("kubelet", d, editTestSetting, true, editable)
		if editTestCode(err) != EditNeed {
			return edits, err
		}
		for _, p := range err.(*EditError).Need() {
			dir := strings.TrimSuffix(p, "/") // --config-dir is asked for without a slash
			if _, listed := d.Dirs[dir]; !listed {
				d.Dirs[dir] = Dir{Path: dir, State: StateMissing}
			}
			if dir == p {
				d.Files[p] = File{Path: p, State: StateMissing}
			}
		}
	}
}

// editTestApply puts edits on a disk.
func editTestApply(t *testing.T, d Disk, edits []FileEdit) {
	t.Helper()
	for _, e := range edits {
		f := d.Files[e.Path]
		if string(f.Data) != string(e.Old) || string(e.Old) == string(e.New) {
			t.Errorf("%s: %q is not what is there, or no change", e.Path, e.Old)
		}
		f.Data = e.New
		d.Files[e.Path] = f
	}
}

// TestEditArgs runs the layouts of testdata/edit-args, written like those of
// testdata/unit: under "want" stands every changed line, before and after, or
// "refused: CODE", or "unchanged".
func TestEditArgs(t *testing.T) {
	cases, err := filepath.Glob("testdata/edit-args/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files, links, want, m := unitTestCase(t, a)
			for p, content := range files {
				files[p] = editTestUnescape(content)
			}
			d := unitTestDisk("kubelet", files, links)
			edits, err := editTestArgs(m, d, nil)
			got := editTestShow(edits, err)
			if err == nil {
				editTestApply(t, d, edits)
				if again, err := editTestArgs(m, d, nil); err != nil || again != nil {
					t.Errorf("a second edit gives %v, %v", again, err)
				}
			}
			if os.Getenv("UPDATE") != "" {
				unitTestUpdate(t, file, a, got)
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("edits (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

// editTestShow renders edits as the test files spell them.
func editTestShow(edits []FileEdit, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("refused: %s\n%s\n", editTestCode(err), err)
	case len(edits) == 0:
		return "unchanged\n"
	}
	var b strings.Builder
	for _, e := range edits {
		fmt.Fprintln(&b, e.Path)
		old, now := strings.SplitAfter(string(e.Old), "\n"), strings.SplitAfter(string(e.New), "\n")
		for len(old) > 0 && len(now) > 0 && old[0] == now[0] {
			old, now = old[1:], now[1:]
		}
		for len(old) > 0 && len(now) > 0 && old[len(old)-1] == now[len(now)-1] {
			old, now = old[:len(old)-1], now[:len(now)-1]
		}
		for i, lines := range [][]string{old, now} {
			for _, line := range lines {
				b.WriteString([]string{"- ", "+ "}[i] + editTestEscape(line, "<CR><BOM><TAB>"))
			}
		}
	}
	return b.String()
}

// TestEditArgsRefuses holds the refusals that are about the disk rather than
// about a layout.
func TestEditArgsRefuses(t *testing.T) {
	const unit = "/etc/systemd/system/kubelet.service"
	files := map[string]string{unit: "[Service]\nEnvironmentFile=/etc/e\nExecStart=/usr/bin/kubelet $A\n", "/etc/e": "A=--v=2\n"}
	locked := func(string) bool { return false }
	d := unitTestDisk("kubelet", files, nil)
	if _, err := editTestArgs(Manager{}, d, locked); editTestCode(err) != EditNotEditable {
		t.Errorf("nothing is to be edited: %v", err)
	}
	delete(d.Files, "/etc/e")
	if _, err := (Manager{}).EditArgs("kubelet", d, editTestSetting, true, nil); editTestCode(err) != EditNeed || !slices.Equal(err.(*EditError).Need(), []string{"/etc/e"}) {
		t.Errorf("not looked at: %v", err)
	}
	d.Files["/etc/e"] = File{Path: "/etc/e", State: StateUnreadable}
	if _, err := (Manager{}).EditArgs("kubelet", d, editTestSetting, true, nil); editTestCode(err) != EditUnreadable {
		t.Errorf("unreadable: %v", err)
	}
	if _, err := (Manager{}).EditArgs("kubelet", d, editTestSetting, "a b", nil); editTestCode(err) != EditCannot {
		t.Errorf("a value with a blank: %v", err)
	}
}

// TestEditArgsAccepted takes flags that the table does not know from a running
// kubelet.
func TestEditArgsAccepted(t *testing.T) {
	files := map[string]string{"/etc/systemd/system/kubelet.service": "[Service]\nExecStart=/usr/bin/kubelet --vendor=1 --event-qps 3\n"}
	d := unitTestDisk("kubelet", files, nil)
	if _, err := editTestArgs(Manager{}, d, nil); editTestCode(err) != EditWouldNotStart {
		t.Errorf("an unknown flag: %v", err)
	}
	m := Manager{Kubelet: "v1.34.4", Accepted: []string{"--vendor=1"}}
	edits, err := editTestArgs(m, d, nil)
	if err != nil || len(edits) != 1 || !strings.Contains(string(edits[0].New), "--event-qps 3 --make-iptables-util-chains=true\n") {
		t.Errorf("an accepted flag: %v, %q", err, edits)
	}
	s := Setting{Flag: "event-qps", Key: "eventRecordQPS", Default: int64(50)}
	edits, err = m.EditArgs("kubelet", d, s, int64(5), nil)
	if err != nil || len(edits) != 1 || !strings.Contains(string(edits[0].New), "--vendor=1 --event-qps=5\n") {
		t.Errorf("a number in two words: %v, %q", err, edits)
	}
	if edits, err := m.EditArgs("kubelet", d, s, int64(3), nil); err != nil || edits != nil {
		t.Errorf("a number that is there: %v, %q", err, edits)
	}
}

// TestEditArgsHostile ends soon on a unit that is made to take long.
func TestEditArgsHostile(t *testing.T) {
	const unit = "/etc/systemd/system/kubelet.service"
	many := func(s string) string { return strings.Repeat(" "+s, 1500) }
	for _, exec := range []string{many("--make-iptables-util-chains=false"), many("$A"), many("--make-iptables-util-chains=${A}")} {
		d := unitTestDisk("kubelet", map[string]string{unit: "[Service]\nEnvironment=A=--v=2\nExecStart=/usr/bin/kubelet" + exec + "\n"}, nil)
		begun := time.Now()
		_, err := editTestArgs(Manager{}, d, nil)
		if err != nil {
			editTestError(t, err)
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("%.30s...: %v", exec, took)
		}
	}
}
