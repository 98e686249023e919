package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// writtenAt is when a unit file was written, the zero time for what is no file.
func (n *node) writtenAt(p string) time.Time {
	info, err := os.Stat(n.host(p))
	if err != nil || !info.Mode().IsRegular() {
		return time.Time{}
	}
	return info.ModTime()
}

// stale tells whether the unit's files are other ones than systemd has loaded,
// by name and time of change (unit_need_daemon_reload in systemd).
func (s *systemd) stale(u *unit) bool {
	if u.load == "masked" {
		return u.needReload
	}
	found := 0
	for _, p := range s.unitFiles(u) {
		when, had := u.loaded[p]
		if !had || !when.Equal(s.n.writtenAt(p)) {
			return true
		}
		found++
	}
	return found != len(u.loaded)
}

// unitFiles are the files on disk that make up the unit.
func (s *systemd) unitFiles(u *unit) []string {
	var out []string
	seen := map[string]bool{}
	add := func(p, base string) {
		if !seen[base] && s.n.exists(p) {
			seen[base] = true
			out = append(out, p)
		}
	}
	for _, dir := range unitDirs() {
		add(dir+"/"+u.name, u.name)
		names, _ := filepath.Glob(s.n.host(dir+"/"+u.name+".d") + "/*.conf")
		for _, name := range names {
			base := filepath.Base(name)
			add(dir+"/"+u.name+".d/"+base, base)
		}
	}
	return out
}

// loadService takes over the settings of the loaded files that concern starting
// again. A value systemd could not read leaves the one before in force.
func (u *unit) loadService() {
	if span, err := timeSpan(u.lastSetting("RestartSec")); err == nil {
		u.restartAfter = span
	}
	for _, name := range []string{"StartLimitInterval", "StartLimitIntervalSec"} {
		if span, err := timeSpan(u.lastSetting(name)); err == nil {
			u.limit.interval = span
		}
	}
	if burst, err := strconv.Atoi(u.lastSetting("StartLimitBurst")); err == nil {
		u.limit.burst = burst
	}
}

// settings are the values of a setting in the loaded files, in their order.
func (u *unit) settings(name string) []string {
	var out []string
	for _, p := range append([]string{u.fragment}, u.dropIns...) {
		text := strings.ReplaceAll(u.snapshot[p], "\\\n", " ")
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
				out = append(out, strings.TrimSpace(rest))
			}
		}
	}
	return out
}

func (u *unit) lastSetting(name string) string {
	all := u.settings(name)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// environmentFiles is EnvironmentFiles of systemctl show.
func (u *unit) environmentFiles() []string {
	var out []string
	for _, value := range u.settings("EnvironmentFile") {
		if value == "" {
			out = nil
			continue
		}
		p, optional := strings.CutPrefix(value, "-")
		out = append(out, p+" (ignore_errors="+yesNo(optional)+")")
	}
	return out
}

// environmentWords is Environment of systemctl show: the assignments in their
// order, a later one in the place of an earlier one of the same name.
func (u *unit) environmentWords() []string {
	var out []string
	for _, value := range u.settings("Environment") {
		if value == "" {
			out = nil
		}
		for _, word := range quotedFields(value) {
			name, _, _ := strings.Cut(word, "=")
			i := slices.IndexFunc(out, func(w string) bool { return strings.HasPrefix(w, name+"=") })
			if i < 0 {
				out = append(out, word)
			} else {
				out[i] = word
			}
		}
	}
	return out
}

// quotedFields splits at blanks outside quotes and takes the quotes away.
func quotedFields(text string) []string {
	var out []string
	var word strings.Builder
	quote, within := rune(0), false
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, within = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if within {
				out = append(out, word.String())
			}
			word.Reset()
			within = false
		default:
			word.WriteRune(r)
			within = true
		}
	}
	if within {
		out = append(out, word.String())
	}
	return out
}
