package secret_test

import (
	"testing"

	"parley/internal/secret"
)

// BenchmarkHotSign signs and verifies data of the size of a client token.
func BenchmarkHotSign(b *testing.B) {
	keys, err := secret.Parse(secret.NewKey())
	if err != nil {
		b.Fatal(err)
	}
	signer := keys.Signer("client tokens")
	message := make([]byte, 104)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signer.Open(signer.Sign(message)); err != nil {
			b.Fatal(err)
		}
	}
}
