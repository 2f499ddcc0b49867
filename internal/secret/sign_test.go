package secret_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"parley/internal/secret"
)

// What was signed opens as long as its key is known, the first one or not, and for its purpose only.
func TestWhatWasSignedOpensWhileItsKeyIsKnown(t *testing.T) {
	t.Parallel()
	old, fresh := secret.NewKey(), secret.NewKey()
	for _, message := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte{0}, 1000)} {
		signed := parse(t, old).Signer("tokens").Sign(message)
		for name, test := range map[string]struct {
			signer *secret.Signer
			want   error
		}{
			"the same":        {parse(t, old).Signer("tokens"), nil},
			"rotated":         {parse(t, fresh, old).Signer("tokens"), nil},
			"forgotten":       {parse(t, fresh).Signer("tokens"), secret.ErrUnknownKey},
			"another purpose": {parse(t, old).Signer("tickets"), secret.ErrUnknownKey},
		} {
			got, err := test.signer.Open(signed)
			if !errors.Is(err, test.want) || err == nil && !bytes.Equal(got, message) {
				t.Errorf("%s: %x, %v", name, got, err)
			}
		}
	}
}

// Whichever bit of what was signed is changed, and however it is cut, it does not open.
func TestWhatWasSignedCannotBeChanged(t *testing.T) {
	t.Parallel()
	signer := parse(t, secret.NewKey()).Signer("tokens")
	signed := signer.Sign([]byte("message"))
	for i := range len(signed) * 8 {
		changed := slices.Clone(signed)
		changed[i/8] ^= 1 << (i % 8)
		if _, err := signer.Open(changed); err == nil {
			t.Fatalf("it opens with bit %d changed", i)
		}
	}
	for length := range signed {
		if _, err := signer.Open(signed[:length]); err == nil {
			t.Errorf("it opens cut to %d bytes", length)
		}
	}
	if _, err := signer.Open(append(signed, 0)); !errors.Is(err, secret.ErrTampered) {
		t.Errorf("it opens with more at its end: %v", err)
	}
}
