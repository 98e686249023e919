package audit

import (
	"regexp"
	"strings"

	"fleet/kubelet"
)

// exhibitLimit bounds one exhibit in the report, in bytes.
const exhibitLimit = 64 << 10

// exhibits are the benchmark's own audit commands with what they gave: the
// process list as it was printed, and the file the kubelet was told to read.
// They are shown to a reader; no verdict is made from them.
func (c Control) exhibits(f Facts, running reading) []Evidence {
	out := []Evidence{}
	for _, e := range f.Evidence {
		e.Stdout = clip(Mask(e.Stdout), exhibitLimit)
		out = append(out, e)
	}
	if running.Config == "" {
		return out
	}
	cat := Evidence{Command: "cat " + running.Config}
	switch file := f.Disk.Files[running.Config]; file.State {
	case kubelet.StatePresent, kubelet.StateTooLarge:
		cat.Stdout = clip(Mask(string(file.Data)), exhibitLimit)
	default:
		cat.Exit, cat.Stdout = 1, "("+string(file.State)+")"
	}
	return append(out, cat)
}

// The shapes in which secrets stand in command lines and configuration files.
var (
	secretPair = regexp.MustCompile(`(?i)([\w.-]*(?:password|passwd|secret|token|api[-_]?key|private[-_]?key|credential)[\w.-]*["']?[ \t]*[:=][ \t]*\[?[ \t]*)("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,;\]}]+)`)
	secretAuth = regexp.MustCompile(`(?i)\b(bearer|basic)([ \t]+)[A-Za-z0-9._~+/=-]{8,}`)
	secretURL  = regexp.MustCompile(`://[^/\s:@"']*:[^/\s@"']+@`)
	secretKey  = regexp.MustCompile(`(?s)-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`)
	harmless   = regexp.MustCompile(`(?i)^["']?(?:true|false|null|[0-9]+(?:ns|us|ms|s|m|h)?|(?:[0-9]+(?:ns|us|ms|s|m|h))+|/[^\s"']*|)["']?$`)
)

// masked stands in for a secret.
const masked = "***"

// Mask replaces what looks like a secret: the value behind a name such as
// password, token or secret, authorization headers, passwords in URLs and
// private keys. Booleans, numbers, durations and absolute paths are left, as
// the kubelet has flags and keys of such names that carry only those.
func Mask(s string) string {
	s = secretKey.ReplaceAllString(s, "-----BEGIN $1-----"+masked)
	s = secretURL.ReplaceAllString(s, "://"+masked+"@")
	s = secretPair.ReplaceAllStringFunc(s, func(pair string) string {
		m := secretPair.FindStringSubmatch(pair)
		if harmless.MatchString(m[2]) {
			return pair
		}
		switch m[2][0] {
		case '"', '\'':
			return m[1] + m[2][:1] + masked + m[2][:1]
		}
		return m[1] + masked
	})
	return secretAuth.ReplaceAllString(s, "$1$2"+masked)
}

// sourceText bounds and masks the text of a source: a line of an environment
// file holds every flag of the kubelet.
func sourceText(s kubelet.Source) kubelet.Source {
	s.Text = clip(Mask(strings.TrimSpace(s.Text)), 400)
	return s
}
