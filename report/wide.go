package report

import (
	"strconv"
	"strings"

	"fleet/audit"
)

// wideSheet has every witness and what the host said of itself.
func wideSheet(r Report, o TextOptions) sheet {
	live := hasLive(r.Hosts)
	t := sheet{
		options: o,
		wide:    true,
		heads:   []string{"STATUS", "HOST", "REASON", "RUNNING", "NEXT START"},
	}
	if live {
		t.heads = append(t.heads, "LIVE")
	}
	t.heads = append(t.heads, "ADDRESS", "KUBELET", "PID", "UNIT", "CONFIG", "OS")
	for _, h := range worstFirst(r.Hosts) {
		t.rows = append(t.rows, wideRow(h, live))
	}
	return t
}

func hasLive(hosts []Host) bool {
	for _, h := range hosts {
		if h.Live != nil {
			return true
		}
	}
	return false
}

func wideRow(h Host, live bool) row {
	cells := []string{
		statusWord(h.Status),
		orDash(clean(h.Name, maxName)),
		orDash(clean(h.Reason, maxPlace)),
		witness(h.Running),
		witness(h.Next),
	}
	if live {
		cells = append(cells, witness(h.Live))
	}
	n := h.Node
	cells = append(cells,
		orDash(clean(h.Address, maxName)),
		orDash(clean(n.KubeletVersion, maxPlace)),
		pid(n.KubeletPID),
		orDash(clean(n.Unit, maxPlace)),
		config(n),
		orDash(clean(n.OS, maxPlace)),
	)
	details := []detail{{text: clean(h.Message, maxMessage)}, changeDetail(h.Change)}
	for _, note := range h.Notes {
		details = append(details, detail{label: "note", text: clean(note, maxMessage)})
	}
	return row{cells: cells, details: append(details, detail{label: nextLabel, text: nextStep(h)})}
}

// witness tells one witness in one cell: the value and its place, or why there
// is none.
func witness(w *audit.Witness) string {
	if w == nil {
		return none
	}
	s := cleanValue(w.Value)
	if w.Source.Kind != "" {
		s += " " + placeOf(w.Source).String()
	}
	if text := clean(w.Source.Text, maxPlace); text != "" {
		s += " [" + text + "]"
	}
	if w.Problem != "" {
		s += " (" + clean(w.Problem, maxMessage) + ")"
	}
	return s
}

func pid(n int) string {
	if n == 0 {
		return none
	}
	return strconv.Itoa(n)
}

func config(n audit.Node) string {
	s := clean(n.Config, maxPlace)
	if n.ConfigDir != "" {
		s = strings.TrimSpace(s + " +" + clean(n.ConfigDir, maxPlace))
	}
	return orDash(s)
}
