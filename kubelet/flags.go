package kubelet

import (
	"cmp"
	"slices"
)

// flagSpec is one command line flag as the kubelets of a span of releases
// register it.
type flagSpec struct {
	name  string
	kind  flagKind
	short byte // the shorthand letter, 0 for none

	// since and until are the first and last minor release of Kubernetes 1.x
	// that may know the flag; 0 is open. Where the exact release is not
	// established the span is the widest that the evidence allows.
	since, until int
	// doubt is the first minor release from which the flag may be gone; 0 for
	// none.
	doubt int

	// global flags are registered by a library and not by the kubelet. Its
	// second reading of the command line knows them, but not that some need no
	// value: see parseArgsAgain.
	global bool
}

// The minor releases of Kubernetes 1.x whose flags the table holds. A flag that an
// older or newer kubelet is started with and the table lacks is not held to be
// wrong.
const (
	oldestFlagRelease = 20
	newestFlagRelease = 34
)

// findFlag returns the row of a flag by its normalised name.
func findFlag(name string) (flagSpec, bool) {
	i, ok := slices.BinarySearchFunc(flagTable, name, func(f flagSpec, name string) int {
		return cmp.Compare(f.name, name)
	})
	if !ok {
		return flagSpec{}, false
	}
	return flagTable[i], true
}

// findShorthand returns the row of a flag by its shorthand letter.
func findShorthand(c byte) (flagSpec, bool) {
	for _, f := range flagTable {
		if f.short != 0 && f.short == c {
			return f, true
		}
	}
	return flagSpec{}, false
}

// flagTable holds every flag of the kubelet on Linux, sorted by name. It was
// made from
//
//   - v1.34.4, complete: the flag set of the built kubelet packages, printed by
//     internal/flagdump and kept as testdata/flags-1.34.4.txt, to which a test
//     holds this table;
//   - v1.20.2: cmd/kubelet/app/options/{options,globalflags,globalflags_linux,
//     globalflags_providers}.go, pkg/kubelet/config/flags.go and
//     component-base/logs of the source that Debian packages;
//   - v1.24.9, v1.25.5, v1.26.3 and v1.27.1: the FLAG lines which those kubelets
//     log, as Azure/AgentBaker keeps them in e2e/kubelet/*-flags.json;
//   - release notes, for what came or went between those: kubernetes#65707
//     (cadvisor-port, 1.12), #80043 (containerized, 1.16), KEP-1769 (memory
//     manager, 1.21), KEP-2413 (seccomp-default, 1.22), KEP-2625
//     (cpu-manager-policy-options, 1.22), KEP-3983 (config-dir, 1.28),
//     KEP-4569 (fail-cgroupv1, 1.31), #122363 (iptables-*-bit, 1.31),
//     the removals of 1.31 (keep-terminated-pod-volumes), #130161
//     (cloud-config, 1.34), #133779 (pod-infra-container-image, 1.35) and
//     #139870 (some of cAdvisor's flags, 1.37).
var flagTable = []flagSpec{
	{name: "add-dir-header", kind: kindBool, until: 25, global: true},
	{name: "address", kind: kindIP},
	{name: "allow-privileged", kind: kindBool, until: 14},
	{name: "allowed-unsafe-sysctls", kind: kindStringSlice},
	{name: "alsologtostderr", kind: kindBool, until: 25, global: true},
	{name: "anonymous-auth", kind: kindBool},
	{name: "application-metrics-count-limit", kind: kindInt, doubt: 37, global: true},
	{name: "authentication-token-webhook", kind: kindBool},
	{name: "authentication-token-webhook-cache-ttl", kind: kindDuration},
	{name: "authorization-mode", kind: kindString},
	{name: "authorization-webhook-cache-authorized-ttl", kind: kindDuration},
	{name: "authorization-webhook-cache-unauthorized-ttl", kind: kindDuration},
	{name: "azure-container-registry-config", kind: kindString, until: 33, global: true},
	{name: "boot-id-file", kind: kindString, doubt: 37, global: true},
	{name: "bootstrap-kubeconfig", kind: kindString},
	{name: "cadvisor-port", kind: kindInt32, until: 11},
	{name: "cert-dir", kind: kindString},
	{name: "cgroup-driver", kind: kindString},
	{name: "cgroup-root", kind: kindString},
	{name: "cgroups-per-qos", kind: kindBool},
	{name: "chaos-chance", kind: kindFloat64, until: 23},
	{name: "client-ca-file", kind: kindString},
	{name: "cloud-config", kind: kindString, until: 33},
	{name: "cloud-provider", kind: kindString},
	{name: "cluster-dns", kind: kindStringSlice},
	{name: "cluster-domain", kind: kindString},
	{name: "cni-bin-dir", kind: kindString, until: 23},
	{name: "cni-cache-dir", kind: kindString, until: 23},
	{name: "cni-conf-dir", kind: kindString, until: 23},
	{name: "config", kind: kindString},
	{name: "config-dir", kind: kindString, since: 28},
	{name: "container-hints", kind: kindString, doubt: 37, global: true},
	{name: "container-log-max-files", kind: kindInt32},
	{name: "container-log-max-size", kind: kindString},
	{name: "container-runtime", kind: kindString, until: 26},
	{name: "container-runtime-endpoint", kind: kindString},
	{name: "containerd", kind: kindString, doubt: 37, global: true},
	{name: "containerd-namespace", kind: kindString, doubt: 37, global: true},
	{name: "containerized", kind: kindBool, until: 15},
	{name: "contention-profiling", kind: kindBool},
	{name: "cpu-cfs-quota", kind: kindBool},
	{name: "cpu-cfs-quota-period", kind: kindDuration},
	{name: "cpu-manager-policy", kind: kindString},
	{name: "cpu-manager-policy-options", kind: kindPairEqual, since: 22},
	{name: "cpu-manager-reconcile-period", kind: kindDuration},
	{name: "docker", kind: kindString, until: 23, global: true},
	{name: "docker-endpoint", kind: kindString, until: 23},
	{name: "docker-env-metadata-whitelist", kind: kindString, until: 23, global: true},
	{name: "docker-only", kind: kindBool, until: 23, global: true},
	{name: "docker-root", kind: kindString, until: 23, global: true},
	{name: "docker-tls", kind: kindBool, until: 23, global: true},
	{name: "docker-tls-ca", kind: kindString, until: 23, global: true},
	{name: "docker-tls-cert", kind: kindString, until: 23, global: true},
	{name: "docker-tls-key", kind: kindString, until: 23, global: true},
	{name: "dynamic-config-dir", kind: kindString, until: 23},
	{name: "enable-cadvisor-json-endpoints", kind: kindBool, until: 23},
	{name: "enable-controller-attach-detach", kind: kindBool},
	{name: "enable-debugging-handlers", kind: kindBool},
	{name: "enable-load-reader", kind: kindBool, doubt: 37, global: true},
	{name: "enable-server", kind: kindBool},
	{name: "enforce-node-allocatable", kind: kindStringSlice},
	{name: "event-burst", kind: kindInt32},
	{name: "event-qps", kind: kindInt32},
	{name: "event-storage-age-limit", kind: kindString, doubt: 37, global: true},
	{name: "event-storage-event-limit", kind: kindString, doubt: 37, global: true},
	{name: "eviction-hard", kind: kindMapLess},
	{name: "eviction-max-pod-grace-period", kind: kindInt32},
	{name: "eviction-minimum-reclaim", kind: kindMapEqual},
	{name: "eviction-pressure-transition-period", kind: kindDuration},
	{name: "eviction-soft", kind: kindMapLess},
	{name: "eviction-soft-grace-period", kind: kindMapEqual},
	{name: "exit-on-lock-contention", kind: kindBool},
	{name: "experimental-allocatable-ignore-eviction", kind: kindBool},
	{name: "experimental-bootstrap-kubeconfig", kind: kindString, until: 23},
	{name: "experimental-check-node-capabilities-before-mount", kind: kindBool, until: 23},
	{name: "experimental-dockershim-root-directory", kind: kindString, until: 23},
	{name: "experimental-kernel-memcg-notification", kind: kindBool, until: 24},
	{name: "experimental-logging-sanitization", kind: kindBool, until: 23},
	{name: "experimental-mounter-path", kind: kindString},
	{name: "fail-cgroupv1", kind: kindBool, since: 31},
	{name: "fail-swap-on", kind: kindBool},
	{name: "feature-gates", kind: kindMapBool},
	{name: "file-check-frequency", kind: kindDuration},
	{name: "global-housekeeping-interval", kind: kindDuration, doubt: 37, global: true},
	{name: "hairpin-mode", kind: kindString},
	{name: "healthz-bind-address", kind: kindIP},
	{name: "healthz-port", kind: kindInt32},
	{name: "help", kind: kindBool, short: 'h'},
	{name: "hostname-override", kind: kindString},
	{name: "housekeeping-interval", kind: kindDuration, global: true},
	{name: "http-check-frequency", kind: kindDuration},
	{name: "image-credential-provider-bin-dir", kind: kindString, since: 20},
	{name: "image-credential-provider-config", kind: kindString, since: 20},
	{name: "image-gc-high-threshold", kind: kindInt32},
	{name: "image-gc-low-threshold", kind: kindInt32},
	{name: "image-pull-progress-deadline", kind: kindDuration, until: 23},
	{name: "image-service-endpoint", kind: kindString},
	{name: "iptables-drop-bit", kind: kindInt32, until: 30},
	{name: "iptables-masquerade-bit", kind: kindInt32, until: 30},
	{name: "keep-terminated-pod-volumes", kind: kindBool, until: 30},
	{name: "kernel-memcg-notification", kind: kindBool},
	{name: "kube-api-burst", kind: kindInt32},
	{name: "kube-api-content-type", kind: kindString},
	{name: "kube-api-qps", kind: kindInt32},
	{name: "kube-reserved", kind: kindMapEqual},
	{name: "kube-reserved-cgroup", kind: kindString},
	{name: "kubeconfig", kind: kindString},
	{name: "kubelet-cgroups", kind: kindString},
	{name: "local-storage-capacity-isolation", kind: kindBool, since: 25},
	{name: "lock-file", kind: kindString},
	{name: "log-backtrace-at", kind: kindOther, until: 25, global: true},
	{name: "log-cadvisor-usage", kind: kindBool, doubt: 37, global: true},
	{name: "log-dir", kind: kindString, until: 25, global: true},
	{name: "log-file", kind: kindString, until: 25, global: true},
	{name: "log-file-max-size", kind: kindUint64, until: 25, global: true},
	{name: "log-flush-frequency", kind: kindDuration},
	{name: "log-json-info-buffer-size", kind: kindOther, since: 21},
	{name: "log-json-split-stream", kind: kindBool, since: 21},
	{name: "log-text-info-buffer-size", kind: kindOther, since: 28},
	{name: "log-text-split-stream", kind: kindBool, since: 28},
	{name: "logging-format", kind: kindString},
	{name: "logtostderr", kind: kindBool, until: 25, global: true},
	{name: "machine-id-file", kind: kindString, doubt: 37, global: true},
	{name: "make-iptables-util-chains", kind: kindBool},
	{name: "manifest-url", kind: kindString},
	{name: "manifest-url-header", kind: kindMapColon},
	{name: "master-service-namespace", kind: kindString, until: 26},
	{name: "max-open-files", kind: kindInt64},
	{name: "max-pods", kind: kindInt32},
	{name: "maximum-dead-containers", kind: kindInt32},
	{name: "maximum-dead-containers-per-container", kind: kindInt32},
	{name: "memory-manager-policy", kind: kindString, since: 21},
	{name: "minimum-container-ttl-duration", kind: kindDuration},
	{name: "minimum-image-ttl-duration", kind: kindDuration},
	{name: "network-plugin", kind: kindString, until: 23},
	{name: "network-plugin-mtu", kind: kindInt32, until: 23},
	{name: "node-ip", kind: kindString},
	{name: "node-labels", kind: kindOther},
	{name: "node-status-max-images", kind: kindInt32},
	{name: "node-status-update-frequency", kind: kindDuration},
	{name: "non-masquerade-cidr", kind: kindString, until: 23},
	{name: "one-output", kind: kindBool, until: 25, global: true},
	{name: "oom-score-adj", kind: kindInt32},
	{name: "pod-cidr", kind: kindString},
	{name: "pod-infra-container-image", kind: kindString, until: 34},
	{name: "pod-manifest-path", kind: kindString},
	{name: "pod-max-pids", kind: kindInt64},
	{name: "pods-per-core", kind: kindInt32},
	{name: "port", kind: kindInt32},
	{name: "protect-kernel-defaults", kind: kindBool},
	{name: "provider-id", kind: kindString},
	{name: "qos-reserved", kind: kindMapEqual},
	{name: "read-only-port", kind: kindInt32},
	{name: "really-crash-for-testing", kind: kindBool, until: 23},
	{name: "register-node", kind: kindBool},
	{name: "register-schedulable", kind: kindBool, until: 33},
	{name: "register-with-taints", kind: kindOther},
	{name: "registry-burst", kind: kindInt32},
	{name: "registry-qps", kind: kindInt32},
	{name: "reserved-cpus", kind: kindString},
	{name: "reserved-memory", kind: kindOther, since: 21},
	{name: "resolv-conf", kind: kindString},
	{name: "root-dir", kind: kindString},
	{name: "rotate-certificates", kind: kindBool},
	{name: "rotate-server-certificates", kind: kindBool},
	{name: "runonce", kind: kindBool},
	{name: "runtime-cgroups", kind: kindString},
	{name: "runtime-request-timeout", kind: kindDuration},
	{name: "seccomp-default", kind: kindBool, since: 22},
	{name: "seccomp-profile-root", kind: kindString, until: 23},
	{name: "serialize-image-pulls", kind: kindBool},
	{name: "skip-headers", kind: kindBool, until: 25, global: true},
	{name: "skip-log-headers", kind: kindBool, until: 25, global: true},
	{name: "stderrthreshold", kind: kindOther, until: 25, global: true},
	{name: "storage-driver-buffer-duration", kind: kindDuration, doubt: 37, global: true},
	{name: "storage-driver-db", kind: kindString, doubt: 37, global: true},
	{name: "storage-driver-host", kind: kindString, doubt: 37, global: true},
	{name: "storage-driver-password", kind: kindString, doubt: 37, global: true},
	{name: "storage-driver-secure", kind: kindBool, doubt: 37, global: true},
	{name: "storage-driver-table", kind: kindString, doubt: 37, global: true},
	{name: "storage-driver-user", kind: kindString, doubt: 37, global: true},
	{name: "streaming-connection-idle-timeout", kind: kindDuration},
	{name: "sync-frequency", kind: kindDuration},
	{name: "system-cgroups", kind: kindString},
	{name: "system-reserved", kind: kindMapEqual},
	{name: "system-reserved-cgroup", kind: kindString},
	{name: "tls-cert-file", kind: kindString},
	{name: "tls-cipher-suites", kind: kindStringSlice},
	{name: "tls-min-version", kind: kindString},
	{name: "tls-private-key-file", kind: kindString},
	{name: "topology-manager-policy", kind: kindString},
	{name: "topology-manager-policy-options", kind: kindMapEqual, since: 26},
	{name: "topology-manager-scope", kind: kindString},
	{name: "v", kind: kindInt32Decimal, short: 'v'},
	{name: "version", kind: kindVersion, global: true},
	{name: "vmodule", kind: kindOther},
	{name: "volume-plugin-dir", kind: kindString},
	{name: "volume-stats-agg-period", kind: kindDuration},
}
