package redistest

import "syscall"

// attributes puts the server into its own process group, so that Ctrl-C in a terminal does not
// reach it, and has the kernel kill it when its parent thread dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
