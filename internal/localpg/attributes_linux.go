package localpg

import "syscall"

// attributes give the process its account and a process group of its own, so that the terminal's Ctrl-C does not reach
// it, and have the kernel send it the signal when the thread that started it dies.
func (a account) attributes(onDeath syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: a.credential, Setpgid: true, Pdeathsig: onDeath}
}
