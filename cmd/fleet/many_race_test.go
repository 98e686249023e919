//go:build race

package main

// manyHosts is smaller under the race detector, which takes ten times the CPU
// of a machine that plays all the nodes as well.
const manyHosts = 150
