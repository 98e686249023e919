//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"fleet/lab/real"
)

// ctx ends when the tests are interrupted, so that they return and TestMain can
// clean up.
var ctx context.Context

// judgeLab is the name of the lab whose nodes judge layouts.
const judgeLab = "judges"

func TestMain(m *testing.M) {
	var stop context.CancelFunc
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C kills
	code := m.Run()
	for _, name := range []string{judgeLab, auditLab, remedyLab} {
		if keepLabs() {
			break
		}
		down, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := real.Down(down, name); err != nil {
			fmt.Fprintln(os.Stderr, "cannot clean up, run make lab-down:", err)
			code = 1
		}
		cancel()
	}
	os.Exit(code)
}

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// judges brings up the nodes that judge and returns one judge on each.
func judges(t *testing.T) []*real.Judge {
	t.Helper()
	var nodes []real.Node
	for i := range number(t, "FLEET_E2E_JUDGES", 2) {
		nodes = append(nodes, real.Node{Name: fmt.Sprintf("judge-%d", i+1), Shape: real.ShapeBare})
	}
	lab, err := real.Up(ctx, real.Options{Name: judgeLab, Nodes: nodes, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	var all []*real.Judge
	for _, n := range lab.Nodes {
		j, err := n.Judge(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := j.Close(); err != nil && ctx.Err() == nil {
				t.Errorf("judge on %s: %v", n.Name, err)
			}
		})
		all = append(all, j)
	}
	return all
}
