package dynamic

// field is one setting of KubeletConfiguration in v1beta1 as the kubelets with
// Dynamic Kubelet Configuration have it. A list or a map is one setting: the
// kubelet takes it as a whole.
type field struct {
	key   string   // dotted when nested
	flags []string // the flags that beat it
	// defaults are what an absent value becomes: one value, or several where
	// releases differ; none is the zero value.
	defaults []any
	// pointer tells that the kubelet knows absent from zero: zero then stays, and
	// /configz always reports it.
	pointer bool
	// path tells that the kubelet resolves a relative value against the directory
	// of the file it read.
	path bool
	// computed tells that the running kubelet puts something of its own there when
	// nothing is given, so that /configz does not show what was configured.
	computed bool
}

// fields holds every setting, sorted by key. It was made from kubernetes v1.20.2
// and v1.23.17, and held against v1.16.15 and v1.18.20: staging/src/k8s.io/kubelet/
// config/v1beta1/types.go, pkg/kubelet/apis/config/v1beta1/defaults.go,
// pkg/kubelet/apis/config/helpers.go (KubeletConfigurationPathRefs),
// AddKubeletConfigFlags of cmd/kubelet/app/options/options.go, and
// InitializeTLS of cmd/kubelet/app/server.go for what is computed.
var fields = []field{
	{key: "address", flags: []string{"address"}, defaults: []any{"0.0.0.0"}},
	{key: "allowedUnsafeSysctls", flags: []string{"allowed-unsafe-sysctls"}},
	{key: "authentication.anonymous.enabled", flags: []string{"anonymous-auth"}, pointer: true},
	{key: "authentication.webhook.cacheTTL", flags: []string{"authentication-token-webhook-cache-ttl"}, defaults: []any{"2m0s"}},
	{key: "authentication.webhook.enabled", flags: []string{"authentication-token-webhook"}, defaults: []any{true}, pointer: true},
	{key: "authentication.x509.clientCAFile", flags: []string{"client-ca-file"}, path: true},
	{key: "authorization.mode", flags: []string{"authorization-mode"}, defaults: []any{"Webhook"}},
	{key: "authorization.webhook.cacheAuthorizedTTL", flags: []string{"authorization-webhook-cache-authorized-ttl"}, defaults: []any{"5m0s"}},
	{key: "authorization.webhook.cacheUnauthorizedTTL", flags: []string{"authorization-webhook-cache-unauthorized-ttl"}, defaults: []any{"30s"}},
	{key: "cgroupDriver", flags: []string{"cgroup-driver"}, defaults: []any{"cgroupfs"}},
	{key: "cgroupRoot", flags: []string{"cgroup-root"}},
	{key: "cgroupsPerQOS", flags: []string{"cgroups-per-qos"}, defaults: []any{true}, pointer: true},
	{key: "clusterDNS", flags: []string{"cluster-dns"}},
	{key: "clusterDomain", flags: []string{"cluster-domain"}},
	{key: "configMapAndSecretChangeDetectionStrategy", defaults: []any{"Watch"}},
	{key: "containerLogMaxFiles", flags: []string{"container-log-max-files"}, defaults: []any{5}, pointer: true},
	{key: "containerLogMaxSize", flags: []string{"container-log-max-size"}, defaults: []any{"10Mi"}},
	{key: "contentType", flags: []string{"kube-api-content-type"}, defaults: []any{"application/vnd.kubernetes.protobuf"}},
	{key: "cpuCFSQuota", flags: []string{"cpu-cfs-quota"}, defaults: []any{true}, pointer: true},
	{key: "cpuCFSQuotaPeriod", flags: []string{"cpu-cfs-quota-period"}, defaults: []any{"100ms"}, pointer: true},
	{key: "cpuManagerPolicy", flags: []string{"cpu-manager-policy"}, defaults: []any{"none"}},
	{key: "cpuManagerPolicyOptions", flags: []string{"cpu-manager-policy-options"}},
	{key: "cpuManagerReconcilePeriod", flags: []string{"cpu-manager-reconcile-period"}, defaults: []any{"10s"}},
	{key: "enableContentionProfiling", flags: []string{"contention-profiling"}},
	{key: "enableControllerAttachDetach", flags: []string{"enable-controller-attach-detach"}, defaults: []any{true}, pointer: true},
	{key: "enableDebugFlagsHandler", defaults: []any{true}, pointer: true},
	{key: "enableDebuggingHandlers", flags: []string{"enable-debugging-handlers"}, defaults: []any{true}, pointer: true},
	{key: "enableProfilingHandler", defaults: []any{true}, pointer: true},
	{key: "enableServer", flags: []string{"enable-server"}, defaults: []any{true}, pointer: true},
	{key: "enableSystemLogHandler", defaults: []any{true}, pointer: true},
	{key: "enforceNodeAllocatable", flags: []string{"enforce-node-allocatable"}, defaults: []any{[]any{"pods"}}},
	{key: "eventBurst", flags: []string{"event-burst"}, defaults: []any{10}},
	{key: "eventRecordQPS", flags: []string{"event-qps"}, defaults: []any{5}, pointer: true},
	{key: "evictionHard", flags: []string{"eviction-hard"}, defaults: []any{map[string]any{"imagefs.available": "15%", "memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%"}}},
	{key: "evictionMaxPodGracePeriod", flags: []string{"eviction-max-pod-grace-period"}},
	{key: "evictionMinimumReclaim", flags: []string{"eviction-minimum-reclaim"}},
	{key: "evictionPressureTransitionPeriod", flags: []string{"eviction-pressure-transition-period"}, defaults: []any{"5m0s"}},
	{key: "evictionSoft", flags: []string{"eviction-soft"}},
	{key: "evictionSoftGracePeriod", flags: []string{"eviction-soft-grace-period"}},
	{key: "failSwapOn", flags: []string{"fail-swap-on"}, defaults: []any{true}, pointer: true},
	{key: "featureGates", flags: []string{"feature-gates"}},
	{key: "fileCheckFrequency", flags: []string{"file-check-frequency"}, defaults: []any{"20s"}},
	{key: "hairpinMode", flags: []string{"hairpin-mode"}, defaults: []any{"promiscuous-bridge"}},
	{key: "healthzBindAddress", flags: []string{"healthz-bind-address"}, defaults: []any{"127.0.0.1"}},
	{key: "healthzPort", flags: []string{"healthz-port"}, defaults: []any{10248}, pointer: true},
	{key: "httpCheckFrequency", flags: []string{"http-check-frequency"}, defaults: []any{"20s"}},
	{key: "imageGCHighThresholdPercent", flags: []string{"image-gc-high-threshold"}, defaults: []any{85}, pointer: true},
	{key: "imageGCLowThresholdPercent", flags: []string{"image-gc-low-threshold"}, defaults: []any{80}, pointer: true},
	{key: "imageMinimumGCAge", flags: []string{"minimum-image-ttl-duration"}, defaults: []any{"2m0s"}},
	{key: "iptablesDropBit", flags: []string{"iptables-drop-bit"}, defaults: []any{15}, pointer: true},
	{key: "iptablesMasqueradeBit", flags: []string{"iptables-masquerade-bit"}, defaults: []any{14}, pointer: true},
	{key: "kernelMemcgNotification", flags: []string{"experimental-kernel-memcg-notification", "kernel-memcg-notification"}},
	{key: "kubeAPIBurst", flags: []string{"kube-api-burst"}, defaults: []any{10}},
	{key: "kubeAPIQPS", flags: []string{"kube-api-qps"}, defaults: []any{5}, pointer: true},
	{key: "kubeReserved", flags: []string{"kube-reserved"}},
	{key: "kubeReservedCgroup", flags: []string{"kube-reserved-cgroup"}},
	{key: "kubeletCgroups", flags: []string{"kubelet-cgroups"}},
	{key: "logging", flags: []string{"experimental-logging-sanitization", "log-flush-frequency", "log-json-info-buffer-size", "log-json-split-stream", "logging-format", "v", "vmodule"}, computed: true},
	{key: "makeIPTablesUtilChains", flags: []string{"make-iptables-util-chains"}, defaults: []any{true}, pointer: true},
	{key: "maxOpenFiles", flags: []string{"max-open-files"}, defaults: []any{1000000}},
	{key: "maxPods", flags: []string{"max-pods"}, defaults: []any{110}},
	{key: "memoryManagerPolicy", flags: []string{"memory-manager-policy"}, defaults: []any{"None"}},
	{key: "memorySwap"},
	{key: "memoryThrottlingFactor", defaults: []any{0.8}, pointer: true},
	{key: "nodeLeaseDurationSeconds", defaults: []any{40}},
	{key: "nodeStatusMaxImages", flags: []string{"node-status-max-images"}, defaults: []any{50}, pointer: true},
	{key: "nodeStatusReportFrequency", defaults: []any{"5m0s", "1m0s"}},
	{key: "nodeStatusUpdateFrequency", flags: []string{"node-status-update-frequency"}, defaults: []any{"10s"}},
	{key: "oomScoreAdj", flags: []string{"oom-score-adj"}, defaults: []any{-999}, pointer: true},
	{key: "podCIDR", flags: []string{"pod-cidr"}},
	{key: "podPidsLimit", flags: []string{"pod-max-pids"}, defaults: []any{-1}, pointer: true},
	{key: "podsPerCore", flags: []string{"pods-per-core"}},
	{key: "port", flags: []string{"port"}, defaults: []any{10250}},
	{key: "protectKernelDefaults", flags: []string{"protect-kernel-defaults"}},
	{key: "providerID", flags: []string{"provider-id"}},
	{key: "qosReserved", flags: []string{"qos-reserved"}},
	{key: "readOnlyPort", flags: []string{"read-only-port"}},
	{key: "registerNode", flags: []string{"register-node"}, defaults: []any{true}, pointer: true},
	{key: "registerWithTaints", flags: []string{"register-with-taints"}},
	{key: "registryBurst", flags: []string{"registry-burst"}, defaults: []any{10}},
	{key: "registryPullQPS", flags: []string{"registry-qps"}, defaults: []any{5}, pointer: true},
	{key: "reservedMemory", flags: []string{"reserved-memory"}},
	{key: "reservedSystemCPUs", flags: []string{"reserved-cpus"}},
	{key: "resolvConf", flags: []string{"resolv-conf"}, defaults: []any{"/etc/resolv.conf"}, pointer: true, path: true},
	{key: "rotateCertificates", flags: []string{"rotate-certificates"}},
	{key: "runOnce", flags: []string{"runonce"}},
	{key: "runtimeRequestTimeout", flags: []string{"runtime-request-timeout"}, defaults: []any{"2m0s"}},
	{key: "seccompDefault", pointer: true},
	{key: "serializeImagePulls", flags: []string{"serialize-image-pulls"}, defaults: []any{true}, pointer: true},
	{key: "serverTLSBootstrap", flags: []string{"rotate-server-certificates"}},
	{key: "showHiddenMetricsForVersion"},
	{key: "shutdownGracePeriod"},
	{key: "shutdownGracePeriodByPodPriority"},
	{key: "shutdownGracePeriodCriticalPods"},
	{key: "staticPodPath", flags: []string{"pod-manifest-path"}, path: true},
	{key: "staticPodURL", flags: []string{"manifest-url"}},
	{key: "staticPodURLHeader", flags: []string{"manifest-url-header"}},
	{key: "streamingConnectionIdleTimeout", flags: []string{"streaming-connection-idle-timeout"}, defaults: []any{"4h0m0s"}},
	{key: "syncFrequency", flags: []string{"sync-frequency"}, defaults: []any{"1m0s"}},
	{key: "systemCgroups", flags: []string{"system-cgroups"}},
	{key: "systemReserved", flags: []string{"system-reserved"}},
	{key: "systemReservedCgroup", flags: []string{"system-reserved-cgroup"}},
	{key: "tlsCertFile", flags: []string{"tls-cert-file"}, path: true, computed: true},
	{key: "tlsCipherSuites", flags: []string{"tls-cipher-suites"}},
	{key: "tlsMinVersion", flags: []string{"tls-min-version"}},
	{key: "tlsPrivateKeyFile", flags: []string{"tls-private-key-file"}, path: true, computed: true},
	{key: "topologyManagerPolicy", flags: []string{"topology-manager-policy"}, defaults: []any{"none"}},
	{key: "topologyManagerScope", flags: []string{"topology-manager-scope"}, defaults: []any{"container"}},
	{key: "volumePluginDir", flags: []string{"volume-plugin-dir"}, defaults: []any{"/usr/libexec/kubernetes/kubelet-plugins/volume/exec/"}, path: true},
	{key: "volumeStatsAggPeriod", flags: []string{"volume-stats-agg-period"}, defaults: []any{"1m0s"}},
}
