package redistest

import "syscall"

// attributes keep the terminal's Ctrl-C from the server, and have the kernel end it with us.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
