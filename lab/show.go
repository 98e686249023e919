package lab

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// show is the unit as `systemctl show` prints it: properties in systemd's own
// order, empty ones included, as with -p.
func (u *unit) show(booted time.Time) string {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + "=" + value + "\n") }
	line("Type", u.typ)
	line("Restart", u.restart)
	line("RestartUSec", showSpan(u.restartAfter))
	line("MainPID", fmt.Sprint(u.mainPID))
	line("ControlPID", fmt.Sprint(u.controlPID))
	line("Result", u.result)
	line("NRestarts", fmt.Sprint(u.restarts))
	line("ExecMainStartTimestamp", stamp(u.started))
	line("ExecMainStartTimestampMonotonic", fmt.Sprint(max(0, u.started.Sub(booted).Microseconds())))
	line("ExecMainPID", fmt.Sprint(u.lastPID))
	line("ExecMainCode", fmt.Sprint(u.code))
	line("ExecMainStatus", fmt.Sprint(u.status))
	if u.execStart != "" {
		line("ExecStart", u.execLine())
	}
	line("Slice", "system.slice")
	line("ControlGroup", u.controlGroup())
	line("Environment", quotedWords(u.environment))
	for _, f := range u.envFiles {
		line("EnvironmentFiles", f)
	}
	line("WorkingDirectory", "")
	line("Id", u.name)
	line("Names", u.name)
	line("Description", u.description)
	line("LoadState", u.load)
	if u.loadError != "" {
		line("LoadError", u.loadError)
	}
	line("ActiveState", u.active)
	line("FreezerState", "running")
	line("SubState", u.sub)
	line("FragmentPath", u.fragment)
	line("DropInPaths", strings.Join(u.dropIns, " "))
	line("UnitFileState", u.fileState)
	line("ActiveEnterTimestamp", stamp(u.started))
	line("ConditionResult", yesNo(!u.skipped))
	line("NeedDaemonReload", yesNo(u.needReload))
	line("Transient", yesNo(u.transient != nil))
	line("InvocationID", u.invocation)
	return b.String()
}

// managerShow is what `systemctl show` prints of the manager itself.
func managerShow() string {
	return "Version=255 (255.4-1ubuntu8.10)\nFeatures=+PAM +AUDIT +SELINUX\nArchitecture=x86-64\nNNames=214\n" +
		"Environment=LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin\nSystemState=running\n"
}

// stamp is a time in systemd's own notation, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("Mon 2006-01-02 15:04:05 UTC")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (u *unit) controlGroup() string {
	if u.mainPID == 0 {
		return ""
	}
	return "/system.slice/" + u.name
}

func (u *unit) execLine() string {
	program, _, _ := strings.Cut(u.execStart, " ")
	return fmt.Sprintf("{ path=%s ; argv[]=%s ; ignore_errors=no ; start_time=[%s] ; stop_time=[n/a] ; pid=%d ; code=(null) ; status=0/0 }",
		program, u.execStart, stamp(u.started), u.mainPID)
}

func quotedWords(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if strings.ContainsAny(w, " \t\"'\\") {
			out[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
	}
	return strings.Join(out, " ")
}

// statusText is what `systemctl status` prints, in the shape people know.
func (u *unit) statusText() string {
	var b strings.Builder
	mark := "○"
	if u.active == "active" || u.active == "activating" {
		mark = "●"
	}
	fmt.Fprintf(&b, "%s %s - %s\n", mark, u.name, u.description)
	fmt.Fprintf(&b, "     Loaded: %s (%s; %s; preset: enabled)\n", u.load, u.fragment, u.fileState)
	if len(u.dropIns) > 0 {
		fmt.Fprintf(&b, "    Drop-In: %s\n             └─", path.Dir(u.dropIns[0]))
		for i, d := range u.dropIns {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(path.Base(d))
		}
		b.WriteString("\n")
	}
	switch {
	case u.active == "active":
		fmt.Fprintf(&b, "     Active: active (%s) since %s\n   Main PID: %d (%s)\n", u.sub, stamp(u.started), u.mainPID, strings.TrimSuffix(u.name, ".service"))
	case u.active == "activating":
		fmt.Fprintf(&b, "     Active: activating (%s) (Result: %s)\n    Process: %d (code=exited, status=%d/FAILURE)\n", u.sub, u.result, u.lastPID, u.status)
	default:
		fmt.Fprintf(&b, "     Active: %s (%s)\n", u.active, u.sub)
	}
	if len(u.journal) > 0 {
		b.WriteString("\n" + lines(u.journal[max(0, len(u.journal)-10):]))
	}
	return b.String()
}
