//go:build !race

package main

const manyHosts = 1000

// manyChanges is how many nodes are changed at once.
const manyChanges = 25
