package remediate

import (
	"strings"

	"fleet/audit"
)

// Reason is one entry of the catalogue of why a change was refused, failed or
// did not stay: a stable code, what it means, and the one thing to do next.
// In Hint, {host} stands for the host's name and {run} for the run's.
type Reason struct {
	Code    string
	Meaning string
	Hint    string
}

// Reasons returns the catalogue in the order of the documentation. A change
// may also carry a reason of the audit's catalogue: that of a host which could
// not be reached or judged.
func Reasons() []Reason {
	return []Reason{
		// Refused: the plan says no.
		{"no-config-file", "the kubelet was started without --config, so that no file would be read", "use --method args, or auto"},
		{"masked-by-flag", "the file would be changed in vain: a flag on the command line beats it", "use --method args, or auto"},
		{"masked-by-drop-in", "the file would be changed in vain: a drop-in of --config-dir beats it", "use --method auto, which changes the drop-in, or args"},
		{"no-variable", "ExecStart expands no variable that a file sets, and has no place for the flag", "use --method file, or add the flag to ExecStart by hand"},
		{"not-editable", "the value is set in a file that belongs to the distribution or to this boot only", "override it with a drop-in below /etc, or use another method"},
		{"cannot-edit", "the file is written in a form that cannot be changed safely", "change it by hand, then audit"},
		{"would-not-start", "with the planned bytes the kubelet would not start", "mend what the message names first"},
		{"no-effect", "the planned bytes would not turn the value true", "look at the layers with fleet audit -o json; use another method"},
		{"symlink-elsewhere", "the file is a symbolic link to another directory, whose owner is somebody else", "change the file it leads to where it is managed"},
		{"hard-link", "the file has more than one name on disk, and replacing it would part them", "remove the other name, or change the file by hand"},
		{"read-only", "the file system is read-only", "remount it writable, or change the image the node is made from"},
		{"unreadable-file", "the file could not be read as root", "log in and look at the file"},
		{"unreadable", "a file that the answer needs could not be read", "log in and look at the file"},
		{"not-looked-at", "the plan needs a file that could not be fetched", "log in and look at the file that the message names"},
		{"restart-needed", "the files are right already; only a restart is missing", "run without --no-restart"},
		{"live-needed", "the method configz wants to see the live configuration", "name the API server with --kubeconfig or --api-url"},
		{"not-root", "the node was looked at without root's rights", "run with --become, or log in as root"},
		{"node-locked", "another change holds the node", "wait for it, or ask whom the message names; then run again"},
		{"unfinished-run", "an earlier run on the node was interrupted", "run again: the earlier run is cleared up first"},
		{"k3s", "k3s runs the kubelet inside itself and writes its arguments", "set kubelet-arg in /etc/rancher/k3s/config.yaml and restart k3s"},
		{"rke2", "rke2 runs the kubelet and writes its arguments", "set kubelet-arg in /etc/rancher/rke2/config.yaml and restart rke2"},
		{"microk8s", "microk8s runs the kubelet inside itself", "set the flag in /var/snap/microk8s/current/args/kubelet and restart microk8s"},
		{"bottlerocket", "Bottlerocket renders its files from its own settings", "use apiclient; the files cannot be changed"},

		// Failed before anything was changed.
		{"file-changed", "a file is not what the plan was made from", "run again: a new plan is made"},
		{"disk-full", "the disk of the node is full", "free some space, then run again"},
		{"write-failed", "a file could not be written", "look at the message and at the node's disk"},
		{"supervisor-failed", "systemd-run did not start the supervisor", "log in and try: systemd-run --wait true"},
		{"start-lost", "the link was lost before the change began, and it never will begin", "run again"},
		{"budget", "the run stopped before this host's turn", "mend the cause, then run again"},

		// Rolled back, or not.
		{"reload-failed", "systemctl daemon-reload failed", "look at the evidence, then at journalctl -xe on the node"},
		{"restart-failed", "systemctl restart failed", "look at the evidence: journalctl -u kubelet on the node says why"},
		{"unhealthy", "the kubelet did not become healthy in time", "look at journalctl -u kubelet on the node; --health-timeout gives it longer"},
		{"kubelet-failed", "the kubelet's unit failed", "look at journalctl -u kubelet on the node"},
		{"kubelet-restarts", "the kubelet did not stay up", "look at journalctl -u kubelet on the node"},
		{"not-effective", "the kubelet is healthy, but its value is not the wanted one", "look at fleet audit -o json: some other layer decides"},
		{"live-differs", "the node has the value, but the live configuration does not show it", "audit with --kubeconfig: is it the same node, and does the API server reach its kubelet?"},
		{"node-not-ready", "the cluster does not call the node Ready after its change", "kubectl describe node {host}; journalctl -u kubelet on the node"},
		{"no-confirmation", "fleet could not confirm in time over a fresh connection", "check the link to the node; --confirm-timeout gives it longer"},
		{"verify-failed", "the node could not be looked at after the change", "check the link to the node, then run again"},
		{"interrupted", "the supervisor on the node was ended", "run again"},
		{"aborted", "the change was called off", "run again"},
		{"link-lost", "the link was lost, and what became of the change could not be learnt", "fleet audit --limit {host} tells as soon as the node answers; the node keeps the change only if it was confirmed"},
		{"left-behind", "fleet was interrupted while the node was at work", "fleet audit --limit {host} tells how it ended"},
		{"wrong-state", "the run's journal on the node says something unexpected", "log in and look at /var/lib/fleet/runs/{run}"},

		// Dynamic Kubelet Configuration: --method configz on kubelets below 1.24.
		{"dynamic-config-gone", "this kubelet has no Dynamic Kubelet Configuration", "use --method auto"},
		{"dynamic-config-version-unknown", "whether this kubelet has Dynamic Kubelet Configuration cannot be told", "use --method auto"},
		{"dynamic-config-flag-wins", "a flag on the command line beats any configuration", "use --method args"},
		{"dynamic-config-unsettled", "another assignment is under way, or has failed", "mend or remove spec.configSource of the Node, then run again"},
		{"dynamic-config-base-unknown", "the configuration in use could not be read", "check that the ConfigMap that spec.configSource names exists and may be read"},
		{"dynamic-config-base-differs", "the kubelet runs with something else than its configuration says", "restart the kubelet, then run again"},
		{"dynamic-config-live-unreadable", "the answer of /configz is of no use", "kubectl get --raw /api/v1/nodes/{host}/proxy/configz shows it"},
		{"dynamic-config-unsupported", "the configuration does not fit into a ConfigMap, or the edit did not take", "use --method auto"},
		{"dynamic-config-conflict", "something changed since the plan, or is in the way", "run again: a new plan is made"},
		{"dynamic-config-interrupted", "interrupted before anything was changed", "run again"},
		{"dynamic-config-forbidden", "the account may not change the node's configuration", "it needs patch on nodes, and get, list, create and delete on configmaps in kube-system"},
		{"dynamic-config-api", "the API server failed or could not be reached", "check the link to it, then run again"},
		{"dynamic-config-dropped", "the API server ignores spec.configSource", "use --method auto; the feature gate DynamicKubeletConfig is off there"},
		{"dynamic-config-rejected", "the kubelet refused the ConfigMap", "read why in journalctl -u kubelet on the node"},
		{"dynamic-config-timeout", "the kubelet did not take the ConfigMap over in time", "look at status.config of the Node and at journalctl -u kubelet"},
		{"dynamic-config-live-differs", "the ConfigMap was taken over, and the live value is not the wanted one", "look at the kubelet's flags: they beat the ConfigMap"},
		{"dynamic-config-superseded", "somebody else changed spec.configSource meanwhile", "find out who, then run again"},
		{"dynamic-config-node-gone", "the Node object is gone, or is another one", "run again"},

		// fleet rollback.
		{"no-such-run", "the node has no backup of that run", "fleet report {run} tells which hosts it changed; the node keeps the last runs only"},
		{"changed-since", "a file is not what that run wrote: somebody has changed it since", "compare it with its backup in /var/lib/fleet/runs/{run} on the node, and put it right by hand"},
		{"nothing-to-undo", "that run left nothing changed on this node", "nothing"},
	}
}

// Explain gives the meaning of a code and its hint for a host and a run; it
// falls back to the audit's catalogue, and is "" and "" for no code at all.
func Explain(code, host, run string) (meaning, hint string) {
	for _, r := range Reasons() {
		if r.Code == code {
			return r.Meaning, strings.NewReplacer("{host}", host, "{run}", run).Replace(r.Hint)
		}
	}
	return audit.Explain(code)
}
