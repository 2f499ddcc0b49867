//go:build unix && !linux

package localpg

import "syscall"

// attributes gives a process its account and its own process group, so that Ctrl-C in a
// terminal does not reach it. Only Linux can end it when this program is killed; elsewhere the
// next start names the process to stop.
func (a account) attributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: a.credential, Setpgid: true}
}
