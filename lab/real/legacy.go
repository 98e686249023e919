//go:build linux

package real

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"fleet/lab/real/judge"
)

// LegacyVersion is the release that labs with Options.Legacy run: the last one
// with Dynamic Kubelet Configuration switched on whose source comes with a Debian.
const LegacyVersion = "v1.20.2"

// The shapes whose kubelet takes its configuration from the API server
// (--dynamic-config-dir), with and without a file of its own. They need
// Options.Legacy.
const (
	ShapeDynamic      = "dynamic"
	ShapeDynamicFlags = "dynamic-flags"
)

const (
	legacySource = "kubernetes" // the source package
	legacyPath   = "src/k8s.io/kubernetes"
	legacyTags   = "providerless dockerless"
	openAPIDir   = "pkg/generated/openapi"
)

// legacyFlags let a Go of today link what reaches into the runtime as a Go of
// then allowed. The version is a variable of a vendored package, whose path has
// the folder in it (hack/lib/version.sh).
func legacyFlags() string {
	version := "-X k8s.io/kubernetes/vendor/k8s.io/component-base/version."
	return "-checklinkname=0 -s -w " + version + "gitVersion=" + LegacyVersion + " " + version + "gitMajor=1 " + version + "gitMinor=20"
}

// legacyName is the artefact's name: two layers, one for each component.
func legacyName() string {
	recipe := strings.Join([]string{legacySource, legacyTags, legacyFlags(), runtime.GOARCH}, "\n")
	return fmt.Sprintf("kubernetes-%s-%.6x", LegacyVersion, sha256.Sum256([]byte(recipe)))
}

// ProvisionLegacy makes what labs with Options.Legacy need and the cache lacks.
func ProvisionLegacy(ctx context.Context, log func(format string, args ...any)) error {
	_, err := provisionLegacy(ctx, log)
	return err
}

func provisionLegacy(ctx context.Context, log func(format string, args ...any)) (artefacts, error) {
	if err := installPackages(ctx, log); err != nil {
		return artefacts{}, err
	}
	if !exists("/usr/bin/dpkg-source") {
		if err := aptInstall(ctx, []string{"dpkg-dev"}); err != nil {
			return artefacts{}, err
		}
	}
	dir, err := filepath.Abs(CacheDir())
	if err != nil {
		return artefacts{}, fmt.Errorf("cannot find the cache: %w", err)
	}
	c := cache{dir: dir, log: log}
	base, err := c.once(ctx, baseName(), makeBase)
	if err != nil {
		return artefacts{}, err
	}
	made, err := c.once(ctx, legacyName(), makeLegacy)
	return artefacts{base: base, kubelet: filepath.Join(made, "kubelet"), apiServer: filepath.Join(made, "kube-apiserver")}, err
}

// makeLegacy builds both components from one source tree.
func makeLegacy(ctx context.Context, dir, mark string) error {
	work, err := os.MkdirTemp("", "fleet-legacy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := legacyBuild{gopath: work, mark: mark}
	if err := b.fetch(ctx); err != nil {
		return err
	}
	if err := b.openAPI(ctx); err != nil {
		return err
	}
	for _, component := range kubernetesComponents {
		out := filepath.Join(dir, component, "usr/bin", component)
		if _, err := output(b.goBuild(ctx, out, legacyFlags(), "cmd/"+component)); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(dir, component, "opt/bin"), 0o755); err != nil {
			return err
		}
		if err := os.Link(out, filepath.Join(dir, component, "opt/bin", component)); err != nil {
			return err
		}
	}
	return nil
}

// legacyBuild is a build in GOPATH mode: the release is from before its
// dependencies could be had as modules of today.
type legacyBuild struct{ gopath, mark string }

func (b legacyBuild) root() string { return filepath.Join(b.gopath, legacyPath) }

// fetch unpacks the source package. It is found and checked by an apt with lists
// and sources of its own, so that the machine's are left as they are; proxies and
// the like are the machine's.
func (b legacyBuild) fetch(ctx context.Context) error {
	mirror := aptMirror(baseSuite)
	if mirror == "" {
		return fmt.Errorf("cannot fetch the source of Kubernetes %s: apt here knows no archive with Debian's %s", LegacyVersion, baseSuite)
	}
	conf, err := privateApt(filepath.Join(b.gopath, "apt"), mirror)
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"update"}, {"source", "--download-only", legacySource}} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet"}, args...)...)
		cmd.Dir, cmd.Env = b.gopath, quietEnv("APT_CONFIG="+conf, b.mark)
		if _, err := output(cmd); err != nil {
			return err
		}
	}
	found, err := filepath.Glob(filepath.Join(b.gopath, legacySource+"_*.dsc"))
	if err != nil || len(found) != 1 || !strings.Contains(found[0], strings.TrimPrefix(LegacyVersion, "v")) {
		return fmt.Errorf("cannot find Kubernetes %s in Debian's %s: got %q", LegacyVersion, baseSuite, found)
	}
	if err := os.MkdirAll(filepath.Dir(b.root()), 0o755); err != nil {
		return err
	}
	_, err = run(ctx, "dpkg-source", "--no-check", "--extract", found[0], b.root()) // apt has checked it
	return err
}

// privateApt writes the configuration of an apt that shares only its manners with
// the machine's, and returns its path.
func privateApt(dir, mirror string) (string, error) {
	for _, sub := range []string{"parts", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return "", err
		}
	}
	conf := fmt.Sprintf("Dir::Etc::sourcelist \"%[1]s/sources.list\";\nDir::Etc::sourceparts \"%[1]s/parts\";\nDir::State \"%[1]s/state\";\nDir::Cache \"%[1]s/cache\";\nAPT::Sandbox::User \"root\";\n", dir)
	sources := fmt.Sprintf("deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, baseSuite)
	path := filepath.Join(dir, "apt.conf")
	for file, text := range map[string]string{path: conf, filepath.Join(dir, "sources.list"): sources} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return path, nil
}

// openAPI makes the file that is not in the source package and without which the
// API server does not build, as gen_openapi of Makefile.generated_files does.
func (b legacyBuild) openAPI(ctx context.Context) error {
	generator := filepath.Join(b.gopath, "openapi-gen")
	if _, err := output(b.goBuild(ctx, generator, "-checklinkname=0", "vendor/k8s.io/kube-openapi/cmd/openapi-gen")); err != nil {
		return err
	}
	packages, err := b.openAPIPackages()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "nice", "-n", "10", generator, "--logtostderr",
		"--input-dirs", strings.Join(packages, ","), "--output-package", "k8s.io/kubernetes/"+openAPIDir,
		"--output-file-base", "zz_generated.openapi", "--go-header-file", "vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
		"--report-filename", filepath.Join(b.gopath, "violations"))
	cmd.Dir, cmd.Env = b.root(), b.env()
	_, err = output(cmd)
	return err
}

// openAPIPackages lists the packages that ask for OpenAPI definitions.
func (b legacyBuild) openAPIPackages() ([]string, error) {
	found := map[string]bool{}
	for _, top := range []string{"cmd", "pkg", "plugin", "staging/src"} {
		err := filepath.WalkDir(filepath.Join(b.root(), top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.Contains(path, "/testdata/") {
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(text), "+k8s:openapi-gen=") {
				dir, _ := filepath.Rel(b.root(), filepath.Dir(path)) // is below it
				found[strings.Replace(dir, "staging/src/", "vendor/", 1)] = true
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var packages []string
	for dir := range found {
		if !strings.HasPrefix(dir, "vendor/k8s.io/code-generator") && !strings.HasPrefix(dir, "vendor/k8s.io/sample-apiserver") {
			packages = append(packages, "k8s.io/kubernetes/"+dir)
		}
	}
	slices.Sort(packages)
	return packages, nil
}

func (b legacyBuild) goBuild(ctx context.Context, out, flags, pkg string) *exec.Cmd {
	cmd := goCommand(ctx, b.root(), "build", "-trimpath", "-tags", legacyTags, "-ldflags", flags, "-o", out, "k8s.io/kubernetes/"+pkg)
	cmd.Env = append(cmd.Env, b.env()...)
	return cmd
}

func (b legacyBuild) env() []string {
	return quietEnv("GOPATH="+b.gopath, "GO111MODULE=off", "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", b.mark)
}

// dynamic is a node with Dynamic Kubelet Configuration. Its file says false, and
// has an empty list that /configz does not show.
func dynamic(n Node) []judge.File {
	return append(dynamicUnit(n, "--config=/etc/kubernetes/kubelet/config.yaml --max-pods=64"),
		judge.File{Path: "/etc/kubernetes/kubelet/config.yaml", Text: `# written by hand
kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: true
  webhook:
    enabled: false
authorization:
  mode: AlwaysAllow
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: [] # /configz leaves it out
failSwapOn: false
makeIPTablesUtilChains: false # as the operator wants it
staticPodPath: manifests # relative to this file
# what kubeadm of the time writes besides
cpuManagerReconcilePeriod: 0s
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzPort: 10248
httpCheckFrequency: 0s
imageMinimumGCAge: 0s
logging: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
`})
}

// dynamicFlags is one without a file. Who may ask what is left to what a kubelet
// without a file allows, which is not what one with a configuration allows.
func dynamicFlags(n Node) []judge.File {
	return dynamicUnit(n, "--cgroup-driver=cgroupfs --cgroups-per-qos=false --enforce-node-allocatable= --fail-swap-on=false")
}

func dynamicUnit(n Node, flags string) []judge.File {
	const unit = "/etc/systemd/system/kubelet.service"
	return []judge.File{{Path: unit, Text: `[Unit]
Description=kubelet: The Kubernetes Node Agent
After=containerd.service
Wants=containerd.service
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/kubelet \
    --dynamic-config-dir=/var/lib/kubelet/dynamic-config \
    --kubeconfig=` + kubeconfigPath + ` \
    --node-ip=` + n.Address + ` \
    --container-runtime=remote \
    --container-runtime-endpoint=unix:///run/containerd/containerd.sock \
    --v=2 \
    ` + flags + `
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
`}, enabled(unit)}
}
