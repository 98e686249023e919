// Package e2e proves the project against real nodes: it makes up node layouts,
// lets the real systemd and the real kubelet of package lab/real judge them,
// and compares their word with the project's own reading.
//
// The tests that need nodes have the build tag e2e and need root; the others
// hold the recorded word of a real kubelet against the project's reading.
package e2e
