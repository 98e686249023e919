package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"golang.org/x/crypto/ssh"
)

const (
	serverVersion  = "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.14"
	windowsVersion = "SSH-2.0-OpenSSH_for_Windows_9.5"
	// banner stands in for the one AKS images show before authentication.
	banner = "Authorized uses only. All activity may be monitored and reported.\n"
	// busyText is what sshd sends when MaxStartups or a source penalty turns a
	// connection away (OpenSSH 9.6, sshd.c).
	busyText   = "Exceeded MaxStartups\r\n"
	notSSHText = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request"
)

// serve speaks with one client until either side has had enough.
func (n *node) serve(c *conn) {
	switch n.spec.Fault {
	case FaultMute:
		io.Copy(io.Discard, c)
		return
	case FaultBusy:
		io.WriteString(c, busyText)
		return
	case FaultNotSSH:
		io.WriteString(c, notSSHText)
		return
	case FaultMuteKex:
		io.WriteString(c, serverVersion+"\r\n")
		io.Copy(io.Discard, c)
		return
	}
	sc, channels, requests, err := ssh.NewServerConn(c, n.config(c))
	if err != nil {
		return // the client left, or was refused; it knows why
	}
	n.fleet.wg.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		n.fleet.wg.Go(func() { n.channel(c, ch) })
	}
	sc.Wait()
}

func (n *node) config(c *conn) *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		ServerVersion:  serverVersion,
		BannerCallback: func(ssh.ConnMetadata) string { return banner },
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if n.spec.Fault == FaultMuteAuth {
				<-c.dead
			}
			known := bytes.Equal(key.Marshal(), n.fleet.authorized.Marshal())
			if n.spec.Fault == FaultRejectKey || !known || meta.User() != n.spec.User {
				return nil, errors.New("key refused")
			}
			return nil, nil
		},
	}
	if n.spec.Fault == FaultWindows {
		cfg.ServerVersion = windowsVersion
	}
	cfg.AddHostKey(n.hostKey)
	return cfg
}

func (n *node) channel(c *conn, ch ssh.NewChannel) {
	switch ch.ChannelType() {
	case "session":
		n.session(c, ch)
	case "direct-tcpip":
		n.forward(ch)
	default:
		ch.Reject(ssh.UnknownChannelType, "unsupported channel type")
	}
}

// forward plays a jump host, to loopback only.
func (n *node) forward(ch ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(ch.ExtraData(), &to); err != nil || (to.Host != "127.0.0.1" && to.Host != "localhost") {
		ch.Reject(ssh.Prohibited, "administratively prohibited: open failed")
		return
	}
	var d net.Dialer
	target, err := d.DialContext(n.fleet.stopped, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(to.Port))))
	if err != nil {
		ch.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	defer target.Close()
	if !n.fleet.keep(target) {
		ch.Reject(ssh.ConnectionFailed, "closing")
		return
	}
	defer n.fleet.drop(target)
	n.count(func(s *NodeStats) { s.Forwards++ })
	channel, requests, err := ch.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	n.fleet.wg.Go(func() { ssh.DiscardRequests(requests) })
	n.fleet.wg.Go(func() {
		io.Copy(target, channel)
		target.(*net.TCPConn).CloseWrite()
	})
	io.Copy(channel, target)
}

// session serves one session channel: one exec request, nothing else.
func (n *node) session(c *conn, ch ssh.NewChannel) {
	channel, requests, err := ch.Accept()
	if err != nil {
		return
	}
	started := false
	signals := make(chan string, 4)
	for req := range requests {
		switch {
		case req.Type == "exec" && !started && n.spec.Fault != FaultExecRefused:
			var exec struct{ Command string }
			if err := ssh.Unmarshal(req.Payload, &exec); err != nil {
				req.Reply(false, nil)
				continue
			}
			started = true
			req.Reply(true, nil)
			n.fleet.wg.Go(func() { n.run(c, channel, exec.Command, signals) })
		case req.Type == "signal" && started:
			var sig struct{ Name string }
			if ssh.Unmarshal(req.Payload, &sig) == nil {
				select {
				case signals <- sig.Name:
				default: // nobody is waiting for that many
				}
			}
		default:
			// env, pty-req, shell, subsystem: an AKS node allows some of them, the
			// simulator none, and says so.
			if req.WantReply {
				req.Reply(false, nil)
			}
		}
	}
	if !started {
		channel.Close()
	}
}

// finish sends the exit status and ends the channel.
func finish(channel ssh.Channel, status int) {
	exitStatus(channel, status)
	channel.Close()
}

func exitStatus(channel ssh.Channel, status int) {
	channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
}

func exitSignal(channel ssh.Channel, name string) {
	channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Name   string
		Core   bool
		Msg, L string
	}{Name: name}))
}

// say answers a command without running it.
func say(channel ssh.Channel, stdout, stderr string, status int) {
	io.WriteString(channel, stdout)
	io.WriteString(channel.Stderr(), stderr)
	finish(channel, status)
}

func notSimulated(channel ssh.Channel, format string, args ...any) {
	say(channel, "", fmt.Sprintf("lab: "+format+"\n", args...), 64)
}
