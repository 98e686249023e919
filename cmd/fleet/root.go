package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/remediate"
)

// version is set by the linker in releases.
var version = ""

// run executes one command line and returns the exit code.
func run(args []string, env environment) int {
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	return exitCode(root.Execute(), env.stderr)
}

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "fleet",
		Short: "Tell whether the kubelets of a fleet manage iptables, and make them",
		Long: `fleet connects to every host of an inventory over SSH, all at once, and tells
for each whether its kubelet manages iptables (makeIPTablesUtilChains, CIS AKS
3.2.6). It reads what the running kubelet was started with and what its next
start would give, and says where the value comes from. Asked to, it puts that
right, in waves, and each node undoes by itself what does not come out well.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nsee: %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newAudit(env), newRemediate(env), newRollback(env), newHosts(env), newExec(env), newReportCommand(env), newDemo(env), newVersion(env), newReasons())
	return root
}

// noArgs refuses arguments, with the code of a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s: unexpected argument %q\nsee: %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	return nil
}

func newVersion(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(env.stdout, "fleet", versionText())
			return err
		},
	}
}

// versionText is the linker's version, else what the build recorded.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return strings.Trim(info.Main.Version, "()")
}

// newReasons is a help topic: fleet help reasons.
func newReasons() *cobra.Command {
	var b strings.Builder
	b.WriteString("Every finding carries one reason, and so does a change that was not made. The\ncodes are stable.\n")
	for _, status := range []audit.Status{audit.StatusFail, audit.StatusUnknown, audit.StatusNotApplicable, audit.StatusPass} {
		fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(string(status)))
		for _, r := range audit.Reasons() {
			if r.Status == status {
				fmt.Fprintf(&b, "  %-24s %s\n", r.Code, r.Meaning)
			}
		}
	}
	b.WriteString("\nA code with the prefix jump- means the same of the jump host.\n")
	b.WriteString("\nCHANGES\nWhy a change was refused, failed or did not stay; also any of the codes above.\n")
	for _, r := range remediate.Reasons() {
		fmt.Fprintf(&b, "  %-24s %s\n", r.Code, r.Meaning)
	}
	return &cobra.Command{Use: "reasons", Short: "The reason codes of findings and changes and what they mean", Long: strings.TrimSuffix(b.String(), "\n")}
}
