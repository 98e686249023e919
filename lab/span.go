package lab

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// spanUnits are the units of a time span (systemd.time(7)) that units of a node
// are likely to use.
func spanUnits() map[string]time.Duration {
	return map[string]time.Duration{
		"": time.Second, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "sec": time.Second,
		"min": time.Minute, "m": time.Minute, "h": time.Hour, "hr": time.Hour, "d": 24 * time.Hour,
	}
}

// timeSpan reads a time span as systemd does: numbers with units, a bare number
// being seconds.
func timeSpan(text string) (time.Duration, error) {
	if text == "infinity" {
		return Never, nil
	}
	units, total := spanUnits(), time.Duration(0)
	rest := strings.ReplaceAll(strings.TrimSpace(text), " ", "")
	for first := true; first || rest != ""; first = false {
		i := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if i < 0 {
			i = len(rest)
		}
		number, err := strconv.ParseFloat(rest[:i], 64)
		if err != nil {
			return 0, fmt.Errorf("read the time span %q: want numbers with units", text)
		}
		rest = rest[i:]
		j := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if j < 0 {
			j = len(rest)
		}
		unit, known := units[rest[:j]]
		if !known {
			return 0, fmt.Errorf("read the time span %q: %q is not simulated as a unit", text, rest[:j])
		}
		total += time.Duration(number * float64(unit))
		rest = rest[j:]
	}
	return total, nil
}

// showSpan is a time span as systemctl show prints it.
func showSpan(d time.Duration) string {
	switch {
	case d == Never:
		return "infinity"
	case d == 0:
		return "0"
	}
	var parts []string
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}} {
		if n := d / u.size; n > 0 {
			parts = append(parts, fmt.Sprintf("%d%s", n, u.name))
			d -= n * u.size
		}
	}
	return strings.Join(parts, " ")
}
