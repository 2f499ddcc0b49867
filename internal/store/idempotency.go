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

// IdempotencyKey is a request's Idempotency-Key. A nil *IdempotencyKey means that the request has
// none.
type IdempotencyKey struct {
	OrganizationID uuid.UUID
	UserID         uuid.UUID
	Scope          string // method and path of the request
	Key            string
	Hash           []byte // of the request body
	OnReplay       func() // called when the response is that of an earlier request; may be nil
}

// CheckHash returns an Unprocessable error when the key was used with another body, by the stored
// hash.
func (k *IdempotencyKey) CheckHash(stored []byte) error {
	if !bytes.Equal(k.Hash, stored) {
		return apperr.New(apperr.Unprocessable, "The Idempotency-Key was used with another body.")
	}
	return nil
}

// Within returns the key of a part of the request, which a repeat of the request repeats, too.
func (k *IdempotencyKey) Within(part string) *IdempotencyKey {
	if k == nil {
		return nil
	}
	return &IdempotencyKey{OrganizationID: k.OrganizationID, UserID: k.UserID, Scope: k.Scope + " " + part, Key: k.Key, Hash: k.Hash}
}

// NotifyReplayed calls OnReplay.
func (k *IdempotencyKey) NotifyReplayed() {
	if k != nil && k.OnReplay != nil {
		k.OnReplay()
	}
}

// Idempotent runs effect in one transaction, as InTx does, and only once per key. The transaction
// claims the key, runs effect and stores its result as JSON, so that a crash loses all of it or
// nothing. What happens to a request:
//
//   - the first one claims the key; if effect fails, the rollback frees the key again;
//   - a repeat after the commit returns the stored result and calls key.OnReplay;
//   - a repeat before the commit waits for it, and after a lock timeout returns a Conflict error
//     with a RetryAfter;
//   - a repeat with another body returns an Unprocessable error.
//
// T is restored from JSON, so only its exported fields survive. Without a key only effect runs.
func Idempotent[T any](ctx context.Context, s *Store, key *IdempotencyKey, effect func(q *gendb.Queries) (T, error)) (T, error) {
	return idempotent(ctx, s, key, true, effect)
}

// IdempotentSecret is Idempotent for a result that is shown only once: it is not stored, and a
// repeat returns a Conflict error.
func IdempotentSecret[T any](ctx context.Context, s *Store, key *IdempotencyKey, effect func(q *gendb.Queries) (T, error)) (T, error) {
	return idempotent(ctx, s, key, false, effect)
}

// Reserve stores that a key is in use, for an effect of several transactions. A repeat with the same
// body succeeds, too; one with another body returns an Unprocessable error.
func Reserve(ctx context.Context, s *Store, key *IdempotencyKey) error {
	_, err := Idempotent(ctx, s, key, func(*gendb.Queries) (bool, error) { return true, nil })
	return err
}

// Replay returns the result that Idempotent has stored for a key, and whether there is one. It calls
// key.OnReplay if there is.
func Replay[T any](ctx context.Context, s *Store, key *IdempotencyKey) (result T, isDone bool, err error) {
	if key == nil {
		return result, false, nil
	}
	stored, err := s.GetIdempotencyKey(ctx, gendb.GetIdempotencyKeyParams{
		OrganizationID: key.OrganizationID, UserID: key.UserID, Scope: key.Scope, Key: key.Key,
	})
	if apperr.Is(err, apperr.NotFound) {
		return result, false, nil
	}
	if err == nil {
		err = key.read(stored, &result)
	}
	if err == nil {
		key.NotifyReplayed()
	}
	return result, err == nil, err
}

func idempotent[T any](ctx context.Context, s *Store, key *IdempotencyKey, storeResult bool, effect func(q *gendb.Queries) (T, error)) (T, error) {
	var result, zero T
	isReplay := false
	err := s.InTx(ctx, func(q *gendb.Queries) error {
		result, isReplay = zero, false // InTx may run this again
		if key != nil {
			stored, isUsed, err := key.claim(ctx, q)
			if err != nil {
				return err
			}
			if isUsed {
				isReplay = true
				return key.read(stored, &result)
			}
		}
		var err error
		if result, err = effect(q); err != nil || key == nil || !storeResult {
			return err
		}
		return key.store(ctx, q, result)
	})
	if err != nil {
		return zero, err
	}
	if isReplay {
		key.NotifyReplayed()
	}
	return result, nil
}

// claim claims the key for this transaction, or returns what an earlier request stored for it. It
// waits for a transaction that has claimed the key and not ended.
func (k *IdempotencyKey) claim(ctx context.Context, q *gendb.Queries) (stored gendb.IdempotencyKey, isUsed bool, err error) {
	for {
		claimed, err := q.ClaimIdempotencyKey(ctx, gendb.ClaimIdempotencyKeyParams{
			OrganizationID: k.OrganizationID, UserID: k.UserID, Scope: k.Scope, Key: k.Key, RequestHash: k.Hash,
		})
		if err != nil {
			return stored, false, claimError(err)
		}
		if claimed > 0 {
			return stored, false, q.ResetLockTimeout(ctx)
		}
		stored, err = q.GetIdempotencyKey(ctx, gendb.GetIdempotencyKeyParams{
			OrganizationID: k.OrganizationID, UserID: k.UserID, Scope: k.Scope, Key: k.Key,
		})
		// If the key expired between the two statements, it is free again.
		if !apperr.Is(err, apperr.NotFound) {
			return stored, true, err
		}
	}
}

// claimError translates the lock timeout of a claim: the first request is still in progress.
func claimError(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != lockTimeout {
		return err
	}
	return &apperr.Error{
		Kind:       apperr.Conflict,
		Message:    "The first request with this Idempotency-Key is still in progress. Retry for its response.",
		RetryAfter: time.Second,
		Err:        err,
	}
}

// read decodes the result that was stored for the key.
func (k *IdempotencyKey) read(stored gendb.IdempotencyKey, into any) error {
	if err := k.CheckHash(stored.RequestHash); err != nil {
		return err
	}
	if stored.Answer == nil {
		return apperr.New(apperr.Conflict, "The request with this Idempotency-Key succeeded. Its response contained a secret and was not stored. Use another key.")
	}
	if err := json.Unmarshal(stored.Answer, into); err != nil {
		return fmt.Errorf("decode stored response: %w", err)
	}
	return nil
}

// store stores the result for repeats.
func (k *IdempotencyKey) store(ctx context.Context, q *gendb.Queries, result any) error {
	answer, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode response: %w", err)
	}
	return q.SetIdempotencyAnswer(ctx, gendb.SetIdempotencyAnswerParams{
		OrganizationID: k.OrganizationID, UserID: k.UserID, Scope: k.Scope, Key: k.Key, Answer: answer,
	})
}
