//go:build unix && !linux

package main

import (
	"fmt"
	"syscall"
)

func attributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: owner}
}

func mountMemory(string, int) (unmount func() error, err error) {
	return nil, fmt.Errorf("%w: a small file system is mounted on Linux only", errNotRun)
}

func fill(string) (empty func() error, err error) { return nil, errNotRun }

func limitFiles(int, uint64) (restore func() error, err error) {
	return nil, fmt.Errorf("%w: descriptors of another process are limited on Linux only", errNotRun)
}
