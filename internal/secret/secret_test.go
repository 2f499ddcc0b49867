package secret_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"parley/internal/secret"
)

var place, elsewhere = []byte("organization 1, bot 1"), []byte("organization 1, bot 2")

func parse(t *testing.T, list ...string) *secret.Keys {
	t.Helper()
	keys, err := secret.Parse(strings.Join(list, ","))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSealedSecretOpensInItsPlace(t *testing.T) {
	t.Parallel()
	keys := parse(t, secret.NewKey())
	for _, plain := range []string{"", "sk-1234", strings.Repeat("密", 10_000)} {
		sealed := keys.Seal(plain, place)
		if plain != "" && bytes.Contains(sealed, []byte(plain)) {
			t.Errorf("the sealed form of the secret of %d bytes contains it", len(plain))
		}
		if got, err := keys.Open(sealed, place); err != nil || got != plain {
			t.Errorf("got %.20q, %v, want %.20q", got, err, plain)
		}
	}
	if bytes.Equal(keys.Seal("sk-1234", place), keys.Seal("sk-1234", place)) {
		t.Error("sealing a secret twice gave the same bytes")
	}
}

func TestSealedSecretDoesNotOpenElsewhere(t *testing.T) {
	t.Parallel()
	keys := parse(t, secret.NewKey())
	if _, err := keys.Open(keys.Seal("sk-1234", place), elsewhere); !errors.Is(err, secret.ErrTampered) {
		t.Errorf("got %v", err)
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	older, newer := secret.NewKey(), secret.NewKey()
	sealedBefore := parse(t, older).Seal("sk-1234", place)

	// The new key, which is first, encrypts. The old key still decrypts.
	both := parse(t, newer, " "+older)
	if got, err := both.Open(sealedBefore, place); err != nil || got != "sk-1234" {
		t.Errorf("sealed before the rotation: %q, %v", got, err)
	}
	sealedAfter := both.Seal("sk-1234", place)
	if got, err := parse(t, newer).Open(sealedAfter, place); err != nil || got != "sk-1234" {
		t.Errorf("sealed after the rotation: %q, %v", got, err)
	}

	// Without the old key, its secrets cannot be decrypted. The error explains this.
	if _, err := parse(t, newer).Open(sealedBefore, place); !errors.Is(err, secret.ErrUnknownKey) {
		t.Errorf("got %v", err)
	}
}

func TestAnyChangedBitIsDetected(t *testing.T) {
	t.Parallel()
	keys := parse(t, secret.NewKey(), secret.NewKey())
	sealed := keys.Seal("sk-1234", place)
	for i := range sealed {
		for bit := range 8 {
			altered := bytes.Clone(sealed)
			altered[i] ^= 1 << bit
			if got, err := keys.Open(altered, place); err == nil || got != "" {
				t.Fatalf("opened with bit %d of byte %d changed, as %q", bit, i, got)
			}
		}
	}
	for size := range sealed {
		if _, err := keys.Open(sealed[:size], place); err == nil {
			t.Fatalf("opened after it was cut to %d bytes", size)
		}
	}
}

func TestParseRejectsInvalidKeysWithoutRepeatingThem(t *testing.T) {
	t.Parallel()
	good := secret.NewKey()
	for _, list := range []string{"", ",", good + ",", "hush", good[:40], good + good, good + "," + good, good + ",hush"} {
		if _, err := secret.Parse(list); err == nil {
			t.Errorf("%q was accepted", list)
		} else if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), good[:8]) {
			t.Errorf("the error contains a key: %v", err)
		}
	}
}
