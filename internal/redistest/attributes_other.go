//go:build unix && !linux

package redistest

import "syscall"

// attributes keep the terminal's Ctrl-C from the server.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
