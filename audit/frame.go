package audit

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// section is one part of the probe's answer.
type section struct {
	name string
	args string // the rest of the header line, as sent
	body []byte
}

// errTruncated says that an answer broke off before its last section.
var errTruncated = errors.New("the answer broke off before its end")

// parseFrame splits the probe's answer into its sections. The nonce frames
// them: it is made for each run and never reaches the node's process list, so
// that nothing a file holds can be taken for a header. Whatever precedes the
// first header (a banner, a profile script's greeting) is dropped.
func parseFrame(answer []byte, nonce string) ([]section, error) {
	mark := []byte("\n--" + nonce + " ")
	if bytes.HasPrefix(answer, mark[1:]) {
		answer = append([]byte("\n"), answer...)
	}
	parts := bytes.Split(answer, mark)
	if len(parts) < 2 {
		return nil, errors.New("the answer holds no section")
	}
	var out []section
	for _, part := range parts[1:] {
		header, body, ok := bytes.Cut(part, []byte("\n"))
		if !ok {
			return nil, errTruncated
		}
		name, args, _ := strings.Cut(string(header), " ")
		out = append(out, section{name: name, args: args, body: body})
	}
	if first := out[0]; first.name != "probe" || first.args != "1" {
		return nil, fmt.Errorf("the answer begins with %q, not with the probe's header", clip(first.name+" "+first.args, 40))
	}
	if out[len(out)-1].name != "end" {
		return nil, errTruncated
	}
	return out[1 : len(out)-1], nil
}

// clip shortens s to at most n bytes for use in a message.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}

// keyValues reads lines "KEY VALUE" (or "KEY=VALUE" with sep "=").
func keyValues(body []byte, sep string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(body)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), sep)
		if ok {
			out[key] = value
		}
	}
	return out
}
