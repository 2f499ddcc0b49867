package run

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/reply"
	"parley/internal/store"
)

// CompleteStateless has a bot answer a question without storing anything. The reply ends when ctx
// is done, or the server stops. It counts as usage of an API key. It needs a slot like every reply,
// and returns Unavailable if none is free: it has no run that could be queued.
func (d *Dispatcher) CompleteStateless(ctx context.Context, key uuid.UUID, question bot.Question) (*reply.Reply, error) {
	if !d.slots.takeUnqueued(question.Bot.OrganizationID) {
		return nil, &apperr.Error{
			Kind:       apperr.Unavailable,
			Message:    "Too many replies are in progress. Retry later.",
			RetryAfter: 2 * time.Second,
		}
	}
	r := reply.New(store.NewID(), uuid.Nil, uuid.Nil)
	go d.writeStateless(ctx, key, question, r) // Close waits for its slot
	return r, nil
}

func (d *Dispatcher) writeStateless(ctx context.Context, key uuid.UUID, question bot.Question, r *reply.Reply) {
	defer d.slots.release(question.Bot.OrganizationID)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.answering, func() { cancel(context.Cause(d.answering)) })()
	answer, err := d.bots.Respond(ctx, question, func(delta string) error {
		r.Append(1, delta)
		return context.Cause(ctx)
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	switch {
	case errors.Is(err, errStopping):
		err = apperr.New(apperr.Unavailable, "The server is stopping. Retry.")
	case err != nil && ctx.Err() == nil:
		d.log.Error("complete without storing", "bot_id", question.Bot.ID, "err", err)
	}
	outcome := reply.NewOutcome(r.Text(), answer, err)
	if errors.Is(err, context.Canceled) {
		outcome = reply.NewOutcome(r.Text(), answer, reply.ErrCancelled) // the client has disconnected
	}
	d.usage.count(question, key, answer, outcome.State == "failed")
	d.tally.countStateless(outcome)
	r.Finish(1, outcome)
}
