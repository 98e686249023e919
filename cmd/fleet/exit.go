package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"fleet/report"
)

// exitCodesHelp ends the help of every command that connects.
const exitCodesHelp = `
Exit codes (the highest that applies):
  0    every selected host is as wanted
  1    at least one host is not as wanted
  2    bad command line, inventory or configuration; nothing was contacted
  3    incomplete: at least one host is unreachable, unknown or was not reached
  130  interrupted; what is known so far was still reported`

// changeCodesHelp is the same for the commands that change hosts.
const changeCodesHelp = `
Exit codes (the highest that applies):
  0    every selected host is as wanted
  1    at least one host is not: its change is only planned, was refused, failed
       or was rolled back
  2    bad command line, inventory or configuration, and nothing was contacted; or
       the question was not answered with the number, and nothing was changed
  3    incomplete: at least one host is unreachable, unknown or was not reached
  130  interrupted; what is known so far was still reported`

// usageError is a fault the user can mend before anything is changed.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// verdictError carries the exit code of a run that was reported in full.
type verdictError struct{ code int }

func (e verdictError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// verdict makes an exit code an error, nil for success.
func verdict(code int) error {
	if code == report.ExitOK {
		return nil
	}
	return verdictError{code}
}

// exitCode gives the code for what a command returned and prints the errors
// that were not reported yet.
func exitCode(err error, stderr io.Writer) int {
	var v verdictError
	switch {
	case err == nil:
		return report.ExitOK
	case errors.As(err, &v):
		return v.code
	}
	for _, e := range unjoin(err) {
		fmt.Fprintf(stderr, "fleet: %s\n", strings.ReplaceAll(e.Error(), "\n", "\nfleet: "))
	}
	var usage usageError
	if errors.As(err, &usage) {
		return report.ExitUsage
	}
	return report.ExitIncomplete
}

// unjoin takes apart what errors.Join put together, so that each fault of an
// inventory has its own line.
func unjoin(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if many, ok := e.(interface{ Unwrap() []error }); ok {
			return many.Unwrap()
		}
	}
	return []error{err}
}
