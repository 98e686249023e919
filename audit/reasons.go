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
	for _, group := range [][]Reason{judgedReasons(), nodeReasons(), exemptReasons(), probeReasons(), sshReasons()} {
		out = append(out, group...)
	}
	return out
}

func judgedReasons() []Reason {
	return []Reason{
		{"default", StatusPass, "nothing sets the value; the kubelet's default is as wanted", ""},
		{"explicit", StatusPass, "a flag or a configuration file sets the wanted value", ""},
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
