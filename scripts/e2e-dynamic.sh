#!/bin/sh
# Carries Dynamic Kubelet Configuration out on real nodes: a kube-apiserver and
# kubelets of 1.20, built from Debian's source package. It wants root on Debian;
# the build takes some minutes and is kept in /var/cache/fleet-e2e, or
# $FLEET_E2E_CACHE; the test takes about ten.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "make e2e-dynamic wants root: it boots nodes" >&2
	exit 1
fi
exec go test -tags e2edynamic -count=1 -timeout 60m -v -run '^TestDynamicKubeletConfiguration$' "$@" ./e2e
