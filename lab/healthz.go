package lab

// What the healthz port of the kubelet answers: the stand-ins for curl and wget
// read it from the state directory.
const (
	healthOK   = "ok"
	healthBad  = "bad"
	healthGone = "refused" // nothing listens
)

// healthz is what the node's own port 10248 answers now. k3s runs the kubelet
// within its agent.
func (s *systemd) healthz() string {
	u := s.units[unitName]
	if u == nil && s.n.spec.Shape == ShapeK3s {
		return healthOK
	}
	if u == nil || u.mainPID == 0 || u.health == "" {
		return healthGone
	}
	return u.health
}
