package chat

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// BenchmarkHotCursor encodes and parses the cursor of a page.
func BenchmarkHotCursor(b *testing.B) {
	at := position{order: byActivity, time: time.Now(), id: uuid.New()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseCursor(at.cursor(), byActivity); err != nil {
			b.Fatal(err)
		}
	}
}
