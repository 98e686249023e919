//go:build linux

package real

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// hostTools are the programs that the lab and the end-to-end tests run on the
// machine itself, each with the Debian and Ubuntu package it comes in.
var hostTools = []struct{ program, pkg string }{
	{"/usr/bin/systemd-nspawn", "systemd-container"},
	{"/usr/sbin/debootstrap", "debootstrap"},
	{"/usr/bin/ssh", "openssh-client"},
	{"/usr/sbin/sshd", "openssh-server"},
	{"/bin/ip", "iproute2"},
	{"/bin/busybox", "busybox"},
	{"/usr/bin/shellcheck", "shellcheck"},
	{"/usr/bin/sudo", "sudo"},
	{"/usr/bin/nsenter", "util-linux"},
	{"/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"},
}

// missingPackages lists the packages of the tools that are not installed.
func missingPackages() []string {
	var pkgs []string
	for _, t := range hostTools {
		if !exists(t.program) {
			pkgs = append(pkgs, t.pkg)
		}
	}
	return pkgs
}

// installPackages installs what the machine lacks. It refreshes the package
// lists only when an installation without that failed.
func installPackages(ctx context.Context, log func(string, ...any)) error {
	pkgs := missingPackages()
	if len(pkgs) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("cannot install %s: no apt-get here; the lab needs Debian or Ubuntu", strings.Join(pkgs, " "))
	}
	log("installing %s", strings.Join(pkgs, " "))
	first := aptInstall(ctx, pkgs)
	if first == nil {
		return nil
	}
	if err := apt(ctx, "update"); err != nil {
		return errors.Join(first, err)
	}
	return aptInstall(ctx, pkgs)
}

func aptInstall(ctx context.Context, pkgs []string) error {
	return apt(ctx, append([]string{"install", "--yes", "--no-install-recommends"}, pkgs...)...)
}

func apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet"}, args...)...)
	cmd.Env = quietEnv()
	_, err := output(cmd)
	return err
}

// aptMirror returns the address of the archive that the machine's own apt
// fetches the suite from, "" when it fetches no such suite (an Ubuntu machine),
// in which case debootstrap's own choice has to do.
func aptMirror(suite string) string {
	oneLine, _ := filepath.Glob("/etc/apt/sources.list.d/*.list") // the pattern is well formed
	deb822, _ := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	for _, path := range append([]string{"/etc/apt/sources.list"}, oneLine...) {
		if data, err := os.ReadFile(path); err == nil {
			if m := mirrorOneLine(string(data), suite); m != "" {
				return m
			}
		}
	}
	for _, path := range deb822 {
		if data, err := os.ReadFile(path); err == nil {
			if m := mirrorDeb822(string(data), suite); m != "" {
				return m
			}
		}
	}
	return ""
}

// mirrorOneLine finds the archive of suite, component main, in the one-line
// style of sources.list(5): deb [options] URI SUITE COMPONENT...
func mirrorOneLine(text, suite string) string {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if open := strings.Index(line, "["); open >= 0 {
			if end := strings.Index(line, "]"); end > open {
				line = line[:open] + line[end+1:]
			}
		}
		f := strings.Fields(line)
		if len(f) >= 4 && f[0] == "deb" && f[2] == suite && slices.Contains(f[3:], "main") {
			return f[1]
		}
	}
	return ""
}

// mirrorDeb822 does the same for the stanzas of the deb822 style.
func mirrorDeb822(text, suite string) string {
	for _, stanza := range strings.Split(text, "\n\n") {
		fields := map[string][]string{}
		for line := range strings.Lines(stanza) {
			key, value, ok := strings.Cut(line, ":")
			if ok && !strings.HasPrefix(line, "#") {
				fields[strings.ToLower(key)] = strings.Fields(value)
			}
		}
		uris := fields["uris"]
		if len(uris) > 0 && slices.Contains(fields["types"], "deb") && slices.Contains(fields["suites"], suite) && slices.Contains(fields["components"], "main") {
			return uris[0]
		}
	}
	return ""
}
