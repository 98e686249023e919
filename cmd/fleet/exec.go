package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleet/audit"
	"fleet/inventory"
	"fleet/remote"
	"fleet/report"
	"fleet/runner"
)

// execTimeout is the default deadline of one host of fleet exec.
const execTimeout = 60 * time.Second

// defaultExecLimit is how many bytes of standard output one host may give: all
// of it is held until the end, so that hosts can be grouped.
const defaultExecLimit = 1 << 20

// execCommand is one `fleet exec`.
type execCommand struct {
	env    environment
	hosts  selection
	conn   connection
	format string
	limit  int64

	chosen report.ExecFormat
}

func newExec(env environment) *cobra.Command {
	x := &execCommand{env: env}
	cmd := &cobra.Command{
		Use:   "exec [-i FILE|-] [--limit PATTERN]... -- COMMAND...",
		Short: "Run a command on every host and group what it says",
		Long: `exec runs a command on every selected host, all at once, and shows hosts on which
it came to exactly the same in one block, the worst first.

The words behind -- are joined with blanks and read by the host's sh, as ssh does
it: quote once for your own shell what the host's shell shall see, as in
fleet exec -- 'systemctl is-active kubelet | grep -x active'. The command's
standard input is empty. It runs as the login user, without sudo, unless --become
or the inventory's become asks for it.

exec is no transaction: it asks no question, undoes nothing, and knows no waves. A
host whose connection ends or whose deadline passes may go on running the command.
To change the kubelet's setting use fleet remediate.

A command that prints more than --output-limit is given up, on that host only; of
standard error the first 64 KiB are kept.

Exit codes (the highest that applies):
  0    the command exited with 0 on every selected host
  1    on at least one host it exited with another status, or by a signal
  2    bad command line, inventory or configuration; nothing was contacted
  3    at least one host could not run it, its end is unknown, or was not reached
  130  interrupted; what is known so far was still reported`,
		Example: `  fleet exec -- uptime
  fleet exec --limit agentpool=np1 --become -- journalctl -u kubelet -n 5 --no-pager
  fleet exec -o json -- uname -r`,
		Args: wantCommand,
		RunE: func(_ *cobra.Command, args []string) error { return x.run(strings.Join(args, " ")) },
	}
	x.hosts.flags(cmd, env)
	x.conn.flags(cmd, execTimeout)
	x.formatFlag(cmd)
	cmd.Flags().Int64Var(&x.limit, "output-limit", defaultExecLimit, "`BYTES` of standard output that a host may give")
	return cmd
}

// wantCommand demands the command behind two dashes, so that its own flags are
// never taken for ours.
func wantCommand(cmd *cobra.Command, args []string) error {
	what := ""
	switch dash := cmd.ArgsLenAtDash(); {
	case len(args) == 0:
		what = "want a command, for example: fleet exec -- uptime"
	case dash < 0:
		what = "put two dashes before the command: fleet exec -- " + strings.Join(args, " ")
	case dash > 0:
		what = fmt.Sprintf("unexpected argument %q before the two dashes", args[0])
	case strings.TrimSpace(strings.Join(args, "")) == "":
		what = "the command is empty"
	default:
		return nil
	}
	return usageError{fmt.Errorf("%s: %s\nsee: %s --help", cmd.CommandPath(), what, cmd.CommandPath())}
}

func (x *execCommand) formatFlag(cmd *cobra.Command) {
	var names, abouts []string
	for _, f := range report.ExecFormats() {
		names = append(names, f.Name)
		abouts = append(abouts, f.Name+"\t"+f.About)
	}
	cmd.Flags().StringVarP(&x.format, "output", "o", names[0], "`FORMAT` of standard output: "+strings.Join(names, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(abouts, cobra.ShellCompDirectiveNoFileComp))
}

// check finds faults in the flags before a run.
func (x *execCommand) check() error {
	if err := x.conn.check(); err != nil {
		return err
	}
	if x.limit < 1 {
		return usageError{fmt.Errorf("--output-limit %d: at least 1 byte", x.limit)}
	}
	var names []string
	for _, f := range report.ExecFormats() {
		if f.Name == x.format {
			x.chosen = f
			return nil
		}
		names = append(names, f.Name)
	}
	return usageError{fmt.Errorf("--output: unknown output format %q (one of: %s)", x.format, strings.Join(names, ", "))}
}

func (x *execCommand) run(command string) error {
	if err := x.check(); err != nil {
		return err
	}
	inv, hosts, err := x.hosts.hosts(x.env)
	if err != nil {
		return err
	}
	fan, err := x.conn.fanOut(x.env, hosts)
	if err != nil {
		return err
	}
	defer fan.close()
	started := time.Now()
	results := each(fan, hosts, func(ctx context.Context, h inventory.Host) (remote.Output, error) {
		return execOn(ctx, fan, h, remote.Command{Line: "sh -s", Stdin: execScript(command), Limit: x.limit})
	})
	out := report.NewExec(report.Run{
		ID: runID(started), Command: "exec", Started: started, Finished: time.Now(),
		Version: versionText(), Inventory: inventoryName(inv), Interrupted: fan.interrupted(),
	}, command, execHosts(results))
	width, _ := terminal(x.env.stdout)
	if err := x.chosen.Write(x.env.stdout, out, report.TextOptions{Width: width, Color: x.env.colour()}); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return verdict(out.ExitCode())
}

// execScript gives a command to sh. Standard input is the script itself, so
// the command gets an empty one; eval keeps the command out of the host's
// process list, and a fault in its syntax from reaching the lines around it. The blank keeps a command that begins with a
// dash from being taken for an option of eval.
func execScript(command string) []byte {
	return []byte("eval ' " + strings.ReplaceAll(command, "'", `'\''`) + "' </dev/null\n")
}

// execOn runs the command on one host.
func execOn(ctx context.Context, fan *fanOut, h inventory.Host, c remote.Command) (remote.Output, error) {
	conn, err := fan.dialer.Dial(ctx, h)
	if err != nil {
		return remote.Output{}, err
	}
	defer conn.Close()
	c.Become, c.Password = h.Become, fan.password
	if c.Become == inventory.BecomeDefault {
		c.Become = inventory.BecomeNone
	}
	return conn.Run(ctx, c)
}

// execHosts turns the results into what is reported of each host.
func execHosts(results []runner.Result[remote.Output]) []report.ExecHost {
	hosts := make([]report.ExecHost, len(results))
	for i, r := range results {
		h := report.ExecHost{
			Name: r.Host.Name, Address: r.Host.Address,
			Stdout: string(r.Value.Stdout), Stderr: string(r.Value.Stderr),
			StderrCut:  len(r.Value.Stderr) >= remote.StderrLimit,
			DurationMS: r.Duration.Milliseconds(),
		}
		if r.Err == nil {
			h.Exit, h.Signal = &r.Value.Exit, r.Value.Signal
		} else {
			h.Reason, h.Message = reasonOf(r.Err), r.Err.Error()
			h.Hint = execHint(h.Reason, h.Name)
		}
		hosts[i] = h
	}
	return hosts
}

// reasonOf is the reason code an error names.
func reasonOf(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return "internal"
}

// execHint is what to do about a host that gave no result. Where the audit's
// advice would be to look again, a command that may have changed something
// needs another.
func execHint(reason, host string) string {
	again := "run it again with --limit " + host
	switch reason {
	case string(remote.CodeLost), "interrupted":
		return "the command may have run, or run still: look at the host before you " + again
	case string(remote.CodeTimeoutCommand), "timeout":
		return "the command may run still: look at the host, or give it longer with --timeout"
	case string(remote.CodeOutput):
		return "print less, or accept more with --output-limit"
	case "not-reached":
		return again
	}
	_, hint := audit.Explain(reason)
	return hint
}
