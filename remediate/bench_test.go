package remediate_test

import (
	"fmt"
	"testing"

	"fleet/audit"
	"fleet/kubelet"
	"fleet/remediate"
)

// BenchmarkNewPlan plans the change of one AKS node that takes its flags from
// an environment file, and its diff.
func BenchmarkNewPlan(b *testing.B) {
	facts := benchFacts()
	finding := control.Judge(facts, audit.Policy{}, nil)
	for b.Loop() {
		p := remediate.NewPlan(control, facts, finding, remediate.Options{Methods: []remediate.Method{remediate.MethodAuto}})
		if !p.Ready() || p.Diff() == "" {
			b.Fatalf("nothing to do: %+v", p.Refused)
		}
	}
}

// BenchmarkWaves deals five thousand hosts of fifty pools out to waves.
func BenchmarkWaves(b *testing.B) {
	hosts := make([]remediate.Candidate, 5000)
	for i := range hosts {
		hosts[i] = remediate.Candidate{Name: fmt.Sprintf("host-%d", i), Pool: fmt.Sprintf("np%d", i%50)}
	}
	batches, err := remediate.ParseShares("1,5,10%")
	if err != nil {
		b.Fatal(err)
	}
	limit, err := remediate.ParseShare("25%")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		remediate.Waves(hosts, batches, limit, nil)
	}
}

// benchFacts is a node whose environment file says false.
func benchFacts() audit.Facts {
	const unit = "[Service]\nEnvironmentFile=/etc/default/kubelet\nExecStart=/opt/bin/kubelet --v=2 $KUBELET_FLAGS\n"
	const flags = "KUBELET_FLAGS=--address=0.0.0.0 --eviction-hard=memory.available<100Mi --make-iptables-util-chains=false\n"
	f := audit.Facts{
		Hostname: "node", Kernel: "Linux 6.8.0 x86_64", Init: "systemd",
		Units: map[string]audit.UnitState{"kubelet.service": {
			"Id": "kubelet.service", "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "MainPID": "1234",
		}},
		Processes: []audit.Process{{
			PID: 1234, Parent: 1, Comm: "kubelet", Exe: "/opt/bin/kubelet", Cwd: "/", Unit: "kubelet.service", Version: "v1.34.4",
			Argv: kubelet.SplitCmdline("/proc/1234/cmdline",
				[]byte("/opt/bin/kubelet\x00--v=2\x00--address=0.0.0.0\x00--eviction-hard=memory.available<100Mi\x00--make-iptables-util-chains=false\x00")),
		}},
		Disk:   kubelet.Disk{Files: map[string]kubelet.File{}, Dirs: map[string]kubelet.Dir{}},
		Owners: map[string]audit.Owner{},
	}
	files, dirs := kubelet.UnitPaths("kubelet.service")
	for _, name := range files {
		f.Disk.Files[name] = kubelet.File{Path: name, State: kubelet.StateMissing}
	}
	for _, name := range dirs {
		f.Disk.Dirs[name] = kubelet.Dir{Path: name, State: kubelet.StateMissing}
	}
	for name, data := range map[string]string{"/etc/systemd/system/kubelet.service": unit, "/etc/default/kubelet": flags} {
		f.Disk.Files[name] = kubelet.File{Path: name, State: kubelet.StatePresent, Data: []byte(data)}
	}
	return f
}
