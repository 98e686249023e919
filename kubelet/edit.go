package kubelet

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// FileEdit is new content for one file that exists.
type FileEdit struct {
	Path     string
	Old, New []byte
}

// Codes of an EditError.
const (
	// EditCannot is a form that is not understood or cannot be changed safely.
	EditCannot = "cannot-edit"
	// EditNoVariable is a command line without a place for the flag: it expands
	// no variable that a file sets, and takes nothing itself.
	EditNoVariable = "no-variable"
	// EditNotEditable means that the only places are in files that may not be
	// changed.
	EditNotEditable = "not-editable"
	// EditWouldNotStart means that the unit or the kubelet would refuse to start
	// for a reason other than the setting.
	EditWouldNotStart = "would-not-start"
	// EditUnreadable means that a file the answer needs could not be read.
	EditUnreadable = "unreadable"
	// EditNeed means that files were not looked at which the answer needs.
	EditNeed = "not-looked-at"
)

// EditError is why a file cannot be edited.
type EditError struct {
	code, message string
	need          []string
}

// Code is a stable name of the reason, one of the constants above.
func (e *EditError) Code() string { return e.code }

// Error is one line.
func (e *EditError) Error() string { return e.message }

// Need lists the paths that were not looked at, as in Resolution and Unit; the
// caller may fetch them and ask again.
func (e *EditError) Need() []string { return e.need }

func editErrorf(code, format string, args ...any) *EditError {
	return &EditError{code: code, message: oneLine(fmt.Sprintf(format, args...))}
}

// change replaces a range of bytes.
type change struct {
	span
	text string
}

// applyChanges makes changes, false when they overlap or lie outside. Equal
// changes count once.
func applyChanges(data []byte, changes []change) ([]byte, bool) {
	changes = slices.Clone(changes)
	slices.SortStableFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	var out bytes.Buffer
	at := 0
	for _, c := range slices.Compact(changes) {
		if c.start < at || c.end < c.start || c.end > len(data) {
			return nil, false
		}
		out.Write(data[at:c.start])
		out.WriteString(c.text)
		at = c.end
	}
	out.Write(data[at:])
	return out.Bytes(), true
}

// editText is how a flag writes a value, and a configuration file unless it
// wants quotes around it.
func editText(value any) (string, bool) {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case string:
		return v, true
	}
	return "", false
}

// editPlain tells whether a text needs no quoting anywhere: in a unit, in an
// environment file or on a command line.
func editPlain(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		alnum := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !alnum && !strings.ContainsRune("_./:,@=+-", r)
	})
}
