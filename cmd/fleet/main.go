// Command fleet tells for every host of an inventory, over SSH and all at
// once, whether its kubelet manages iptables.
package main

import (
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], system()))
}
