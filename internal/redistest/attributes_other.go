//go:build unix && !linux

package redistest

import "syscall"

// attributes puts the server into its own process group, so that Ctrl-C in a terminal does not
// reach it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
