package kubelet

import (
	"bytes"
	"slices"
	"strings"
)

// set applies one assignment. A failure is what systemd calls a fatal error of
// the setting: it ends the reading of the file it stands in.
func (u *Unit) set(s unitSetting) (failure string) {
	switch s.section {
	case "Unit":
		u.setUnit(s)
		return ""
	case "Service":
		if strings.HasPrefix(s.key, "Exec") {
			return u.setExec(s)
		}
		return u.setService(s)
	}
	return ""
}

func (u *Unit) setUnit(s unitSetting) {
	switch {
	case s.key == "SuccessAction":
		u.success = len(s.value.b) > 0 && s.value.String() != "none"
	case strings.HasPrefix(s.key, "Condition"):
		u.Conditions = unitSetCondition(u.Conditions, s)
	case strings.HasPrefix(s.key, "Assert"):
		u.Asserts = unitSetCondition(u.Asserts, s)
	}
}

// unitSetCondition adds a condition. An empty one of any name drops all of its
// kind.
func unitSetCondition(list []Condition, s unitSetting) []Condition {
	if len(s.value.b) == 0 {
		return nil
	}
	return append(list, Condition{s.key, s.value.String(), s.value.source()})
}

// setExec takes ExecStart= and its kin. The others matter because a broken one
// keeps the unit from loading too.
func (u *Unit) setExec(s unitSetting) (failure string) {
	switch s.key {
	case "ExecStart":
		u.execAt = s.value.source()
		u.exec, failure = u.execAppend(u.exec, s)
	case "ExecStop":
		u.execStop, failure = u.execAppend(u.execStop, s)
	case "ExecCondition", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStopPost":
		_, failure = u.execAppend(nil, s)
	}
	return failure
}

func (u *Unit) setService(s unitSetting) (failure string) {
	value := s.value.String()
	switch s.key {
	case "Type":
		unitSetEnum(u, s, &u.Type, "simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle")
	case "Restart":
		unitSetEnum(u, s, &u.restart, "no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always")
	case "BusName":
		u.busName = value != ""
	case "RemainAfterExit":
		u.remain = unitTrue(value, u.remain)
	case "Environment":
		u.setEnvironment(s)
	case "EnvironmentFile":
		u.setEnvironmentFile(s)
	case "PassEnvironment":
		u.passEnv = u.setNames(u.passEnv, s, 0)
	case "UnsetEnvironment":
		u.unsetEnv = u.setNames(u.unsetEnv, s, unitCUnescape)
	case "WorkingDirectory":
		return u.setWorkingDirectory(s)
	case "RootDirectory", "RootImage":
		return u.setRoot(s)
	case "User":
		return u.setUser(s)
	}
	return ""
}

// unitSetEnum takes one of the allowed words; systemd ignores any other.
func unitSetEnum(u *Unit, s unitSetting, to *string, allowed ...string) {
	if v := s.value.String(); slices.Contains(allowed, v) {
		*to = v
	} else {
		u.warnAt(s.value.source(), "Failed to parse "+s.key+"=, ignoring: "+unitShow(v))
	}
}

// unitTrue is parse_boolean() of systemd; what is no boolean changes nothing.
func unitTrue(s string, before bool) bool {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true
	case "0", "no", "n", "false", "f", "off":
		return false
	}
	return before
}

// setEnvironment takes the words of Environment=. A word that cannot be
// unquoted ends the line, what stands before it counts; an assignment that is
// not valid is left out (src/core/load-fragment.c, config_parse_environ).
// Values stay out of the warnings: they may be secrets.
func (u *Unit) setEnvironment(s unitSetting) {
	if len(s.value.b) == 0 {
		u.env = nil
		return
	}
	for pos := 0; pos >= 0; {
		word, next, found, valid := unitWord(s.value, pos, unitCUnescape)
		if !valid {
			u.warnAt(s.value.source(), "Invalid syntax in Environment=, ignoring the rest of it")
		}
		if !found {
			return
		}
		pos = next
		resolved, failure := u.unitSpecifiers(word, unitEnvMax)
		switch {
		case failure != "":
			u.warnAt(word.source(), "Failed to resolve specifiers in Environment=, ignoring "+envShowName(word)+": "+failure)
		case !envAssignmentValid(resolved.b):
			u.warnAt(word.source(), "Invalid environment assignment, ignoring: "+envShowName(resolved))
		default:
			u.env = append(u.env, resolved)
		}
	}
}

// setEnvironmentFile takes a path as it stands: no unquoting and no list. One
// that is not absolute is ignored with a warning, even a mandatory one
// (config_parse_unit_env_file).
func (u *Unit) setEnvironmentFile(s unitSetting) {
	if len(s.value.b) == 0 {
		u.envFiles = nil
		return
	}
	src := s.value.source()
	resolved, failure := u.unitSpecifiers(s.value, unitPathMax)
	if failure != "" {
		u.warnAt(src, "Failed to resolve unit specifiers in EnvironmentFile=, ignoring: "+failure)
		return
	}
	p, optional := strings.CutPrefix(resolved.String(), "-")
	p, failure = unitAbsolutePath(s.key, p)
	if failure != "" {
		u.warnAt(src, failure+", ignoring")
		return
	}
	u.envFiles = append(u.envFiles, envFileRef{path: p, optional: optional, source: src})
}

// setNames takes the words of PassEnvironment= or UnsetEnvironment=.
func (u *Unit) setNames(names []string, s unitSetting, flags unitWordFlags) []string {
	if len(s.value.b) == 0 {
		return nil
	}
	for pos := 0; pos >= 0; {
		word, next, found, valid := unitWord(s.value, pos, flags)
		if !valid {
			u.warnAt(s.value.source(), "Trailing garbage in "+s.key+"=, ignoring")
		}
		if !found {
			break
		}
		pos = next
		resolved, failure := u.unitSpecifiers(word, unitEnvMax)
		ok := envNameValid(resolved.b) || flags&unitCUnescape != 0 && envAssignmentValid(resolved.b)
		if failure != "" || !ok {
			u.warnAt(word.source(), "Invalid environment name in "+s.key+"=, ignoring: "+envShowName(word))
			continue
		}
		names = append(names, resolved.String())
	}
	return names
}

func (u *Unit) setWorkingDirectory(s unitSetting) (failure string) {
	u.cwdAt = s.value.source()
	v, maybe := strings.CutPrefix(s.value.String(), "-")
	switch {
	case len(s.value.b) == 0:
		u.WorkingDirectory = ""
		return ""
	case v == "~":
		u.WorkingDirectory, u.cwdMaybe = v, maybe
		return ""
	}
	text := s.value.slice(len(s.value.b)-len(v), len(s.value.b))
	resolved, failure := u.unitSpecifiers(text, unitPathMax)
	if failure != "" {
		failure = "Failed to resolve unit specifiers in working directory path: " + failure
	} else if v, failure = unitAbsolutePath(s.key, resolved.String()); failure == "" {
		u.WorkingDirectory, u.cwdMaybe = v, maybe
	}
	if failure != "" && maybe {
		u.warnAt(u.cwdAt, failure+", ignoring")
		return ""
	}
	return failure
}

func (u *Unit) setRoot(s unitSetting) (failure string) {
	if len(s.value.b) == 0 {
		u.RootDirectory = ""
		return ""
	}
	resolved, failure := u.unitSpecifiers(s.value, unitPathMax)
	if failure != "" {
		u.warnAt(s.value.source(), "Failed to resolve unit specifiers in "+s.key+"=, ignoring: "+failure)
		return ""
	}
	p, failure := unitAbsolutePath(s.key, resolved.String())
	if failure == "" {
		u.RootDirectory, u.rootAt = p, s.value.source()
	}
	return failure
}

func (u *Unit) setUser(s unitSetting) (failure string) {
	resolved, failure := u.unitSpecifiers(s.value, unitLineMax)
	if failure != "" {
		return "Failed to resolve unit specifiers in User=: " + failure
	}
	if len(s.value.b) > 0 && !unitUserValid(resolved.b) {
		return "Invalid user/group name or numeric ID: " + unitShow(resolved.String())
	}
	u.User = resolved.String()
	return ""
}

// unitUserValid is the relaxed valid_user_group_name() of systemd's
// src/basic/user-util.c, less the range of numbers.
func unitUserValid(b []byte) bool {
	s := string(b)
	switch {
	case s == "" || s == "." || s == ".." || !unitUTF8(b) || strings.TrimSpace(s) != s:
		return false
	case bytes.ContainsAny(b, ":/"):
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// settleType finds the type of a service that does not say it
// (src/core/service.c, service_add_extras).
func (u *Unit) settleType() {
	switch {
	case u.Type != "":
	case u.busName:
		u.Type = "dbus"
	case len(u.exec) > 0:
		u.Type = "simple"
	default:
		u.Type = "oneshot"
	}
}

// verify refuses what service_verify() of systemd's src/core/service.c refuses.
func (u *Unit) verify() *Fatal {
	oneshot := u.Type == "oneshot"
	at := u.execAt
	if at.Path == "" {
		at = Source{Kind: SourceFlag, Path: u.Fragment}
	}
	message := ""
	switch {
	case len(u.exec) == 0 && len(u.execStop) == 0 && !u.success:
		message = "Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing."
	case len(u.exec) == 0 && !oneshot:
		message = "Service has no ExecStart= setting, which is only allowed for Type=oneshot services. Refusing."
	case len(u.exec) == 0 && !u.remain && !u.success:
		message = "Service has no ExecStart= and no SuccessAction= settings and does not have RemainAfterExit=yes set. Refusing."
	case len(u.exec) > 1 && !oneshot:
		at = u.exec[1].source
		message = "Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing."
	case oneshot && (u.restart == "always" || u.restart == "on-success"):
		message = "Service has Restart= set to either always or on-success, which isn't allowed for Type=oneshot services. Refusing."
	case u.Type == "dbus" && !u.busName:
		message = "Service is of type D-Bus but no D-Bus service name has been specified. Refusing."
	default:
		return nil
	}
	return &Fatal{Message: message, Source: at}
}
