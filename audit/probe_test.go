package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fleet/frame"
	"fleet/kubelet"
)

// FuzzFrame feeds whatever a node may send to all that reads it.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\n--N probe 1\n\n--N id\nuid 0\nnow 1.5\n\n--N cmdline 7\n/kubelet\x00--config=/a\x00\n--N process 7\ncomm kubelet\nexe /kubelet\n\n--N end\n"))
	f.Add([]byte("\n--N probe 1\n\n--N show\nId=kubelet.service\nMainPID=7\n\nexit 0\n\n--N stat 7\n7 (a) b) S 1 2\n\n--N times\n1|2|3|4|5|6\n\n--N dir present /d\n\n--N entries\n./d/x\n\n--N end\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		sections, err := frame.Parse(answer, "N", "probe 1")
		if err != nil {
			return
		}
		facts := factsOf(sections)
		finding := MakeIPTablesUtilChains.Judge(facts, Policy{}, nil)
		again := MakeIPTablesUtilChains.Judge(factsOf(sections), Policy{}, nil)
		if finding.Status != again.Status || finding.Reason != again.Reason || finding.Message != again.Message {
			t.Errorf("two judgements of the same answer: %+v and %+v", finding, again)
		}
		if _, ok := lookUp(finding.Reason); !ok {
			t.Errorf("reason %q is not in the catalogue", finding.Reason)
		}
		for _, path := range append(MakeIPTablesUtilChains.missing(facts).files, MakeIPTablesUtilChains.missing(facts).dirs...) {
			if strings.ContainsAny(path, "\n\x00") || !filepath.IsAbs(path) {
				t.Errorf("would ask for %q", path)
			}
		}
	})
}

// FuzzMask wants masking to be final, and a secret behind its name to be gone
// whatever stands before it on other lines.
func FuzzMask(f *testing.F) {
	f.Add("--token=abcdefgh --config=/x", "hunter2x")
	f.Add(`{"password": "`, "Xk9vQ2mm")
	word := regexp.MustCompile(`^[A-Za-z]{8,64}$`)
	f.Fuzz(func(t *testing.T, before, secret string) {
		once := Mask(before)
		if again := Mask(once); again != once {
			t.Errorf("masking %q twice differs from once: %q, %q", before, once, again)
		}
		if word.MatchString(secret) && strings.Contains(Mask("--bootstrap-token="+secret), secret) {
			t.Errorf("%q is not masked", secret)
		}
	})
}

func TestMask(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"--bootstrap-token=abcdef.0123456789abcdef --v=2", "--bootstrap-token=*** --v=2"},
		{`"aadClientSecret": "s3cr3t\"x", "a": 1`, `"aadClientSecret": "***", "a": 1`},
		{"password: hunter2\nport: 1", "password: ***\nport: 1"},
		{"HTTPS_PROXY=http://user:pass@proxy:3128/", "HTTPS_PROXY=http://***@proxy:3128/"},
		{"- Bearer abcdefghijkl", "- Bearer ***"},
		{"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\nx", "-----BEGIN RSA PRIVATE KEY-----***\nx"},
		{"-----BEGIN PRIVATE KEY-----\nAAAA", "-----BEGIN PRIVATE KEY-----***"},
		{"--authentication-token-webhook=true --authentication-token-webhook-cache-ttl=2m0s", "--authentication-token-webhook=true --authentication-token-webhook-cache-ttl=2m0s"},
		{"tokenFile: /var/lib/token", "tokenFile: /var/lib/token"},
		{"serverTLSBootstrap: true\nauthorization:\n  mode: Webhook", "serverTLSBootstrap: true\nauthorization:\n  mode: Webhook"},
		{"--make-iptables-util-chains=false", "--make-iptables-util-chains=false"},
	} {
		if got := Mask(c.in); got != c.want {
			t.Errorf("Mask(%q)\n got %q\nwant %q", c.in, got, c.want)
		}
	}
}

// localShell runs the script on this machine, below a root of its own.
type localShell struct {
	argv []string
	root string
	path string
	sent int
}

func (s *localShell) Sh(ctx context.Context, script []byte) (Answer, error) {
	s.sent++
	cmd := exec.CommandContext(ctx, s.argv[0], append(s.argv[1:], "-s", s.root)...)
	cmd.Stdin = bytes.NewReader(script)
	cmd.Env = []string{"PATH=" + s.path + ":" + os.Getenv("PATH")}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return Answer{Stdout: out.Bytes(), Stderr: errs.Bytes(), Exit: cmd.ProcessState.ExitCode()}, err
}

// writeNode lays out a node's root on disk, with stand-ins for systemctl.
func writeNode(t *testing.T) *localShell {
	t.Helper()
	dir := t.TempDir()
	root, bin := filepath.Join(dir, "root"), filepath.Join(dir, "bin")
	put := func(name, data string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range map[string]string{
		"/etc/systemd/system/kubelet.service":                           "[Service]\nEnvironmentFile=/etc/default/kubelet\nEnvironmentFile=-/etc/eks/*.env\nExecStart=/opt/bin/kubelet $KUBELET_CONFIG_FILE_FLAGS $KUBELET_FLAGS\n",
		"/etc/systemd/system/kubelet.service.d/10-componentconfig.conf": "[Service]\nEnvironment=\"KUBELET_CONFIG_FILE_FLAGS=--config /etc/default/kubeletconfig.json\"\n",
		"/etc/default/kubelet":                                          "KUBELET_FLAGS=--v=2 --node-labels=a=b",
		"/etc/default/kubeletconfig.json":                               "{\"kind\":\"KubeletConfiguration\",\n\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\n\"makeIPTablesUtilChains\": false}\n",
		"/etc/eks/a b.env":                                              "X=1\n",
		"/etc/os-release":                                               "ID=ubuntu\nPRETTY_NAME=\"Ubuntu 22.04\"\n",
		"/proc/1234/comm":                                               "kubelet\n",
		"/proc/1234/cmdline":                                            "/opt/bin/kubelet\x00--config\x00/etc/default/kubeletconfig.json\x00--v=2\x00--node-labels=a=b\x00",
		"/proc/1234/stat":                                               "1234 (kubelet) S 1 1234 1234 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 5000000 0 0\n",
		"/proc/1234/cgroup":                                             "0::/system.slice/kubelet.service\n",
		"/proc/1234/environ":                                            "HOME=/\x00SECRET=x\x00",
		"/proc/uptime":                                                  "60000.00 1.00\n",
		"/proc/sys/kernel/random/boot_id":                               "0b5c\n",
		"/proc/1/comm":                                                  "systemd\n",
	} {
		put(root+name, data, 0o644)
	}
	put(root+"/opt/bin/kubelet", "#!/bin/sh\necho Kubernetes v1.34.4\n", 0o755)
	for link, target := range map[string]string{"exe": "/opt/bin/kubelet", "cwd": "/"} {
		if err := os.Symlink(target, root+"/proc/1234/"+link); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-72 * time.Hour)
	for _, name := range []string{"/etc/default/kubeletconfig.json"} {
		if err := os.Chtimes(root+name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	put(bin+"/systemctl", `#!/bin/sh
case "$*" in
*Version*) echo 'Version=252 (252.1)'; echo 'Environment=LANG=C.UTF-8 A=b\x20c' ;;
*'-p MainPID') echo MainPID=1234 ;;
*) printf 'Id=kubelet.service\nLoadState=loaded\nActiveState=active\nSubState=running\nMainPID=1234\nNRestarts=0\n\nId=k3s.service\nLoadState=not-found\n' ;;
esac
`, 0o755)
	return &localShell{root: root, path: bin}
}

// TestProbeUnderEachShell runs the very script that nodes are given under the
// shells that play sh on them.
func TestProbeUnderEachShell(t *testing.T) {
	for _, argv := range shells(t) {
		t.Run(strings.Join(argv, " "), func(t *testing.T) {
			sh := writeNode(t)
			sh.argv = argv
			facts, err := Probe(t.Context(), sh, MakeIPTablesUtilChains)
			if err != nil {
				t.Fatal(err)
			}
			if sh.sent != 1 {
				t.Errorf("the script was sent %d times, want once", sh.sent)
			}
			finding := MakeIPTablesUtilChains.Judge(facts, Policy{}, nil)
			if finding.Status != StatusFail || finding.Reason != "file-false" || !strings.Contains(finding.Message, "/etc/default/kubeletconfig.json:3") {
				t.Errorf("finding %s %s: %s %q", finding.Status, finding.Reason, finding.Message, finding.Notes)
			}
			checkNode(t, finding, facts)
		})
	}
}

func checkNode(t *testing.T, finding Finding, facts Facts) {
	t.Helper()
	n := finding.Node
	if n.KubeletPID != 1234 || n.KubeletVersion != "v1.34.4" || n.BootID != "0b5c" || n.OS != "Ubuntu 22.04" ||
		n.Config != "/etc/default/kubeletconfig.json" || n.Unit != kubeletUnit || n.KubeletStarted == nil {
		t.Errorf("node %+v", n)
	}
	if facts.Manager.Version != 252 || fmt.Sprintf("%q", facts.Manager.Environment) != `["LANG=C.UTF-8" "A=b c"]` {
		t.Errorf("manager %+v", facts.Manager)
	}
	if len(finding.Evidence) != 2 || finding.Evidence[0].Command != "ps -ef | grep kubelet" || finding.Evidence[1].Command != "cat /etc/default/kubeletconfig.json" {
		t.Errorf("evidence %+v", finding.Evidence)
	}
	if _, leaked := facts.Processes[0].Env["SECRET"]; leaked {
		t.Error("the process's environment was brought as a whole")
	}
}

// shells lists the shells of this machine that nodes use as sh.
func shells(t *testing.T) [][]string {
	t.Helper()
	var out [][]string
	for _, argv := range [][]string{{"sh"}, {"dash"}, {"bash"}, {"busybox", "ash"}} {
		_, err := exec.LookPath(argv[0])
		switch {
		case err == nil:
			out = append(out, argv)
		case everyShell:
			t.Error(err)
		}
	}
	if len(out) == 0 {
		t.Fatal("this machine has no sh")
	}
	return out
}

// TestProbeAsksAgain moves the configuration to where the script does not look.
func TestProbeAsksAgain(t *testing.T) {
	sh := writeNode(t)
	sh.argv = []string{"sh"}
	odd := "/srv/kube config/it's.json"
	if err := os.MkdirAll(filepath.Dir(sh.root+odd), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(sh.root+"/etc/default/kubeletconfig.json", sh.root+odd); err != nil {
		t.Fatal(err)
	}
	cmdline := "/opt/bin/kubelet\x00--config\x00" + odd + "\x00"
	if err := os.WriteFile(sh.root+"/proc/1234/cmdline", []byte(cmdline), 0o644); err != nil {
		t.Fatal(err)
	}
	facts, err := Probe(t.Context(), sh, MakeIPTablesUtilChains)
	if err != nil {
		t.Fatal(err)
	}
	if sh.sent != 2 {
		t.Errorf("the script was sent %d times, want twice", sh.sent)
	}
	if got := facts.Disk.Files[odd].State; got != kubelet.StatePresent {
		t.Errorf("%s is %q", odd, got)
	}
	if f := MakeIPTablesUtilChains.Judge(facts, Policy{}, nil); f.Running == nil || f.Running.Value != false {
		t.Errorf("running %+v: %s", f.Running, f.Message)
	}
}

// fixed answers with the same text whatever it is sent.
type fixed struct {
	answer Answer
	err    error
}

func (f fixed) Sh(context.Context, []byte) (Answer, error) { return f.answer, f.err }

type coded string

func (c coded) Error() string { return "failed: " + string(c) }
func (c coded) Code() string  { return string(c) }

func TestProbeThatFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		shell fixed
		want  string
	}{
		{"not a shell", fixed{answer: Answer{Stdout: []byte("menu:\n1) reboot\n")}}, "probe-garbled"},
		{"died", fixed{answer: Answer{Exit: 127, Stderr: []byte("sh: not found\n")}}, "probe-failed"},
		{"lost", fixed{err: coded("connection-lost")}, "connection-lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Probe(t.Context(), c.shell, MakeIPTablesUtilChains)
			f := Unreached(err)
			if f.Reason != c.want || f.Status != StatusUnknown || f.Hint == "" {
				t.Errorf("got %s %s, hint %q", f.Status, f.Reason, f.Hint)
			}
		})
	}
}

func TestQuoteIsOneWord(t *testing.T) {
	for _, s := range []string{"", "a b", "it's", "$(id)", "a\nb", `\`, "`id`", "''"} {
		out, err := exec.Command("sh", "-c", "x="+frame.Quote(s)+`; printf %s "$x"`).Output()
		if err != nil || string(out) != s {
			t.Errorf("quote(%q) gave %q, %v", s, out, err)
		}
	}
}

func TestReasonsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		if seen[r.Code] {
			t.Errorf("%s is there twice", r.Code)
		}
		seen[r.Code] = true
		if r.Meaning == "" || r.Hint == "" && r.Status != StatusPass {
			t.Errorf("%s: meaning %q, hint %q", r.Code, r.Meaning, r.Hint)
		}
	}
	if _, hint := Explain("jump-auth-refused"); !strings.HasPrefix(hint, "on the jump host: ") {
		t.Errorf("hint for a jump host: %q", hint)
	}
}

func TestUnitOfCgroup(t *testing.T) {
	for in, want := range map[string]string{
		"0::/system.slice/kubelet.service\n":                                   kubeletUnit,
		"12:pids:/x\n1:name=systemd:/system.slice/kubelet.service\n":           kubeletUnit,
		"0::/kubereserved.slice/kubelet.service\n":                             kubeletUnit,
		"0::/system.slice/snap.kubelet-eks.daemon.service\n":                   "snap.kubelet-eks.daemon.service",
		"0::/user.slice/user-1000.slice/session-3.scope\n":                     "",
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-abc.scope\n":    "",
		"0::/system.slice/docker-abc.scope\n":                                  "",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/k.service": "",
		"0::/system.slice/kubelet.service/sub.scope\n":                         kubeletUnit,
		"": "",
	} {
		if got := unitOfCgroup(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
