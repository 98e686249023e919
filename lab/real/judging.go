//go:build linux

package real

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"fleet/lab/real/judge"
)

// toolsPath is where a node has the programs that judge layouts.
const toolsPath = "usr/local/lib/fleet-lab"

// Judge is a node that judges layouts. It is not safe for use by several
// goroutines: a node has one kubelet.
type Judge struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	requests  *json.Encoder
	responses *json.Decoder
	complaint *lastBytes
}

// Judge makes the node a judge until Close. A kubelet of its own that it may
// have is in the way: use a node of ShapeBare.
func (n *Node) Judge(ctx context.Context) (*Judge, error) {
	j := &Judge{cmd: n.Command(ctx, "/"+toolsPath+"/agent"), complaint: &lastBytes{}}
	in, err := j.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	j.cmd.Stderr = j.complaint
	if err := j.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the judge on node %s: %w", n.Name, err)
	}
	j.in, j.requests, j.responses = in, json.NewEncoder(in), json.NewDecoder(out)
	return j, nil
}

// Kubelet asks the real kubelet, started by the real systemd. The error says
// that no judgement could be had, never that the layout is bad.
func (j *Judge) Kubelet(l judge.Layout) (judge.Verdict, error) {
	verdicts, err := j.ask(judge.Request{Kubelet: &l}, 1)
	if err != nil {
		return judge.Verdict{}, err
	}
	return verdicts[0], nil
}

// Argv asks systemd alone what it would pass to the program of each layout's
// unit, which must be judge.DumperPath. The layouts are on the node at once:
// neither units nor files may overlap.
func (j *Judge) Argv(layouts []judge.Layout) ([]judge.Verdict, error) {
	return j.ask(judge.Request{Argv: layouts}, len(layouts))
}

func (j *Judge) ask(req judge.Request, want int) ([]judge.Verdict, error) {
	if err := j.requests.Encode(req); err != nil {
		return nil, fmt.Errorf("cannot ask the judge: %w: %s", err, j.complaint)
	}
	var resp judge.Response
	if err := j.responses.Decode(&resp); err != nil {
		return nil, fmt.Errorf("cannot hear the judge: %w: %s", err, j.complaint)
	}
	if resp.Error != "" {
		return nil, errors.New(resp.Error)
	}
	if len(resp.Verdicts) != want {
		return nil, fmt.Errorf("the judge answered %d of %d", len(resp.Verdicts), want)
	}
	return resp.Verdicts, nil
}

// Close ends the judge, who removes the last layout.
func (j *Judge) Close() error {
	return errors.Join(j.in.Close(), j.cmd.Wait())
}

// lastBytes remembers the end of what is written to it.
type lastBytes struct{ kept []byte }

func (l *lastBytes) Write(p []byte) (int, error) {
	l.kept = append(l.kept, p...)
	l.kept = l.kept[max(0, len(l.kept)-4096):]
	return len(p), nil
}

func (l *lastBytes) String() string { return tail(string(l.kept), 600) }
