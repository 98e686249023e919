package audit

import "strings"

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
