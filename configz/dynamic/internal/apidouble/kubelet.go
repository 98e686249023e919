package apidouble

//lint:file-ignore SA1019 spec.configSource is deprecated with the feature that this is about

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubelet/config/v1beta1"
)

// Options say what kubelet the node has.
type Options struct {
	// File is the content of its file of --config.
	File string
	// Flags set fields over any configuration.
	Flags func(c *v1beta1.KubeletConfiguration)
	// Restart is how long it is away when it restarts; Tick how often it syncs.
	Restart, Tick time.Duration
	// GateOff makes the API server drop spec.configSource, as one without the
	// feature gate does.
	GateOff bool
	// DenyReads is how often the kubelet may not read a ConfigMap at first: the
	// Node authorizer learns of an assignment later than the kubelet.
	DenyReads int
	// Dies makes the kubelet end again soon after it started with a configuration,
	// and come back with it after Restart, for ever.
	Dies func(c *v1beta1.KubeletConfiguration) bool
	// Stuck makes the kubelet show this value for ever.
	Stuck *bool
	// SlowStatus delays what it reports by this many ticks.
	SlowStatus int
}

// Errors that a kubelet reports (pkg/kubelet/kubeletconfig/status).
const (
	loadError     = "failed to load config, see Kubelet log for details"
	validateError = "failed to validate config, see Kubelet log for details"
	downloadError = "failed to sync: failed to download config, see Kubelet log for details"
)

// kubelet is the state of the kubelet: what is on its disk, and what is running.
type kubelet struct {
	o    Options
	dead bool // stopped for good

	// On disk.
	assigned, lastKnownGood *corev1.NodeConfigSource
	checkpoints             map[string]string // by uid and resourceVersion

	// Running.
	back    time.Time // when it is there again
	config  *v1beta1.KubeletConfiguration
	active  *corev1.NodeConfigSource
	failed  string // what loading the assigned configuration failed with
	sync    string // what the last synchronisation failed with
	pending int    // ticks until the status is reported
	denied  int
}

// loop is the life of the kubelet.
func (s *Server) loop(stop chan struct{}) {
	tick := time.NewTicker(s.kubelet.o.Tick)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			s.do(s.step)
		}
	}
}

// step is one turn: come back, report, look at spec.configSource.
func (s *Server) step() {
	k := &s.kubelet
	if k.dead || s.node == nil || time.Now().Before(k.back) {
		return
	}
	if k.config == nil {
		if k.boot() != nil {
			return
		}
		k.pending = k.o.SlowStatus
	}
	if k.pending--; k.pending < 0 {
		s.publish()
	}
	if k.o.Dies != nil && k.o.Dies(k.config) {
		k.restart()
		return
	}
	s.synchronise()
}

// publish reports status.config.
func (s *Server) publish() {
	k := &s.kubelet
	status := &corev1.NodeConfigStatus{Assigned: k.assigned.DeepCopy(), Active: k.active.DeepCopy(), LastKnownGood: k.lastKnownGood.DeepCopy(), Error: k.failed}
	if k.sync != "" {
		status.Error = k.sync
	}
	if !reflect.DeepEqual(status, s.node.Status.Config) {
		s.node.Status.Config = status
		s.node.ResourceVersion = s.next()
	}
}

// synchronise is syncConfigSource of configsync.go.
func (s *Server) synchronise() {
	k := &s.kubelet
	source := s.node.Spec.ConfigSource.DeepCopy()
	if source == nil {
		if k.assigned != nil {
			k.assigned, k.lastKnownGood = nil, nil
			k.restart()
		}
		k.sync = ""
		return
	}
	cm, ok := s.configMaps[source.ConfigMap.Namespace+"/"+source.ConfigMap.Name]
	if ok && k.assigned == nil && k.denied < k.o.DenyReads {
		k.denied++
		ok = false
	}
	if !ok {
		k.sync = downloadError
		return
	}
	source.ConfigMap.UID, source.ConfigMap.ResourceVersion = cm.UID, cm.ResourceVersion
	if k.checkpoints == nil {
		k.checkpoints = map[string]string{}
	}
	k.checkpoints[checkpoint(source)] = cm.Data[source.ConfigMap.KubeletConfigKey]
	k.sync = ""
	if !reflect.DeepEqual(k.assigned, source) {
		k.assigned = source
		k.restart()
	}
}

func checkpoint(s *corev1.NodeConfigSource) string {
	return string(s.ConfigMap.UID) + "/" + s.ConfigMap.ResourceVersion
}

func (k *kubelet) restart() {
	k.config, k.back = nil, time.Now().Add(k.o.Restart)
}

// boot is Bootstrap of controller.go.
func (k *kubelet) boot() (err error) {
	k.active, k.failed = nil, ""
	if k.assigned != nil {
		if k.config, err = k.load(k.checkpoints[checkpoint(k.assigned)]); err == nil {
			k.active = k.assigned
			return nil
		}
		k.failed = err.Error()
	}
	if k.lastKnownGood != nil {
		k.active = k.lastKnownGood
		k.config, err = k.load(k.checkpoints[checkpoint(k.lastKnownGood)])
		return err
	}
	k.config, err = k.load(k.o.File)
	return err
}

// load decodes, defaults, applies the flags and validates.
func (k *kubelet) load(text string) (*v1beta1.KubeletConfiguration, error) {
	c := &v1beta1.KubeletConfiguration{}
	data, err := yaml.ToJSON([]byte(text))
	if err == nil {
		err = json.Unmarshal(data, c)
	}
	if err != nil || c.Kind != "KubeletConfiguration" || c.APIVersion != "kubelet.config.k8s.io/v1beta1" {
		return nil, errors.New(loadError)
	}
	defaults(c)
	if k.o.Flags != nil {
		k.o.Flags(c)
	}
	if !*c.CgroupsPerQOS && len(c.EnforceNodeAllocatable) > 0 || c.MaxPods < 0 {
		return nil, errors.New(validateError)
	}
	return c, nil
}

// defaults sets some of the defaults of v1.20.2.
func defaults(c *v1beta1.KubeletConfiguration) {
	for _, b := range []struct {
		field **bool
		value bool
	}{
		{&c.MakeIPTablesUtilChains, true}, {&c.CgroupsPerQOS, true}, {&c.FailSwapOn, true}, {&c.EnableServer, true},
		{&c.Authentication.Anonymous.Enabled, false}, {&c.Authentication.Webhook.Enabled, true},
	} {
		if *b.field == nil {
			*b.field = &b.value
		}
	}
	if c.Authorization.Mode == "" {
		c.Authorization.Mode = v1beta1.KubeletAuthorizationModeWebhook
	}
	if c.EnforceNodeAllocatable == nil {
		c.EnforceNodeAllocatable = []string{"pods"}
	}
	if c.EvictionHard == nil {
		c.EvictionHard = map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%"}
	}
	if c.MaxPods == 0 {
		c.MaxPods = 110
	}
	durations(c)
}

// durations sets the defaults of durations, which /configz always shows.
func durations(c *v1beta1.KubeletConfiguration) {
	for _, d := range []struct {
		field *metav1.Duration
		value time.Duration
	}{
		{&c.SyncFrequency, time.Minute}, {&c.FileCheckFrequency, 20 * time.Second}, {&c.HTTPCheckFrequency, 20 * time.Second},
		{&c.Authentication.Webhook.CacheTTL, 2 * time.Minute}, {&c.Authorization.Webhook.CacheAuthorizedTTL, 5 * time.Minute},
		{&c.Authorization.Webhook.CacheUnauthorizedTTL, 30 * time.Second}, {&c.StreamingConnectionIdleTimeout, 4 * time.Hour},
		{&c.NodeStatusReportFrequency, 5 * time.Minute}, {&c.NodeStatusUpdateFrequency, 10 * time.Second}, {&c.ImageMinimumGCAge, 2 * time.Minute},
		{&c.VolumeStatsAggPeriod, time.Minute}, {&c.CPUManagerReconcilePeriod, 10 * time.Second}, {&c.RuntimeRequestTimeout, 2 * time.Minute},
		{&c.EvictionPressureTransitionPeriod, 5 * time.Minute},
	} {
		if d.field.Duration == 0 {
			d.field.Duration = d.value
		}
	}
}

// configz is the answer of /configz: what omitempty leaves of the running
// configuration, without kind and version.
func (k *kubelet) configz() (any, *failure) {
	if k.config == nil || k.dead || time.Now().Before(k.back) {
		return nil, &failure{503, metav1.StatusReasonServiceUnavailable, "error trying to reach service: dial tcp: connect: connection refused"}
	}
	shown := k.config.DeepCopy()
	shown.TypeMeta = metav1.TypeMeta{}
	if k.o.Stuck != nil {
		shown.MakeIPTablesUtilChains = k.o.Stuck
	}
	data, err := json.Marshal(map[string]any{"kubeletconfig": shown})
	if err != nil {
		return nil, &failure{500, metav1.StatusReasonInternalError, fmt.Sprint(err)}
	}
	return data, nil
}
