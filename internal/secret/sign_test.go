package secret_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"parley/internal/secret"
)

// A signature is valid while its key is configured at any position, and only for its purpose.
func TestSignatureIsValidWhileItsKeyIsConfigured(t *testing.T) {
	t.Parallel()
	old, fresh := secret.NewKey(), secret.NewKey()
	for _, message := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte{0}, 1000)} {
		signed := parse(t, old).Signer("tokens").Sign(message)
		for name, test := range map[string]struct {
			signer *secret.Signer
			want   error
		}{
			"same key":        {parse(t, old).Signer("tokens"), nil},
			"rotated":         {parse(t, fresh, old).Signer("tokens"), nil},
			"key removed":     {parse(t, fresh).Signer("tokens"), secret.ErrUnknownKey},
			"another purpose": {parse(t, old).Signer("tickets"), secret.ErrUnknownKey},
		} {
			got, err := test.signer.Open(signed)
			if !errors.Is(err, test.want) || err == nil && !bytes.Equal(got, message) {
				t.Errorf("%s: %x, %v", name, got, err)
			}
		}
	}
}

func TestAnyChangeInvalidatesTheSignature(t *testing.T) {
	t.Parallel()
	signer := parse(t, secret.NewKey()).Signer("tokens")
	signed := signer.Sign([]byte("message"))
	for i := range len(signed) * 8 {
		changed := slices.Clone(signed)
		changed[i/8] ^= 1 << (i % 8)
		if _, err := signer.Open(changed); err == nil {
			t.Fatalf("opened with bit %d changed", i)
		}
	}
	for length := range signed {
		if _, err := signer.Open(signed[:length]); err == nil {
			t.Errorf("opened after it was cut to %d bytes", length)
		}
	}
	if _, err := signer.Open(append(signed, 0)); !errors.Is(err, secret.ErrTampered) {
		t.Errorf("opened with a byte appended: %v", err)
	}
}
