//go:build linux

package real

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// kubernetesComponents are the programs that are built from that release.
var kubernetesComponents = []string{"kubelet", "kube-apiserver"}

const kubernetesModule = "k8s.io/kubernetes"

// componentName is the artefact's name for a component.
func componentName(component string) string {
	recipe := strings.Join([]string{buildModule("k8s.io/example"), buildFlags(), runtime.GOARCH}, "\n")
	return fmt.Sprintf("%s-%s-%.6x", component, KubernetesVersion, sha256.Sum256([]byte(recipe)))
}

// makeComponent returns the function that builds one component into a
// directory that can be laid over a node's tree: below usr/bin, and below
// opt/bin where AKS keeps its kubelet. The build has a module of its own, so
// that the project's go.mod stays free of the whole of Kubernetes.
func makeComponent(component string) maker {
	return func(ctx context.Context, dir, mark string) error {
		src, err := os.MkdirTemp("", "fleet-"+component+"-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(src)
		staging, err := stagingModules(ctx, src)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(src, "go.mod"), []byte(buildModule(staging...)), 0o644); err != nil {
			return err
		}
		out := filepath.Join(dir, "usr/bin", component)
		cmd := goCommand(ctx, src, "build", "-trimpath", "-ldflags", buildFlags(), "-o", out, kubernetesModule+"/cmd/"+component)
		cmd.Env = append(cmd.Env, mark)
		if _, err = output(cmd); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(dir, "opt/bin"), 0o755); err != nil {
			return err
		}
		return os.Link(out, filepath.Join(dir, "opt/bin", component))
	}
}

// buildModule is the go.mod that the components are built with. Kubernetes
// itself replaces its staging modules by directories, which only works inside
// its own repository; their published twins of the same release are the same
// code (vX.Y.Z of Kubernetes is v0.Y.Z of each).
func buildModule(staging ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "module lab\n\ngo 1.24.0\n\nrequire %s %s\n\n", kubernetesModule, KubernetesVersion)
	for _, m := range staging {
		fmt.Fprintf(&b, "replace %s => %s v0%s\n", m, m, strings.TrimPrefix(KubernetesVersion, "v1"))
	}
	return b.String()
}

func buildFlags() string {
	return "-s -w -X k8s.io/component-base/version.gitVersion=" + KubernetesVersion
}

// stagingModules asks the release's own go.mod which modules it carries.
func stagingModules(ctx context.Context, dir string) ([]string, error) {
	out, err := output(goCommand(ctx, dir, "mod", "download", "-json", kubernetesModule+"@"+KubernetesVersion))
	if err != nil {
		return nil, err
	}
	var module struct{ GoMod string }
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		return nil, fmt.Errorf("cannot read the answer of go mod download: %w", err)
	}
	out, err = output(goCommand(ctx, dir, "mod", "edit", "-json", module.GoMod))
	if err != nil {
		return nil, err
	}
	var mod struct {
		Replace []struct{ Old, New struct{ Path string } }
	}
	if err := json.Unmarshal([]byte(out), &mod); err != nil {
		return nil, fmt.Errorf("cannot read the answer of go mod edit: %w", err)
	}
	var staging []string
	for _, r := range mod.Replace {
		if strings.HasPrefix(r.New.Path, "./staging/") {
			staging = append(staging, r.Old.Path)
		}
	}
	return staging, nil
}

// goCommand prepares a go command in dir, at low priority because a build of
// Kubernetes takes every core for minutes.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", "go"}, args...)...)
	cmd.Dir = dir
	cmd.Env = quietEnv("GOFLAGS=-mod=mod", "CGO_ENABLED=0", "GOWORK=off", "GO111MODULE=on", "GOOS=linux")
	return cmd
}
