#!/bin/sh
# Runs the end-to-end tests. They want root on Debian or Ubuntu, because they
# start real OpenSSH servers with accounts of their own; what they need is
# installed here.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "make e2e wants root: it creates accounts and starts servers" >&2
	exit 1
fi
missing=
for pair in sshd:openssh-server ssh:openssh-client sudo:sudo busybox:busybox shellcheck:shellcheck; do
	command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
	apt-get update -qq
	# shellcheck disable=SC2086 # one word a package is meant
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi
go test -tags e2e -count=1 -timeout 40m "$@" ./...
