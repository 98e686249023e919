package e2e

import (
	"slices"
	"strings"

	"fleet/lab/real/judge"
)

// Shrink looks for a smaller layout that is still bad. It asks bad at most
// budget times. Whole files go first, then lines, then words.
func Shrink(l judge.Layout, budget int, bad func(judge.Layout) bool) judge.Layout {
	s := &shrinker{best: l, budget: budget, bad: bad}
	for {
		before := size(s.best)
		s.files()
		s.pieces("\n")
		s.pieces(" ")
		if size(s.best) == before || s.budget <= 0 {
			return s.best
		}
	}
}

func size(l judge.Layout) int {
	n := 0
	for _, f := range l.Files {
		n += len(f.Path) + len(f.Bytes()) + len(f.Link)
	}
	return n
}

type shrinker struct {
	best   judge.Layout
	budget int
	bad    func(judge.Layout) bool
}

// try makes l the best when it is bad too.
func (s *shrinker) try(l judge.Layout) bool {
	if s.budget <= 0 {
		return false
	}
	s.budget--
	if !s.bad(l) {
		return false
	}
	s.best = l
	return true
}

func (s *shrinker) files() {
	for i := 0; i < len(s.best.Files); {
		l := s.best.Clone()
		l.Files = slices.Delete(l.Files, i, i+1)
		if !s.try(l) {
			i++
		}
	}
}

// pieces drops runs of pieces of each file, long runs first.
func (s *shrinker) pieces(separator string) {
	for i := range s.best.Files {
		for run := strings.Count(string(s.best.Files[i].Bytes()), separator) + 1; run > 0; run /= 2 {
			s.runs(i, separator, run)
		}
	}
}

func (s *shrinker) runs(file int, separator string, run int) {
	for at := 0; ; {
		parts := strings.Split(string(s.best.Files[file].Bytes()), separator)
		if at+run > len(parts) || s.budget <= 0 {
			return
		}
		l := s.best.Clone()
		old := l.Files[file]
		f := newFile(old.Path, strings.Join(slices.Delete(slices.Clone(parts), at, at+run), separator))
		f.Mode, f.Link, f.Dir = old.Mode, old.Link, old.Dir
		l.Files[file] = f
		if !s.try(l) {
			at += run
		}
	}
}
