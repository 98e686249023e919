#!/bin/sh
# Runs every fuzz target of the module, one after the other.
# usage: fuzz.sh TIME [PACKAGE-PATTERN]
set -eu
time=${1:-30s}
pattern=${2:-./...}
cd "$(dirname "$0")/.."

go list -f '{{.Dir}}' "$pattern" | while read -r dir; do
	grep -hos '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u | while read -r target; do
		echo "== $target in ${dir#"$PWD"/}, $time"
		go test "$dir" -run '^$' -fuzzminimizetime 1x -fuzz "^$target\$" -fuzztime "$time" </dev/null
	done
done
