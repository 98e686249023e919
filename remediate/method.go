package remediate

import (
	"fmt"
	"slices"
	"strings"
)

// Method is a way to make the control true, one of the benchmark's three or
// auto.
type Method string

// The methods. MethodAuto changes the layer that decides the value now.
const (
	MethodFile    Method = "file"    // the configuration file the kubelet was started with
	MethodArgs    Method = "args"    // the executable arguments in the unit's files
	MethodConfigz Method = "configz" // the live configuration, through the API server
	MethodAuto    Method = "auto"
)

// Methods lists what ParseMethods takes.
func Methods() []string {
	return []string{string(MethodFile), string(MethodArgs), string(MethodConfigz), string(MethodAuto)}
}

// ParseMethods reads a list such as "file,args": the first that works on a
// host is used there.
func ParseMethods(text string) ([]Method, error) {
	var methods []Method
	for word := range strings.SplitSeq(text, ",") {
		m := Method(strings.TrimSpace(word))
		switch {
		case !slices.Contains(Methods(), string(m)):
			return nil, fmt.Errorf("method %q: want %s", m, strings.Join(Methods(), ", "))
		case slices.Contains(methods, m):
			return nil, fmt.Errorf("method %q is named twice", m)
		}
		methods = append(methods, m)
	}
	return methods, nil
}
