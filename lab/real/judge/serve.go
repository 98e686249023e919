package judge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
)

// Request asks for a judgement: of one layout by the kubelet, or of many by
// systemd alone.
type Request struct {
	Kubelet *Layout  `json:"kubelet,omitempty"`
	Argv    []Layout `json:"argv,omitempty"`
}

// Response answers one Request, with a verdict for each layout in order.
type Response struct {
	Verdicts []Verdict `json:"verdicts"`
	Error    string    `json:"error,omitempty"` // the judgement failed; says nothing about the layout
}

// Serve answers the requests it reads, one after the other, until there are no
// more, and clears the node then.
func (j *Judge) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	requests, responses := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var req Request
		if err := requests.Decode(&req); errors.Is(err, io.EOF) {
			return j.Clear(ctx)
		} else if err != nil {
			return errors.Join(err, j.Clear(ctx))
		}
		if err := responses.Encode(j.answer(ctx, req)); err != nil {
			return errors.Join(err, j.Clear(ctx))
		}
	}
}

func (j *Judge) answer(ctx context.Context, req Request) Response {
	var resp Response
	var err error
	if req.Kubelet != nil {
		var v Verdict
		v, err = j.Kubelet(ctx, *req.Kubelet)
		resp.Verdicts = []Verdict{v}
	} else {
		resp.Verdicts, err = j.Argv(ctx, req.Argv)
	}
	if err != nil {
		return Response{Error: err.Error()}
	}
	return resp
}
