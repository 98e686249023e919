package audit

import "strings"

// Reason is one entry of the catalogue of reasons: a stable code, what it
// means and the one thing to do next. In Hint, {unit}, {path}, {flag} and {key}
// stand for what the finding is about.
type Reason struct {
	Code    string
	Status  Status
	Meaning string
	Hint    string
}

// Reasons returns the whole catalogue in the order of the documentation. There
// is one code per cause and one next step per code.
func Reasons() []Reason {
	var out []Reason
	for _, group := range [][]Reason{judgedReasons(), nodeReasons(), exemptReasons(), probeReasons(), sshReasons(), liveReasons()} {
		out = append(out, group...)
	}
	return out
}

func judgedReasons() []Reason {
	return []Reason{
		{"default", StatusPass, "nothing sets the value; the kubelet's default is as wanted", ""},
		{"explicit", StatusPass, "a flag or a configuration file sets the wanted value", ""},
		{"live", StatusPass, "the live configuration has the wanted value; which layer sets it is not known", ""},
		{"not-explicit", StatusFail, "the value is the default and --strict demands that it is written down",
			"set {key} in the kubelet's config file or add {flag}, then restart {unit}"},
		{"flag-false", StatusFail, "a command line flag sets the wrong value",
			"change it to {flag} in {path}, then: systemctl daemon-reload && systemctl restart {unit}"},
		{"file-false", StatusFail, "the file of --config sets the wrong value",
			"set {key} in {path}, then: systemctl restart {unit}"},
		{"drop-in-false", StatusFail, "a file of --config-dir sets the wrong value",
			"set {key} in {path}, then: systemctl restart {unit}"},
		{"restart-pending", StatusFail, "the files are as wanted but the kubelet that runs was started before",
			"systemctl daemon-reload && systemctl restart {unit}"},
		{"latent", StatusFail, "the running kubelet is as wanted but its next start will not be",
			"mend {path} before the kubelet is restarted or the node reboots"},
		{"wont-start", StatusFail, "the kubelet would not start again with the files as they are",
			"mend {path} before the kubelet is restarted or the node reboots"},
		{"live-false", StatusFail, "the live configuration has the wrong value; which layer sets it is not known",
			"audit the node over SSH as well to see which file or flag sets it"},
		{"witnesses-disagree", StatusFail, "the live configuration and the node's own processes and files contradict each other",
			"check that both are the same node, then restart {unit} and audit again"},
	}
}

func nodeReasons() []Reason {
	return []Reason{
		{"no-unit", StatusUnknown, "the host has no kubelet unit and runs no kubelet",
			"check that the host is a node of the cluster; take it out of the inventory if it is not"},
		{"no-kubelet", StatusUnknown, "the unit is there but no kubelet runs",
			"see why with: systemctl status {unit} -l; then systemctl start {unit}"},
		{"unit-masked", StatusUnknown, "the kubelet's unit is masked and nothing runs",
			"systemctl unmask {unit} if the node is meant to run"},
		{"starting", StatusUnknown, "the unit is being started and the kubelet does not run yet",
			"wait a minute and audit again"},
		{"crash-loop", StatusUnknown, "the kubelet starts and dies again and again",
			"read the last error with: journalctl -u {unit} -n 50; mend it, then audit again"},
		{"dynamic-config", StatusUnknown, "the API server assigned the kubelet's configuration, which the node's files do not tell",
			"name the API server with --kubeconfig or --api-url"},
		{"several-kubelets", StatusUnknown, "more than one kubelet runs",
			"find out which one the node needs (systemctl status PID) and stop the other"},
		{"not-a-kubelet", StatusUnknown, "the unit's main process is something else and no kubelet runs below it",
			"look at: systemctl status {unit}; fleet judges kubelets that systemd runs on the host itself"},
		{"unreadable", StatusUnknown, "something the verdict needs may not be read",
			"run with root's rights: leave --become on, or log in as root"},
		{"no-systemd", StatusUnknown, "systemd does not answer on the host",
			"log in and check: systemctl show kubelet"},
	}
}

func exemptReasons() []Reason {
	return []Reason{
		{"os-windows", StatusNotApplicable, "the control concerns iptables, which Windows has not", "leave Windows nodes out with --limit '!kubernetes.io/os=windows'"},
		{"os-not-linux", StatusNotApplicable, "the control concerns iptables, which this system has not", "take the host out of the inventory"},
		{"bottlerocket", StatusNotApplicable, "Bottlerocket renders the kubelet's files from its own settings", "use apiclient and Bottlerocket's own CIS report on this node"},
		{"k3s", StatusNotApplicable, "k3s runs the kubelet inside its own process", "see kubelet-arg in /etc/rancher/k3s/config.yaml"},
		{"rke2", StatusNotApplicable, "rke2 starts the kubelet itself", "see kubelet-arg in /etc/rancher/rke2/config.yaml"},
		{"microk8s", StatusNotApplicable, "MicroK8s runs the kubelet inside kubelite", "see /var/snap/microk8s/current/args/kubelet"},
	}
}

func probeReasons() []Reason {
	return []Reason{
		{"probe-failed", StatusUnknown, "the probe script did not run to its end", "log in and run: echo 'id; uname -a' | sudo -n sh -s"},
		{"probe-garbled", StatusUnknown, "the probe's answer cannot be read", "check that the login shell and sudo print nothing and start sh"},
		{"interrupted", StatusUnknown, "the run was aborted while the host was looked at", "run again with --limit run:last:failed"},
		{"internal", StatusUnknown, "fleet itself failed on this host", "report it with the message; the other hosts are not affected"},
		{"timeout", StatusUnknown, "the host did not finish within its deadline", "try again with a longer --timeout; look at the node's load if it stays so"},
		{"not-reached", StatusUnknown, "the run ended before this host's turn", "run again with --limit run:last:not-reached"},
	}
}

func sshReasons() []Reason {
	const (
		network = "check the address, the route and the firewall (port 22) from this machine"
		slow    = "try: ssh -v to the host; give it longer with --connect-timeout if it answers"
	)
	return []Reason{
		{"ssh-config", StatusUnknown, "ssh_config has a line that cannot be honoured for this host", "mend the line, or leave the file out with --ssh-config none"},
		{"unreachable-dns", StatusUnknown, "the name does not resolve", "give the host an address in the inventory"},
		{"unreachable-refused", StatusUnknown, "nothing listens on the SSH port", "check the port and that sshd runs on the node"},
		{"unreachable-no-route", StatusUnknown, "there is no route to the address", network},
		{"unreachable", StatusUnknown, "the connection could not be made", network},
		{"timeout-connect", StatusUnknown, "no TCP connection in time", network},
		{"timeout-handshake", StatusUnknown, "connected, but no SSH key exchange in time", slow},
		{"timeout-auth", StatusUnknown, "no answer to the login in time", slow},
		{"timeout-command", StatusUnknown, "logged in, but the command did not end in time", "look at the node's load and disks; try again with a longer --timeout"},
		{"not-ssh", StatusUnknown, "the port speaks something else than SSH", "check the port in the inventory"},
		{"ssh-busy", StatusUnknown, "the server turned the connection away before it began", "wait a minute (penalties expire), lower --parallel, try again"},
		{"ssh-no-common-algorithm", StatusUnknown, "client and server have no algorithm in common", "compare with: ssh -vv to the host; the node's sshd_config is too old or too strict"},
		{"ssh-protocol", StatusUnknown, "the SSH handshake broke off", "look at sshd's log on the node: journalctl -u ssh -u sshd"},
		{"connection-lost", StatusUnknown, "the connection died during the command", "audit this host again"},
		{"host-key-unknown", StatusUnknown, "known_hosts has no key for this host", "verify the fingerprint, then add the key, or run with --host-keys accept-new"},
		{"host-key-changed", StatusUnknown, "the host shows another key than known_hosts has", "if the node was reimaged, remove the named line from known_hosts; otherwise find out who answers"},
		{"host-key-revoked", StatusUnknown, "the host shows a key that is revoked", "do not connect; find out who answers at this address"},
		{"host-key-certificate", StatusUnknown, "the host's certificate is not acceptable", "have the host's certificate renewed, or add its plain key to known_hosts"},
		{"host-key-file", StatusUnknown, "known_hosts cannot be used", "mend the named file or name another with --known-hosts"},
		{"auth-no-key", StatusUnknown, "there is no key to offer", "name a key with --identity or load one with ssh-add"},
		{"auth-refused", StatusUnknown, "the server refused every key that was offered", "check --user and --identity; AKS nodes take keys for the cluster's admin user (azureuser)"},
		{"auth-key-file", StatusUnknown, "a key file cannot be read", "check the path and the file's permissions"},
		{"auth-passphrase", StatusUnknown, "a key file is encrypted and its passphrase was not given or is wrong", "load it with ssh-add, or run on a terminal to be asked"},
		{"auth-agent", StatusUnknown, "the SSH agent does not answer", "check SSH_AUTH_SOCK, or name a key with --identity"},
		{"no-shell", StatusUnknown, "the account may log in but not run a command", "use an account with a shell"},
		{"forwarding-refused", StatusUnknown, "the server forwards no connections", "allow AllowTcpForwarding for this account there, or use another jump host"},
		{"output-too-large", StatusUnknown, "the command printed more than is accepted", "log in and look: the host sends an endless or a huge answer"},
		{"sudo-password", StatusUnknown, "sudo wants a password", "run with --ask-become-pass, or give the account NOPASSWD"},
		{"sudo-wrong-password", StatusUnknown, "sudo refused the password", "run again with the right password"},
		{"sudo-not-allowed", StatusUnknown, "the account may not use sudo", "use an account that may, or log in as root"},
		{"sudo-missing", StatusUnknown, "the host has no sudo", "log in as root, or use --no-become"},
		{"sudo-tty", StatusUnknown, "sudo insists on a terminal", "remove requiretty for this account from sudoers"},
		{"sudo-failed", StatusUnknown, "sudo failed", "log in and run: sudo -n true"},
	}
}

// liveReasons are about the third witness. As the reason of a finding they come
// where the live configuration alone was asked; otherwise they stand in a note
// and the other witnesses decide.
func liveReasons() []Reason {
	const (
		server = "check the kubeconfig's server and that it can be reached: kubectl get --raw /readyz"
		node   = "see whether the node is Ready (kubectl get node) and what its kubelet logs; audit again"
		again  = "audit again; if it stays so, look at the API server's log"
	)
	return []Reason{
		{"configz-unauthenticated", StatusUnknown, "the API server does not accept the credentials (401)", "log in to the cluster again; try: kubectl auth whoami"},
		{"configz-forbidden", StatusUnknown, "the account may not read the live configuration (403)", "it needs get on nodes and on nodes/proxy; see examples/rbac.yaml, or leave the live configuration out"},
		{"configz-not-served", StatusUnknown, "the path of the live configuration is not served (404, 405)", "check the server's URL, and that the kubelet has enableDebuggingHandlers on"},
		{"configz-gone", StatusUnknown, "the server says that the path is gone (410)", "check the server's URL and its version"},
		{"configz-throttled", StatusUnknown, "the API server turned the request away (429), also after the pause it asked for", "wait a minute and audit fewer hosts at a time (--parallel)"},
		{"configz-server-error", StatusUnknown, "the API server failed or could not reach the kubelet (500)", again},
		{"configz-bad-gateway", StatusUnknown, "something before the kubelet got no good answer (502)", node},
		{"configz-unavailable", StatusUnknown, "the API server cannot reach the kubelet, or is not available itself (503)", node},
		{"configz-gateway-timeout", StatusUnknown, "the API server got no answer from the kubelet in time (504)", node},
		{"configz-status", StatusUnknown, "the server answers with a status that has no meaning here", "check that the URL is an API server's"},
		{"configz-redirect", StatusUnknown, "the server redirects, for one to a login page; redirects are not followed", "check that the URL is the API server's own, not that of a portal before it"},
		{"configz-html", StatusUnknown, "the server answers with a web page", "check that the URL is the API server's own, not that of a portal before it"},
		{"configz-truncated", StatusUnknown, "the answer ends in the middle", again},
		{"configz-undecodable", StatusUnknown, "the answer is not a kubelet's live configuration", "look at it: kubectl get --raw /api/v1/nodes/NODE/proxy/configz"},
		{"configz-no-key", StatusUnknown, "the live configuration does not hold the setting, which a kubelet always serves", "look at it: kubectl get --raw /api/v1/nodes/NODE/proxy/configz"},
		{"configz-too-large", StatusUnknown, "the answer is larger than is accepted", "look at it: kubectl get --raw /api/v1/nodes/NODE/proxy/configz"},
		{"configz-tls", StatusUnknown, "the API server's certificate is not trusted, or it does not trust ours", "check the kubeconfig's certificate authority, server name and client certificate"},
		{"configz-refused", StatusUnknown, "nothing listens at the API server's address", "start kubectl proxy, or " + server},
		{"configz-dns", StatusUnknown, "the API server's name does not resolve", "check the kubeconfig's server; that of a private cluster resolves only in its own network"},
		{"configz-network", StatusUnknown, "the API server cannot be reached", server},
		{"configz-timeout", StatusUnknown, "the API server did not answer in time", server},
		{"configz-credentials", StatusUnknown, "the kubeconfig's credentials could not be got", "run the credential plug-in by hand, or log in again; try: kubectl auth whoami"},
		{"configz-no-node", StatusUnknown, "the cluster has no node of the host's name, id or address", "check that the kubeconfig's context is the host's cluster"},
		{"configz-several-nodes", StatusUnknown, "more than one node of the cluster may be the host", "give the host its node's name in the inventory"},
		{"configz-unverified", StatusUnknown, "the node and the host have no id to compare, so that the node's answer is no evidence", "look at the node's status.nodeInfo: kubectl get node -o yaml"},
		{"configz-not-as-wanted", StatusUnknown, "the live configuration did not get the wanted value in time", "look at the kubelet's log: journalctl -u kubelet -n 50"},
		{"identity-mismatch", StatusUnknown, "the cluster's node of that name is another machine, so that its answer is no evidence", "check that the kubeconfig's context is the host's cluster; after a reboot wait until the node is Ready"},
	}
}

// lookUp finds a code in the catalogue. A code with the prefix "jump-" is that
// of the jump host; it means and advises the same, about the jump host.
func lookUp(code string) (Reason, bool) {
	for _, r := range Reasons() {
		if r.Code == code {
			return r, true
		}
	}
	if rest, ok := strings.CutPrefix(code, "jump-"); ok {
		if r, ok := lookUp(rest); ok {
			r.Code, r.Meaning, r.Hint = code, "on the jump host: "+r.Meaning, "on the jump host: "+r.Hint
			return r, true
		}
	}
	return Reason{}, false
}

// Explain gives the meaning of a code and its hint, "" and "" for a code that
// is not in the catalogue.
func Explain(code string) (meaning, hint string) {
	r, _ := lookUp(code)
	return r.Meaning, r.Hint
}

// advise fills in the finding's hint from the catalogue.
func advise(f Finding, path string, c Control) Finding {
	r, _ := lookUp(f.Reason)
	unit := f.Node.Unit
	if unit == "" {
		unit = "kubelet"
	}
	if path == "" {
		path = "the file named"
	}
	f.Hint = strings.NewReplacer(
		"{unit}", strings.TrimSuffix(unit, ".service"),
		"{path}", path,
		"{flag}", "--"+c.Setting.Flag+"="+format(c.Expected),
		"{key}", c.Setting.Key+": "+format(c.Expected),
	).Replace(r.Hint)
	return f
}
