package kubelet

import "strings"

// Why a specifier cannot be resolved, in the words of the C library.
const (
	unitBadSpecifier = "Invalid slot"
	unitNameTooLong  = "File name too long"
	unitInvalid      = "Invalid argument"
)

// Limits of the length after specifiers, in bytes (src/core/unit-printf.h).
const (
	unitPathMax = 4096 - 1
	unitEnvMax  = 2 << 20 // sysconf(_SC_ARG_MAX) with an 8 MiB stack
)

// unitSpecifiers resolves the %-specifiers in t as specifier_printf() of
// systemd's src/shared/specifier.c does. A letter or digit that is no
// specifier is an error, any other character keeps its percent sign. failure
// is "" on success.
func (u *Unit) unitSpecifiers(t unitText, limit int) (out unitText, failure string) {
	out = unitText{begin: t.begin, file: t.file}
	for i := 0; i < len(t.b); i++ {
		c, at := t.b[i], t.at[i]
		if c != '%' || i+1 == len(t.b) {
			out.put(c, at)
		} else {
			i++
			v, failure := u.specifier(t.b[i])
			if failure != "" {
				return unitText{}, failure
			}
			out.putString(v, at.to(t.at[i]))
		}
		if len(out.b) > limit {
			return unitText{}, unitNameTooLong
		}
	}
	return out, ""
}

// specifier resolves one specifier. What only the running system knows stays
// as it is written, with a warning.
func (u *Unit) specifier(c byte) (value, failure string) {
	if v, ok := u.manager.Specifiers[c]; ok {
		return v, ""
	}
	if v, known := unitFixedSpecifier(c); known {
		return v, ""
	}
	switch {
	case strings.IndexByte("iIjJnNpPfd", c) >= 0:
		return unitNameSpecifier(c, u.ID)
	case strings.IndexByte("aAbBHlqmMosvwWcrRyY", c) >= 0:
		u.warn("the value of %" + string(c) + " is known on the node only; left as it is")
		return "%" + string(c), ""
	case c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		return "", unitBadSpecifier
	}
	return string([]byte{'%', c}), ""
}

// unitFixedSpecifier knows the specifiers that are the same under every system
// manager (systemd.unit(5), SPECIFIERS).
func unitFixedSpecifier(c byte) (value string, known bool) {
	switch c {
	case '%':
		return "%", true
	case 'C':
		return "/var/cache", true
	case 'D':
		return "/usr/share", true
	case 'E':
		return "/etc", true
	case 'L':
		return "/var/log", true
	case 'S':
		return "/var/lib", true
	case 't':
		return "/run", true
	case 'T':
		return "/tmp", true
	case 'V':
		return "/var/tmp", true
	case 'g', 'u':
		return "root", true
	case 'G', 'U':
		return "0", true
	case 'h':
		return "/root", true
	}
	return "", false
}

// unitNameSpecifier knows the specifiers that are made of the unit's name
// (src/core/unit-printf.c).
func unitNameSpecifier(c byte, id string) (value, failure string) {
	prefix, instance := unitPrefix(id), unitInstance(id)
	last := prefix[strings.LastIndexByte(prefix, '-')+1:]
	switch c {
	case 'n':
		return id, ""
	case 'N':
		return strings.TrimSuffix(id, unitSuffix), ""
	case 'p':
		return prefix, ""
	case 'i':
		return instance, ""
	case 'j':
		return last, ""
	case 'd':
		return "/run/credentials/" + id, ""
	case 'P':
		return unitUnescapeName(prefix)
	case 'I':
		return unitUnescapeName(instance)
	case 'J':
		return unitUnescapeName(last)
	}
	if instance != "" {
		return unitUnescapePath(instance)
	}
	return unitUnescapePath(prefix)
}

// unitUnescapeName undoes systemd-escape: - is a slash, \xNN a byte.
func unitUnescapeName(s string) (value, failure string) {
	var out strings.Builder
	t := unitText{b: []byte(s)}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '-':
			out.WriteByte('/')
		case s[i] != '\\':
			out.WriteByte(s[i])
		default:
			v, ok := unitDigits(t, i+2, 2, 16)
			if t.char(i+1) != 'x' || !ok {
				return "", unitInvalid
			}
			out.WriteByte(byte(v))
			i += 3
		}
	}
	return out.String(), ""
}

func unitUnescapePath(s string) (value, failure string) {
	if s == "-" {
		return "/", ""
	}
	v, failure := unitUnescapeName(s)
	if failure != "" || v == "" || strings.HasPrefix(v, "/") || strings.HasSuffix(v, "/") || !unitPathNormalized("/"+v) {
		return "", unitInvalid
	}
	return "/" + v, ""
}

// unitPathSimplify is path_simplify() of systemd: no empty and no "."
// components.
func unitPathSimplify(p string) string {
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	joined := strings.Join(parts, "/")
	if strings.HasPrefix(p, "/") {
		return "/" + joined
	}
	if joined == "" && p != "" {
		return "."
	}
	return joined
}

// unitPathValid is path_is_valid() of systemd.
func unitPathValid(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if len(part) > 255 {
			return false
		}
	}
	return p != "" && len(p) <= unitPathMax
}

// unitPathNormalized is path_is_normalized() of systemd.
func unitPathNormalized(p string) bool {
	for part := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		if part == ".." || part == "." || part == "" && p != "/" {
			return false
		}
	}
	return unitPathValid(p)
}

// unitAbsolutePath checks a path as path_simplify_and_warn() of systemd does
// with PATH_CHECK_ABSOLUTE; failure is "" for a good one.
func unitAbsolutePath(key, p string) (simple, failure string) {
	simple = unitPathSimplify(p)
	switch {
	case !unitUTF8([]byte(p)):
		return "", "String is not UTF-8 clean"
	case !strings.HasPrefix(p, "/"):
		return "", key + "= path is not absolute: " + unitShow(p)
	case !unitPathValid(simple):
		return "", key + "= path has invalid length"
	case !unitPathNormalized(simple):
		return "", key + "= path is not normalized: " + unitShow(p)
	}
	return simple, ""
}
