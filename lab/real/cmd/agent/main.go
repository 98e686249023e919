//go:build linux

// Command agent runs on a node of a lab and judges the layouts that come on its
// standard input, for package real. It is not meant to be called by hand.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"fleet/lab/real/judge"
)

func main() {
	dumper := filepath.Join(filepath.Dir(os.Args[0]), "dumper")
	if err := judge.New(dumper).Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}
