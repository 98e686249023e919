//go:build linux

package real

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"fleet/lab/real/judge"
)

// shape is one way in which a distribution lays out a kubelet on a node.
type shape struct {
	name  string
	files func(n Node) []judge.File
}

// The shapes, by the name that nodes refer to them with.
const (
	ShapeBare      = "bare"       // no kubelet at all; a judge brings its own
	ShapeEKSAL2    = "eks-al2"    // the layout that the CIS text describes
	ShapeAKSFlags  = "aks-flags"  // AKS without a configuration file
	ShapeAKSConfig = "aks-config" // AKS with a configuration file
	ShapeKubeadm   = "kubeadm"    // YAML configuration, kubeadm-flags.env
	ShapeAL2023    = "eks-al2023" // nodeadm, with a drop-in directory
)

func shapes() map[string]shape {
	all := map[string]shape{}
	for _, s := range []shape{
		{ShapeBare, func(Node) []judge.File { return nil }},
		{ShapeEKSAL2, eksAL2},
		{ShapeAKSFlags, aksFlags},
		{ShapeAKSConfig, aksConfig},
		{ShapeKubeadm, kubeadm},
		{ShapeAL2023, eksAL2023},
		{ShapeDynamic, dynamic},
		{ShapeDynamicFlags, dynamicFlags},
	} {
		all[s.name] = s
	}
	return all
}

const kubeconfigPath = "/var/lib/kubelet/kubeconfig"

// inContainer is the configuration with which a kubelet starts in one of our
// machines: it shares its control groups and disk with the host, and answers
// whoever reaches it, which is the lab alone. The list of
// enforceNodeAllocatable must not be empty: an empty list is lost when a
// drop-in is merged.
var inContainer = map[string]any{
	"apiVersion":                    "kubelet.config.k8s.io/v1beta1",
	"kind":                          "KubeletConfiguration",
	"authentication":                map[string]any{"anonymous": map[string]any{"enabled": true}, "webhook": map[string]any{"enabled": false}},
	"authorization":                 map[string]any{"mode": "AlwaysAllow"},
	"cgroupDriver":                  "cgroupfs",
	"cgroupsPerQOS":                 false,
	"enforceNodeAllocatable":        []any{"none"},
	"failSwapOn":                    false,
	"failCgroupV1":                  false,
	"localStorageCapacityIsolation": false,
	"containerRuntimeEndpoint":      "unix:///run/containerd/containerd.sock",
}

// inContainerFlags is the same as command line arguments.
const inContainerFlags = "--anonymous-auth=true --authentication-token-webhook=false --authorization-mode=AlwaysAllow " +
	"--cgroup-driver=cgroupfs --cgroups-per-qos=false --enforce-node-allocatable=none --fail-swap-on=false " +
	"--local-storage-capacity-isolation=false --container-runtime-endpoint=unix:///run/containerd/containerd.sock"

// configJSON renders inContainer with additions as an indented JSON file.
func configJSON(extra map[string]any) string {
	config := maps.Clone(inContainer)
	maps.Copy(config, extra)
	data, err := json.MarshalIndent(config, "", "    ")
	if err != nil {
		panic(err) // a map of literals always encodes
	}
	return string(data) + "\n"
}

// enabled is the link by which systemd starts the kubelet at boot.
func enabled(unit string) judge.File {
	return judge.File{Path: "/etc/systemd/system/multi-user.target.wants/kubelet.service", Link: unit}
}

// eksAL2 is the node that the CIS remediation text has in mind: a JSON file,
// KUBELET_ARGS in a drop-in, user extras last (awslabs/amazon-eks-ami,
// templates/al2). Its file says false.
func eksAL2(n Node) []judge.File {
	const unit = "/etc/systemd/system/kubelet.service"
	return []judge.File{
		{Path: unit, Text: `[Unit]
Description=Kubernetes Kubelet
Documentation=https://github.com/kubernetes/kubernetes
After=containerd.service
Requires=containerd.service

[Service]
ExecStartPre=/sbin/iptables -P FORWARD ACCEPT -w 5
ExecStart=/usr/bin/kubelet \
    --config /etc/kubernetes/kubelet/kubelet-config.json \
    --kubeconfig ` + kubeconfigPath + ` \
    $KUBELET_ARGS \
    $KUBELET_EXTRA_ARGS

Restart=on-failure
RestartForceExitStatus=SIGPIPE
RestartSec=5
KillMode=process
CPUAccounting=true
MemoryAccounting=true

[Install]
WantedBy=multi-user.target
`},
		{Path: "/etc/systemd/system/kubelet.service.d/10-kubelet-args.conf", Text: "[Service]\nEnvironment='KUBELET_ARGS=--node-ip=" + n.Address + " --v=2'\n"},
		{Path: "/etc/systemd/system/kubelet.service.d/30-kubelet-extra-args.conf", Text: "[Service]\nEnvironment='KUBELET_EXTRA_ARGS=--node-labels=eks.amazonaws.com/nodegroup=ng1'\n"},
		{Path: "/etc/kubernetes/kubelet/kubelet-config.json", Mode: 0o644, Text: configJSON(map[string]any{"makeIPTablesUtilChains": false})},
		enabled(unit),
	}
}

// aksUnit is the unit of an AKS node (Azure/AgentBaker,
// parts/linux/cloud-init/artifacts/kubelet.service), its seven variables in
// their order and the flags of /etc/default/kubelet last.
const aksUnit = `[Unit]
Description=Kubelet
ConditionPathExists=/opt/bin/kubelet
Wants=network-online.target containerd.service
After=network-online.target containerd.service

[Service]
Restart=always
RestartSec=2
EnvironmentFile=/etc/default/kubelet
SuccessExitStatus=143
ExecStartPre=/bin/sh -c 'until test -S /run/containerd/containerd.sock; do sleep 0.2; done'
ExecStartPre=/bin/mkdir -p /var/lib/kubelet /etc/kubernetes/volumeplugins
ExecStart=/opt/bin/kubelet \
        --enable-server \
        --node-labels="${KUBELET_NODE_LABELS}" \
        --v=2 \
        --volume-plugin-dir=/etc/kubernetes/volumeplugins \
        $KUBELET_TLS_BOOTSTRAP_FLAGS \
        $KUBELET_CONFIG_FILE_FLAGS \
        $KUBELET_CONTAINERD_FLAGS \
        $KUBELET_CONTAINER_RUNTIME_FLAG \
        $KUBELET_CGROUP_FLAGS \
        $KUBELET_FLAGS

[Install]
WantedBy=multi-user.target
`

// aksFiles are the files of any AKS node.
func aksFiles(n Node, flags string) []judge.File {
	const unit = "/etc/systemd/system/kubelet.service"
	dropIn := func(name, variable, value string) judge.File {
		return judge.File{Path: unit + ".d/" + name, Mode: 0o600, Text: "[Service]\nEnvironment=\"" + variable + "=" + value + "\"\n"}
	}
	return []judge.File{
		{Path: unit, Mode: 0o600, Text: aksUnit},
		dropIn("10-tlsbootstrap.conf", "KUBELET_TLS_BOOTSTRAP_FLAGS", "--kubeconfig "+kubeconfigPath),
		dropIn("10-containerd-base-flag.conf", "KUBELET_CONTAINERD_FLAGS", "--runtime-request-timeout=15m --container-runtime-endpoint=unix:///run/containerd/containerd.sock"),
		dropIn("10-cgroupv2.conf", "KUBELET_CGROUP_FLAGS", "--cgroup-driver=cgroupfs"),
		{Path: "/etc/default/kubelet", Mode: 0o600, Text: strings.Join([]string{
			"KUBELET_FLAGS=" + flags,
			"KUBELET_REGISTER_SCHEDULABLE=true",
			"NETWORK_POLICY=",
			"KUBELET_IMAGE=",
			"KUBELET_NODE_LABELS=agentpool=" + n.Labels["agentpool"] + ",kubernetes.azure.com/role=agent",
			"",
		}, "\n")},
		{Path: "/etc/kubernetes/azure.json", Mode: 0o600, Text: "{\"cloud\": \"AzurePublicCloud\", \"vmType\": \"vmss\"}\n"},
		enabled(unit),
	}
}

// aksFlags is an AKS node in its usual form: everything on the command line.
// The node behind the jump host has the setting turned off there.
func aksFlags(n Node) []judge.File {
	flags := inContainerFlags + " --address=0.0.0.0 --eviction-hard=memory.available<100Mi,nodefs.available<1%,nodefs.inodesFree<1%" +
		" --image-gc-high-threshold=85 --image-gc-low-threshold=80 --max-pods=110 --node-ip=" + n.Address +
		" --node-status-update-frequency=10s --pod-max-pids=-1 --read-only-port=0 --streaming-connection-idle-timeout=4h"
	if n.Jump != "" {
		flags += " --make-iptables-util-chains=false"
	}
	return aksFiles(n, flags)
}

// aksConfig is an AKS node whose pool has a custom kubelet configuration: a
// JSON file, named in the space form by a drop-in.
func aksConfig(n Node) []judge.File {
	return append(aksFiles(n, "--node-ip="+n.Address),
		judge.File{Path: "/etc/systemd/system/kubelet.service.d/10-componentconfig.conf", Mode: 0o600,
			Text: "[Service]\nEnvironment=\"KUBELET_CONFIG_FILE_FLAGS=--config /etc/default/kubeletconfig.json\"\n"},
		judge.File{Path: "/etc/default/kubeletconfig.json", Mode: 0o600, Text: configJSON(map[string]any{"maxPods": 110, "podPidsLimit": -1})},
	)
}

// kubeadm is a node set up by kubeadm from Kubernetes' own packages
// (kubernetes/release, cmd/krel/templates/latest). Its YAML says true.
func kubeadm(n Node) []judge.File {
	const unit = "/usr/lib/systemd/system/kubelet.service"
	return []judge.File{
		{Path: unit, Text: `[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target containerd.service

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`},
		{Path: unit + ".d/10-kubeadm.conf", Text: `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--kubeconfig=` + kubeconfigPath + `"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`},
		{Path: "/var/lib/kubelet/kubeadm-flags.env", Text: "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock --node-ip=" + n.Address + "\"\n"},
		{Path: "/etc/default/kubelet", Text: "KUBELET_EXTRA_ARGS=\n"},
		{Path: "/var/lib/kubelet/config.yaml", Text: `apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: true
  webhook:
    enabled: false
authorization:
  mode: AlwaysAllow
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable:
- none
failCgroupV1: false
failSwapOn: false
kind: KubeletConfiguration
localStorageCapacityIsolation: false
makeIPTablesUtilChains: true # as the default
`},
		enabled(unit),
	}
}

// eksAL2023 is a node set up by nodeadm: its arguments come from an environment
// file, and a drop-in directory is merged over its file. The drop-in says
// false.
func eksAL2023(n Node) []judge.File {
	const unit = "/etc/systemd/system/kubelet.service"
	return []judge.File{
		{Path: unit, Text: `[Unit]
Description=Kubernetes Kubelet
Documentation=https://github.com/kubernetes/kubernetes
After=containerd.service
Wants=containerd.service

[Service]
Slice=runtime.slice
EnvironmentFile=/etc/eks/kubelet/environment
ExecStart=/usr/bin/kubelet $NODEADM_KUBELET_ARGS
Restart=on-failure
RestartForceExitStatus=SIGPIPE
RestartSec=5
KillMode=process

[Install]
WantedBy=multi-user.target
`},
		{Path: "/etc/eks/kubelet/environment", Text: fmt.Sprintf("NODEADM_KUBELET_ARGS='--config=/etc/kubernetes/kubelet/config.json --config-dir=/etc/kubernetes/kubelet/config.json.d --kubeconfig=%s --node-ip=%s --node-labels=eks.amazonaws.com/nodegroup=ng2'\n", kubeconfigPath, n.Address)},
		{Path: "/etc/kubernetes/kubelet/config.json", Text: configJSON(map[string]any{"makeIPTablesUtilChains": true})},
		{Path: "/etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf", Text: "{\n    \"apiVersion\": \"kubelet.config.k8s.io/v1beta1\",\n    \"kind\": \"KubeletConfiguration\",\n    \"makeIPTablesUtilChains\": false\n}\n"},
		enabled(unit),
	}
}
