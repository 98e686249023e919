#!/bin/sh
# Runs the end-to-end tests. They want root on Debian or Ubuntu: they start
# OpenSSH servers with accounts of their own, and whole nodes with systemd, a
# kubelet and an API server. What they need is installed or built here; what
# takes long to build is kept in /var/cache/fleet-e2e, or $FLEET_E2E_CACHE.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "make e2e wants root: it creates accounts, starts servers and boots nodes" >&2
	exit 1
fi
missing=
for pair in sshd:openssh-server ssh:openssh-client sudo:sudo busybox:busybox bash:bash dash:dash script:bsdutils; do
	command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
	apt-get update -qq
	# shellcheck disable=SC2086 # one word a package is meant
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi
go run ./lab/real/cmd/lab provision
go test -tags e2e -count=1 -run TestProbe ./audit
go test -tags e2e -count=1 -p 1 -timeout 20m ./remote ./lab/real/...
# -v: the seeds are printed. -parallel: tests of different nodes wait side by side.
exec go test -tags e2e -count=1 -timeout 45m -parallel 12 -v "$@" ./e2e
