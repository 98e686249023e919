package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"fleet/report"
)

// reportCommand is one `fleet report`.
type reportCommand struct {
	env    environment
	output output
}

func newReportCommand(env environment) *cobra.Command {
	r := &reportCommand{env: env}
	cmd := &cobra.Command{
		Use:   "report RUN|FILE...",
		Short: "Show the report of a run again, or merge several",
		Long: `report shows what a run reported, in any format. It contacts nothing.

RUN is the id of a recorded run, the beginning of one, or "last". FILE is a
report in the json or ndjson format, - for standard input; a file whose name
could be taken for a run is written ./NAME. Of several, one report is made:
where a host is in more than one of them, the one named later has the word.
Reports of different controls, or of rollbacks and other runs, are not merged.

The exit code is that of the run, worked out from its hosts.
` + exitCodesHelp,
		Example: `  fleet report last
  fleet report last -o wide
  fleet report 20261122-0300 --report json=audit.json
  fleet report monday.json tuesday.json -o json`,
		Args:              someArgs("want a run or a file, for example: fleet report last"),
		ValidArgsFunction: r.complete,
		RunE:              func(_ *cobra.Command, args []string) error { return r.run(args) },
	}
	r.output.flags(cmd)
	return cmd
}

// someArgs demands at least one argument.
func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{fmt.Errorf("%s: %s\nsee: %s --help", cmd.CommandPath(), what, cmd.CommandPath())}
		}
		return nil
	}
}

func (r *reportCommand) run(args []string) error {
	if err := r.output.check(); err != nil {
		return err
	}
	var reports []report.Report
	for _, word := range args {
		rep, err := readReport(r.env, word)
		if err != nil {
			return usageError{err}
		}
		reports = append(reports, rep)
	}
	merged, err := report.Merge(reports)
	if err != nil {
		return usageError{err}
	}
	if err := r.output.write(r.env, merged); err != nil {
		return err
	}
	return verdict(report.ExitCode(merged))
}

// readReport reads what a word names: a whole run id or "last" first, then a
// file, then the beginning of a run id.
func readReport(env environment, word string) (report.Report, error) {
	if word == "-" {
		return report.Decode(env.stdin)
	}
	id, runErr := findRun(env, word)
	if runErr == nil && (id == word || word == lastRun) {
		return recordedReport(env, id)
	}
	f, err := os.Open(word)
	switch {
	case err == nil:
	case runErr == nil:
		return recordedReport(env, id)
	case errors.Is(err, os.ErrNotExist):
		return report.Report{}, fmt.Errorf("%w, and there is no such file", runErr)
	default:
		return report.Report{}, err
	}
	defer f.Close()
	rep, err := report.Decode(f)
	if err != nil {
		return report.Report{}, fmt.Errorf("%s: %w", word, err)
	}
	return rep, nil
}

// complete offers the recorded runs, the newest first, beside the shell's own
// file names.
func (r *reportCommand) complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	runs, err := runsDir(r.env)
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	ids, err := recordedRuns(runs)
	if err != nil || len(ids) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	slices.Reverse(ids)
	return append([]string{lastRun}, ids...), cobra.ShellCompDirectiveDefault
}
