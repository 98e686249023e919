package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleet/report"
)

// output is where a report goes.
type output struct {
	format  string
	reports []string

	chosen  report.Format
	targets []report.Target
}

func (o *output) flags(cmd *cobra.Command) {
	var names, abouts []string
	for _, f := range report.Formats() {
		names = append(names, f.Name)
		abouts = append(abouts, f.Name+"\t"+f.About)
	}
	cmd.Flags().StringVarP(&o.format, "output", "o", names[0], "`FORMAT` of standard output: "+strings.Join(names, ", "))
	cmd.Flags().StringArrayVar(&o.reports, "report", nil, "also write `FORMAT=PATH`; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(abouts, cobra.ShellCompDirectiveNoFileComp))
}

// check finds faults in the flags before a run, not after it.
func (o *output) check() error {
	var err error
	if o.chosen, err = report.FormatNamed(o.format); err != nil {
		return usageError{fmt.Errorf("--output: %w", err)}
	}
	for _, text := range o.reports {
		target, err := report.ParseTarget(text)
		if err != nil {
			return usageError{fmt.Errorf("--report: %w", err)}
		}
		if err := target.Check(); err != nil {
			return usageError{fmt.Errorf("--report: %w", err)}
		}
		o.targets = append(o.targets, target)
	}
	return nil
}

// deliver prints, stores and records the report, and gives the exit code as an
// error.
func (o *output) deliver(env environment, rep report.Report, interrupted bool) error {
	rep.Run.Interrupted = interrupted
	err := o.write(env, rep)
	record(env, rep) // also when standard output was closed
	if err != nil {
		return err
	}
	return verdict(report.ExitCode(rep))
}

// write prints and stores the report.
func (o *output) write(env environment, rep report.Report) error {
	width, _ := terminal(env.stdout)
	if err := o.chosen.Write(env.stdout, rep, report.TextOptions{Width: width, Color: env.colour()}); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	for _, target := range o.targets {
		if err := target.Save(rep); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		fmt.Fprintf(env.stderr, "report written to %s\n", target.Path)
	}
	return nil
}

// record keeps the report for --limit run:ID:STATUS. A run that cannot be
// recorded is still a run.
func record(env environment, rep report.Report) {
	if err := saveRun(env, rep); err != nil {
		env.warn("the run is not recorded: %v", err)
		return
	}
	if rep.Summary.Fail+rep.Summary.Unknown > 0 {
		fmt.Fprintf(env.stderr, "recorded as run %s; to look again at what did not pass: --limit run:%s:failed\n", rep.Run.ID, rep.Run.ID)
	}
}
