package report

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// sheet is a table whose rows carry details. Where a row fits on one line it
// stands on one line, details last; otherwise the details follow on indented
// lines of their own, and so do the cells that do not fit. Every text in a
// sheet has been through clean.
type sheet struct {
	options TextOptions
	heads   []string // of the aligned columns; the first is the status
	rows    []row
	kept    int  // how many columns stay on the first line at any width
	stacked bool // details on lines of their own, whatever the width
	wide    bool
}

type row struct {
	cells   []string
	details []detail // in order of reading; one without text is left out
	block   []string // lines below the row that keep their layout, such as a diff
	plain   bool     // the block is no diff
	brief   bool     // cells that do not fit on the first line are left out
}

type detail struct {
	label string // "" for the message
	text  string
	quiet bool // left out where it would need a line of its own
}

func (d detail) String() string {
	if d.label == "" || d.text == "" {
		return d.text
	}
	return d.label + ": " + d.text
}

const (
	columnGap = "  "
	none      = "-"    // a cell with nothing to tell
	indent    = "    " // of details
	hanging   = "  "   // of their continuation lines, on top
)

// print writes one paragraph of text of our own making.
func (t sheet) print(b *bufio.Writer, s string) {
	if s == "" {
		return
	}
	for i, line := range wrap(s, t.widthBut(len(hanging))) {
		if i > 0 {
			line = hanging + line // a status word at the left edge begins a row
		}
		fmt.Fprintln(b, line)
	}
}

// printVerdict is print with the verdict's status words coloured.
func (t sheet) printVerdict(b *bufio.Writer, s string) {
	for _, line := range wrap(s, t.options.Width) {
		words := strings.Split(line, " ")
		for i, word := range words {
			words[i] = t.paint(word)
		}
		fmt.Fprintln(b, strings.Join(words, " "))
	}
}

func (t sheet) write(b *bufio.Writer) {
	ends := t.columnEnds()
	if !t.stacked {
		if lines := t.singleLines(ends[len(ends)-1]); t.fits(lines...) {
			t.writeLines(b, lines)
			return
		}
	}
	columns := len(ends)
	for t.options.Width > 0 && columns > t.kept && ends[columns-1] > t.options.Width {
		columns--
	}
	lines := t.aligned(columns)
	heads, _ := t.lengthen(lines[0], t.heads[columns:])
	fmt.Fprintln(b, heads)
	for i, r := range t.rows {
		line, n := t.lengthen(lines[i+1], r.cells[columns:])
		fmt.Fprintln(b, t.colored(line))
		for _, d := range t.detailLines(r, columns+n) {
			fmt.Fprintln(b, indent+d)
		}
		t.writeBlock(b, r)
	}
}

// writeLines writes the heads and a line for each row.
func (t sheet) writeLines(b *bufio.Writer, lines []string) {
	fmt.Fprintln(b, lines[0])
	for i, line := range lines[1:] {
		fmt.Fprintln(b, t.colored(line))
		t.writeBlock(b, t.rows[i])
	}
}

// writeBlock writes the lines below a row, indented so that none can be taken
// for a row, and broken where they are too long.
func (t sheet) writeBlock(b *bufio.Writer, r row) {
	for _, line := range r.block {
		pieces := []string{line}
		if width := t.detailWidth(); width > 0 {
			pieces = breakWord(line, width)
		}
		for i, piece := range pieces {
			if i > 0 {
				piece = hanging + piece
			}
			if !r.plain {
				piece = t.paintDiff(line, piece)
			}
			fmt.Fprintln(b, indent+piece)
		}
	}
}

// columnEnds is where each aligned column ends, counted from the left edge.
func (t sheet) columnEnds() []int {
	ends := make([]int, len(t.heads))
	end := -len(columnGap)
	for i, head := range t.heads {
		widest := columnsOf(head)
		for _, r := range t.rows {
			widest = max(widest, columnsOf(r.cells[i]))
		}
		end += len(columnGap) + widest
		ends[i] = end
	}
	return ends
}

// lengthen adds cells to a line, unaligned, for as long as they fit, and says
// how many did.
func (t sheet) lengthen(line string, cells []string) (string, int) {
	shown := len(line)
	for i, cell := range cells {
		longer := line + columnGap + cell
		if !t.fits(longer) {
			return line[:shown], i
		}
		line = longer
		if cell != none {
			shown = len(line) // so that no line ends in dashes
		}
	}
	return line[:shown], len(cells)
}

// aligned returns the first columns of the heads and of every row, one line
// each: no cell holds a line break.
func (t sheet) aligned(columns int) []string {
	w := table.NewWriter()
	w.SetStyle(table.Style{Box: table.BoxStyle{PaddingRight: columnGap}})
	w.AppendHeader(cellsOf(t.heads[:columns]))
	for _, r := range t.rows {
		w.AppendRow(cellsOf(r.cells[:columns]))
	}
	w.SetColumnConfigs(leftAligned(columns))
	lines := strings.Split(w.Render(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func cellsOf(texts []string) table.Row {
	out := make(table.Row, len(texts))
	for i, s := range texts {
		out[i] = s
	}
	return out
}

func leftAligned(columns int) []table.ColumnConfig {
	out := make([]table.ColumnConfig, columns)
	for i := range out {
		out[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignLeft, AlignHeader: text.AlignLeft}
	}
	return out
}

// singleLines is the sheet with every detail behind its row's cells, which end
// at the given column.
func (t sheet) singleLines(end int) []string {
	lines := t.aligned(len(t.heads))
	lines[0] = text.Pad(lines[0], end, ' ') + columnGap + "MESSAGE"
	for i, r := range t.rows {
		var details []string
		for _, d := range r.details {
			if d.text != "" {
				details = append(details, d.String())
			}
		}
		if len(details) > 0 {
			lines[i+1] = text.Pad(lines[i+1], end, ' ') + columnGap + strings.Join(details, "; ")
		}
	}
	return lines
}

// detailLines is what of a row does not stand on its first line, which holds
// the given number of cells.
func (t sheet) detailLines(r row, shown int) []string {
	var out []string
	if !r.brief {
		out = t.cellLines(r, shown)
	}
	for _, d := range r.details {
		if d.text != "" && !d.quiet {
			out = append(out, t.hang(d.String())...)
		}
	}
	return out
}

// cellLines packs the cells that found no place on the first line, by name, on
// as few lines as they fit on.
func (t sheet) cellLines(r row, shown int) []string {
	var out []string
	packed := ""
	flush := func() {
		if packed != "" {
			out = append(out, t.hang(packed)...)
		}
	}
	for i := shown; i < len(r.cells); i++ {
		if r.cells[i] == none {
			continue
		}
		cell := detail{label: strings.ToLower(t.heads[i]), text: r.cells[i]}.String()
		longer := packed + columnGap + cell
		if packed != "" && (t.detailWidth() == 0 || columnsOf(longer) <= t.detailWidth()) {
			packed = longer
			continue
		}
		flush()
		packed = cell
	}
	flush()
	return out
}

// hang wraps a detail, its further lines a little to the right of the first.
func (t sheet) hang(s string) []string {
	lines := wrap(s, t.detailWidth())
	for i := 1; i < len(lines); i++ {
		lines[i] = hanging + lines[i]
	}
	return lines
}

func (t sheet) detailWidth() int { return t.widthBut(len(indent) + len(hanging)) }

// widthBut is the width less some columns; unlimited stays unlimited.
func (t sheet) widthBut(n int) int {
	if t.options.Width <= 0 {
		return 0
	}
	return max(t.options.Width-n, 1)
}

func (t sheet) fits(lines ...string) bool {
	if t.options.Width <= 0 {
		return true
	}
	for _, line := range lines {
		if columnsOf(line) > t.options.Width {
			return false
		}
	}
	return true
}

// columnsOf is the width of s on a terminal.
func columnsOf(s string) int { return text.StringWidthWithoutEscSequences(s) }

// wrap breaks s at blanks into lines of at most width columns, and inside a
// word only when the word alone is wider; 0 means no limit.
func wrap(s string, width int) []string {
	if width <= 0 || columnsOf(s) <= width {
		return []string{s}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && columnsOf(line)+1+columnsOf(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		pieces := breakWord(word, width)
		lines = append(lines, pieces[:len(pieces)-1]...)
		line = pieces[len(pieces)-1]
	}
	return append(lines, line)
}

// breakWord cuts a word into pieces of at most width columns, behind a comma
// where there is one, so that a list of hosts stays readable. A piece holds at
// least one character.
func breakWord(word string, width int) []string {
	var pieces []string
	for {
		head := prefix(word, width)
		if len(head) == len(word) {
			return append(pieces, word)
		}
		if i := strings.LastIndexByte(head, ','); i >= 0 {
			head = head[:i+1]
		}
		pieces = append(pieces, head)
		word = word[len(head):]
	}
}

// prefix is the longest beginning of s that is at most width columns wide, but
// at least one character.
func prefix(s string, width int) string {
	used := 0
	for i, r := range s {
		used += text.RuneWidth(r)
		if used > width && i > 0 {
			return s[:i]
		}
	}
	return s
}

// The colours of the status words (ECMA-48 SGR): bold red, yellow, green.
const (
	sgrFail    = "\x1b[1;31m"
	sgrUnknown = "\x1b[33m"
	sgrPass    = "\x1b[32m"
	sgrReset   = "\x1b[0m"
)

// paintDiff colours a piece of a line of a diff as the line demands.
func (t sheet) paintDiff(line, piece string) string {
	switch {
	case !t.options.Color:
	case strings.HasPrefix(line, "+"):
		return sgrPass + piece + sgrReset
	case strings.HasPrefix(line, "-"):
		return sgrFail + piece + sgrReset
	}
	return piece
}

// colored colours the status word a line begins with.
func (t sheet) colored(line string) string {
	word, rest, more := strings.Cut(line, " ")
	if !more {
		return t.paint(word)
	}
	return t.paint(word) + " " + rest
}

// paint colours a word that says a status.
func (t sheet) paint(word string) string {
	if !t.options.Color {
		return word
	}
	switch strings.TrimRight(word, ",.:") {
	case "FAIL", "FAILS", "FAILED":
		return sgrFail + word + sgrReset
	case "UNKNOWN":
		return sgrUnknown + word + sgrReset
	case "pass", "passes":
		return sgrPass + word + sgrReset
	}
	return word
}
