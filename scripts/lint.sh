#!/bin/sh
# gofmt, go vet, staticcheck and, over every script that runs on a node or in
# this repository, shellcheck. A linter that is missing is an error.
set -eu
cd "$(dirname "$0")/.."
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2

unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
if [ -n "$unformatted" ]; then
	echo "not gofmt-ed: $unformatted" >&2
	exit 1
fi
go vet ./...
go vet -tags e2e ./...
go vet -tags e2edynamic ./e2e
go run "$staticcheck" ./...
go run "$staticcheck" -tags e2e ./...
go run "$staticcheck" -tags e2edynamic ./e2e

if ! command -v shellcheck >/dev/null; then
	echo "shellcheck is not installed (Debian and Ubuntu: apt-get install shellcheck)" >&2
	exit 1
fi
git ls-files '*.sh' .ci/run lab/standins | while read -r script; do
	dialect='sh'
	case $(head -n 1 "$script") in *bash*) dialect='bash' ;; esac
	shellcheck -s "$dialect" "$script"
done
go mod tidy -diff
