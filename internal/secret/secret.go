// Package secret seals what the database must keep but nobody who reads the database may know, under keys that are
// kept elsewhere, and signs what callers keep and may not change.
//
// A sealed secret is
//
//	version (1 byte) · key id (4) · nonce (12) · AES-256-GCM ciphertext and tag
//
// where the key id is the beginning of the key's SHA-256. Version and key id are authenticated with it, and so is the
// place that the secret belongs to: what is copied to another place does not open there.
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
	// ErrUnknownKey says that a secret was sealed under a key that is not among ours.
	ErrUnknownKey = errors.New("the secret was sealed under a key that is not known here")
	// ErrTampered says that a secret is not as it was sealed, or not where it was sealed for.
	ErrTampered = errors.New("the secret was altered, or belongs to another place")
)

// Keys seal and open secrets. The first one seals and all of them open, so that a new key can be put before an old one.
// They are safe for concurrent use.
type Keys struct {
	ring []key
}

type key struct {
	id   [keyIDSize]byte
	aead cipher.AEAD
	raw  []byte // what signing keys are derived from
}

// NewKey makes a key as Parse reads it.
func NewKey() string {
	fresh := make([]byte, keySize)
	_, _ = rand.Read(fresh) // never fails
	return base64.StdEncoding.EncodeToString(fresh)
}

// Parse reads keys of 32 bytes in base64, separated by commas. Its error does not repeat them.
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
			return nil, fmt.Errorf("key %d is there twice", number)
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

// Seal encrypts a secret for a place, such as the row that it is kept in.
func (k *Keys) Seal(plain string, place []byte) []byte {
	first := k.ring[0]
	sealed := make([]byte, 0, headerSize+nonceSize+len(plain)+first.aead.Overhead())
	sealed = append(sealed, version)
	sealed = append(sealed, first.id[:]...)
	sealed = sealed[:headerSize+nonceSize]
	_, _ = rand.Read(sealed[headerSize:]) // never fails
	return first.aead.Seal(sealed, sealed[headerSize:], []byte(plain), bound(sealed[:headerSize], place))
}

// Open decrypts what was sealed for this place. It fails with ErrUnknownKey or ErrTampered.
func (k *Keys) Open(sealed, place []byte) (string, error) {
	if len(sealed) < headerSize+nonceSize || sealed[0] != version {
		return "", ErrTampered
	}
	header, nonce, ciphertext := sealed[:headerSize], sealed[headerSize:headerSize+nonceSize], sealed[headerSize+nonceSize:]
	i := slices.IndexFunc(k.ring, func(known key) bool { return slices.Equal(known.id[:], header[1:]) })
	if i < 0 {
		return "", ErrUnknownKey
	}
	plain, err := k.ring[i].aead.Open(nil, nonce, ciphertext, bound(header, place))
	if err != nil {
		return "", ErrTampered
	}
	return string(plain), nil
}

// bound is what is authenticated beside the secret itself. The header has a fixed length, so nothing of it can be taken
// for the place.
func bound(header, place []byte) []byte { return slices.Concat(header, place) }
