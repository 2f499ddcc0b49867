//go:build !race

package contract

import (
	"runtime"
	"testing"
)

// The race detector allocates additional memory, so the test does not run with it.

// A request needs at most a few times the memory of its body, whatever the body contains.
func TestMemoryOfLargestBodiesIsBounded(t *testing.T) {
	for name, body := range largest {
		enforce := largestEnforcer(t, name)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = enforce(body)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 10<<20 {
			t.Errorf("%s: %d KiB", name, used>>10)
		}
	}
}
