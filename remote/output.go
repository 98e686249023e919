package remote

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
)

// counted counts what passes.
type counted struct {
	w io.Writer
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.w.Write(p)
}

// prefaceLimit bounds what is kept of the noise before the mark.
const prefaceLimit = 8 << 10

// markedOutput is standard output: everything up to the line of the mark is
// noise of login scripts and dropped, everything after it the command's own.
// It never stops reading, so that the command is not held up; past the limit
// it reports full once and drops the rest.
type markedOutput struct {
	mark  string
	limit int64
	begin func() // the mark was seen
	full  func() // the limit was passed

	mu      sync.Mutex
	started bool
	total   int64
	data    []byte // noise before the mark, output after it
}

func (m *markedOutput) Write(p []byte) (int, error) {
	m.mu.Lock()
	before, started := m.total, m.started
	m.total += int64(len(p))
	m.take(p)
	full := m.total > m.limit && before <= m.limit
	begun := m.started && !started
	m.mu.Unlock()
	if begun {
		m.begin()
	}
	if full {
		m.full()
	}
	return len(p), nil
}

// take files p as noise or output. The caller holds mu.
func (m *markedOutput) take(p []byte) {
	if m.started {
		if room := m.limit - int64(len(m.data)); int64(len(p)) > room {
			p = p[:max(room, 0)]
		}
		m.data = append(m.data, p...)
		return
	}
	m.data = append(m.data, p...)
	if _, after, ok := bytes.Cut(m.data, []byte(m.mark+"\n")); ok {
		m.started = true
		m.total = int64(len(after))
		m.data = append([]byte(nil), after[:min(int64(len(after)), m.limit)]...)
		return
	}
	if over := len(m.data) - prefaceLimit; over > 0 {
		m.data = append(m.data[:0], m.data[over:]...)
	}
}

func (m *markedOutput) begun() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.started
}

// preface is the noise, when the mark never came.
func (m *markedOutput) preface() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started {
		return nil
	}
	return bytes.Clone(m.data)
}

func (m *markedOutput) bytes() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.started {
		return nil
	}
	return bytes.Clone(m.data)
}

// watchedOutput is standard error: bounded, and watched for the password
// prompt, which is taken out.
type watchedOutput struct {
	prompt string        // "" when no password is to be sent
	seen   func(nth int) // the prompt came for the nth time

	mu    sync.Mutex
	count int
	tail  []byte // end of what came, shorter than the prompt
	data  []byte
}

func (w *watchedOutput) Write(p []byte) (int, error) {
	w.mu.Lock()
	if room := StderrLimit - len(w.data); room > 0 {
		w.data = append(w.data, p[:min(len(p), room)]...)
	}
	first := w.count
	w.scan(p)
	last := w.count
	w.mu.Unlock()
	for n := first + 1; n <= last; n++ {
		w.seen(n)
	}
	return len(p), nil
}

// scan counts prompts, also one that arrives in pieces. The caller holds mu.
func (w *watchedOutput) scan(p []byte) {
	if w.prompt == "" {
		return
	}
	text := append(w.tail, p...)
	for {
		i := bytes.Index(text, []byte(w.prompt))
		if i < 0 {
			break
		}
		w.count++
		text = text[i+len(w.prompt):]
	}
	w.tail = bytes.Clone(text[max(0, len(text)-len(w.prompt)+1):])
}

func (w *watchedOutput) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.prompt == "" {
		return bytes.Clone(w.data)
	}
	return bytes.ReplaceAll(w.data, []byte(w.prompt), nil)
}
