// Package fleet_test holds the rules of the repository as tests.
package fleet_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers is the order of the packages, top to bottom. A package may import
// only packages below it, and of those only the ones its rule allows.
var layers = []struct {
	pkg     string
	imports []string // what it may import of this module
	refuses []string // what it must not import of others, as prefixes
	why     string
}{
	{"cmd/fleet", []string{"report", "remediate", "audit", "configz", "configz/dynamic", "runner", "remote", "inventory", "lab"}, nil,
		"it wires; verdicts are made below it"},
	{"report", []string{"audit", "inventory", "kubelet"}, []string{"golang.org/x/crypto", "net"},
		"it must not know how a verdict came about"},
	{"remediate", []string{"audit", "frame", "kubelet"}, []string{"golang.org/x/crypto", "net"}, "it must not know SSH"},
	{"audit", []string{"frame", "kubelet"}, []string{"golang.org/x/crypto", "net", "os/exec"}, "it must not know SSH or many hosts"},
	{"configz", []string{"kubelet"}, []string{"golang.org/x/crypto"}, "it must not know SSH"},
	{"configz/dynamic", []string{"kubelet"}, []string{"golang.org/x/crypto"}, "it must not know SSH"},
	{"runner", []string{"inventory"}, []string{"golang.org/x/crypto", "k8s.io", "net"}, "it must not know what is done on a host"},
	{"remote", []string{"inventory"}, []string{"k8s.io"}, "it must not know the kubelet"},
	{"inventory", nil, []string{"golang.org/x/crypto", "k8s.io", "net/http", "os/exec"}, "it must not know the network"},
	{"frame", nil, []string{"os", "net", "golang.org/x/crypto", "k8s.io"}, "it must not know what the sections mean"},
	{"kubelet", nil, []string{"os", "io", "net/http", "syscall", "golang.org/x/crypto"}, "it is pure: bytes in, values out (of net only the reading of addresses)"},
	{"lab", []string{"inventory", "kubelet"}, nil, "a stand-in for nodes must not share the judge's code"},
}

// forbidden lists the imports that a package may not have, with the reason.
func forbidden(pkg string, imports []string) []string {
	var out []string
	for _, l := range layers {
		if l.pkg != pkg {
			continue
		}
		for _, path := range imports {
			own, isOwn := strings.CutPrefix(path, "fleet/")
			refused := slices.ContainsFunc(l.refuses, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
			if isOwn && !slices.Contains(l.imports, own) || refused {
				out = append(out, pkg+" imports "+path+": "+l.why)
			}
		}
	}
	return out
}

// importsOf reads the imports of the non-test files of each package.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (name == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			out[dir] = append(out[dir], path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImportsGoOneWay(t *testing.T) {
	found := importsOf(t)
	for pkg, imports := range found {
		for _, fault := range forbidden(pkg, imports) {
			t.Error(fault)
		}
	}
	for _, l := range layers {
		if _, err := os.Stat(l.pkg); err == nil && len(found[l.pkg]) == 0 {
			t.Errorf("%s holds no Go file that imports anything: is the rule for the right folder?", l.pkg)
		}
	}
}

func TestTheImportRuleBites(t *testing.T) {
	for _, c := range []struct {
		pkg, path string
		want      bool
	}{
		{"audit", "fleet/remote", true},
		{"audit", "fleet/runner", true},
		{"audit", "golang.org/x/crypto/ssh", true},
		{"audit", "fleet/kubelet", false},
		{"kubelet", "os", true},
		{"kubelet", "fleet/inventory", true},
		{"kubelet", "k8s.io/kubelet/config/v1beta1", false},
		{"report", "fleet/remote", true},
		{"runner", "fleet/kubelet", true},
		{"lab", "fleet/audit", true},
		{"cmd/fleet", "fleet/remote", false},
		{"cmd/fleet", "fleet/kubelet", true},
	} {
		if got := len(forbidden(c.pkg, []string{c.path})) > 0; got != c.want {
			t.Errorf("%s importing %s: forbidden %v, want %v", c.pkg, c.path, got, c.want)
		}
	}
}

// TestEachDependencyHasItsReason compares go.mod with ARCHITECTURE.md.
func TestEachDependencyHasItsReason(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .+ \\|$")
	reasons := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		reasons[m[1]] = true
	}
	for line := range strings.Lines(string(mod)) {
		words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(words) == 2 && strings.HasPrefix(words[1], "v") && strings.Contains(words[0], ".") && !reasons[words[0]] {
			t.Errorf("go.mod requires %s, but the table in ARCHITECTURE.md gives no reason for it", words[0])
		}
	}
}
