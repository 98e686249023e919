package lab

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// pidNamespace is the link text of every process that is not in a container.
const pidNamespace = "pid:[4026531836]"

// usual are the processes every node runs, among them those that a search for
// the word kubelet finds by mistake.
func usual() []Process {
	return []Process{
		{PID: 1, Argv: []string{"/sbin/init"}, Exe: "/usr/lib/systemd/systemd", Comm: "systemd", Cwd: "/"},
		{PID: 611, PPID: 1, Argv: []string{"/usr/bin/containerd"}, Exe: "/usr/bin/containerd", Cwd: "/"},
		{PID: 845, PPID: 1, Argv: []string{"sshd: /usr/sbin/sshd -D [listener] 0 of 10-60 startups"}, Exe: "/usr/sbin/sshd", Cwd: "/"},
		{PID: 3301, PPID: 3290, Argv: []string{"/csi-node-driver-registrar", "--csi-address=/csi/csi.sock", "--kubelet-registration-path=/var/lib/kubelet/plugins/disk.csi.azure.com/csi.sock", "--v=2"}, Exe: "/csi-node-driver-registrar", Cwd: "/"},
		{PID: 40112, PPID: 40090, User: "azureus+", Argv: []string{"vim", "kubelet.conf"}, Exe: "/usr/bin/vim.basic", Comm: "vim", Cwd: "/home/azureuser"},
	}
}

// passing are the lines that `ps -ef | grep kubelet` over SSH shows of itself.
func passing() []Process {
	return []Process{
		{PID: 48205, PPID: 48204, User: "azureus+", Argv: []string{"bash", "-c", "ps -ef | grep kubelet"}, PSOnly: true},
		{PID: 48206, PPID: 48205, User: "azureus+", Argv: []string{"ps", "-ef"}, PSOnly: true},
		{PID: 48207, PPID: 48205, User: "azureus+", Argv: []string{"grep", "kubelet"}, PSOnly: true},
	}
}

func (p Process) comm() string {
	c := p.Comm
	if c == "" {
		c = path.Base(strings.TrimSuffix(p.Exe, " (deleted)"))
	}
	return c[:min(len(c), 15)]
}

func (p Process) user() string {
	if p.User == "" {
		return "root"
	}
	return p.User
}

// writeProc writes /proc/PID into a directory that plays /proc.
func writeProc(proc string, p Process, booted time.Time) error {
	dir := filepath.Join(proc, strconv.Itoa(p.PID))
	if err := os.MkdirAll(dir+"/ns", 0o755); err != nil {
		return err
	}
	uid := 0
	if p.user() != "root" {
		uid = 1000
	}
	ticks := int64(p.Started.Sub(booted) / (time.Second / clockTicks))
	stat := fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194560 1234 0 5 0 310 120 0 0 20 0 14 0 %d 2210000000 25100 18446744073709551615 1 1 0 0 0 0 0 0 2143420159 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		p.PID, p.comm(), p.PPID, p.PID, p.PID, ticks)
	status := fmt.Sprintf("Name:\t%s\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\nUid:\t%[5]d\t%[5]d\t%[5]d\t%[5]d\nGid:\t%[5]d\t%[5]d\t%[5]d\t%[5]d\n",
		p.comm(), p.PID, p.PID, p.PPID, uid)
	files := []struct {
		name, data string
		mode       os.FileMode
	}{
		{"cmdline", nulTerminated(p.Argv), 0o444},
		{"environ", nulTerminated(p.Env), 0o400},
		{"comm", p.comm() + "\n", 0o644},
		{"stat", stat, 0o444},
		{"status", status, 0o444},
		{"cgroup", "0::/" + cgroupOf(p) + "\n", 0o444},
	}
	for _, f := range files {
		if err := writeMode(dir+"/"+f.name, f.data, f.mode); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"exe": p.Exe, "cwd": p.Cwd, "ns/pid": pidNamespace} {
		if err := os.Symlink(text, dir+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// sharedProc is where the usual processes lie, which look alike on all nodes.
func (f *Fleet) sharedProc() string { return filepath.Join(f.opts.Dir, "proc") }

// writeShared writes the usual processes once for all nodes.
func (f *Fleet) writeShared() error {
	for _, p := range usual() {
		p.Started = f.now.Add(-ageKubelet)
		if err := writeProc(f.sharedProc(), p, f.booted()); err != nil {
			return fmt.Errorf("write the usual processes: %w", err)
		}
	}
	return nil
}

// linkShared gives a node the usual processes.
func (n *node) linkShared() error {
	for _, p := range usual() {
		pid := strconv.Itoa(p.PID)
		if err := os.Symlink(filepath.Join(n.fleet.sharedProc(), pid), n.host("/proc/"+pid)); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) removeProc(pid int) error {
	return os.RemoveAll(n.host("/proc/" + strconv.Itoa(pid)))
}

func cgroupOf(p Process) string {
	switch {
	case p.Cgroup != "":
		return p.Cgroup
	case p.PID == 1:
		return "init.scope"
	case p.user() != "root":
		return "user.slice/user-1000.slice/session-4.scope"
	case p.PPID == 1:
		return "system.slice/" + p.comm() + ".service"
	}
	return "kubepods.slice/kubepods-burstable.slice/cri-containerd-0a1b.scope"
}

func nulTerminated(words []string) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(w)
		b.WriteByte(0)
	}
	return b.String()
}

// psTable is what `ps -ef` prints. ps joins arguments with blanks and shows
// control characters as question marks.
func psTable(now time.Time, processes []Process) string {
	var b strings.Builder
	b.WriteString("UID          PID    PPID  C STIME TTY          TIME CMD\n")
	for _, p := range processes {
		stime := p.Started.Format("Jan02")
		if now.Sub(p.Started) < 24*time.Hour {
			stime = p.Started.Format("15:04")
		}
		tty := "?"
		if p.user() != "root" {
			tty = "pts/0"
		}
		fmt.Fprintf(&b, "%-8s %7d %7d  0 %s %-8s 00:00:00 %s\n", p.user(), p.PID, p.PPID, stime, tty, printable(strings.Join(p.Argv, " ")))
	}
	return b.String()
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
