package dynamic

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// cleanupTimeout bounds what is done after the outcome is known.
const cleanupTimeout = 20 * time.Second

// previousExists refuses to go back to a ConfigMap that is gone.
func (c *change) previousExists(ctx context.Context) *Error {
	if c.to == nil || c.to.ConfigMap == nil {
		return nil
	}
	cm, err := c.client.CoreV1().ConfigMaps(c.to.ConfigMap.Namespace).Get(ctx, c.to.ConfigMap.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return refuse(CodeConflict, "ConfigMap %s, which the node had before, is gone; make it again, or remove spec.configSource", place(c.to))
	case err != nil:
		return c.beforePatch(ctx, "read ConfigMap "+place(c.to), err)
	}
	c.uid = cm.UID
	return nil
}

// prune deletes our ConfigMaps of this node that nothing refers to, those of
// keep left out. What it cannot do is a warning: the change itself is done.
func (c *change) prune(ctx context.Context, keep ...*corev1.NodeConfigSource) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	referred, err := c.references(ctx)
	if err != nil {
		c.result.Warnings = append(c.result.Warnings, "old ConfigMaps were not looked for: "+err.Message)
		return
	}
	keep = append(keep, referred...)
	list, failed := c.client.CoreV1().ConfigMaps(Namespace).List(ctx, metav1.ListOptions{LabelSelector: managedByLabel + "=" + managedBy})
	if failed != nil {
		c.result.Warnings = append(c.result.Warnings, "old ConfigMaps were not looked for: "+apiError("list ConfigMaps in "+Namespace, failed).Message)
		return
	}
	for _, cm := range list.Items {
		if cm.Annotations[nodeAnnotation] == c.result.Record.Node && !refersTo(keep, cm.Name) {
			c.delete(ctx, cm.Name, cm.UID)
		}
	}
}

// remove deletes the ConfigMap of a failed try, unless something refers to it.
func (c *change) remove(ctx context.Context, name string, uid types.UID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	referred, err := c.references(ctx)
	if err != nil || refersTo(referred, name) {
		c.result.Warnings = append(c.result.Warnings, "ConfigMap "+Namespace+"/"+name+" was left: the node may refer to it")
		return
	}
	c.delete(ctx, name, uid)
}

// references are all sources that the Node names, whichever Node has the name by
// now.
func (c *change) references(ctx context.Context) ([]*corev1.NodeConfigSource, *Error) {
	node, err := c.client.CoreV1().Nodes().Get(ctx, c.result.Record.Node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, apiError("read node "+c.result.Record.Node, err)
	}
	all := []*corev1.NodeConfigSource{sourceOf(node)}
	if status := node.Status.Config; status != nil {
		all = append(all, status.Assigned, status.Active, status.LastKnownGood)
	}
	return all, nil
}

func refersTo(sources []*corev1.NodeConfigSource, name string) bool {
	return slices.ContainsFunc(sources, func(s *corev1.NodeConfigSource) bool {
		return s != nil && s.ConfigMap != nil && s.ConfigMap.Namespace == Namespace && s.ConfigMap.Name == name
	})
}

func (c *change) delete(ctx context.Context, name string, uid types.UID) {
	err := c.client.CoreV1().ConfigMaps(Namespace).Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		c.result.Warnings = append(c.result.Warnings, apiError("delete ConfigMap "+Namespace+"/"+name, err).Message)
		return
	}
	c.result.Removed = append(c.result.Removed, name)
}
