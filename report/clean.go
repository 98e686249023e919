package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest texts, in characters of the original, that the text formats show.
// What is longer is cut, and says so.
const (
	maxName    = 253     // the longest DNS name
	maxPlace   = 200     // a path, a version, a unit
	maxMessage = 400     // a message, a hint, a note
	maxRange   = 1 << 16 // a range of host names, which must not be cut
)

// maxMarks is how many combining marks may follow one character; more of them
// smear over the neighbouring lines of a terminal.
const maxMarks = 3

// Clean makes a name or a value from outside safe and readable as a part of one
// line on a terminal, as the text formats do.
func Clean(s string) string { return clean(s, maxMessage) }

// clean makes s safe and readable as a part of one line on a terminal.
// Whatever moves the cursor, hides, reorders or starts a line comes out as a
// visible escape (\n, \x1b, \u202e); bytes that are not UTF-8 as \xNN. Blanks
// are trimmed and runs of them become one, so that a value can never look like
// a further column. At most limit characters are shown.
func clean(s string, limit int) string {
	return escape(strings.TrimSpace(s), limit, false)
}

// cleanLine is clean for a line that has its own layout, such as one of a
// diff: blanks stay as they are.
func cleanLine(s string, limit int) string { return escape(s, limit, true) }

func escape(s string, limit int, blanks bool) string {
	var b strings.Builder
	shown, marks, blank := 0, 0, false
	for i, w := 0, 0; i < len(s); i += w {
		if shown == limit {
			fmt.Fprintf(&b, "...(%d bytes in all)", len(s))
			break
		}
		var r rune
		r, w = utf8.DecodeRuneInString(s[i:])
		if r == ' ' && blank && !blanks {
			continue
		}
		blank = r == ' '
		shown++
		marks = countMarks(r, marks)
		switch {
		case r == utf8.RuneError && w == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case printable(r) && marks <= maxMarks:
			b.WriteRune(r)
		default:
			b.WriteString(escaped(r))
		}
	}
	return b.String()
}

func countMarks(r rune, before int) int {
	if unicode.Is(unicode.M, r) {
		return before + 1
	}
	return 0
}

// escaped is the visible form of a character, in Go's spelling.
func escaped(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// printable reports whether r shows as itself on a terminal and leaves its
// neighbours where they are: not a control, format or unassigned character,
// not invisible, not of a right-to-left script.
func printable(r rune) bool {
	if r < 0x80 {
		return r >= ' ' && r != 0x7f
	}
	return unicode.IsPrint(r) && !unicode.In(r, invisible, rightToLeft)
}

// invisible holds what IsPrint accepts although it shows nothing: the letters
// and marks of Default_Ignorable_Code_Point (UAX 44) and the empty Braille
// cell.
var invisible = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034f, Hi: 0x034f, Stride: 1},
		{Lo: 0x115f, Hi: 0x1160, Stride: 1},
		{Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x180b, Hi: 0x180f, Stride: 1},
		{Lo: 0x2800, Hi: 0x2800, Stride: 1},
		{Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1},
		{Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1},
	},
}

// rightToLeft holds the blocks whose characters are right-to-left by default
// (DerivedBidiClass.txt): on a terminal they reorder the text around them.
var rightToLeft = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0590, Hi: 0x08ff, Stride: 1},
		{Lo: 0xfb1d, Hi: 0xfdff, Stride: 1},
		{Lo: 0xfe70, Hi: 0xfeff, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x10800, Hi: 0x10fff, Stride: 1},
		{Lo: 0x1e800, Hi: 0x1efff, Stride: 1},
	},
}
