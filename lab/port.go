package lab

import (
	"fmt"
	"net"
	"syscall"
)

// reservation holds a port number without listening on it, so that a connection
// is refused and no other program gets the number.
type reservation struct{ fd int }

func reservePort() (*reservation, *net.TCPAddr, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("reserve a port: %w", err)
	}
	syscall.CloseOnExec(fd)
	r := &reservation{fd: fd}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		r.close()
		return nil, nil, fmt.Errorf("reserve a port: %w", err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		r.close()
		return nil, nil, fmt.Errorf("reserve a port: %w", err)
	}
	in4 := sa.(*syscall.SockaddrInet4)
	return r, &net.TCPAddr{IP: net.IP(in4.Addr[:]), Port: in4.Port}, nil
}

func (r *reservation) close() {
	if r.fd >= 0 {
		syscall.Close(r.fd)
		r.fd = -1
	}
}
