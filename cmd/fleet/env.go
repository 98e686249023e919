package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// environment is all that a command knows of the world around it, so that
// tests can give another one.
type environment struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	// tty opens the terminal that questions are asked on; standard input may be
	// the inventory.
	tty func() (io.ReadWriteCloser, error)
}

func system() environment {
	return environment{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, tty: openTTY}
}

// openTTY opens the controlling terminal, when there is somebody to read what
// goes to standard error.
func openTTY() (io.ReadWriteCloser, error) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil, errors.New("there is no terminal to ask on")
	}
	return os.OpenFile("/dev/tty", os.O_RDWR, 0)
}

// terminal tells whether a stream is one, and how wide it is.
func terminal(stream any) (width int, ok bool) {
	f, isFile := stream.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return width, err == nil
}

// colour follows no-color.org: a terminal that is not dumb, without NO_COLOR.
func (e environment) colour() bool {
	_, ok := terminal(e.stdout)
	return ok && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

// home is the user's home directory, "" when there is none.
func (e environment) home() string {
	if dir := e.getenv("HOME"); dir != "" {
		return dir
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

// localUser is the login name, which ssh uses where nothing else is said.
func (e environment) localUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return e.getenv("USER")
}

// stateDir is where runs are recorded (XDG base directory specification).
func (e environment) stateDir() (string, error) {
	if dir := e.getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "fleet"), nil
	}
	if home := e.home(); home != "" {
		return filepath.Join(home, ".local", "state", "fleet"), nil
	}
	return "", errors.New("neither XDG_STATE_HOME nor HOME is set")
}

// askSecret asks on the terminal without echo. Standard input may be the
// inventory, so the controlling terminal is used.
func (e environment) askSecret(prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errors.New("there is no terminal to ask on")
	}
	defer tty.Close()
	fmt.Fprint(tty, prompt)
	secret, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	return secret, err
}

// warn prints one line to standard error.
func (e environment) warn(format string, args ...any) {
	fmt.Fprintf(e.stderr, "fleet: warning: %s\n", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
