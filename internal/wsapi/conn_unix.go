//go:build unix

package wsapi

import "syscall"

// canWriteRaw reports whether writeRaw works on this platform.
const canWriteRaw = true

// writeRaw writes to a non-blocking file descriptor as much as the kernel accepts at once.
func writeRaw(fd uintptr, data []byte) (int, error) { return syscall.Write(int(fd), data) }
