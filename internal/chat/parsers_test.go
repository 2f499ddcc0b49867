package chat_test

import (
	"encoding/base64"
	"testing"

	"parley/internal/chat"
)

// Decoding and encoding a valid cursor yields a valid cursor, and repeating this changes nothing.
func FuzzCursor(f *testing.F) {
	for _, plain := range []string{
		"", "n.1", "p.9", "n.0", "p.-1", "n.9223372036854775807", "n.4611686018427387903", "n.4611686018427387904", "n.1.019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01",
		"p.1768472400000000.019BC0A4-7C10-7F3A-8D55-1B2F6A1C0E01", "n.253370764800000001.00000000-0000-0000-0000-000000000000", "n.1.{019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01}", "x.1", "n", "n.", "n..", "n.+1", "n.01",
	} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(plain)), true)
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(plain)), false)
		f.Add(plain, true)
	}
	f.Fuzz(func(t *testing.T, cursor string, isOfConversation bool) {
		if cursor == "" {
			return // the first page
		}
		again, ok := chat.ReencodeCursor(cursor, isOfConversation)
		if !ok {
			return
		}
		if _, ok := chat.ReencodeCursor(again, !isOfConversation); ok {
			t.Fatalf("%q is a cursor of both orders", again)
		}
		third, ok := chat.ReencodeCursor(again, isOfConversation)
		if !ok || third != again {
			t.Fatalf("%q is encoded as %q and then as %q", cursor, again, third)
		}
	})
}
