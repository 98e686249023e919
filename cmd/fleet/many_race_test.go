//go:build race

package main

// manyHosts is smaller under the race detector, which takes ten times the CPU
// of a machine that plays all the nodes as well.
const manyHosts = 150

// manyChanges is how many nodes are changed at once.
const manyChanges = 20
