//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fleet/report"
)

// trial is a change under conditions that the plan cannot know.
type trial struct {
	name    string
	sick    string // script before the restart
	staged  string // script after it
	mute    bool   // healthz does not answer before the change
	args    []string
	outcome report.Outcome
	reason  string
	says    string // part of the message
	unknown bool   // the node cannot be judged afterwards
}

// trials runs one change each and demands its outcome; the kubelet's own
// word and the bytes of the files have to agree with it.
func (p patient) trials(t *testing.T, trials []trial) {
	for _, c := range trials {
		t.Run(c.name, func(t *testing.T) {
			p.run(t, asShipped+c.sick+restartKubelet)
			if !c.mute {
				settled(t, p.n)
			}
			p.run(t, c.staged)
			before := p.files(t)
			r := p.remedy(t, c.args...)
			p.came(t, r, c)
			if c.outcome != report.OutcomeChanged {
				p.asBefore(t, before)
			}
		})
	}
}

// came holds the outcome of one trial against the wanted one.
func (p patient) came(t *testing.T, r ran, c trial) {
	t.Helper()
	if got := r.change(); got.Outcome != c.outcome || got.Reason != c.reason || !strings.Contains(got.Message, c.says) {
		t.Errorf("want %s %s (%s), got %s\n%s", c.outcome, c.reason, c.says, r.says(), p.evidence())
	}
	code := report.ExitFail
	switch {
	case c.outcome == report.OutcomeChanged:
		code = report.ExitOK
	case c.unknown:
		code = report.ExitIncomplete
	}
	if r.code != code {
		t.Errorf("want exit code %d: %s", code, r.says())
	}
}

// dropInFile writes a drop-in of the kubelet's unit.
func dropInFile(name, text string) string {
	return "mkdir -p " + unitDropIns + "; cat > " + unitDropIns + "/" + name + " <<'EOF'\n" + text + "EOF\n"
}

// poison is a drop-in with a step that fails as soon as the file says true.
func poison(file string) string {
	return dropInFile("99-poison.conf", "[Service]\nExecStartPre=/bin/sh -c '! grep -qi \"chains.*true\" "+file+"'\n")
}

// reaper is a drop-in that kills a kubelet whose file says true some seconds
// after its start.
func reaper(file, seconds string) string {
	return dropInFile("99-reaper.conf", "[Service]\nExecStartPost=/bin/sh -c 'grep -q \"Chains.*true\" "+file+
		" && systemd-run --quiet --collect --unit=fault-reaper-$MAINPID sh -c \"sleep "+seconds+"; kill -KILL $MAINPID\" || true'\n")
}

// deaf keeps healthz from answering for so many seconds.
func deaf(seconds string) string {
	const rule = " INPUT -p tcp --dport 10248 -j REJECT"
	return "iptables -I" + rule + "; systemd-run --quiet --collect --unit=fault-deaf sh -c 'sleep " + seconds + "; iptables -D" + rule + "'\n"
}

func (p patient) poisonedCIS(t *testing.T) {
	const extra = unitDropIns + "/30-kubelet-extra-args.conf"
	p.trials(t, []trial{
		{name: "a step before the start fails", sick: poison(cisFile), args: []string{"--method", "file"},
			outcome: report.OutcomeRolledBack, reason: "restart-failed"},
		{name: "dies ten seconds after its start", sick: reaper(cisFile, "10"), args: []string{"--method", "file", "--healthy-for", "15s"},
			outcome: report.OutcomeRolledBack, reason: "kubelet-restarts"},
		{name: "the start limit was hit", sick: dropInFile("50-limit.conf", "[Unit]\nStartLimitIntervalSec=900\nStartLimitBurst=2\n[Service]\nRestart=always\nRestartSec=100ms\n") +
			"sed -i 's/=ng1/& " + flagName + ":true/' " + extra + "\n", mute: true, staged: "until systemctl is-failed -q kubelet; do sleep 0.2; done\n", args: []string{"--method", "args"},
			outcome: report.OutcomeChanged},
	})
}

func (p patient) poisonedConfig(t *testing.T) {
	p.trials(t, []trial{
		{name: "slow steps before the start", sick: configFalse, staged: dropInFile("99-slow.conf", "[Service]\nExecStartPre=/bin/sleep 20\n"), args: []string{"--method", "file"},
			outcome: report.OutcomeChanged},
		{name: "healthz lags", sick: configFalse, staged: deaf("12"), args: []string{"--method", "file"},
			outcome: report.OutcomeChanged},
		{name: "healthz never answers", sick: configFalse, staged: deaf("600"), args: []string{"--method", "file", "--health-timeout", "12s"},
			outcome: report.OutcomeRolledBack, reason: "unhealthy", says: "as before"},
		{name: "no healthz", sick: configFalse + `sed -i '1s/{/{\n    "healthzPort": 0,/' ` + configFile + "\n", mute: true, staged: "sleep 3\n", args: []string{"--method", "file"},
			outcome: report.OutcomeChanged},
		{name: "poison that was not loaded yet", sick: configFalse, staged: `sed -i '1s/{/{\n    "podsPerCore": -1,/' ` + configFile + "\n", args: []string{"--method", "file"},
			outcome: report.OutcomeFailedAfterChange, reason: "kubelet-restarts", says: "the old files are back; the kubelet does not come back", unknown: true},
	})
}

func (p patient) poisonedDropIn(t *testing.T) {
	p.trials(t, []trial{
		{name: "a unit of type notify", sick: dropInFile("99-notify.conf", "[Service]\nType=notify\nNotifyAccess=all\n"), args: []string{"--method", "auto"},
			outcome: report.OutcomeChanged},
		{name: "a step before the start fails", sick: poison(eksDropIn), args: []string{"--method", "auto"},
			outcome: report.OutcomeRolledBack, reason: "restart-failed"},
		{name: "dies at once", sick: reaper(eksDropIn, "0"), args: []string{"--method", "auto"},
			outcome: report.OutcomeRolledBack, reason: "kubelet-restarts"},
	})
}

// shells has the node's scripts run by other shells than Debian's.
func (p patient) shells(t *testing.T) {
	const install = " /bin/sh.new && mv -f /bin/sh.new /bin/sh"
	defer p.run(t, "ln -s dash"+install)
	for _, shell := range []string{"bash", "busybox"} {
		t.Run(shell, func(t *testing.T) {
			p.run(t, "ln -s $(command -v "+shell+")"+install)
			p.trials(t, []trial{
				{name: "changed", sick: kubeadmFalse, args: []string{"--method", "file"}, outcome: report.OutcomeChanged},
				{name: "rolled back", sick: kubeadmFalse + poison(kubeadmFile), args: []string{"--method", "file"},
					outcome: report.OutcomeRolledBack, reason: "restart-failed"},
			})
		})
	}
}
