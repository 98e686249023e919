// Package real makes real nodes on one machine: containers with systemd,
// OpenSSH, containerd and a real kubelet, each with its own network address,
// and a real API server that they register with. It is the judge of what the
// rest of the project believes about kubelets, systemd and sshd.
//
// A lab is a set of nodes with a name. Everything that belongs to it can be
// found and removed by that name, also after the process that brought it up was
// killed. It needs root on Debian or Ubuntu; nothing of it leaves the machine.
package real

// KubernetesVersion is the release whose kubelet and API server the lab runs.
const KubernetesVersion = "v1.34.4"
