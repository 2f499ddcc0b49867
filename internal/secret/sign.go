package secret

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
)

const macSize = sha256.Size

// Signer signs messages that callers keep and bring back. A signed message is
//
//	id of the signing key (4 bytes) · HMAC-SHA256 (32) · message
//
// where the signing key is derived from one of the Keys and the purpose by HKDF-SHA256, and its id
// is the beginning of its SHA-256. A signature for one purpose is not valid for another. The first
// key signs and all keys verify, as with Seal. A Signer is safe for concurrent use.
type Signer struct {
	ring []signingKey
}

type signingKey struct {
	id    [keyIDSize]byte
	bytes []byte
}

// Signer returns the signer for a purpose.
func (k *Keys) Signer(purpose string) *Signer {
	s := &Signer{}
	for _, key := range k.ring {
		derived, err := hkdf.Key(sha256.New, key.raw, nil, "parley sign "+purpose, keySize)
		if err != nil {
			panic(err) // only for lengths out of range
		}
		sum := sha256.Sum256(derived)
		s.ring = append(s.ring, signingKey{id: [keyIDSize]byte(sum[:]), bytes: derived})
	}
	return s
}

// Sign returns the message with its signature.
func (s *Signer) Sign(message []byte) []byte {
	first := s.ring[0]
	return slices.Concat(first.id[:], first.mac(message), message)
}

// Open verifies a signature and returns the message. It returns ErrUnknownKey or ErrTampered.
func (s *Signer) Open(signed []byte) ([]byte, error) {
	if len(signed) < keyIDSize+macSize {
		return nil, ErrTampered
	}
	id, mac, message := signed[:keyIDSize], signed[keyIDSize:keyIDSize+macSize], signed[keyIDSize+macSize:]
	i := slices.IndexFunc(s.ring, func(known signingKey) bool { return slices.Equal(known.id[:], id) })
	if i < 0 {
		return nil, ErrUnknownKey
	}
	if !hmac.Equal(s.ring[i].mac(message), mac) {
		return nil, ErrTampered
	}
	return message, nil
}

func (k signingKey) mac(message []byte) []byte {
	hash := hmac.New(sha256.New, k.bytes)
	hash.Write(message) // never fails
	return hash.Sum(nil)
}
