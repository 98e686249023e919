package frame

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseFrame(t *testing.T) {
	const n = "NONCE"
	for _, c := range []struct {
		name, answer string
		want         string // NAME(ARGS)=BODY, parted by blanks
		err          string
	}{
		{"whole", "\n--NONCE probe 1\n\n--NONCE file present /a\n-\nx\n\n--NONCE end\n", `file(present /a)="-\nx\n"`, ""},
		{"no line feed first", "--NONCE probe 1\n\n--NONCE end\n", "", ""},
		{"greeting before", "hello\n\n--NONCE probe 1\n\n--NONCE end\n", "", ""},
		{"body without a last line feed", "\n--NONCE probe 1\n\n--NONCE a\nxy\n--NONCE end\n", `a()="xy"`, ""},
		{"another nonce in a body", "\n--NONCE probe 1\n\n--NONCE a\n\n--OTHER end\n\n--NONCE end\n", `a()="\n--OTHER end\n"`, ""},
		{"nothing", "", "", "holds no section"},
		{"something else", "sh: not found\n", "", "holds no section"},
		{"broke off", "\n--NONCE probe 1\n\n--NONCE a\nx", "", "broke off"},
		{"broke off in a header", "\n--NONCE probe 1\n\n--NONCE en", "", "broke off"},
		{"another version", "\n--NONCE probe 2\n\n--NONCE end\n", "", `begins with "probe 2"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse([]byte(c.answer), n, "probe 1")
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			var words []string
			for _, s := range got {
				words = append(words, fmt.Sprintf("%s(%s)=%q", s.Name, s.Args, s.Body))
			}
			if text := strings.Join(words, " "); text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
}
