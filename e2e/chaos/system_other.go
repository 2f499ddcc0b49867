//go:build unix && !linux

package main

import (
	"fmt"
	"syscall"
)

func processAttributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: owner}
}

func mountTmpfs(string, int) (unmount func() error, err error) {
	return nil, fmt.Errorf("%w: a small file system can be mounted on Linux only", errNotRun)
}

func fillDisk(string) (free func() error, err error) { return nil, errNotRun }

func limitFiles(int, uint64) (restore func() error, err error) {
	return nil, fmt.Errorf("%w: the descriptors of another process can be limited on Linux only", errNotRun)
}
