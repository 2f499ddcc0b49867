package redistest

import "syscall"

// attributes returns nil: Windows has no process groups like those of Unix.
func attributes() *syscall.SysProcAttr { return nil }
