package inventory

import (
	"maps"
	"slices"
	"strings"
)

// The keys of a layer, and of Host.Origins. A label is labelPrefix and its
// key.
const (
	keyAddress  = "address"
	keyPort     = "port"
	keyUser     = "user"
	keyIdentity = "identity"
	keyJump     = "jump"
	keyBecome   = "become"
	keyLabels   = "labels"
	labelPrefix = "labels."
)

// setting is one value as an inventory sets it, checked already.
type setting struct {
	text string
	list []string // of an identity
	line int
}

func (s setting) equal(t setting) bool {
	return s.text == t.text && slices.Equal(s.list, t.list)
}

// layer is what one place of an inventory sets: the defaults, a group, a host.
type layer map[string]setting

// over returns the settings of l, and below them those of base.
func (l layer) over(base layer) layer {
	out := maps.Clone(base)
	if out == nil {
		out = layer{}
	}
	maps.Copy(out, l)
	return out
}

// host makes a host of the merged settings of its layers.
func (l layer) host(name string, at Position) Host {
	h := Host{Name: name, Address: name, Position: at}
	for key, s := range l {
		if origin := (Position{at.File, s.line}); origin != at {
			if h.Origins == nil {
				h.Origins = make(map[string]Position, len(l))
			}
			h.Origins[key] = origin
		}
		l.set(&h, key, s)
	}
	return h
}

func (l layer) set(h *Host, key string, s setting) {
	switch key {
	case keyAddress:
		h.Address = s.text
	case keyPort:
		h.Port, _ = parsePort(s.text)
	case keyUser:
		h.User = s.text
	case keyIdentity:
		h.Identity = slices.Clone(s.list)
	case keyJump:
		h.Jump = s.text
	case keyBecome:
		h.Become = Become(s.text)
	default:
		if h.Labels == nil {
			h.Labels = map[string]string{}
		}
		h.Labels[strings.TrimPrefix(key, labelPrefix)] = s.text
	}
}
