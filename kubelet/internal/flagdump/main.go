//go:build ignore

// Command flagdump prints the flags of one real kubelet, one per line, as
// testdata/flags-VERSION.txt of package kubelet keeps them. It links the
// kubelet's own option packages, which this module does not depend on, so it
// is run from a throw-away module:
//
//	mkdir /tmp/flagdump && cp main.go /tmp/flagdump && cd /tmp/flagdump
//	sed -i 1,2d main.go && go mod init flagdump
//	go mod edit -require k8s.io/kubernetes@v1.34.4
//	# for every k8s.io module that k8s.io/kubernetes requires at v0.0.0:
//	go mod edit -replace k8s.io/api=k8s.io/api@v0.34.4
//	go run -mod=mod . > flags-1.34.4.txt
package main

import (
	"fmt"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	_ "k8s.io/component-base/logs/json/register" // as cmd/kubelet does: adds the --log-json-* flags
	"k8s.io/kubernetes/cmd/kubelet/app/options"
)

func main() {
	all, global := newSet(), newSet()
	options.NewKubeletFlags().AddFlags(all)
	config, err := options.NewKubeletConfiguration()
	if err != nil {
		panic(err)
	}
	options.AddKubeletConfigFlags(all, config)
	options.AddGlobalFlags(all)
	options.AddGlobalFlags(global)
	all.BoolP("help", "h", false, "")

	fmt.Println("# name, pflag type, value without argument, shorthand, registered by a library; see ../internal/flagdump")
	all.VisitAll(func(f *pflag.Flag) {
		origin := "local"
		if global.Lookup(f.Name) != nil {
			origin = "global"
		}
		fmt.Printf("%s\t%s\t%s\t%s\t%s\n", f.Name, f.Value.Type(), orDash(f.NoOptDefVal), orDash(f.Shorthand), origin)
	})
}

func newSet() *pflag.FlagSet {
	fs := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	return fs
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
