//go:build !race

package main

const manyHosts = 1000
