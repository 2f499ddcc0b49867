package wsapi

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/feed"
)

// BenchmarkHotFrame encodes a message. The server does this once for all sockets of a conversation.
func BenchmarkHotFrame(b *testing.B) {
	watch := &feed.Watch{SessionID: uuid.New()}
	run := uuid.New()
	message := &db.Message{
		ID: uuid.New(), SessionID: watch.SessionID, Seq: 1234, Sender: "bot", RunID: &run, CreatedAt: time.Now(),
		Content:     "請到訂單頁面按下退款按鈕。 Open the orders & press \"refund\".",
		Metadata:    json.RawMessage(`{"page":"https://shop.example.com/orders/1"}`),
		Attachments: json.RawMessage(`[{"id":"0198a5b2-7c1e-7d3f-9a4b-5c6d7e8f9a0b","type":"image","filename":"order.png","file":"https://files.example.com/order.png"}]`),
	}
	b.ReportAllocs()
	for b.Loop() {
		messageFrame(watch, message)
	}
}

// BenchmarkHotDelta encodes a delta of a reply.
func BenchmarkHotDelta(b *testing.B) {
	session, run := uuid.New(), uuid.New()
	b.ReportAllocs()
	for b.Loop() {
		deltaFrame(session, run, "請問 refund", false)
	}
}
