package judge

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Judge starts kubelets on the node it runs on, one layout at a time.
type Judge struct {
	in     installed
	unit   string // the unit of the layout that is installed, "" for none
	dumper string // the program of cmd/dumper
	client *http.Client
}

// New returns a judge for the node it runs on. dumper is where the program of
// cmd/dumper lies.
func New(dumper string) *Judge {
	return &Judge{in: installed{root: "/"}, dumper: dumper, client: &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,                                  // every kubelet is another server
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // it made its certificate itself, a moment ago
		},
	}}
}

// startLimit bounds one start. A kubelet serves its configuration within a
// second on an idle machine; this is for one that is starved.
const startLimit = 2 * time.Minute

// Kubelet puts the layout on the node, starts its unit and waits until the
// kubelet serves its configuration or has ended. What the layout before it left
// is removed first.
func (j *Judge) Kubelet(ctx context.Context, l Layout) (Verdict, error) {
	if err := j.install(ctx, l); err != nil {
		return Verdict{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if said, err := systemctl(ctx, "start", l.Unit); err != nil {
		if ctx.Err() != nil {
			return Verdict{}, fmt.Errorf("cannot start %s in time", l.Unit)
		}
		// With Type=notify or exec a program that ended is told of here.
		v := Verdict{Reason: said}
		if states, err := show(ctx, l.Unit); err == nil && states[0]["ExecMainCode"] != "0" {
			v.Reason = lastWords(ctx, states[0]["InvocationID"])
		}
		return v, nil
	}
	return j.watch(ctx, l.Unit)
}

// install replaces the layout on the node.
func (j *Judge) install(ctx context.Context, l Layout) error {
	if err := j.Clear(ctx); err != nil {
		return err
	}
	for _, f := range l.Files {
		if err := j.in.put(f); err != nil {
			return errors.Join(err, j.Clear(ctx))
		}
	}
	j.unit = l.Unit
	if said, err := systemctl(ctx, "daemon-reload"); err != nil {
		return fmt.Errorf("cannot reload systemd: %w: %s", err, said)
	}
	return nil
}

// Clear stops the layout's unit and removes its files.
func (j *Judge) Clear(ctx context.Context) error {
	if j.unit != "" {
		if said, err := systemctl(ctx, "stop", j.unit); err != nil && !strings.Contains(said, "not loaded") {
			return fmt.Errorf("cannot stop %s: %w: %s", j.unit, err, said)
		}
		systemctl(ctx, "reset-failed", j.unit) // refuses when there is nothing to reset
		j.unit = ""
	}
	return j.in.clear()
}

// watch follows a unit that systemd has started.
func (j *Judge) watch(ctx context.Context, unit string) (Verdict, error) {
	var v Verdict
	for {
		states, err := show(ctx, unit)
		if err != nil {
			return v, fmt.Errorf("cannot follow %s: %w", unit, err)
		}
		s := states[0]
		if s.over() || s["SubState"] == "auto-restart" {
			v.Reason = lastWords(ctx, s["InvocationID"])
			if v.Reason == "" {
				v.Reason = "unit ended: " + s["Result"]
			}
			return v, nil
		}
		pid, err := strconv.Atoi(s["MainPID"])
		if err != nil || pid == 0 {
			continue
		}
		if done := j.follow(ctx, pid, &v); done {
			return v, nil
		}
		if ctx.Err() != nil {
			return v, fmt.Errorf("%s neither serves its configuration nor ends within %s", unit, startLimit)
		}
	}
}

// follow polls a process until it serves its configuration, which ends the
// watch, or is gone.
func (j *Judge) follow(ctx context.Context, pid int, v *Verdict) (done bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	for ctx.Err() == nil {
		if !v.Exec {
			v.Exec = readProcess(dir, v)
		}
		if config, err := j.configz(ctx); err == nil {
			v.Started, v.Config = true, config
			return true
		}
		if !alive(dir) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// readProcess reads what the process was executed with, once it is the kubelet
// and no longer the systemd that is about to become it.
func readProcess(dir string, v *Verdict) bool {
	exe, err := os.Readlink(dir + "/exe")
	if err != nil || filepath.Base(exe) != "kubelet" {
		return false
	}
	line, err := os.ReadFile(dir + "/cmdline")
	if err != nil || len(line) == 0 {
		return false
	}
	cwd, err := os.Readlink(dir + "/cwd")
	if err != nil {
		return false
	}
	v.Argv = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	v.Cwd = cwd
	return true
}

// alive says whether there is a process that has not ended.
func alive(dir string) bool {
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return false
	}
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	return len(rest) > 1 && rest[1] != 'Z' && rest[1] != 'X'
}

// configz asks the kubelet for the configuration it runs with.
func (j *Judge) configz(ctx context.Context) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://127.0.0.1:10250/configz", nil)
	if err != nil {
		return nil, err
	}
	resp, err := j.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("configz answers %s", resp.Status)
	}
	var body struct {
		Config json.RawMessage `json:"kubeletconfig"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&body); err != nil {
		return nil, fmt.Errorf("cannot read configz: %w", err)
	}
	return body.Config, nil
}

// commandFailed is the line with which a Kubernetes program ends when it
// returns an error (k8s.io/component-base/cli/run.go).
var commandFailed = regexp.MustCompile(`"command failed" err=(".*")\s*$`)

// lastWords finds in the journal why the start with that invocation id ended:
// the kubelet's error, else what systemd said of it.
func lastWords(ctx context.Context, invocation string) string {
	if invocation == "" {
		return ""
	}
	exec.CommandContext(ctx, "journalctl", "--sync").Run() // best effort: what is missing is looked for below
	cmd := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat",
		"_SYSTEMD_INVOCATION_ID="+invocation, "+", "INVOCATION_ID="+invocation)
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	last := ""
	for line := range strings.Lines(string(out)) {
		if m := commandFailed.FindStringSubmatch(line); m != nil {
			if said, err := strconv.Unquote(m[1]); err == nil {
				return said
			}
			return m[1]
		}
		if strings.TrimSpace(line) != "" {
			last = strings.TrimSpace(line)
		}
	}
	return last
}
