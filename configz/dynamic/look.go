package dynamic

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Look reads what a plan needs to know from the API server. A ConfigMap that is
// named and does not exist is left nil; the error is an *Error.
func Look(ctx context.Context, client kubernetes.Interface, node string) (Assignment, error) {
	got, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Assignment{}, refuse(CodeNodeGone, "there is no node %s", oneLine(node))
	}
	if err != nil {
		return Assignment{}, apiError("read node "+oneLine(node), err)
	}
	a := Assignment{UID: got.UID, Spec: sourceOf(got), Status: got.Status.Config}
	if a.Spec == nil || a.Spec.ConfigMap == nil {
		return a, nil
	}
	ref := a.Spec.ConfigMap
	cm, err := client.CoreV1().ConfigMaps(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return a, nil
	case err != nil:
		return Assignment{}, apiError("read ConfigMap "+place(a.Spec), err)
	}
	a.Assigned = cm
	return a, nil
}

// sourceOf returns spec.configSource of a Node.
func sourceOf(n *corev1.Node) *corev1.NodeConfigSource {
	return n.Spec.ConfigSource //lint:ignore SA1019 deprecated with the feature that this package is about
}
