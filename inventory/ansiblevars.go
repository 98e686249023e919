package inventory

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Variables of Ansible that fleet honours, by the setting they give. Two
// spellings of one setting that differ are a fault.
var ansibleSettings = map[string]string{
	"ansible_host":                 keyAddress,
	"ansible_ssh_host":             keyAddress,
	"ansible_port":                 keyPort,
	"ansible_ssh_port":             keyPort,
	"ansible_user":                 keyUser,
	"ansible_ssh_user":             keyUser,
	"ansible_private_key_file":     keyIdentity,
	"ansible_ssh_private_key_file": keyIdentity,
	"ansible_become":               keyBecome,
	"ansible_ssh_args":             keyJump,
	"ansible_ssh_common_args":      keyJump,
	"ansible_ssh_extra_args":       keyJump,
}

// Variables that must have one of a few values, because fleet can do nothing
// else.
var ansibleFixed = map[string][]string{
	"ansible_connection":    {"ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh"},
	"ansible_become_method": {"sudo", "ansible.builtin.sudo"},
	"ansible_become_user":   {"root"},
	"ansible_become_exe":    {"sudo", "/usr/bin/sudo", "/bin/sudo"},
	"ansible_become_flags":  {"", "-n", "-H", "-H -S", "-H -S -n"},
}

var (
	// ansibleHarmless are variables that say how Ansible works, not which
	// machine is meant or how one logs in. Host keys are judged by fleet's own
	// rule.
	ansibleHarmless = regexp.MustCompile(`^ansible_(?:.*_interpreter|pipelining|timeout|host_key_checking|shell_.*|(?:scp|sftp)_.*|` +
		`ssh_(?:pipelining|retries|reconnection_retries|timeout|transfer_method|use_tty|verbosity|host_key_checking|control_path|control_path_dir))$`)

	// ansibleRefused are the other variables that say how to connect.
	ansibleRefused = regexp.MustCompile(`^ansible_(?:ssh|paramiko|libssh|winrm|psrp|su|sudo|private_key)(?:_.*)?$`)

	ansiblePassword = regexp.MustCompile(`^ansible_.*pass(?:word|phrase)?$`)

	// secretName marks variables that do not become labels, because labels are
	// printed in reports.
	secretName = regexp.MustCompile(`(?i)pass|secret|token|credential|vault|(?:private|api|access|account)_?key`)
)

// ansibleVar reads one variable of a host.
func (p *parser) ansibleVar(into layer, v pair) {
	switch {
	case ansibleSettings[v.key] != "":
		p.ansibleSetting(into, v)
	case ansibleFixed[v.key] != nil:
		if s, ok := p.ansibleText(v); ok && !slices.Contains(ansibleFixed[v.key], s) {
			p.addf(v.line, "take these hosts out, or describe them in fleet's own YAML", "cannot honour %s %q", v.key, clip(s))
		}
	case ansiblePassword.MatchString(v.key):
		p.addf(v.line, "take it out; log in with a key, and give a sudo password with --ask-become-pass", "cannot honour %s: no password is read from an inventory", v.key)
	case ansibleHarmless.MatchString(v.key):
	case ansibleRefused.MatchString(v.key):
		p.addf(v.line, "take it out, or describe these hosts in fleet's own YAML", "cannot honour %s, which changes how to connect", clip(v.key))
	default:
		ansibleLabel(into, v)
	}
}

// ansibleLabel takes a scalar variable over as a label. What a label cannot
// hold, and what may be a secret, is left out.
func ansibleLabel(into layer, v pair) {
	n := v.value
	plain := n.Kind == yaml.ScalarNode && slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.Tag)
	if !plain || secretName.MatchString(v.key) || checkLabelKey(v.key) != "" || checkPrintable(n.Value) != "" {
		return
	}
	into[labelPrefix+v.key] = setting{text: n.Value, line: v.line}
}

// ansibleText reads a variable that says how to connect.
func (p *parser) ansibleText(v pair) (string, bool) {
	n := v.value
	if n.Kind == yaml.ScalarNode && n.Tag == "!!bool" {
		return n.Value, true
	}
	s, ok := p.text(n, v.key)
	if ok && (strings.Contains(s, "{{") || strings.Contains(s, "{%")) {
		p.addf(v.line, "write the value itself, or convert with ansible-inventory --list --yaml", "%s is a template, which is not evaluated", v.key)
		return "", false
	}
	return s, ok
}

// ansibleSetting reads a variable of ansibleSettings.
func (p *parser) ansibleSetting(into layer, v pair) {
	text, ok := p.ansibleText(v)
	if !ok {
		return
	}
	key := ansibleSettings[v.key]
	s := setting{text: text, line: v.line}
	problem := ""
	switch key {
	case keyAddress:
		t, bad := splitTarget(text)
		s.text, problem = t.host, bad
		if bad == "" {
			problem = checkHost(t.host)
		}
		if t.user+t.port != "" {
			problem = "is more than an address; use ansible_user and ansible_port"
		}
	case keyPort:
		problem = checkPort(text)
	case keyUser:
		problem = checkUser(text)
	case keyIdentity:
		s.text, s.list = "", []string{text}
		problem = checkIdentity(text)
	case keyBecome:
		s.text, problem = ansibleBecome(text)
	case keyJump:
		s.text, problem = sshArgsJump(text)
	}
	first, set := into[key]
	switch {
	case problem != "":
		p.addf(v.line, "", "%s %q %s", v.key, clip(text), problem)
	case key == keyJump && s.text == "": // arguments without a jump host
	case set && !first.equal(s):
		p.addf(v.line, "keep one spelling", "%s says something else than another variable for %s on line %d", v.key, key, first.line)
	default:
		into[key] = s
	}
}

// ansibleBecome reads a truth value as Ansible does
// (lib/ansible/module_utils/parsing/convert_bool.py).
func ansibleBecome(s string) (become, problem string) {
	switch strings.ToLower(s) {
	case "y", "yes", "on", "1", "true", "t", "1.0":
		return string(BecomeSudo), ""
	case "n", "no", "off", "0", "false", "f", "0.0":
		return string(BecomeNone), ""
	}
	return "", "is not a truth value"
}

// sshHarmless are options of ssh_config(5), in lower case, that change
// neither which machine is meant nor which login: fleet has its own rules for
// them.
var sshHarmless = strings.Fields(`
	addkeystoagent batchmode challengeresponseauthentication checkhostip
	compression connectionattempts connecttimeout controlmaster controlpath
	controlpersist forwardagent forwardx11 gssapiauthentication
	gssapidelegatecredentials identitiesonly kbdinteractiveauthentication
	loglevel passwordauthentication preferredauthentications
	pubkeyauthentication requesttty serveralivecountmax serveraliveinterval
	stricthostkeychecking tcpkeepalive updatehostkeys verifyhostkeydns
	visualhostkey`)

// sshArgsJump finds the jump host in arguments for ssh(1), "" when there is
// none. Arguments that change how to connect in another way are a problem.
func sshArgsJump(args string) (jump, problem string) {
	const advice = "; put it into ssh_config, which is read, and take it out here"
	words, ok := splitWords(args)
	if !ok {
		return "", "has a quote that does not end"
	}
	for i := 0; i < len(words); i++ {
		word := words[i]
		flag, value := word, ""
		if len(word) > 2 && (strings.HasPrefix(word, "-o") || strings.HasPrefix(word, "-J")) {
			flag, value = word[:2], word[2:]
		} else if (word == "-o" || word == "-J") && i+1 < len(words) {
			i++
			value = words[i]
		}
		switch {
		case flag == "-J":
			jump = value
		case flag == "-o":
			key, text := splitOption(value)
			switch {
			case key == "proxyjump":
				jump = text
			case slices.Contains(sshHarmless, key):
			case strings.HasSuffix(key, "knownhostsfile") && path.Clean(text) == "/dev/null":
			case key == "proxycommand":
				return "", "has a ProxyCommand; write -o ProxyJump=[user@]host[:port]"
			default:
				return "", "has the ssh option " + clip(key) + advice
			}
		case strings.Trim(flag, "-qvCaAxTnkt") != "":
			return "", "has " + clip(flag) + advice
		}
	}
	if jump == "" {
		return "", ""
	}
	return parseJump(jump)
}

// splitOption splits the value of ssh -o at = or space, as ssh does.
func splitOption(s string) (key, value string) {
	i := strings.IndexAny(s, "= \t")
	if i < 0 {
		return strings.ToLower(s), ""
	}
	return strings.ToLower(s[:i]), strings.Trim(s[i:], "= \t\"")
}

// splitWords splits a command line at spaces outside quotes, as the shell
// does. It reports false for a quote that does not end.
func splitWords(s string) ([]string, bool) {
	var words []string
	var word strings.Builder
	quote, started := rune(0), false
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, started = r, true
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			if started {
				words = append(words, word.String())
				word.Reset()
			}
			started = false
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if started {
		words = append(words, word.String())
	}
	return words, quote == 0
}
