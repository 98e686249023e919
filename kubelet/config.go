package kubelet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	kubeletv1 "k8s.io/kubelet/config/v1"
	"k8s.io/kubelet/config/v1beta1"
)

// ConfigFile is a kubelet configuration file as the kubelet decodes it.
type ConfigFile struct {
	// Path is the file's path on the node.
	Path string
	// Warnings are what strict decoding found and lenient decoding forgave:
	// unknown and duplicate fields, one line each with the place.
	Warnings []string

	source locator
	config *v1beta1.KubeletConfiguration
	raw    map[string]any // the same content without types
}

// DecodeConfig decodes the file of --config with the kubelet's own types and
// codecs: strictly, and where only strictness objects once more leniently
// (pkg/kubelet/kubeletconfig/{configfiles,util/codec}). A file the kubelet would
// refuse gives a Fatal in its words. Decoding is not validation: the kubelet may
// still refuse a value that has the right type.
func DecodeConfig(path string, data []byte) (*ConfigFile, *Fatal) {
	if len(data) == 0 {
		return nil, configFatal(path, data, fmt.Errorf("kubelet config file %q was empty", path))
	}
	codecs := configCodecs()
	file := &ConfigFile{Path: path, source: newLocator(data)}
	obj, gvk, err := codecs.strict.UniversalDeserializer().Decode(data, nil, nil)
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		file.Warnings = configWarnings(path, file.source, strict.Errors())
		obj, gvk, err = codecs.lenient.UniversalDeserializer().Decode(data, nil, nil)
	}
	if err != nil {
		return nil, configFatal(path, data, fmt.Errorf("failed to decode: %w", err))
	}
	config, ok := obj.(*v1beta1.KubeletConfiguration)
	if !ok {
		return nil, configFatal(path, data, fmt.Errorf("failed to cast object to KubeletConfiguration, unexpected type: %v", gvk))
	}
	file.config = config
	file.raw = configRaw(data)
	return file, nil
}

// Lookup returns the value the file gives to a setting, false when it leaves the
// default: the key is absent, null, or a zero duration. Value is a bool, int64
// or string.
func (f *ConfigFile) Lookup(key string) (Layer, bool) {
	keys := strings.Split(key, ".")
	value, pointer, ok := configLookup(reflect.ValueOf(f.config), keys)
	if !ok {
		return Layer{}, false
	}
	if written, found := rawLookup(f.raw, keys); !pointer && (!found || written == nil) {
		return Layer{}, false
	}
	line, text := f.source.find(keys...)
	return Layer{Value: value, Source: Source{Kind: SourceFile, Path: f.Path, Line: line, Text: text}}, true
}

// nearMisses warns of keys that are the setting's but for upper and lower case:
// the kubelet's decoder of the main file tells them apart and ignores them.
func (f *ConfigFile) nearMisses(key string) []string {
	var warnings []string
	keys := strings.Split(key, ".")
	for _, leaf := range foldLeaves(f.raw, keys) {
		if slices.Equal(leaf.keys, keys) {
			continue
		}
		line, _ := f.source.find(leaf.keys...)
		warnings = append(warnings, oneLine(fmt.Sprintf("%s: %s has no effect: the key is spelled %s",
			place(f.Path, line), strings.Join(leaf.keys, "."), key)))
	}
	return warnings
}

// codecPair holds the two decoders of the kubelet.
type codecPair struct{ strict, lenient serializer.CodecFactory }

// configCodecs builds the codecs once; they are never changed.
var configCodecs = sync.OnceValue(func() codecPair {
	all, beta := runtime.NewScheme(), runtime.NewScheme()
	utilruntime.Must(v1beta1.AddToScheme(all))
	utilruntime.Must(kubeletv1.AddToScheme(all))
	utilruntime.Must(v1beta1.AddToScheme(beta))
	return codecPair{
		strict:  serializer.NewCodecFactory(all, serializer.EnableStrict),
		lenient: serializer.NewCodecFactory(beta, serializer.DisableStrict),
	}
})

// configRaw decodes without types; nil when that fails.
func configRaw(data []byte) map[string]any {
	into := &unstructured.Unstructured{}
	if _, _, err := configCodecs().lenient.UniversalDeserializer().Decode(data, nil, into); err != nil {
		return nil
	}
	return into.Object
}

// decodeDropIn decodes a drop-in file: without types but strictly, as
// DecodeKubeletConfigurationIntoJSON of pkg/kubelet/kubeletconfig/util/codec.
func decodeDropIn(data []byte) (map[string]any, *schema.GroupVersionKind, error) {
	into := &unstructured.Unstructured{}
	_, gvk, err := configCodecs().strict.UniversalDeserializer().Decode(data, nil, into)
	return into.Object, gvk, err
}

// configLookup walks a typed configuration along JSON names. It reports whether
// a pointer on the way tells absent from zero, and false when the value is
// absent or none that a setting can have.
func configLookup(v reflect.Value, keys []string) (value any, pointer, ok bool) {
	for _, key := range keys {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return nil, false, false
			}
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return nil, false, false
		}
		i := fieldIndex(v.Type(), key)
		if i < 0 {
			return nil, false, false
		}
		v = v.Field(i)
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, true, false
		}
		pointer, v = true, v.Elem()
	}
	value, ok = settingValue(v)
	return value, pointer, ok
}

// settingValue turns a field into the bool, int64 or string of a setting. A zero
// duration counts as absent: SetDefaults_KubeletConfiguration replaces it.
func settingValue(v reflect.Value) (any, bool) {
	if d, ok := v.Interface().(metav1.Duration); ok {
		return d.Duration.String(), d.Duration != 0
	}
	switch {
	case v.Kind() == reflect.Bool:
		return v.Bool(), true
	case v.CanInt():
		return v.Int(), true
	case v.Kind() == reflect.String:
		return v.String(), true
	}
	return nil, false
}

// fieldIndex finds the field of a struct by its exact JSON name, -1 for none.
func fieldIndex(t reflect.Type, key string) int {
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name == key && name != "" {
			return i
		}
	}
	return -1
}

// rawLookup walks untyped content along exact keys.
func rawLookup(m map[string]any, keys []string) (any, bool) {
	for _, key := range keys[:len(keys)-1] {
		next, ok := m[key].(map[string]any)
		if !ok {
			return nil, false
		}
		m = next
	}
	v, ok := m[keys[len(keys)-1]]
	return v, ok
}

// configFatal is the refusal of the file of --config.
func configFatal(path string, data []byte, err error) *Fatal {
	return &Fatal{
		Message: oneLine(fmt.Sprintf("failed to load kubelet config file, path: %s, error: %s", path, decodeMessage(err))),
		Source:  faultSource(SourceFile, path, data, err),
	}
}

// decodeMessage is the text of a decoding error without the file's content, which
// apimachinery quotes in full when the kind or version is missing.
func decodeMessage(err error) string {
	message := err.Error()
	for e := err; e != nil; e = errors.Unwrap(e) {
		if runtime.IsMissingKind(e) || runtime.IsMissingVersion(e) {
			message, _, _ = strings.Cut(message, " in '")
		}
	}
	message, _, _ = strings.Cut(message, " in scheme ") // names a file of the kubelet's build
	return message
}

var (
	yamlErrorLine  = regexp.MustCompile(`\bline (\d+):`)
	typeErrorField = regexp.MustCompile(`into Go struct field ([^ ]+) of type`)
)

// faultSource finds the line a decoding error is about, as far as the error
// tells: by its YAML line, the field's name, or the offset of a JSON syntax error.
func faultSource(kind SourceKind, path string, data []byte, err error) Source {
	src := Source{Kind: kind, Path: path}
	if err == nil {
		return src
	}
	if m := typeErrorField.FindStringSubmatch(err.Error()); m != nil {
		// The first element is the name of a Go type.
		if _, field, ok := strings.Cut(m[1], "."); ok {
			src.Line, src.Text = newLocator(data).find(strings.Split(field, ".")...)
		}
		return src
	}
	if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil {
		src.Line = lineNumber(m[1], data)
		return src
	}
	var syntax *json.SyntaxError
	if jsonErr := json.Unmarshal(data, new(any)); isJSON(data) && errors.As(jsonErr, &syntax) {
		src.Line = 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte{'\n'})
	}
	return src
}

// maxWarnings bounds how many warnings one file can cause.
const maxWarnings = 20

// configWarnings words the errors of strict decoding, each with its place.
func configWarnings(path string, source locator, errs []error) []string {
	var warnings []string
	for _, err := range errs {
		for text := range strings.SplitSeq(err.Error(), "\n") {
			text = strings.TrimSpace(text)
			if text == "" || strings.HasSuffix(text, "unmarshal errors:") {
				continue
			}
			if len(warnings) == maxWarnings {
				return append(warnings, oneLine(path+": more of the kind"))
			}
			warnings = append(warnings, oneLine(configWarning(path, source, text)))
		}
	}
	return warnings
}

var (
	unknownField   = regexp.MustCompile(`^unknown field "(.+)"$`)
	duplicateField = regexp.MustCompile(`^duplicate field "(.+)"$`)
	duplicateKey   = regexp.MustCompile(`^line (\d+): key "(.+)" already set in map$`)
)

func configWarning(path string, source locator, text string) string {
	if m := unknownField.FindStringSubmatch(text); m != nil {
		line, _ := source.find(strings.Split(m[1], ".")...)
		return fmt.Sprintf("%s: %s: the kubelet ignores it (lenient decoding)", place(path, line), text)
	}
	if m := duplicateField.FindStringSubmatch(text); m != nil {
		line, _ := source.find(strings.Split(m[1], ".")...)
		return fmt.Sprintf("%s: %s: the last one counts (lenient decoding)", place(path, line), text)
	}
	if m := duplicateKey.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s: duplicate field %q: the last one counts (lenient decoding)", place(path, lineNumber(m[1], source.data)), m[2])
	}
	return fmt.Sprintf("%s: %s (lenient decoding)", path, text)
}

// place is path:line, or the path alone when the line is not known.
func place(path string, line int) string {
	if line == 0 {
		return path
	}
	return fmt.Sprintf("%s:%d", path, line)
}
