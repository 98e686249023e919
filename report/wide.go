package report

import (
	"strconv"
	"strings"

	"fleet/audit"
)

// wideSheet has every witness and what the host said of itself.
func wideSheet(r Report, o TextOptions) sheet {
	live := hasLive(r.Hosts)
	t := newSheet(r, o, "REASON", "RUNNING", "NEXT START")
	t.wide = true
	if live {
		t.heads = append(t.heads, "LIVE")
	}
	t.heads = append(t.heads, "ADDRESS", "KUBELET", "PID", "UNIT", "CONFIG", "OS")
	for _, h := range worstFirst(r) {
		t.rows = append(t.rows, wideRow(h, live, r.changes()))
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

func wideRow(h Host, live, changes bool) row {
	cells := append(firstCells(h, clean(h.Name, maxName), changes),
		orDash(clean(h.Reason, maxPlace)),
		witness(h.Running),
		witness(h.Next),
	)
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
	details := []detail{{text: clean(h.Message, maxMessage)}, {label: changeLabel, text: clean(fullChangeText(h), maxMessage)}}
	for _, note := range h.Notes {
		details = append(details, detail{label: "note", text: clean(note, maxMessage)})
	}
	r := row{cells: cells, details: append(details, detail{label: nextLabel, text: nextStep(h)})}
	if h.Change != nil {
		r.block = diffBlock(h.Change.Diff)
	}
	return r
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
