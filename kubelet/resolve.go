package kubelet

import (
	"fmt"
	"slices"
)

// dropInGate is the environment variable that kubelets 1.28 and 1.29 demand for
// --config-dir; its value does not matter (KEP-3983).
const dropInGate = "KUBELET_CONFIG_DROPIN_DIR_ALPHA"

// Resolve finds the value that a setting has at one start of a kubelet, and
// where it comes from: command line over --config-dir over --config over
// default (NewKubeletCommand in cmd/kubelet/app/server.go). Of several reasons
// not to start it gives the first that the kubelet would meet: flags, then the
// file, then the directory.
//
// It judges flags and decoding. What the kubelet validates after that (values
// out of range, unknown feature gates, files that other settings name) is not
// looked at.
func Resolve(s Setting, st Start, d Disk) Resolution {
	args := ParseArgs(s, st)
	r := resolver{setting: s, start: st, disk: d, release: releaseOf(st.Version), args: args}
	r.out.Warnings = args.Warnings
	r.out.Config, r.out.ConfigDir = argvAbs(args.Config, st.Cwd), argvAbsDir(args.ConfigDir, st.Cwd)
	if args.Fatal != nil {
		r.out.Fatal = args.Fatal
		return r.out
	}
	if !r.absolute(args.Config, args.ConfigSource) || !r.absolute(args.ConfigDir, args.ConfigDirSource) {
		return r.out
	}
	layers := r.layers()
	if r.out.Fatal != nil || r.out.Blocked != nil || len(r.out.Need) > 0 {
		return r.out
	}
	r.decide(layers)
	return r.out
}

// resolver is the work on one Resolution.
type resolver struct {
	setting Setting
	start   Start
	disk    Disk
	release int
	args    ParsedArgs
	out     Resolution
}

// absolute blocks on a path that is relative to an unknown working directory.
func (r *resolver) absolute(name string, src Source) bool {
	if name == "" || name[0] == '/' || r.start.Cwd != "" {
		return true
	}
	r.out.Blocked = &Fatal{
		Message: oneLine(fmt.Sprintf("cannot find %s: it is relative and the kubelet's working directory is not known", name)),
		Source:  src,
	}
	return false
}

// layers reads the command line and the files in the kubelet's own order and
// returns every explicit setting of the value, strongest first. It stops at the
// first reason not to go on.
func (r *resolver) layers() []Layer {
	if r.out.Config == "" && r.out.ConfigDir == "" {
		return flagLayers(r.args.Occurrences)
	}
	base := r.base()
	if r.stopped() {
		return nil
	}
	files := r.dropIns(base)
	if r.stopped() || len(r.out.Need) > 0 {
		return nil
	}
	again := parseArgsAgain(r.setting, r.start)
	if again.Fatal != nil {
		r.out.Fatal = again.Fatal
		return nil
	}
	layers := flagLayers(again.Occurrences)
	for _, l := range files {
		if !slices.Contains(layers, l) { // the base under drop-ins may be a flag
			layers = append(layers, l)
		}
	}
	return layers
}

func (r *resolver) stopped() bool { return r.out.Fatal != nil || r.out.Blocked != nil }

// flagLayers turns the settings of a command line round: the last is strongest.
func flagLayers(occurrences []Occurrence) []Layer {
	var layers []Layer
	for _, o := range slices.Backward(occurrences) {
		layers = append(layers, Layer(o))
	}
	return layers
}

// base loads the file of --config.
func (r *resolver) base() mergeBase {
	if r.out.Config == "" {
		if n := len(r.args.Occurrences); n > 0 {
			return mergeBase{flag: (*Layer)(&r.args.Occurrences[n-1])}
		}
		return mergeBase{}
	}
	data, ok := r.read(r.out.Config, SourceFile, func(cause string) string {
		return fmt.Sprintf("failed to load kubelet config file, path: %s, error: failed to read kubelet config file %q, error: %s", r.args.Config, r.out.Config, cause)
	})
	if !ok {
		return mergeBase{}
	}
	file, fatal := DecodeConfig(r.out.Config, data)
	if fatal != nil {
		r.out.Fatal = fatal
		return mergeBase{}
	}
	r.loaded(file)
	return mergeBase{file: file}
}

// loaded notes a file that was read and what is odd about it.
func (r *resolver) loaded(file *ConfigFile) {
	r.out.ConfigFiles = append(r.out.ConfigFiles, file.Path)
	r.warn(file.Warnings...)
	r.warn(file.nearMisses(r.setting.Key)...)
}

func (r *resolver) warn(warnings ...string) {
	for _, w := range warnings {
		if !slices.Contains(r.out.Warnings, w) {
			r.out.Warnings = append(r.out.Warnings, w)
		}
	}
}

// dropIns loads and merges --config-dir over the base and returns the settings
// of the value in files, strongest first.
func (r *resolver) dropIns(base mergeBase) []Layer {
	if r.out.ConfigDir == "" {
		if layer, ok := base.layer(r.setting); ok && base.file != nil {
			return []Layer{layer}
		}
		return nil
	}
	files, ok := r.dropInFiles()
	if !ok {
		return nil
	}
	if r.release == 28 {
		return r.mergeTyped(base, files)
	}
	var dropIns []dropIn
	for _, file := range files {
		data, ok := r.readDropIn(file)
		if !ok && r.stopped() {
			return nil
		}
		if !ok {
			continue
		}
		d, fatal := newDropIn(r.args.ConfigDir, file, data, r.release)
		if fatal != nil {
			return r.refuse(fatal)
		}
		dropIns = append(dropIns, d)
		r.out.ConfigFiles = append(r.out.ConfigFiles, file)
		r.warn(d.warnings(r.setting.Key)...)
	}
	if len(r.out.Need) > 0 {
		return nil
	}
	if r.release == 0 {
		r.warn("the kubelet's version is not known: --config-dir is merged as since 1.32")
	}
	layers, fatal := mergeDropIns(r.setting, base, dropIns, r.release)
	if fatal != nil {
		return r.refuse(fatal)
	}
	return layers
}

// refuse notes a reason not to start, unless a file that has yet to be looked at
// comes first and might hold another.
func (r *resolver) refuse(fatal *Fatal) []Layer {
	if len(r.out.Need) == 0 {
		r.out.Fatal = fatal
	}
	return nil
}

// mergeTyped loads and merges drop-ins as kubelet 1.28 did.
func (r *resolver) mergeTyped(base mergeBase, files []string) []Layer {
	var dropIns []*ConfigFile
	for _, path := range files {
		data, ok := r.readDropIn(path)
		if !ok && r.stopped() {
			return nil
		}
		if !ok {
			continue
		}
		file, fatal := DecodeConfig(path, data)
		if fatal != nil {
			fatal.Message = oneLine(fmt.Sprintf(dropInWalkError, r.args.ConfigDir, fatal.Message))
			fatal.Source.Kind = SourceDropIn
			return r.refuse(fatal)
		}
		dropIns = append(dropIns, file)
		r.loaded(file)
	}
	if len(files) > 0 {
		r.warn("kubelet 1.28 lets every drop-in override the base with its defaults, and cannot set false by one; repaired in 1.29")
	}
	return mergeTyped(r.setting, base, dropIns)
}

// dropInFiles lists the files of --config-dir, false when it cannot.
func (r *resolver) dropInFiles() ([]string, bool) {
	if _, on := r.start.Env[dropInGate]; !on && (r.release == 28 || r.release == 29) {
		r.refuse(&Fatal{
			Message: "flag config-dir specified but environment variable " + dropInGate + " not set, cannot start kubelet",
			Source:  r.args.ConfigDirSource,
		})
		return nil, false
	}
	dir, ok := r.disk.Dirs[r.out.ConfigDir]
	if !ok {
		r.need(r.out.ConfigDir)
		return nil, false
	}
	src := Source{Kind: SourceDropIn, Path: r.out.ConfigDir}
	switch dir.State {
	case StatePresent, StateNotRegular:
		return DropInFiles(dir), true
	case StateMissing:
		cause := fmt.Sprintf("lstat %s: no such file or directory", r.args.ConfigDir)
		r.refuse(&Fatal{Message: oneLine(fmt.Sprintf(dropInWalkError, r.args.ConfigDir, cause)), Source: src})
	default:
		r.block(src, dir.State)
	}
	return nil, false
}

func (r *resolver) readDropIn(file string) ([]byte, bool) {
	return r.read(file, SourceDropIn, func(cause string) string {
		return fmt.Sprintf(dropInWalkError, r.args.ConfigDir, fmt.Sprintf(
			"failed to load kubelet dropin file, path: %s, error: failed to read drop-in kubelet config file %q, error: %s", file, file, cause))
	})
}

// read returns the content of a path. A missing one is refused with the words
// of refusal, a directory likewise; one that was not looked at is needed; any
// other state blocks.
func (r *resolver) read(path string, kind SourceKind, refusal func(cause string) string) ([]byte, bool) {
	file, ok := r.disk.Files[path]
	src := Source{Kind: kind, Path: path}
	switch {
	case !ok:
		r.need(path)
	case file.State == StatePresent:
		return file.Data, true
	case file.State == StateMissing:
		cause := fmt.Sprintf("open %s: no such file or directory", path)
		r.refuse(&Fatal{Message: oneLine(refusal(cause)), Source: src})
	case file.State == StateDirectory:
		r.refuse(&Fatal{Message: oneLine(refusal(fmt.Sprintf("read %s: is a directory", path))), Source: src})
	default:
		r.block(src, file.State)
	}
	return nil, false
}

func (r *resolver) need(path string) { r.out.Need = append(r.out.Need, path) }

// block notes a path that exists and whose content is not known.
func (r *resolver) block(src Source, state FileState) {
	why := map[FileState]string{
		StateUnreadable: "permission refused or I/O error",
		StateNotRegular: "it is not a regular file",
		StateTooLarge:   "it is too large to fetch",
	}[state]
	if len(r.out.Need) == 0 {
		r.out.Blocked = &Fatal{Message: oneLine(fmt.Sprintf("cannot read %s: %s", src.Path, why)), Source: src}
	}
}

// decide sets value, source and what is masked.
func (r *resolver) decide(layers []Layer) {
	if len(layers) == 0 {
		layers = []Layer{defaultLayer(r.setting)}
	}
	r.out.Value, r.out.Source = layers[0].Value, layers[0].Source
	for _, l := range layers[1:] {
		if l.Source.Kind != SourceDefault {
			r.out.Masked = append(r.out.Masked, l)
		}
	}
}
