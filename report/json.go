package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// WriteJSON writes r as one indented document of SchemaName. Invalid UTF-8
// becomes U+FFFD, and characters that act on a terminal are written as \u
// escapes, so that the document can be shown as it is. Options are ignored.
func WriteJSON(w io.Writer, r Report, _ TextOptions) error {
	return writeValue(w, r.published(), "  ")
}

// Header is the first message of the line-delimited form.
type Header struct {
	Schema  string  `json:"schema"` // SchemaName
	Run     Run     `json:"run"`
	Control Control `json:"control"`
}

// Trailer is the last message of the line-delimited form. A stream without it
// was cut short.
type Trailer struct {
	Summary Summary `json:"summary"`
}

// WriteNDJSON writes r as lines of JSON, one message each: a Header, then
// every host as it stands in the hosts array of the document form, then a
// Trailer. The messages are told apart by their key: "schema", "name" or
// "summary". Options are ignored.
func WriteNDJSON(w io.Writer, r Report, _ TextOptions) error {
	r = r.published()
	if err := writeValue(w, Header{r.Schema, r.Run, r.Control}, ""); err != nil {
		return err
	}
	for _, h := range r.Hosts {
		if err := writeValue(w, h, ""); err != nil {
			return err
		}
	}
	return writeValue(w, Trailer{r.Summary}, "")
}

func writeValue(w io.Writer, v any, indent string) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("cannot write the report as JSON: %w", err)
	}
	_, err := w.Write(escapeUnsafe(buf.Bytes()))
	return err
}

// escapeUnsafe replaces what encoding/json leaves alone and a terminal acts
// on: DEL, the C1 controls, bidirectional and other invisible characters. They
// can only stand inside JSON strings, where \u is the same character.
func escapeUnsafe(doc []byte) []byte {
	out := make([]byte, 0, len(doc)+len(doc)/16)
	for i := 0; i < len(doc); {
		if c := doc[i]; c < 0x7f {
			out = append(out, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(doc[i:])
		if printable(r) {
			out = append(out, doc[i:i+n]...)
		} else {
			for _, u := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, `\u%04x`, u)
			}
		}
		i += n
	}
	return out
}
