package inventory

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Every check in this file returns what is wrong with a value, "" for nothing.
// The text follows the quoted value in a message.

var (
	// hostName is what a resolver and a file name both take: the letters of
	// RFC 1123 and the underscore that some sites use.
	hostName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	zoneName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	labelKey = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]*$`)
)

const (
	maxHostName   = 253  // RFC 1035, section 2.3.4, without the final dot
	maxText       = 4096 // any other value, as PATH_MAX
	maxLabels     = 1000 // of one host, group or defaults
	groupReserved = "all"
)

// checkHost judges a host name or address: a name or a bare IP address.
func checkHost(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxHostName && !strings.Contains(s, ":"):
		return fmt.Sprintf("is longer than %d bytes", maxHostName)
	case strings.Contains(s, ":"):
		return checkIPv6(s)
	case s[0] == '-':
		return "begins with a dash"
	case !hostName.MatchString(s):
		return "is neither a host name nor an IP address"
	case looksLikeIPv4(s):
		if _, err := netip.ParseAddr(s); err != nil {
			return "is not an IPv4 address"
		}
	}
	return ""
}

func checkIPv6(s string) string {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" && !zoneName.MatchString(addr.Zone()) {
		return "is neither a host name nor an IP address"
	}
	return ""
}

// looksLikeIPv4 reports whether every label of a name is a number, so that a
// resolver would take it for an address.
func looksLikeIPv4(s string) bool {
	return strings.Contains(s, ".") && allDigits(strings.ReplaceAll(s, ".", ""))
}

func checkGroup(s string) string {
	switch {
	case len(s) > maxHostName:
		return fmt.Sprintf("is longer than %d bytes", maxHostName)
	case !hostName.MatchString(s):
		return "is not a group name (letters, digits, dots, dashes and underscores)"
	}
	return ""
}

func checkLabelKey(s string) string {
	switch {
	case len(s) > maxText:
		return fmt.Sprintf("is longer than %d bytes", maxText)
	case !labelKey.MatchString(s):
		return "is not a label key (letters, digits, dots, dashes, slashes and underscores)"
	}
	return ""
}

// checkPrintable refuses what would break a line of a report or a log.
func checkPrintable(s string) string {
	switch {
	case len(s) > maxText:
		return fmt.Sprintf("is longer than %d bytes", maxText)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "has a control character or a line break in it"
	}
	return ""
}

// checkUser judges an account name. Directory accounts may hold @ and \.
func checkUser(s string) string {
	switch {
	case s == "":
		return "is empty"
	case checkPrintable(s) != "":
		return checkPrintable(s)
	case s[0] == '-':
		return "begins with a dash"
	case strings.ContainsFunc(s, unicode.IsSpace):
		return "has a space in it"
	}
	return ""
}

func checkIdentity(s string) string {
	if s == "" {
		return "is empty"
	}
	return checkPrintable(s)
}

func checkBecome(s string) string {
	if Become(s) != BecomeSudo && Become(s) != BecomeNone {
		return "is not a way to become root; write sudo or none"
	}
	return ""
}

// parsePort reads a port in plain decimal: YAML would make 18 of 022.
func parsePort(s string) (int, string) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != s {
		return 0, "is not a port; write a plain number from 1 to 65535"
	}
	return n, ""
}

func checkPort(s string) string {
	_, problem := parsePort(s)
	return problem
}

// target is [user@]host[:port] taken apart. The host may still hold ranges;
// an IPv6 address has lost its brackets.
type target struct{ user, host, port string }

// splitTarget takes [user@]host[:port] apart and checks user and port. The
// host is checked by the caller, after its ranges are expanded. The user ends
// at the last @, as in ssh(1).
func splitTarget(s string) (target, string) {
	var t target
	rest := s
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		t.user, rest = s[:at], s[at+1:]
		if problem := checkUser(t.user); problem != "" {
			return t, "has a user that " + problem
		}
	}
	tail := ""
	if inner, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(inner, "[") && checkIPv6(inner[1:]) == "" {
		t.host, tail = inner[1:], after
	} else if netipValid(rest) {
		t.host = rest
	} else {
		colon := strings.LastIndexByte(rest, ':')
		if colon < strings.LastIndexAny(rest, "[]") {
			colon = -1
		}
		if colon < 0 || strings.LastIndexByte(rest, '[') > strings.LastIndexByte(rest, ']') {
			colon = len(rest) // no port, or a bracket that Expand will refuse
		}
		t.host, tail = rest[:colon], rest[colon:]
	}
	switch {
	case t.host == "":
		return t, "has no host"
	case tail == "":
		return t, ""
	case tail[0] != ':':
		return t, "has text after the bracket that is not :port"
	}
	t.port = tail[1:]
	if problem := checkPort(t.port); problem != "" {
		return t, fmt.Sprintf("has %q, which %s", clip(t.port), problem)
	}
	return t, ""
}

func netipValid(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// parseJump checks a jump host, [user@]host[:port] or none, and gives an IPv6
// address its brackets so that the port is never in doubt.
func parseJump(s string) (string, string) {
	if s == "none" {
		return s, ""
	}
	if strings.Contains(s, ",") {
		return "", "names several jump hosts; name the last one here and give it its own ProxyJump in ssh_config"
	}
	if strings.Contains(s, "://") {
		return "", "is a URI; write [user@]host[:port]"
	}
	t, problem := splitTarget(s)
	if problem == "" {
		if problem = checkHost(t.host); problem != "" {
			problem = fmt.Sprintf("has the host %q, which %s", clip(t.host), problem)
		}
	}
	if problem != "" {
		return "", problem + "; write [user@]host[:port] or none"
	}
	return t.String(), ""
}

func (t target) String() string {
	s := t.host
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	if t.user != "" {
		s = t.user + "@" + s
	}
	if t.port != "" {
		s += ":" + t.port
	}
	return s
}

// canonicalAddress is the spelling of an address by which two are compared.
func canonicalAddress(s string) string {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}
