package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Limits of reading ssh_config: the depth of Include is ssh(1)'s
// (readconf.c, READCONF_MAX_DEPTH), the others keep a wrong path from filling
// memory.
const (
	configMaxDepth = 16
	configMaxSize  = 1 << 20
	configMaxFiles = 1000
)

// systemSSHDir holds the system's ssh_config and what it includes.
const systemSSHDir = "/etc/ssh"

// configLine is one directive. Included files hang below their Include line.
type configLine struct {
	file    string
	line    int
	keyword string   // lower case
	args    []string // split as ssh(1) splits them
	rest    string   // the same unsplit, for the directives that want it
	err     error    // the line cannot be split
	include []configFile
}

func (l configLine) pos() string { return fmt.Sprintf("%s:%d", l.file, l.line) }

type configFile struct {
	path  string
	lines []configLine
}

// sshConfig is the ssh_config of a run: the files in the order in which they
// are heard. The first value wins.
type sshConfig struct {
	files []configFile
}

// configReader reads files and what they include.
type configReader struct {
	home  string
	count int
}

// loadSSHConfig reads ~/.ssh/config and /etc/ssh/ssh_config, or the one file
// that was named. Only the named one must exist.
func loadSSHConfig(o Options) (*sshConfig, error) {
	r := &configReader{home: o.Home}
	switch o.SSHConfig {
	case "none":
		return &sshConfig{}, nil
	case "":
		return r.readDefaults()
	}
	path := expandHome(o.SSHConfig, o.Home)
	lines, err := r.read(path, true, 0)
	if err != nil {
		return nil, err
	}
	return &sshConfig{files: []configFile{{path, lines}}}, nil
}

func (r *configReader) readDefaults() (*sshConfig, error) {
	c := new(sshConfig)
	paths := []string{filepath.Join(systemSSHDir, "ssh_config")}
	if r.home != "" {
		paths = append([]string{filepath.Join(r.home, ".ssh", "config")}, paths...)
	}
	for i, path := range paths {
		lines, err := r.read(path, i < len(paths)-1, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, configFile{path, lines})
	}
	return c, nil
}

func (r *configReader) read(path string, user bool, depth int) ([]configLine, error) {
	if r.count++; r.count > configMaxFiles {
		return nil, fmt.Errorf("%s: more than %d files are included", path, configMaxFiles)
	}
	data, err := readLimited(path, configMaxSize)
	if err != nil {
		return nil, err
	}
	lines := parseConfig(path, data)
	for i := range lines {
		if lines[i].keyword != "include" || lines[i].err != nil {
			continue
		}
		if lines[i].include, err = r.include(lines[i], user, depth+1); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// include reads the files an Include line names. Relative names are below
// ~/.ssh, or /etc/ssh in the system's file; what does not exist is skipped.
func (r *configReader) include(l configLine, user bool, depth int) ([]configFile, error) {
	if depth > configMaxDepth {
		return nil, fmt.Errorf("%s: Include is nested more than %d deep", l.pos(), configMaxDepth)
	}
	var out []configFile
	for _, arg := range l.args {
		pattern := expandHome(arg, r.home)
		if !filepath.IsAbs(pattern) {
			dir := systemSSHDir
			if user {
				dir = filepath.Join(r.home, ".ssh")
			}
			pattern = filepath.Join(dir, pattern)
		}
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: Include %s: %w", l.pos(), arg, err)
		}
		for _, path := range paths {
			lines, err := r.read(path, user, depth)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: Include: %w", l.pos(), err)
			}
			out = append(out, configFile{path, lines})
		}
	}
	return out, nil
}

func expandHome(path, home string) string {
	if path == "~" || strings.HasPrefix(path, "~/") {
		return filepath.Join(home, path[1:])
	}
	return path
}

// parseConfig splits a file into directives (readconf.c,
// process_config_line_depth). It never fails; a line that ssh(1) would refuse
// carries its error, so that only the hosts it concerns suffer.
func parseConfig(file string, data []byte) []configLine {
	var out []configLine
	for i, raw := range bytes.Split(data, []byte("\n")) {
		text := strings.TrimRight(string(raw), " \t\r\f")
		keyword, rest := splitKeyword(strings.TrimLeft(text, " \t\r"))
		if keyword == "" || keyword[0] == '#' {
			continue
		}
		l := configLine{file: file, line: i + 1, keyword: strings.ToLower(keyword), rest: rest}
		l.args, l.err = splitArgs(rest)
		if l.err == nil && len(l.args) == 0 {
			l.err = errors.New("argument missing")
		}
		out = append(out, l)
	}
	return out
}

// splitKeyword takes the first word of a line; blanks or one = end it
// (misc.c, strdelim).
func splitKeyword(s string) (keyword, rest string) {
	const blank = " \t\r\n"
	if q, ok := strings.CutPrefix(s, `"`); ok {
		keyword, rest, ok = strings.Cut(q, `"`)
		if !ok {
			return "", ""
		}
		return keyword, strings.TrimLeft(rest, blank)
	}
	i := strings.IndexAny(s, blank+`"=`)
	if i < 0 {
		return s, ""
	}
	keyword, rest = s[:i], strings.TrimLeft(s[i:], blank)
	if strings.HasPrefix(rest, "=") {
		rest = strings.TrimLeft(rest[1:], blank)
	}
	return keyword, rest
}

// splitArgs splits the rest of a line into words with quotes and escapes; a #
// that begins a word begins a comment (misc.c, argv_split).
func splitArgs(s string) ([]string, error) {
	var args []string
	for i := 0; i < len(s); {
		if s[i] == ' ' || s[i] == '\t' {
			i++
			continue
		}
		if s[i] == '#' {
			break
		}
		word, next, ok := splitWord(s, i)
		if !ok {
			return nil, errors.New("a quote is not closed")
		}
		args, i = append(args, word), next
	}
	return args, nil
}

func splitWord(s string, i int) (word string, next int, ok bool) {
	var b strings.Builder
	var quote byte
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && escapable(s[i+1], quote):
			i++
			b.WriteByte(s[i])
		case quote == 0 && (c == ' ' || c == '\t'):
			return b.String(), i, true
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), i, quote == 0
}

func escapable(c, quote byte) bool {
	return c == '\'' || c == '"' || c == '\\' || quote == 0 && c == ' '
}
