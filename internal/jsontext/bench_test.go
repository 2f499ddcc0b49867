package jsontext_test

import (
	"testing"

	"parley/internal/jsontext"
)

// BenchmarkHotClean reads a typical message.
func BenchmarkHotClean(b *testing.B) {
	body := []byte(`{"content":"請問如何申請退款？ \"How\" do I get my money back?\n","metadata":{"page":"https://shop.example.com/orders/1","tags":["refund","order"],"n":1.50}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jsontext.Clean(body); err != nil {
			b.Fatal(err)
		}
	}
}
