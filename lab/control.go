package lab

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// listenControl opens the FIFO through which the stand-ins ask the simulator
// to act: a line names a request, a file of NUL-terminated words; the answer
// goes to a FIFO that the asker holds open. Opening it for both directions
// keeps it from ending between two askers. The caller holds n.mu.
func (n *node) listenControl() error {
	name := filepath.Join(n.stateDir(), "control")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		return fmt.Errorf("make the control pipe: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the control pipe: %w", err)
	}
	n.control = f
	n.fleet.wg.Go(func() {
		requests := bufio.NewScanner(f)
		for requests.Scan() {
			id := requests.Text()
			n.fleet.wg.Go(func() { n.answer(id) }) // a start may take its time
		}
	})
	return nil
}

// answer serves one request.
func (n *node) answer(id string) {
	request := filepath.Join(n.stateDir(), "request."+id)
	pipe := filepath.Join(n.stateDir(), "answer."+id)
	data, err := os.ReadFile(request)
	if err != nil {
		return // not one of ours
	}
	defer os.Remove(request)
	words := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	a := n.sys.act(words)
	to, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		return // the asker has gone
	}
	to.WriteString(a.encode())
	os.Remove(pipe)
	to.Close()
}

// answer is what a stand-in prints and exits with.
type answer struct {
	stdout, stderr []string
	exit           int
}

func refuse(exit int, format string, args ...any) answer {
	return answer{stderr: []string{fmt.Sprintf(format, args...)}, exit: exit}
}

func (a answer) encode() string {
	var b strings.Builder
	for _, l := range a.stdout {
		b.WriteString("O" + l + "\n")
	}
	for _, l := range a.stderr {
		b.WriteString("E" + l + "\n")
	}
	fmt.Fprintf(&b, "X%d\n", a.exit)
	return b.String()
}
