package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxReported = 10   // errors shown at once: what fits on a screen
	maxKept     = 1000 // errors kept to pick the first of
)

// problems collects the faults of one inventory, so that its author can mend
// them in one go.
type problems struct {
	file string
	list []*Error
	seen map[string]bool
	more int
}

// addf records a fault at a line. The same fault at the same line, met for
// each host of a range or group, counts once.
func (p *problems) addf(line int, hint, format string, args ...any) {
	if len(p.list) >= maxKept {
		p.more++
		return
	}
	e := &Error{Position: Position{p.file, line}, Msg: printable(fmt.Sprintf(format, args...)), Hint: printable(hint)}
	key := e.Position.String() + e.Msg
	if p.seen[key] {
		return
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[key] = true
	p.list = append(p.list, e)
}

// printable keeps a message to one line that a terminal shows as it is,
// whatever it quotes.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// any reports whether there is a fault.
func (p *problems) any() bool { return len(p.list) > 0 }

// err joins the first faults in the order of their lines, nil when there are
// none. Each is an *Error.
func (p *problems) err() error {
	if !p.any() {
		return nil
	}
	slices.SortFunc(p.list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Msg, b.Msg))
	})
	var shown []error
	for _, e := range p.list[:min(len(p.list), maxReported)] {
		shown = append(shown, e)
	}
	if rest := len(p.list) - len(shown) + p.more; rest > 0 {
		shown = append(shown, &Error{
			Position: Position{File: p.file},
			Msg:      fmt.Sprintf("more errors, not shown: %d", rest),
			Hint:     "mend these first",
		})
	}
	if len(shown) == 1 {
		return shown[0]
	}
	return errors.Join(shown...)
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
