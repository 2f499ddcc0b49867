//go:build !race

package contract

import (
	"runtime"
	"testing"
)

// The race detector allocates memory of its own, so this is measured without it.

// A request never needs more than a few times the memory of its body, whatever it contains.
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
