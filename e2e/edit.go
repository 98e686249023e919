package e2e

import (
	"errors"
	"fmt"

	"fleet/kubelet"
	"fleet/lab/real"
	"fleet/lab/real/judge"
)

// EditArgs sets the flag of the first of Settings to true in the files of a
// layout. The layout comes back as it was when there is nothing to do.
func EditArgs(l judge.Layout) (judge.Layout, error) {
	d := newDisk(l)
	if _, open := d.launch(l.Unit); open != "" {
		return l, errors.New(open)
	}
	m := manager
	m.Kubelet = real.KubernetesVersion
	for {
		edits, err := m.EditArgs(l.Unit, d.known, Settings()[0], true, nil)
		var refused *kubelet.EditError
		if errors.As(err, &refused) && refused.Code() == kubelet.EditNeed {
			if open := d.fetch(refused.Need()); open != "" {
				return l, errors.New(open)
			}
			continue
		}
		if err != nil {
			return l, err
		}
		return d.apply(l, edits)
	}
}

// EditConfig sets the key of the first of Settings to true in the file that
// decides its value, or that keeps the kubelet from starting.
func EditConfig(l judge.Layout) (judge.Layout, error) {
	d := newDisk(l)
	launch, open := d.launch(l.Unit)
	if open != "" || launch.Fatal != nil {
		return l, fmt.Errorf("no start: %s", open)
	}
	s := Settings()[0]
	launch.Start.Version = real.KubernetesVersion
	r, open := d.resolve(s, launch.Start)
	if open != "" {
		return l, errors.New(open)
	}
	at := r.Source
	switch {
	case r.Fatal != nil:
		at = r.Fatal.Source
	case at.Kind == kubelet.SourceDefault && r.Config != "":
		at = kubelet.Source{Kind: kubelet.SourceFile, Path: r.Config}
	}
	edit := kubelet.EditConfig
	switch at.Kind {
	case kubelet.SourceFile:
	case kubelet.SourceDropIn:
		edit = kubelet.EditDropIn
	default:
		return l, fmt.Errorf("no file decides but the %s", at.Kind)
	}
	old := d.known.Files[at.Path].Data
	now, err := edit(at.Path, old, s.Key, true)
	if err != nil {
		return l, err
	}
	return d.apply(l, []kubelet.FileEdit{{Path: at.Path, Old: old, New: now}})
}

// apply puts edits into a layout.
func (d *disk) apply(l judge.Layout, edits []kubelet.FileEdit) (judge.Layout, error) {
	l = l.Clone()
	for _, e := range edits {
		there, ok := d.find(e.Path, 0)
		if !ok || string(there.Bytes()) != string(e.Old) {
			return l, fmt.Errorf("%s is not what was edited", e.Path)
		}
		found := false
		for i, f := range l.Files {
			if f.Path == there.Path {
				changed := newFile(f.Path, string(e.New))
				changed.Mode = f.Mode
				l.Files[i], found = changed, true
			}
		}
		if !found {
			return l, fmt.Errorf("%s is no file of the layout", e.Path)
		}
	}
	return l, nil
}
