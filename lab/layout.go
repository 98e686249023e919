package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// layout is what one shape puts on a node: files by path, and the command line
// its unit comes to. The command line is written out here, not derived from
// the files, so that a test can hold the product's own derivation against it.
type layout struct {
	files    map[string]string
	exe      string
	args     []string // after argv[0]
	cwd      string
	env      []string // of the process, beyond systemd's own
	envFiles []string // EnvironmentFiles of systemctl show
	// environment is the unit's Environment= as systemd joined it.
	environment []string
	processes   []Process // in place of the kubelet, for shapes without one
	configFile  string    // the file Layers.File goes to, "" when there is none
	os          string
}

const (
	unitPath  = "/etc/systemd/system/kubelet.service"
	dropInDir = "/etc/systemd/system/kubelet.service.d/"
	unitName  = "kubelet.service"
	osUbuntu  = "Ubuntu 24.04.3 LTS"
)

// layoutOf lays a node out with the setting written as in l.
func layoutOf(spec NodeSpec, l Layers) layout {
	switch spec.Shape {
	case ShapeAKSFlags:
		return aksFlags(spec, l)
	case ShapeAKSFile:
		return aksFile(spec, l)
	case ShapeEKS:
		return eksAL2(spec, l)
	case ShapeKubeadm:
		return kubeadm(spec, l)
	case ShapeAL2023:
		return eksAL2023(spec, l)
	case ShapeK3s:
		return k3s(spec)
	default:
		return layout{os: osUbuntu}
	}
}

// configText puts the setting into a configuration document: line is the whole
// line to insert at the marker, which is removed when the value is absent.
func configText(doc, marker, line string) string {
	if line == "" {
		return strings.Replace(doc, marker+"\n", "", 1)
	}
	return strings.Replace(doc, marker, line, 1)
}

func jsonLine(indent, value string) string {
	if value == "" {
		return ""
	}
	return indent + `"makeIPTablesUtilChains": ` + value + ","
}

func yamlLine(value string) string {
	if value == "" {
		return ""
	}
	return "makeIPTablesUtilChains: " + value
}

// join is the words and the setting's flags as one line of a variable.
func join(words []string, l Layers) string {
	return strings.Join(append(slices.Clone(words), l.Flags...), " ")
}

// The AKS unit: seven variables in this order, an EnvironmentFile that must
// exist, Restart=always after two seconds (Azure/AgentBaker,
// parts/linux/cloud-init/artifacts/kubelet.service).
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
ExecStartPre=/bin/bash /opt/azure/containers/kubelet.sh
ExecStartPre=/bin/mkdir -p /var/lib/kubelet
ExecStartPre=/bin/mkdir -p /var/lib/cni
ExecStartPre=-/sbin/iptables -t nat --numeric --list

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

const (
	aksTLS        = "--kubeconfig /var/lib/kubelet/kubeconfig --bootstrap-kubeconfig /var/lib/kubelet/bootstrap-kubeconfig"
	aksContainerd = "--runtime-request-timeout=15m --container-runtime-endpoint=unix:///run/containerd/containerd.sock --runtime-cgroups=/system.slice/containerd.service"
	aksCgroup     = "--cgroup-driver=systemd"
	aksConfig     = "/etc/default/kubeletconfig.json"
)

func service(lines ...string) string {
	return "[Service]\n" + strings.Join(lines, "\n") + "\n"
}

func environment(assignments ...string) string {
	lines := make([]string, len(assignments))
	for i, a := range assignments {
		lines[i] = `Environment="` + a + `"`
	}
	return service(lines...)
}

func nodeLabels(spec NodeSpec) string {
	return "agentpool=" + pool(spec) + ",kubernetes.azure.com/agentpool=" + pool(spec) + ",kubernetes.azure.com/mode=user"
}

func pool(spec NodeSpec) string {
	if p := spec.Labels["agentpool"]; p != "" {
		return p
	}
	return "np1"
}

// aksCommon is what both AKS layouts share; config is the extra variable of
// the config-file layout, flags the words of KUBELET_FLAGS.
func aksCommon(spec NodeSpec, l Layers, config string, flags []string) layout {
	out := layout{
		exe: "/opt/bin/kubelet", cwd: "/", os: osUbuntu,
		envFiles: []string{"/etc/default/kubelet (ignore_errors=no)"},
		files: map[string]string{
			unitPath: aksUnit,
			"/etc/default/kubelet": "KUBELET_FLAGS=" + join(flags, l) + "\n" +
				"KUBELET_REGISTER_SCHEDULABLE=true\nNETWORK_POLICY=\nKUBELET_IMAGE=\n" +
				"KUBELET_NODE_LABELS=" + nodeLabels(spec) + "\n",
			dropInDir + "10-bindmount.conf":             service("ExecStartPre=/bin/bash -c \"mountpoint -q /var/lib/kubelet || /bin/mount --bind /var/lib/kubelet /var/lib/kubelet\""),
			dropInDir + "10-cgroupv2.conf":              environment("KUBELET_CGROUP_FLAGS=" + aksCgroup),
			dropInDir + "10-containerd-base-flag.conf":  environment("KUBELET_CONTAINERD_FLAGS=" + aksContainerd),
			dropInDir + "10-credential-validation.conf": service("ExecStartPre=/bin/bash /opt/azure/containers/validate-kubelet-credentials.sh"),
			dropInDir + "10-tlsbootstrap.conf":          environment("KUBELET_TLS_BOOTSTRAP_FLAGS=" + aksTLS),
			dropInDir + "10-watchdog.conf":              service("WatchdogSec=60s"),
			// Read by other programs; some auditors take it for the kubelet's.
			"/etc/kubernetes/azure.json": "{\n    \"cloud\": \"AzurePublicCloud\",\n    \"tenantId\": \"00000000-0000-0000-0000-000000000000\",\n    \"aadClientSecret\": \"msi\"\n}\n",
		},
	}
	out.args = []string{"--enable-server", "--node-labels=" + nodeLabels(spec), "--v=2", "--volume-plugin-dir=/etc/kubernetes/volumeplugins"}
	out.args = append(out.args, strings.Fields(aksTLS+" "+config+" "+aksContainerd+" "+aksCgroup)...)
	out.args = append(append(out.args, flags...), l.Flags...)
	out.environment = []string{"KUBELET_CGROUP_FLAGS=" + aksCgroup}
	if config != "" {
		out.files[dropInDir+"10-componentconfig.conf"] = environment("KUBELET_CONFIG_FILE_FLAGS=" + config)
		out.environment = append(out.environment, "KUBELET_CONFIG_FILE_FLAGS="+config)
	}
	out.environment = append(out.environment, "KUBELET_CONTAINERD_FLAGS="+aksContainerd, "KUBELET_TLS_BOOTSTRAP_FLAGS="+aksTLS)
	return out
}

func aksFlags(spec NodeSpec, l Layers) layout {
	return aksCommon(spec, l, "", []string{
		"--address=0.0.0.0", "--anonymous-auth=false", "--authentication-token-webhook=true", "--authorization-mode=Webhook",
		"--client-ca-file=/etc/kubernetes/certs/ca.crt",
		"--cloud-provider=external", "--cluster-dns=10.0.0.10", "--cluster-domain=cluster.local",
		"--event-qps=0", "--eviction-hard=memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,pid.available<2000",
		"--image-gc-high-threshold=85", "--image-gc-low-threshold=80", "--kube-reserved=cpu=100m,memory=1638Mi,pid=1000",
		"--max-pods=30", "--node-ip=10.224.0.4", "--node-status-update-frequency=10s", "--pod-max-pids=-1",
		"--protect-kernel-defaults=true", "--read-only-port=0", "--rotate-certificates=true", "--rotate-server-certificates=true",
		"--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	})
}

const aksConfigDoc = `{
    "kind": "KubeletConfiguration",
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "staticPodPath": "/etc/kubernetes/manifests",
    "address": "0.0.0.0",
    "readOnlyPort": 0,
@SETTING@
    "authentication": {
        "x509": {
            "clientCAFile": "/etc/kubernetes/certs/ca.crt"
        },
        "webhook": {
            "enabled": true
        },
        "anonymous": {
            "enabled": false
        }
    },
    "authorization": {
        "mode": "Webhook",
        "webhook": {}
    },
    "eventRecordQPS": 0,
    "clusterDomain": "cluster.local",
    "clusterDNS": [
        "10.0.0.10"
    ],
    "evictionHard": {
        "memory.available": "100Mi",
        "nodefs.available": "10%",
        "nodefs.inodesFree": "5%"
    },
    "maxPods": 110,
    "protectKernelDefaults": true,
    "rotateCertificates": true
}
`

func aksFile(spec NodeSpec, l Layers) layout {
	out := aksCommon(spec, l, "--config "+aksConfig, []string{
		"--cloud-provider=external",
		"--node-ip=10.224.0.5", "--node-status-update-frequency=10s",
	})
	out.configFile = aksConfig
	out.files[aksConfig] = configText(aksConfigDoc, "@SETTING@", jsonLine("    ", l.File))
	return out
}

// The layout the CIS text describes: the node image of EKS on Amazon Linux 2
// (awslabs/amazon-eks-ami, templates/al2/runtime).
const eksUnit = `[Unit]
Description=Kubernetes Kubelet
Documentation=https://github.com/kubernetes/kubernetes
After=containerd.service sandbox-image.service
Requires=containerd.service sandbox-image.service

[Service]
Slice=runtime.slice
ExecStartPre=/sbin/iptables -P FORWARD ACCEPT -w 5
ExecStart=/usr/bin/kubelet \
    --config /etc/kubernetes/kubelet/kubelet-config.json \
    --kubeconfig /var/lib/kubelet/kubeconfig \
    --container-runtime-endpoint unix:///run/containerd/containerd.sock \
    --image-credential-provider-config /etc/eks/image-credential-provider/config.json \
    --image-credential-provider-bin-dir /etc/eks/image-credential-provider \
    $KUBELET_ARGS \
    $KUBELET_EXTRA_ARGS

Restart=always
RestartSec=5
KillMode=process
CPUAccounting=true
MemoryAccounting=true

[Install]
WantedBy=multi-user.target
`

const eksConfigDoc = `{
  "kind": "KubeletConfiguration",
  "apiVersion": "kubelet.config.k8s.io/v1beta1",
  "address": "0.0.0.0",
@SETTING@
  "authentication": {
    "anonymous": {
      "enabled": false
    },
    "webhook": {
      "cacheTTL": "2m0s",
      "enabled": true
    },
    "x509": {
      "clientCAFile": "/etc/kubernetes/pki/ca.crt"
    }
  },
  "authorization": {
    "mode": "Webhook"
  },
  "clusterDomain": "cluster.local",
  "cgroupDriver": "systemd",
  "featureGates": {
    "RotateKubeletServerCertificate": true
  },
  "protectKernelDefaults": true,
  "serializeImagePulls": false
}
`

func eksAL2(spec NodeSpec, l Layers) layout {
	const config = "/etc/kubernetes/kubelet/kubelet-config.json"
	args := "--node-ip=10.0.42.17 --v=2"
	extra := join([]string{"--node-labels=eks.amazonaws.com/nodegroup=" + pool(spec), "--max-pods=29"}, l)
	fixed := "--config " + config + " --kubeconfig /var/lib/kubelet/kubeconfig --container-runtime-endpoint unix:///run/containerd/containerd.sock" +
		" --image-credential-provider-config /etc/eks/image-credential-provider/config.json --image-credential-provider-bin-dir /etc/eks/image-credential-provider"
	return layout{
		exe: "/usr/bin/kubelet", cwd: "/", os: "Amazon Linux 2", configFile: config,
		args:        strings.Fields(fixed + " " + args + " " + extra),
		environment: []string{"KUBELET_ARGS=" + args, "KUBELET_EXTRA_ARGS=" + extra},
		files: map[string]string{
			unitPath:                                 eksUnit,
			dropInDir + "10-kubelet-args.conf":       service("Environment='KUBELET_ARGS=" + args + "'"),
			dropInDir + "30-kubelet-extra-args.conf": service("Environment='KUBELET_EXTRA_ARGS=" + extra + "'"),
			config:                                   configText(eksConfigDoc, "@SETTING@", jsonLine("  ", l.File)),
		},
	}
}

// The packages of kubeadm: a base unit whose ExecStart the drop-in resets
// (kubernetes/release, cmd/krel/templates/latest).
const (
	kubeadmUnit = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`
	kubeadmDropIn = `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`
	kubeadmConfigDoc = `apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 0s
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
authorization:
  mode: Webhook
  webhook:
    cacheAuthorizedTTL: 0s
    cacheUnauthorizedTTL: 0s
cgroupDriver: systemd
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
healthzBindAddress: 127.0.0.1
healthzPort: 10248
kind: KubeletConfiguration
@SETTING@
rotateCertificates: true
staticPodPath: /etc/kubernetes/manifests
`
)

func kubeadm(_ NodeSpec, l Layers) layout {
	const (
		config   = "/var/lib/kubelet/config.yaml"
		unit     = "/usr/lib/systemd/system/kubelet.service"
		kubeconf = "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
		adm      = "--container-runtime-endpoint=unix:///run/containerd/containerd.sock --max-pods=110"
	)
	extra := join([]string{"--node-ip=192.0.2.14"}, l)
	return layout{
		exe: "/usr/bin/kubelet", cwd: "/", os: "Debian GNU/Linux 12 (bookworm)", configFile: config,
		args:        strings.Fields(kubeconf + " --config=" + config + " " + adm + " " + extra),
		environment: []string{"KUBELET_KUBECONFIG_ARGS=" + kubeconf, "KUBELET_CONFIG_ARGS=--config=" + config},
		envFiles:    []string{"/var/lib/kubelet/kubeadm-flags.env (ignore_errors=yes)", "/etc/default/kubelet (ignore_errors=yes)"},
		files: map[string]string{
			unit: kubeadmUnit,
			"/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": kubeadmDropIn,
			"/var/lib/kubelet/kubeadm-flags.env":                        `KUBELET_KUBEADM_ARGS="` + adm + `"` + "\n",
			"/etc/default/kubelet":                                      "KUBELET_EXTRA_ARGS=" + extra + "\n",
			config:                                                      configText(kubeadmConfigDoc, "@SETTING@", yamlLine(l.File)),
		},
	}
}

// EKS on Amazon Linux 2023: nodeadm writes an environment file and, when the
// user gave a configuration, a drop-in directory.
const al2023Unit = `[Unit]
Description=Kubernetes Kubelet
Documentation=https://github.com/kubernetes/kubernetes
After=containerd.service
Wants=containerd.service

[Service]
EnvironmentFile=/etc/eks/kubelet/environment
ExecStart=/usr/bin/kubelet $NODEADM_KUBELET_ARGS
Restart=on-failure
RestartForceExitStatus=SIGPIPE
RestartSec=5
KillMode=process

[Install]
WantedBy=multi-user.target
`

func eksAL2023(spec NodeSpec, l Layers) layout {
	const (
		config = "/etc/kubernetes/kubelet/config.json"
		dir    = "/etc/kubernetes/kubelet/config.json.d"
	)
	args := join([]string{"--cloud-provider=external", "--config=" + config, "--config-dir=" + dir, "--hostname-override=" + spec.Name,
		"--image-credential-provider-bin-dir=/etc/eks/image-credential-provider", "--kubeconfig=/var/lib/kubelet/kubeconfig",
		"--node-ip=10.0.77.3", "--node-labels=eks.amazonaws.com/nodegroup=" + pool(spec)}, l)
	out := layout{
		exe: "/usr/bin/kubelet", cwd: "/", os: "Amazon Linux 2023.9.20251110", configFile: config,
		args:     strings.Fields(args),
		envFiles: []string{"/etc/eks/kubelet/environment (ignore_errors=no)"},
		files: map[string]string{
			unitPath:                       al2023Unit,
			"/etc/eks/kubelet/environment": `NODEADM_KUBELET_ARGS="` + args + `"` + "\n",
			config:                         configText(eksConfigDoc, "@SETTING@", jsonLine("  ", l.File)),
			dir + "/40-nodeadm.conf":       "{\n  \"kind\": \"KubeletConfiguration\",\n  \"apiVersion\": \"kubelet.config.k8s.io/v1beta1\",\n  \"maxPods\": 58\n}\n",
		},
	}
	for _, name := range slices.Sorted(maps.Keys(l.DropIns)) {
		out.files[dir+"/"+name] = fmt.Sprintf("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n%s\n", yamlLine(l.DropIns[name]))
	}
	return out
}

const k3sUnit = `[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/k3s-agent.service.env
KillMode=process
Delegate=yes
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s \
    agent
`

func k3s(NodeSpec) layout {
	return layout{
		os: osUbuntu,
		files: map[string]string{
			"/etc/systemd/system/k3s-agent.service":                              k3sUnit,
			"/etc/rancher/k3s/config.yaml":                                       "server: https://192.0.2.10:6443\nkubelet-arg:\n- max-pods=50\n",
			"/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf": "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDomain: cluster.local\n",
		},
		processes: []Process{{PID: 977, PPID: 1, Argv: []string{"/usr/local/bin/k3s", "agent"}, Exe: "/var/lib/rancher/k3s/data/current/bin/k3s", Comm: "k3s-agent", Cwd: "/"}},
	}
}
