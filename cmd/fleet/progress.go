package main

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"fleet/runner"
)

// progress shows on a terminal how far a run is, and remembers who is under
// way. Without a terminal it shows nothing.
type progress struct {
	bar *progressbar.ProgressBar // nil without a terminal

	mu     sync.Mutex
	active map[int]string
}

func newProgress(env environment, total int) *progress {
	p := &progress{active: map[int]string{}}
	if _, ok := terminal(env.stderr); ok {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(env.stderr),
			progressbar.OptionSetDescription("hosts"),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// observe takes the runner's events.
func (p *progress) observe(e runner.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !e.Ended {
		p.active[e.Index] = e.Host.Name
		return
	}
	delete(p.active, e.Index)
	if p.bar != nil {
		_ = p.bar.Set(e.Done)
	}
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// waiting names the hosts under way, for the message of the first Ctrl-C.
func (p *progress) waiting() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.active) == 0 {
		return ""
	}
	var names []string
	for _, name := range p.active {
		names = append(names, name)
	}
	slices.Sort(names)
	const most = 10
	text := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += ", ..."
	}
	return "; waiting for " + plural(len(names), "host") + ": " + text
}
