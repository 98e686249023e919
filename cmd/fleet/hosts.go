package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"fleet/inventory"
	"fleet/report"
)

// hostsCommand is one `fleet hosts`.
type hostsCommand struct {
	env     environment
	hosts   selection
	conn    connection
	format  string
	explain string
}

func newHosts(env environment) *cobra.Command {
	h := &hostsCommand{env: env}
	cmd := &cobra.Command{
		Use:   "hosts [-i FILE|-] [--limit PATTERN]... [--explain HOST]",
		Short: "Print the hosts that a command would work on",
		Long: `hosts reads the inventory, applies the limits and prints what is left, one host a
line. It contacts no host, and the API server only for -i cluster. With --explain
it prints every value that decides how one host is reached and where that value
was set.`,
		Example: `  fleet hosts
  fleet hosts --limit 'np1,!zone=2' -o json
  fleet hosts --explain aks-np1-12345678-vmss000000`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return h.run() },
	}
	h.hosts.flags(cmd, env)
	h.conn.flags(cmd, auditTimeout)
	cmd.Flags().StringVarP(&h.format, "output", "o", "table", "`FORMAT`: table, name or json")
	cmd.Flags().StringVar(&h.explain, "explain", "", "explain how `HOST` is reached")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "name", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (h *hostsCommand) run() error {
	if h.format != "table" && h.format != "name" && h.format != "json" {
		return usageError{fmt.Errorf("--output %q: want table, name or json", h.format)}
	}
	if h.explain != "" {
		h.hosts.limit = append(h.hosts.limit, h.explain)
	}
	_, hosts, err := h.hosts.hosts(h.env)
	if err != nil {
		return err
	}
	h.conn.applyBecome(hosts)
	switch {
	case h.explain != "":
		return h.explainHosts(hosts)
	case h.format == "json":
		return writeJSON(h.env, hosts)
	case h.format == "name":
		for _, host := range hosts {
			fmt.Fprintln(h.env.stdout, report.Clean(host.Name))
		}
		return nil
	}
	return h.table(hosts)
}

func (h *hostsCommand) table(hosts []inventory.Host) error {
	t := plainTable()
	t.AppendHeader(table.Row{"NAME", "ADDRESS", "PORT", "USER", "JUMP", "BECOME", "LABELS"})
	for _, host := range hosts {
		t.AppendRow(table.Row{
			report.Clean(host.Name), report.Clean(host.Address), orDash(host.Port), orDash(host.User),
			orDash(host.Jump), orDash(string(host.Become)), report.Clean(labelText(host.Labels)),
		})
	}
	_, err := fmt.Fprintf(h.env.stdout, "%s\n%s\n", t.Render(), plural(len(hosts), "host"))
	return err
}

// explainHosts prints each effective SSH value and the place that set it.
func (h *hostsCommand) explainHosts(hosts []inventory.Host) error {
	dialer, err := h.conn.dialer(h.env)
	if err != nil {
		return err
	}
	defer dialer.Close()
	for _, host := range hosts {
		settings, err := dialer.Resolve(host)
		if err != nil {
			return usageError{err}
		}
		if h.format == "json" {
			if err := writeJSON(h.env, settings.List()); err != nil {
				return err
			}
			continue
		}
		t := plainTable()
		for _, v := range settings.List() {
			t.AppendRow(table.Row{v.Keyword, report.Clean(v.Value), report.Clean(v.From)})
		}
		fmt.Fprintf(h.env.stdout, "%s (%s)\n%s\n", report.Clean(host.Name), host.Position, t.Render())
	}
	return nil
}

func writeJSON(env environment, v any) error {
	e := json.NewEncoder(env.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func plainTable() table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft = ""
	style.Box.PaddingRight = "  "
	t.SetStyle(style)
	return t
}

// orDash writes a dash for a value that the inventory does not give.
func orDash(v any) string {
	text := fmt.Sprint(v)
	if text == "" || text == "0" {
		return "-"
	}
	return report.Clean(text)
}

func labelText(labels map[string]string) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, key+"="+labels[key])
	}
	return strings.Join(words, ",")
}
