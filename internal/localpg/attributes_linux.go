package localpg

import "syscall"

// attributes gives a process its account and its own process group, so that Ctrl-C in a
// terminal does not reach it. The kernel sends it the signal when its parent thread dies.
func (a account) attributes(onDeath syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: a.credential, Setpgid: true, Pdeathsig: onDeath}
}
