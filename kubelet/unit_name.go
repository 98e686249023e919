package kubelet

import (
	"slices"
	"strings"
)

// unitFullName adds the suffix systemctl adds.
func unitFullName(name string) string {
	if strings.HasSuffix(name, unitSuffix) {
		return name
	}
	return name + unitSuffix
}

// unitNameValid is unit_name_is_valid() of systemd's src/basic/unit-name.c for
// services.
func unitNameValid(name string) bool {
	stem, service := strings.CutSuffix(name, unitSuffix)
	if !service || stem == "" || len(name) >= 256 || stem[0] == '@' {
		return false
	}
	return !strings.ContainsFunc(stem, func(r rune) bool {
		alnum := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !alnum && !strings.ContainsRune(":-_.\\@", r)
	})
}

// unitPrefix is the name up to the instance or the suffix.
func unitPrefix(name string) string {
	if prefix, _, at := strings.Cut(name, "@"); at {
		return prefix
	}
	return strings.TrimSuffix(name, unitSuffix)
}

// unitInstance is what stands between @ and the suffix.
func unitInstance(name string) string {
	_, instance, _ := strings.Cut(strings.TrimSuffix(name, unitSuffix), "@")
	return instance
}

func unitIsInstance(name string) bool { return unitInstance(name) != "" }

// unitInstantiate puts an instance into the name of a template.
func unitInstantiate(name, instance string) string {
	if instance == "" || !strings.Contains(name, "@") || unitIsInstance(name) {
		return name
	}
	return unitPrefix(name) + "@" + instance + unitSuffix
}

// unitNames are the file names that may hold the unit: its own, then its
// template's.
func unitNames(name string) []string {
	if unitIsInstance(name) {
		return []string{name, unitPrefix(name) + "@" + unitSuffix}
	}
	return []string{name}
}

// unitDropInDirs lists the drop-in directories of a unit with these names,
// strongest first: for each name, directory by directory of the search path
// the name's own and then those of its dashed prefixes, and after all of that
// the ones for every service (src/shared/dropin.c, systemd.unit(5)).
func unitDropInDirs(names ...string) []string {
	var dirs []string
	add := func(dir string) {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, name := range names {
		for _, dir := range unitSearchPath() {
			for _, n := range unitDropInNames(name) {
				add(dir + "/" + n + ".d")
			}
		}
	}
	for _, dir := range unitSearchPath() {
		add(dir + "/" + strings.TrimPrefix(unitSuffix, ".") + ".d")
	}
	return dirs
}

// unitDropInNames lists a name, its template and its dashed prefixes:
// foo-bar.service, foo-.service.
func unitDropInNames(name string) []string {
	names := []string{name}
	if unitIsInstance(name) {
		names = append(names, unitDropInNames(unitPrefix(name)+"@"+unitSuffix)...)
	}
	prefix, ok := unitDashPrefix(unitPrefix(name))
	if !ok {
		return names
	}
	if _, _, at := strings.Cut(name, "@"); at && unitIsInstance(name) {
		prefix += "@" + unitInstance(name)
	}
	return append(names, unitDropInNames(prefix+unitSuffix)...)
}

// unitDashPrefix cuts a prefix behind its last dash that is not its last
// character.
func unitDashPrefix(prefix string) (string, bool) {
	prefix = strings.TrimSuffix(prefix, "-")
	dash := strings.LastIndexByte(prefix, '-')
	if dash <= 0 {
		return "", false
	}
	return prefix[:dash+1], true
}
