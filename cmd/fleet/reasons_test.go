package main

import (
	"os"
	"regexp"
	"testing"

	"fleet/audit"
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
