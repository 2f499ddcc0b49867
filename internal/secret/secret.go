// Package secret encrypts secrets that are stored in the database, with keys that are not, and
// signs tokens that callers keep and must not change.
//
// A sealed secret is
//
//	version (1 byte) · key id (4) · nonce (12) · AES-256-GCM ciphertext and tag
//
// where the key id is the beginning of the key's SHA-256. Version, key id and the place that the
// secret belongs to, such as its row, are authenticated as additional data: a sealed secret that
// was copied to another place does not open there.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	version    = 1
	keySize    = 32
	keyIDSize  = 4
	headerSize = 1 + keyIDSize
	nonceSize  = 12
)

var (
	// ErrUnknownKey is returned when the key of a secret or a signature is not configured.
	ErrUnknownKey = errors.New("the secret key that was used is not configured")
	// ErrTampered is returned when a secret or a signed message was modified, or moved to another
	// place.
	ErrTampered = errors.New("the secret was modified or was encrypted for another place")
)

// Keys seal and open secrets. The first key seals and all keys open, so a key is rotated by
// putting a new one in front. Keys are safe for concurrent use.
type Keys struct {
	ring []key
}

type key struct {
	id   [keyIDSize]byte
	aead cipher.AEAD
	raw  []byte // signing keys are derived from it
}

// NewKey returns a random key in the form that Parse reads.
func NewKey() string {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails
	return base64.StdEncoding.EncodeToString(raw)
}

// Parse parses a comma-separated list of 32-byte keys in base64. Its error does not repeat them.
func Parse(list string) (*Keys, error) {
	keys := &Keys{}
	for item := range strings.SplitSeq(list, ",") {
		number := len(keys.ring) + 1
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(item))
		if err != nil || len(raw) != keySize {
			return nil, fmt.Errorf("key %d is not 32 bytes in base64", number)
		}
		next, err := newKey(raw)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", number, err)
		}
		if slices.ContainsFunc(keys.ring, func(k key) bool { return k.id == next.id }) {
			return nil, fmt.Errorf("key %d is a duplicate", number)
		}
		keys.ring = append(keys.ring, next)
	}
	return keys, nil
}

func newKey(raw []byte) (key, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return key{}, err
	}
	sum := sha256.Sum256(raw)
	return key{id: [keyIDSize]byte(sum[:]), aead: aead, raw: raw}, nil
}

// Seal encrypts a secret for a place, such as the row that stores it.
func (k *Keys) Seal(plain string, place []byte) []byte {
	first := k.ring[0]
	sealed := make([]byte, 0, headerSize+nonceSize+len(plain)+first.aead.Overhead())
	sealed = append(sealed, version)
	sealed = append(sealed, first.id[:]...)
	sealed = sealed[:headerSize+nonceSize]
	_, _ = rand.Read(sealed[headerSize:]) // never fails
	return first.aead.Seal(sealed, sealed[headerSize:], []byte(plain), additionalData(sealed[:headerSize], place))
}

// Open decrypts a secret that was sealed for this place. It returns ErrUnknownKey or ErrTampered.
func (k *Keys) Open(sealed, place []byte) (string, error) {
	if len(sealed) < headerSize+nonceSize || sealed[0] != version {
		return "", ErrTampered
	}
	header, nonce, ciphertext := sealed[:headerSize], sealed[headerSize:headerSize+nonceSize], sealed[headerSize+nonceSize:]
	i := slices.IndexFunc(k.ring, func(known key) bool { return slices.Equal(known.id[:], header[1:]) })
	if i < 0 {
		return "", ErrUnknownKey
	}
	plain, err := k.ring[i].aead.Open(nil, nonce, ciphertext, additionalData(header, place))
	if err != nil {
		return "", ErrTampered
	}
	return string(plain), nil
}

// additionalData is authenticated with the secret. The header has a fixed length, so the two parts
// cannot be confused.
func additionalData(header, place []byte) []byte { return slices.Concat(header, place) }
