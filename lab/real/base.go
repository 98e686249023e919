//go:build linux

package real

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// baseSuite and basePackages say what every node is made of: a Debian with
// systemd, OpenSSH, sudo and a container runtime, and etcd for the control
// plane.
const baseSuite = "bookworm"

var basePackages = []string{
	"systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "procps", "iproute2", "iptables", "curl",
	"busybox", "vim-tiny", "containerd", "runc", "etcd-server",
}

// baseSetup turns the plain tree into the tree that all nodes share. It runs
// inside the tree. Host keys and the machine id are left out so that every node
// has its own; timers and consoles that only cost boot time are masked.
const baseSetup = `
set -eu
rm -f /etc/ssh/ssh_host_*
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/resolv.conf /etc/hostname
useradd --create-home --shell /bin/bash ` + LoginUser + `
passwd --delete root > /dev/null
mkdir -p /etc/cni/net.d /etc/kubernetes /opt/bin
cat > /etc/cni/net.d/10-loopback.conflist <<'EOF'
{"cniVersion": "0.4.0", "name": "loopback-only", "plugins": [{"type": "loopback"}]}
EOF
echo '` + LoginUser + ` ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/90-login
chmod 0440 /etc/sudoers.d/90-login
cat > /etc/ssh/sshd_config.d/10-node.conf <<'EOF'
PermitRootLogin no
PasswordAuthentication no
MaxAuthTries 4
MaxStartups 10:30:60
EOF
# The kubelet reads the kernel log, which a container has not.
echo 'L /dev/kmsg - - - - /dev/console' > /etc/tmpfiles.d/kmsg.conf
systemctl disable etcd.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
	e2scrub_reap.service systemd-pstore.service console-getty.service getty@tty1.service \
	systemd-networkd.service
apt-get clean
rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/*
`

// baseName is the artefact's name: a new recipe is a new artefact.
func baseName() string {
	recipe := strings.Join(append(basePackages, baseSuite, baseSetup), "\n")
	return fmt.Sprintf("base-%s-%.6x", baseSuite, sha256.Sum256([]byte(recipe)))
}

// makeBase fills dir with the tree that all nodes share.
func makeBase(ctx context.Context, dir, mark string) error {
	args := []string{"--variant=minbase", "--include=" + strings.Join(basePackages, ","), baseSuite, dir}
	if mirror := aptMirror(baseSuite); mirror != "" {
		args = append(args, mirror)
	}
	cmd := exec.CommandContext(ctx, "debootstrap", args...)
	cmd.Env = quietEnv(append(aptProxy(ctx), mark)...)
	if out, err := output(cmd); err != nil {
		return fmt.Errorf("%w (last output: %s)", err, tail(out, 300))
	}
	setup := exec.CommandContext(ctx, "chroot", dir, "/bin/sh", "-c", baseSetup)
	setup.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", mark}
	if _, err := output(setup); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, "debootstrap")); err != nil {
		return err
	}
	return unmountBelow(dir)
}

// aptProxy hands the proxy that apt is configured with to debootstrap, which
// does not read apt's configuration.
func aptProxy(ctx context.Context) []string {
	out, err := run(ctx, "apt-config", "shell", "proxy", "Acquire::http::Proxy")
	if err != nil {
		return nil
	}
	value := strings.Trim(strings.TrimPrefix(strings.TrimSpace(out), "proxy="), "'")
	if value == "" {
		return nil
	}
	return []string{"http_proxy=" + value}
}
