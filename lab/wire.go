package lab

import (
	"io"
	"sync"
)

// Where faults strike in an answer, in bytes.
const (
	resetAfter    = 64
	truncateAfter = 400
	garbleEvery   = 97
)

// newWire is the way of a command's standard output to the client, with what
// the node's fault does to it.
func newWire(f Fault, to io.Writer, c *conn) io.Writer {
	switch f {
	case FaultReset, FaultTruncate, FaultGarble:
		return &wire{fault: f, to: to, conn: c}
	}
	return to
}

type wire struct {
	fault Fault
	to    io.Writer
	conn  *conn
	mu    sync.Mutex
	sent  int
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.fault {
	case FaultReset:
		return w.cut(p)
	case FaultTruncate:
		return w.truncate(p)
	}
	return w.garble(p)
}

func (w *wire) cut(p []byte) (int, error) {
	keep := min(len(p), resetAfter-w.sent)
	n, err := w.to.Write(p[:keep])
	w.sent += n
	if w.sent >= resetAfter {
		w.conn.reset()
		return n, io.ErrClosedPipe
	}
	return n, err
}

func (w *wire) truncate(p []byte) (int, error) {
	keep := max(0, min(len(p), truncateAfter-w.sent))
	if _, err := w.to.Write(p[:keep]); err != nil {
		return 0, err
	}
	w.sent += keep
	return len(p), nil
}

func (w *wire) garble(p []byte) (int, error) {
	bad := make([]byte, len(p))
	for i, b := range p {
		if w.sent++; w.sent%garbleEvery == 0 {
			b ^= 0x55
		}
		bad[i] = b
	}
	return w.to.Write(bad)
}
