package remote

import (
	"errors"
	"fmt"
	"strings"

	"fleet/inventory"
)

// wrapped is the line the login shell is given and what to look for in return.
type wrapped struct {
	line   string
	mark   string // printed on a line of its own when the command begins
	prompt string // sudo's password prompt, "" when no password is sent
	sudo   bool
}

// wrap builds the command line. A one-line sh announces the command with a
// mark, so that it is certain whether it was started, and by that time sudo
// has read its password. All of it is plain words and one pair of single
// quotes, which sh, csh and fish read alike. sudo speaks English through env,
// and the command does not see that.
func wrap(cmd Command, root bool, nonce string) wrapped {
	w := wrapped{mark: "fleet-" + nonce, sudo: cmd.Become != inventory.BecomeNone && !root}
	if !w.sudo {
		w.line = fmt.Sprintf("sh -c 'echo %s; exec %s'", w.mark, cmd.Line)
		return w
	}
	options := "-n"
	if cmd.Password != nil {
		w.prompt = "fleet-password-" + nonce + ":"
		options = "-S -p " + w.prompt
	}
	w.line = fmt.Sprintf("env LC_ALL=C sudo %s -- sh -c 'echo %s; unset LC_ALL; exec %s'", options, w.mark, cmd.Line)
	return w
}

// plainWords refuses a command that some login shell could read differently.
func plainWords(line string) error {
	if strings.TrimSpace(line) == "" {
		return errors.New("the command is empty")
	}
	for _, r := range line {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" @%+=:,./_-", r)) {
			return fmt.Errorf("%q is not a character that every login shell takes literally", r)
		}
	}
	return nil
}

// sudoTexts maps what sudo and sudo-rs say to the cause. The order counts:
// sudo asks for the password first and looks into sudoers afterwards.
// Sources: sudo plugins/sudoers/{check,logging,parse}.c, src/tgetpass.c;
// sudo-rs src/common/error.rs.
var sudoTexts = [...]struct {
	text string
	code Code
	msg  string
}{
	{"must have a tty", CodeSudoTTY, "sudo insists on a terminal (requiretty)"},
	{"is not in the sudoers file", CodeSudoDenied, "the account may not use sudo"},
	{"not allowed to", CodeSudoDenied, "sudo does not let the account run this as root"},
	{"may not run sudo", CodeSudoDenied, "the account may not use sudo"},
	{"i'm afraid i can't do that", CodeSudoDenied, "the account may not use sudo"},
	{"incorrect password", CodeSudoWrong, "sudo refused the password"},
	{"incorrect authentication", CodeSudoWrong, "sudo refused the password"},
	{"authentication failed", CodeSudoWrong, "sudo refused the password"},
	{"sorry, try again", CodeSudoWrong, "sudo refused the password"},
	{"password is required", CodeSudoPassword, "sudo wants a password"},
	{"authentication is required", CodeSudoPassword, "sudo wants a password"},
	{"authentication required", CodeSudoPassword, "sudo wants a password"},
	{"terminal is required to read the password", CodeSudoPassword, "sudo wants a password"},
	{"no askpass program", CodeSudoPassword, "sudo wants a password"},
	{"no password was provided", CodeSudoPassword, "sudo wants a password"},
}

// refusal names the reason why a command was not started although the login
// shell ran and ended.
func refusal(w wrapped, exit int, stdout, stderr []byte) *Error {
	text := strings.ToLower(string(stderr))
	if !w.sudo || len(strings.TrimSpace(text)) == 0 || exit == 0 {
		return noShell(exit, stdout, stderr)
	}
	for _, t := range sudoTexts {
		if strings.Contains(text, t.text) {
			return &Error{Reason: t.code, Msg: t.msg, Err: said(stdout, stderr)}
		}
	}
	switch {
	case exit == 127:
		return &Error{Reason: CodeSudoMissing, Msg: "there is no sudo on the host", Err: said(stdout, stderr)}
	case strings.Contains(text, "sudo:"), strings.Contains(text, "sudo-rs:"):
		return &Error{Reason: CodeSudoFailed, Msg: "sudo failed", Err: said(stdout, stderr)}
	}
	return noShell(exit, stdout, stderr)
}

// noShell is a login that ran something else than was asked for: nologin,
// false, a forced command, a shell that is not one.
func noShell(exit int, stdout, stderr []byte) *Error {
	return &Error{Reason: CodeNoShell, Msg: fmt.Sprintf("the login shell did not run the command (exit status %d)", exit), Err: said(stdout, stderr)}
}

// said quotes what came from the host, nil when it was silent.
func said(stdout, stderr []byte) error {
	text := printable(stderr)
	if text == "" {
		text = printable(stdout)
	}
	if text == "" {
		return nil
	}
	return fmt.Errorf("the host says %q", text)
}
