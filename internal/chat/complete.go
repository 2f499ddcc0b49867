package chat

import (
	"context"
	"errors"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/reply"
	"parley/internal/run"
	"parley/internal/store"
)

// Complete stores a question and has the bot answer it. The conversation is the named one, which must be the bot's,
// or a new one in the bot's API inbox. Errors that can be detected early are returned; afterwards the reply belongs
// to the conversation.
//
// A repeat under the same key never stores the question again. It returns the reply of the run that answers the
// stored question or, if that run has failed, the reply of another run.
func (c *Chat) Complete(ctx context.Context, caller auth.Principal, botRef, conversation string, message NewMessage) (Sent, error) {
	owner, err := c.bots.Get(ctx, caller.OrganizationID, botRef)
	if err != nil {
		return Sent{}, err
	}
	if !caller.Bounds.AllowsBot(owner.ID) {
		return Sent{}, errOutOfBounds()
	}
	if err := message.checkContent("/message/content"); err != nil {
		return Sent{}, err
	}
	if err := bot.CheckQueryMetadata(apperr.InvalidMessage, "/message/queryMetadata", message.QueryMetadata); err != nil {
		return Sent{}, err
	}
	how := delivery{sender: senderUser, reply: replyAlways, bot: &owner, content: "/message/content", attachments: "/message/attachments"}
	var sent Sent
	if conversation == "" {
		sent, err = c.sendNew(ctx, caller, message, how)
	} else {
		sent, err = c.send(ctx, caller, conversation, message, how)
	}
	if err != nil || !sent.IsReplayed {
		return sent, err
	}
	return c.repeat(ctx, &owner, message.IdempotencyKey, sent)
}

// sendNew creates a conversation in the bot's API inbox and stores its first message, both or
// neither.
func (c *Chat) sendNew(ctx context.Context, caller auth.Principal, message NewMessage, how delivery) (Sent, error) {
	if err := checkCreate(caller, how.bot.ID); err != nil {
		return Sent{}, err
	}
	params, err := c.prepare(ctx, caller, store.NewID(), message, how)
	if err != nil {
		return Sent{}, err
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	claim := c.claim(&params)
	var sent Sent
	err = c.store.InTx(ctx, func(q *db.Queries) error {
		if err := createConversation(ctx, q, caller, params.SessionID, how.bot.ID, false); err != nil {
			return err
		}
		sent, err = insertMessage(ctx, q, caller, params)
		if err == nil && sent.IsReplayed {
			return errReplayed
		}
		return err
	})
	if errors.Is(err, errReplayed) {
		_, err = c.usedKey(ctx, message.IdempotencyKey) // unlike the rollback, usedKey waits for synchronous standbys
	}
	return c.dispatch(ctx, claim, params, how.bot, sent, err)
}

// errReplayed rolls back the conversation that a repeated request has created.
var errReplayed = errors.New("the key was used before")

// repeat returns the reply to a question that an earlier request stored under the same key. If its
// run has failed, the first repeat after that starts another run, and the others follow it.
func (c *Chat) repeat(ctx context.Context, owner *db.Bot, key *store.IdempotencyKey, sent Sent) (Sent, error) {
	found, err := c.store.GetRun(ctx, key.OrganizationID, *sent.RunID)
	if err == nil && found.Run.State == "failed" {
		var retried *reply.Reply
		if retried, err = c.retry(ctx, owner, key, found.Run); err != nil {
			return Sent{}, err
		}
		if retried != nil {
			sent.RunID, sent.Reply, sent.IsReplayed = &retried.RunID, retried, false
			return sent, nil
		}
		found, err = c.runOf(ctx, key)
	}
	if err != nil {
		return Sent{}, apperr.Rephrase(err, apperr.NotFound, noRun)
	}
	key.NotifyReplayed()
	sent.RunID = &found.Run.ID
	sent.Reply, err = c.runs.Reply(ctx, found.Run)
	return sent, err
}

// runOf returns the run that a key names.
func (c *Chat) runOf(ctx context.Context, key *store.IdempotencyKey) (db.GetRunRow, error) {
	used, err := c.usedKey(ctx, key)
	if err != nil {
		return db.GetRunRow{}, err
	}
	return c.store.GetRun(ctx, key.OrganizationID, *used.RunID)
}

// usedKey returns the stored message of a key after synchronous standbys have it.
func (c *Chat) usedKey(ctx context.Context, key *store.IdempotencyKey) (db.IdempotencyKey, error) {
	return c.store.GetIdempotencyKey(ctx, db.GetIdempotencyKeyParams{
		OrganizationID: key.OrganizationID, UserID: key.UserID, Scope: key.Scope, Key: key.Key,
	})
}

// retry starts or queues another run for the question of a failed run, and returns its reply. It
// returns nil if another repeat was faster.
func (c *Chat) retry(ctx context.Context, owner *db.Bot, key *store.IdempotencyKey, failed db.Run) (*reply.Reply, error) {
	question, err := c.store.GetMessage(ctx, failed.OrganizationID, failed.QuestionID)
	if err != nil {
		return nil, apperr.Rephrase(err, apperr.NotFound, noMessage)
	}
	parent := c.traces.ParentOf(ctx)
	ctx, cancel := detach(ctx)
	defer cancel()
	params := db.RetryRunParams{
		OrganizationID: failed.OrganizationID,
		SessionID:      failed.SessionID,
		FailedRunID:    failed.ID,
		UserID:         key.UserID,
		Scope:          key.Scope,
		Key:            key.Key,
		RunID:          store.NewID(),
		ReplyID:        store.NewID(),
		QueueLimit:     reply.QueueLimit,
		LeaseSeconds:   run.LeaseSeconds,
	}
	claim := c.runs.Claim(db.SendMessageParams{
		OrganizationID: params.OrganizationID, SessionID: params.SessionID, RunID: params.RunID, ReplyID: params.ReplyID,
	}, true)
	params.CanStart = claim.HasSlot
	row, err := c.store.RetryRun(ctx, params)
	switch {
	case apperr.Is(err, apperr.NotFound): // the conversation was deleted
		claim.Abort(nil)
		return nil, apperr.Rephrase(err, apperr.NotFound, noConversation)
	case err != nil:
		claim.Abort(err)
		return nil, err
	case row.State == "running":
		return claim.Start(run.Question{
			Bot:           owner,
			Text:          question.Message.Content,
			QueryMetadata: question.Message.QueryMetadata,
			AskedAt:       question.Message.CreatedAt,
			Parent:        parent,
		}), nil
	case row.State == "queued":
		return claim.Queue(), nil
	}
	claim.Abort(nil)
	if row.IsQueueFull {
		return nil, reply.ErrQueueFull()
	}
	return nil, nil
}
