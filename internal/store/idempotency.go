package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	gendb "parley/gen/db"
	"parley/internal/apperr"
)

// IdempotencyKey is a request's Idempotency-Key: what is asked again under the same key with
// the same body is done once. A nil *IdempotencyKey is none.
type IdempotencyKey struct {
	OrganizationID uuid.UUID
	UserID         uuid.UUID
	Scope          string // method and path of the request
	Key            string
	Hash           []byte // of the body
	OnReplay       func() // told that the answer is an earlier request's; may be nil
}

// CheckHash tells whether the key was used for this body, by the hash that was kept: a
// fault where it was used for another.
func (k *IdempotencyKey) CheckHash(hash []byte) error {
	if !bytes.Equal(k.Hash, hash) {
		return apperr.New(apperr.Unprocessable, "The Idempotency-Key was used with another body.")
	}
	return nil
}

// NotifyReplayed tells whoever wants to know that the answer is an earlier request's.
func (k *IdempotencyKey) NotifyReplayed() {
	if k != nil && k.OnReplay != nil {
		k.OnReplay()
	}
}

// Idempotent has effect run in one transaction, as InTx does, and for all requests of one
// key a single time. What effect returns is stored as JSON in that same transaction,
// and returned to those who repeat the request: a crash loses both or neither, and an
// effect that fails leaves the key free. A repeat waits for the first request; when
// that takes long it is a Conflict to be tried again, and with another body it is
// Unprocessable.
//
// T comes back from its JSON: fields that it must not lose are exported. Without a key
// nothing is stored but the effect.
func Idempotent[T any](ctx context.Context, s *Store, key *IdempotencyKey, effect func(q *gendb.Queries) (T, error)) (T, error) {
	return idempotent(ctx, s, key, true, effect)
}

// IdempotentSecret is Idempotent for what is shown a single time: nothing of it is stored, and a
// repeat is a Conflict.
func IdempotentSecret[T any](ctx context.Context, s *Store, key *IdempotencyKey, effect func(q *gendb.Queries) (T, error)) (T, error) {
	return idempotent(ctx, s, key, false, effect)
}

func idempotent[T any](ctx context.Context, s *Store, key *IdempotencyKey, isKept bool, effect func(q *gendb.Queries) (T, error)) (T, error) {
	var made T
	isReplayed := false
	err := s.InTx(ctx, func(q *gendb.Queries) error {
		var none T // an attempt that lost its race leaves nothing behind
		made, isReplayed = none, false
		if key != nil {
			stored, isUsed, err := key.claim(ctx, q)
			if err != nil {
				return err
			}
			if isUsed {
				isReplayed = true
				return key.read(stored, &made)
			}
		}
		var err error
		if made, err = effect(q); err != nil || key == nil || !isKept {
			return err
		}
		return key.keep(ctx, q, made)
	})
	if err != nil {
		var none T
		return none, err
	}
	if isReplayed {
		key.NotifyReplayed()
	}
	return made, nil
}

// claim takes the key for this transaction, or finds what it was used for.
func (k *IdempotencyKey) claim(ctx context.Context, q *gendb.Queries) (stored gendb.IdempotencyKey, isUsed bool, err error) {
	for {
		claimed, err := q.ClaimIdempotencyKey(ctx, gendb.ClaimIdempotencyKeyParams{
			OrganizationID: k.OrganizationID, UserID: k.UserID, Scope: k.Scope, Key: k.Key, RequestHash: k.Hash,
		})
		if err != nil {
			return stored, false, stillRunning(err)
		}
		if claimed > 0 {
			return stored, false, q.ResetLockTimeout(ctx)
		}
		stored, err = q.GetIdempotencyKey(ctx, gendb.GetIdempotencyKeyParams{
			OrganizationID: k.OrganizationID, UserID: k.UserID, Scope: k.Scope, Key: k.Key,
		})
		// Its day may have ended meanwhile: then it is free again.
		if !apperr.Is(err, apperr.NotFound) {
			return stored, true, err
		}
	}
}

// stillRunning says it when a claim was not got because another request has the key.
func stillRunning(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != lockTimeout {
		return err
	}
	return &apperr.Error{
		Kind:       apperr.Conflict,
		Message:    "The first request with this Idempotency-Key is still running; try again for its answer.",
		RetryAfter: time.Second,
		Err:        err,
	}
}

// read is the answer that was stored for the key.
func (k *IdempotencyKey) read(stored gendb.IdempotencyKey, into any) error {
	if err := k.CheckHash(stored.RequestHash); err != nil {
		return err
	}
	if stored.Answer == nil {
		return apperr.New(apperr.Conflict, "The request of this Idempotency-Key was carried out, and its answer, which held a secret, was not kept; use another key.")
	}
	if err := json.Unmarshal(stored.Answer, into); err != nil {
		return fmt.Errorf("read a stored answer: %w", err)
	}
	return nil
}

// keep stores the answer for repeats.
func (k *IdempotencyKey) keep(ctx context.Context, q *gendb.Queries, made any) error {
	answer, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return q.SetIdempotencyAnswer(ctx, gendb.SetIdempotencyAnswerParams{
		OrganizationID: k.OrganizationID, UserID: k.UserID, Scope: k.Scope, Key: k.Key, Answer: answer,
	})
}
