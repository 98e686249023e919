// Package frame knows how a script that ran on a node answers: in sections
// framed by a nonce. It refuses to know what the sections mean.
package frame

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Section is one part of an answer.
type Section struct {
	Name string
	Args string // the rest of the header line, as sent
	Body []byte
}

// ErrTruncated says that an answer broke off before its last section.
var ErrTruncated = errors.New("the answer broke off before its end")

// Parse splits an answer into its sections. The first header must be head,
// "NAME ARGUMENTS", the last "end"; neither is returned. The nonce frames
// them: it is made for each run and never reaches the node's process list, so
// that nothing a file holds can be taken for a header. Whatever precedes the
// first header (a banner, a profile script's greeting) is dropped.
func Parse(answer []byte, nonce, head string) ([]Section, error) {
	mark := []byte("\n--" + nonce + " ")
	if bytes.HasPrefix(answer, mark[1:]) {
		answer = append([]byte("\n"), answer...)
	}
	parts := bytes.Split(answer, mark)
	if len(parts) < 2 {
		return nil, errors.New("the answer holds no section")
	}
	var out []Section
	for _, part := range parts[1:] {
		header, body, ok := bytes.Cut(part, []byte("\n"))
		if !ok {
			return nil, ErrTruncated
		}
		name, args, _ := strings.Cut(string(header), " ")
		out = append(out, Section{Name: name, Args: args, Body: body})
	}
	if first := strings.TrimSpace(out[0].Name + " " + out[0].Args); first != head {
		return nil, fmt.Errorf("the answer begins with %.40q, not with its header", first)
	}
	if out[len(out)-1].Name != "end" {
		return nil, ErrTruncated
	}
	return out[1 : len(out)-1], nil
}

// Quote makes one word of s for sh.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
