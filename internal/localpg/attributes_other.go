//go:build unix && !linux

package localpg

import "syscall"

// attributes give the process its account and a process group of its own, so that the terminal's Ctrl-C does not reach
// it. Only Linux can end it with a killed program; elsewhere the next start names the process to stop.
func (a account) attributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: a.credential, Setpgid: true}
}
