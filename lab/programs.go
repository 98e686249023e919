package lab

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed standins
var standins embed.FS

// tools are the machine's own programs that a node has. Nothing else is found:
// a script that needs python, jq or perl fails here as it would on a node
// without them, and no script reaches the machine's own sudo or systemctl.
func tools() []string {
	return []string{
		"awk", "base64", "basename", "cat", "chgrp", "chmod", "chown", "cksum", "cmp", "cp", "cut", "date", "dd", "df", "diff",
		"dirname", "du", "env", "expr", "false", "find", "flock", "getent", "grep", "gzip", "head", "kill", "ln", "ls", "md5sum", "mkdir",
		"mkfifo", "mktemp", "mv", "nl", "nohup", "od", "printf", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq",
		"setsid", "sha256sum", "sleep", "sort", "stat", "sync", "tac", "tail", "tee", "test", "timeout", "touch", "tr",
		"true", "truncate", "tty", "uniq", "wc", "xargs", "[",
	}
}

// installPrograms writes the stand-ins below DIR/bin, sudo apart from the rest
// in DIR/sudo, what they share in DIR/lib, and links the tools in DIR/tools.
func installPrograms(dir string) error {
	for _, sub := range []string{"bin", "sudo", "tools", "lib"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("install the stand-ins: %w", err)
		}
	}
	entries, err := standins.ReadDir("standins")
	if err != nil {
		return fmt.Errorf("install the stand-ins: %w", err)
	}
	for _, e := range entries {
		data, err := standins.ReadFile("standins/" + e.Name())
		if err != nil {
			return fmt.Errorf("install the stand-ins: %w", err)
		}
		sub := "bin"
		switch e.Name() {
		case "sudo":
			sub = "sudo"
		case "ask", "faulty":
			sub = "lib"
		}
		if err := writeMode(filepath.Join(dir, sub, e.Name()), string(data), 0o755); err != nil {
			return fmt.Errorf("install the stand-ins: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "manager.show"), []byte(managerShow()), 0o644); err != nil {
		return fmt.Errorf("install the stand-ins: %w", err)
	}
	if err := installFaulty(dir); err != nil {
		return err
	}
	return linkTools(filepath.Join(dir, "tools"))
}

func linkTools(dir string) error {
	for _, name := range tools() {
		program, err := exec.LookPath(name)
		if err != nil {
			continue // the node is one without it
		}
		if program, err = filepath.Abs(program); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if err := os.Symlink(program, link); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}
