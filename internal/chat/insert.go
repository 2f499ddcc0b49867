package chat

import (
	"context"
	"errors"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/reply"
	"parley/internal/store"
)

// insertMessage stores a message with one statement and turns its refusals into errors.
func insertMessage(ctx context.Context, q *db.Queries, caller auth.Principal, params db.SendMessageParams) (Sent, error) {
	row, err := q.SendMessage(ctx, params)
	if err != nil {
		return Sent{}, apperr.Rephrase(err, apperr.NotFound, noConversation)
	}
	switch row.Refusal {
	case "":
	case "forbidden":
		return Sent{}, errForeign()
	case "out_of_bounds":
		return Sent{}, errOutOfBounds()
	case "queue_full":
		// A repeat needs no place in the queue.
		if params.IdempotencyKey != nil {
			if sent, err := replay(ctx, q, caller, params); !errors.Is(err, errKeyExpired) {
				return sent, err
			}
		}
		return Sent{}, reply.ErrQueueFull()
	default: // the conversation of another bot
		return Sent{}, apperr.New(apperr.NotFound, "The chatbot has no such conversation.")
	}
	if !row.IsSent {
		sent, err := replay(ctx, q, caller, params)
		if errors.Is(err, errKeyExpired) {
			return insertMessage(ctx, q, caller, params)
		}
		return sent, err
	}
	sent := Sent{ConversationID: params.SessionID, MessageID: params.MessageID, Seq: row.Seq, CreatedAt: row.CreatedAt, sender: row.Sender}
	if row.IsAnswered {
		sent.RunID = &params.RunID
		sent.isRunning = row.RunState == "running"
	}
	return sent, nil
}

// errKeyExpired is returned if an idempotency key was in use and was then deleted, because it expired. The key can be
// used again.
var errKeyExpired = errors.New("the key expired meanwhile")

// replay returns the message that an earlier request stored under the same key.
func replay(ctx context.Context, q *db.Queries, caller auth.Principal, params db.SendMessageParams) (Sent, error) {
	used, err := q.GetIdempotencyKey(ctx, db.GetIdempotencyKeyParams{
		OrganizationID: caller.OrganizationID,
		UserID:         caller.UserID,
		Scope:          params.Scope,
		Key:            *params.IdempotencyKey,
	})
	if apperr.Is(err, apperr.NotFound) {
		return Sent{}, errKeyExpired
	}
	if err != nil {
		return Sent{}, err
	}
	// INVARIANT: no scope is used both for messages and by store.Idempotent, so the key belongs to a message.
	stored, err := q.GetMessage(ctx, caller.OrganizationID, *used.MessageID)
	if err != nil {
		return Sent{}, apperr.Rephrase(err, apperr.NotFound, noMessage)
	}
	message := stored.Message
	if len(used.RequestHash) == 0 && message.Content == params.Content { // version 0.1.0 stored no hash for sockets
		used.RequestHash = params.RequestHash
	}
	key := store.IdempotencyKey{Hash: params.RequestHash}
	if err := key.CheckHash(used.RequestHash); err != nil {
		return Sent{}, err
	}
	return Sent{
		ConversationID: message.SessionID,
		MessageID:      message.ID,
		Seq:            message.Seq,
		CreatedAt:      message.CreatedAt,
		RunID:          used.RunID,
		IsReplayed:     true,
	}, nil
}
