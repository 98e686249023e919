package kubelet

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// editTestValue is what the tests set.
const editTestValue = true

// editTestCode is the code of an error, "" for none.
func editTestCode(err error) string {
	var e *EditError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code()
}

// TestEditConfigForms holds the edit of each form of file in
// testdata/edit-config to its exact bytes.
func TestEditConfigForms(t *testing.T) {
	cases, err := filepath.Glob("testdata/edit-config/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { editTestFile(t, file, a) })
	}
}

// editTestFile runs one file of cases: "drop-in" in its heading takes
// EditDropIn, "key K" another key. Under a name stands the content and under
// the "want" behind it the result or "refused: CODE".
func editTestFile(t *testing.T, file string, a *txtar.Archive) {
	edit, key := EditConfig, "makeIPTablesUtilChains"
	for line := range strings.Lines(string(a.Comment)) {
		switch f := strings.Fields(line); {
		case len(f) == 1 && f[0] == "drop-in":
			edit = EditDropIn
		case len(f) == 2 && f[0] == "key":
			key = f[1]
		}
	}
	for i := 0; i+1 < len(a.Files); i += 2 {
		in := []byte(editTestUnescape(string(a.Files[i].Data)))
		got, err := edit("/k", in, key, editTestValue)
		if err == nil {
			editTestTwice(t, edit, got, key)
		}
		show := editTestEscape(string(got), string(a.Files[i].Data))
		if err != nil {
			show = "refused: " + editTestCode(err) + "\n"
		}
		if os.Getenv("UPDATE") != "" {
			a.Files[i+1].Data = []byte(show)
		} else if diff := cmp.Diff(string(a.Files[i+1].Data), show); diff != "" {
			t.Errorf("%s (-want +got):\n%s%v", a.Files[i].Name, diff, err)
		}
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// editTestTwice checks that a second edit changes nothing.
func editTestTwice(t *testing.T, edit func(string, []byte, string, any) ([]byte, error), got []byte, key string) {
	t.Helper()
	again, err := edit("/k", got, key, editTestValue)
	if err != nil || string(again) != string(got) {
		t.Errorf("a second edit of %q gives %q, %v", got, again, err)
	}
}

// editTestMarks are how the files of cases write what an editor would hide, and
// a missing last newline.
var editTestMarks = []string{`<CR>`, "\r", `<BOM>`, "\ufeff", `<TAB>`, "\t", "<EOF>\n", ""}

func editTestUnescape(s string) string { return strings.NewReplacer(editTestMarks...).Replace(s) }

func editTestEscape(s, in string) string {
	if !strings.HasSuffix(s, "\n") {
		s += "<EOF>\n"
	}
	for i := 0; i < 6; i += 2 {
		if strings.Contains(in, editTestMarks[i]) {
			s = strings.ReplaceAll(s, editTestMarks[i+1], editTestMarks[i])
		}
	}
	return s
}
