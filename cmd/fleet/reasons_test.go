package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fleet/audit"
	"fleet/remediate"
	"fleet/remote"
	"fleet/runner"
)

// TestEachCodeHasItsHint holds the codes of remote against the catalogue: a
// new cause needs its meaning and its next step.
func TestEachCodeHasItsHint(t *testing.T) {
	source, err := os.ReadFile("../../remote/remote.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^\t(Code\w+)\s+Code = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 30 {
		t.Fatalf("found only %d codes in remote.go", len(codes))
	}
	for _, m := range codes {
		if meaning, hint := audit.Explain(m[2]); meaning == "" || hint == "" {
			t.Errorf("%s (%s): meaning %q, hint %q", m[1], m[2], meaning, hint)
		}
	}
	for _, err := range []error{&remote.Error{Reason: remote.CodeAuthRefused, Msg: "x"}, &runner.Error{}} {
		if _, ok := err.(interface{ Code() string }); !ok {
			t.Errorf("%T names no code", err)
		}
	}
}

// TestEachChangeHasItsHint holds the codes that changes may carry, wherever
// they are written, against the catalogue.
func TestEachChangeHasItsHint(t *testing.T) {
	inGo := regexp.MustCompile(`(?:refusal\(|[rR]eason:? ?:?=? ?|code :?= )"([a-z][a-z0-9-]+)"`)
	for _, source := range []struct {
		files string
		codes *regexp.Regexp
		least int
	}{
		{"../../remediate/*.go", inGo, 25},
		{"../../remediate/*.sh", regexp.MustCompile(`(?m)(?:fault|refuse) ([a-z][a-z0-9-]+)[ \n]`), 15},
		{"../../kubelet/edit.go", regexp.MustCompile(`(?m)^\tEdit\w+\s+= "([a-z-]+)"`), 6},
		{"../../configz/dynamic/errors.go", regexp.MustCompile(`(?m)^\tCode\w+\s+= "([a-z-]+)"`), 15},
		{"*.go", regexp.MustCompile(`(?:Reason: |w\.stop\(waves, |relapsed\(.*?, )"([a-z-]+)"`), 4},
	} {
		codes := codesIn(t, source.files, source.codes)
		if len(codes) < source.least {
			t.Errorf("found only %d codes in %s: %v", len(codes), source.files, codes)
		}
		for code := range codes {
			if code == "confirmed" { // the node's word for a change that is kept
				continue
			}
			if meaning, hint := remediate.Explain(code, "h", "r"); meaning == "" || hint == "" {
				t.Errorf("%s: %s has meaning %q and hint %q", source.files, code, meaning, hint)
			}
		}
	}
}

// codesIn is what the expression finds in the files, their tests left out.
func codesIn(t *testing.T, pattern string, code *regexp.Regexp) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(source), -1) {
			found[m[1]] = true
		}
	}
	return found
}

// TestChangeReasons: a code stands in the catalogue once, and its hint is one
// step that fits on a line.
func TestChangeReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range remediate.Reasons() {
		if seen[r.Code] {
			t.Errorf("%s stands there twice", r.Code)
		}
		seen[r.Code] = true
		for what, text := range map[string]string{"meaning": r.Meaning, "hint": r.Hint} {
			if text == "" || len(text) > 150 || strings.ContainsAny(text, "\n\t") || strings.Contains(text, ". ") || strings.HasSuffix(text, ".") || strings.Count(text, ";") > 1 {
				t.Errorf("%s: the %s is %q, want one line, one sentence", r.Code, what, text)
			}
		}
		if _, hint := remediate.Explain(r.Code, "HOST", "RUN"); strings.ContainsAny(hint, "{}") {
			t.Errorf("%s: the hint %q has a blank to be filled in", r.Code, hint)
		}
	}
}

// TestHelpListsEveryReason: fleet help reasons has both catalogues.
func TestHelpListsEveryReason(t *testing.T) {
	help := newReasons().Long
	findings, changes, _ := strings.Cut(help, "\nCHANGES\n")
	for _, r := range audit.Reasons() {
		if !strings.Contains(findings, "  "+r.Code+" ") {
			t.Errorf("%s is missing", r.Code)
		}
	}
	for _, r := range remediate.Reasons() {
		if !strings.Contains(changes, "  "+r.Code+" ") || !strings.Contains(changes, r.Meaning) {
			t.Errorf("%s is missing", r.Code)
		}
	}
}
