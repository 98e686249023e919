package dynamic

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// await waits until the kubelet reports the source as assigned and active and the
// live value is the wanted one, and both have held for a while. It ends early
// when that can no longer come about.
func (c *change) await(ctx context.Context, source *corev1.NodeConfigSource, uid types.UID, want any) *Error {
	w := watch{change: c, source: source, uid: uid, want: want}
	for {
		missing, err := w.look(ctx)
		if err != nil && err.Code != CodeAPI {
			return err
		}
		if err == nil && missing == nil {
			return nil
		}
		if missing != nil && (w.missing == nil || ctx.Err() == nil) { // a look that was cut off tells nothing new
			w.missing = missing
		}
		if !sleep(ctx, c.o.Poll) {
			return w.outOfTime(err)
		}
	}
}

// watch is one wait.
type watch struct {
	*change
	source *corev1.NodeConfigSource
	uid    types.UID
	want   any

	missing   *Error    // what it was waiting for at the last look
	syncError time.Time // since when status.config reports that it cannot sync
	good      time.Time // since when everything is as wanted
}

// look looks once: at the Node, and at the live value when the Node is as
// wanted. It returns what is still missing, or why to give up.
func (w *watch) look(ctx context.Context) (missing, err *Error) {
	node, err := w.node(ctx)
	if err != nil {
		w.good = time.Time{}
		return nil, err
	}
	if !sameSource(sourceOf(node), w.source) {
		return nil, refuse(CodeSuperseded, "someone changed spec.configSource of node %s to %s meanwhile; it was left so", node.Name, place(sourceOf(node)))
	}
	if missing, err = w.taken(node); missing == nil && err == nil {
		missing = w.live(ctx)
	}
	if missing != nil || err != nil {
		w.good = time.Time{}
		return missing, err
	}
	if w.good.IsZero() {
		w.good = time.Now()
		w.o.Log(fmt.Sprintf("%s is active and the live value is %v", place(w.source), w.want))
	}
	if held := time.Since(w.good); held < w.o.Settle {
		return refuse(CodeTimeout, "%s was active with the wanted value for only %s", place(w.source), held.Round(time.Second)), nil
	}
	return nil, nil
}

// taken tells from status.config how far the kubelet is.
func (w *watch) taken(node *corev1.Node) (missing, err *Error) {
	status := node.Status.Config
	if status == nil {
		status = &corev1.NodeConfigStatus{}
	}
	if !strings.HasPrefix(status.Error, syncErrorPrefix) {
		w.syncError = time.Time{}
	}
	ours := sameSource(status.Assigned, w.source) && w.rightUID(status.Assigned)
	switch {
	case strings.HasPrefix(status.Error, syncErrorPrefix):
		return w.cannotSync(status.Error)
	case ours && status.Error != "":
		return nil, w.rejected(status.Error)
	case !ours || status.Error != "":
		return refuse(CodeTimeout, "the kubelet did not take %s over in time: status.config.assigned is %s%s; look at its log: journalctl -u kubelet",
			place(w.source), place(status.Assigned), quoted(status.Error)), nil
	case !sameSource(status.Active, w.source) || !w.rightUID(status.Active):
		return refuse(CodeTimeout, "the kubelet was assigned %s and did not make it active in time: status.config.active is %s; look at its log: journalctl -u kubelet",
			place(w.source), place(status.Active)), nil
	}
	return nil, nil
}

// syncErrorPrefix begins the errors that the kubelet tries again by itself
// (SyncErrorFmt of pkg/kubelet/kubeletconfig/status).
const syncErrorPrefix = "failed to sync: "

// cannotSync bears with an error of synchronisation for a while.
func (w *watch) cannotSync(text string) (missing, err *Error) {
	if w.syncError.IsZero() {
		w.syncError = time.Now()
	}
	rejected := w.rejected(text)
	if time.Since(w.syncError) > w.o.SyncGrace {
		return nil, rejected
	}
	return rejected, nil
}

func (w *watch) rejected(text string) *Error {
	return refuse(CodeRejected, "the kubelet did not take %s: status.config.error is %q; the reason is in its log: journalctl -u kubelet", place(w.source), oneLine(text))
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" and status.config.error %q", oneLine(text))
}

// rightUID wants the ConfigMap to be the very one that was made, not an earlier
// one by that name.
func (w *watch) rightUID(s *corev1.NodeConfigSource) bool {
	return w.uid == "" || s != nil && s.ConfigMap != nil && s.ConfigMap.UID == w.uid
}

// live reads the live value.
func (w *watch) live(ctx context.Context) *Error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	value, err := w.o.Read(ctx)
	if err != nil {
		return refuse(CodeLiveDiffers, "the live value could not be read after %s became active: %s", place(w.source), oneLine(err.Error()))
	}
	if value == nil {
		return refuse(CodeLiveDiffers, "/configz shows no value after %s became active", place(w.source))
	}
	w.result.Live = value
	if !same(value, w.want) {
		return refuse(CodeLiveDiffers, "%s is active and the live value is %v, not %v", place(w.source), value, w.want)
	}
	return nil
}

// outOfTime is what the wait ended with: the last thing that was missing, or the
// API server when nothing else is known.
func (w *watch) outOfTime(err *Error) *Error {
	if w.missing != nil {
		return w.missing
	}
	return err
}
