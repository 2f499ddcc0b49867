//go:build !unix

package wsapi

import "errors"

// canWriteRaw reports whether writeRaw works on this platform. Without it every write leaves the
// worker pool, which costs CPU and nothing else.
const canWriteRaw = false

func writeRaw(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
