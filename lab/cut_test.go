package lab_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"fleet/lab"

	"golang.org/x/crypto/ssh"
)

// TestCuts: the hook sees each session and cuts the node off where it says.
func TestCuts(t *testing.T) {
	const line = "cat"
	input := strings.Repeat("0123456789", 1000)
	tests := []struct {
		name string
		cut  lab.Cut
		most int // bytes that may have come back
		all  bool
	}{
		{"not at all", lab.Cut{}, len(input), true},
		{"at once", lab.Cut{After: 1}, len(input), false},
		{"in the input", lab.Cut{In: 100}, 100, false},
		{"in the output", lab.Cut{Out: 100}, 100, false},
		{"beyond the end", lab.Cut{Out: int64(len(input)) + 1}, len(input), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, lab.NodeSpec{Name: node0})
			n := node(t, f)
			c := client(t, f, node0, "azureuser")
			var mu sync.Mutex
			var seen []string
			n.OnSession(func(number int, command string) lab.Cut {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, command)
				if number == 2 {
					return tt.cut
				}
				return lab.Cut{}
			})
			if got := run(t, c, "hostname", ""); got.exit != 0 || got.err != nil {
				t.Fatalf("the first session was cut: %v", got)
			}
			s, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			s.Stdout, s.Stdin = &out, strings.NewReader(input)
			if tt.cut.After > 0 {
				s.Stdin = nil
				if _, err := s.StdinPipe(); err != nil { // never closed: only the cut can end it
					t.Fatal(err)
				}
			}
			err = s.Run(line)
			if cut := err != nil; cut == tt.all || out.Len() > tt.most || (tt.all && out.String() != input) {
				t.Errorf("got %d bytes, %v", out.Len(), err)
			}
			mu.Lock()
			defer mu.Unlock()
			if strings.Join(seen, " ") != "hostname cat" {
				t.Errorf("the hook saw %q", seen)
			}
			again, err := dial(t, f, node0, "azureuser")
			if err != nil {
				t.Fatalf("want to get in after a cut, got %v", err)
			}
			again.Close()
		})
	}
}

func TestRefuseForAWhile(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0}, lab.NodeSpec{Name: "neighbour"})
	n := node(t, f)
	c := client(t, f, node0, "azureuser")
	n.Refuse(time.Hour)
	if _, err := c.NewSession(); err == nil {
		t.Error("the open connection survived")
	}
	if c, err := dial(t, f, node0, "azureuser"); err == nil {
		c.Close()
		t.Error("want nobody to get in")
	}
	client(t, f, "neighbour", "azureuser")
	n.Refuse(0)
	client(t, f, node0, "azureuser")
}

func TestNodeUnknown(t *testing.T) {
	f := start(t, lab.NodeSpec{Name: node0})
	if _, err := f.Node("nosuch"); err == nil {
		t.Error("want an error")
	}
	n := node(t, f)
	if n.Unit("nosuch.service") != nil || n.Journal("nosuch.service") != nil {
		t.Error("want nothing of a unit there is not")
	}
	if err := n.KillUnit("kubelet.service"); err == nil {
		t.Error("want an error: the simulated kubelet is no process of this machine")
	}
	if _, err := n.ReadFile("/etc/nosuch"); err == nil || errors.As(err, new(*ssh.ExitError)) {
		t.Errorf("want an error, got %v", err)
	}
}
