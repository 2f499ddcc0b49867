package run

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/reply"
	"parley/internal/store"
)

// CompleteStateless has a bot answer a question without storing anything. The reply ends when ctx is done, or the
// server stops. It counts as usage of an API key. It needs a slot like every reply, but it has no run that could be
// queued: if no slot is free, it returns Unavailable.
func (d *Dispatcher) CompleteStateless(ctx context.Context, key uuid.UUID, question bot.Question) (*reply.Reply, error) {
	if err := d.takeStatelessSlot(question); err != nil {
		return nil, err
	}
	r := reply.New(store.NewID(), uuid.Nil, uuid.Nil)
	go d.writeStateless(ctx, key, question, r) // Close waits for its slot
	return r, nil
}

func (d *Dispatcher) takeStatelessSlot(question bot.Question) error {
	if d.slots.takeUnqueued(question.Bot.OrganizationID) {
		return nil
	}
	return &apperr.Error{
		Kind:       apperr.Unavailable,
		Message:    "Too many replies are in progress. Retry later.",
		RetryAfter: 2 * time.Second,
	}
}

// RelayStateless is CompleteStateless for a request that the bot passes on to its model server. It calls emit for
// each chunk of the response, and returns the outcome, without the text, when the response has ended.
func (d *Dispatcher) RelayStateless(ctx context.Context, key uuid.UUID, question bot.Question, request bot.Request, emit func(chunk json.RawMessage) error) (*reply.Outcome, error) {
	if err := d.takeStatelessSlot(question); err != nil {
		return nil, err
	}
	defer d.slots.release(question.Bot.OrganizationID)
	return d.endStateless(ctx, key, question, func(ctx context.Context) (bot.Answer, string, error) {
		answer, err := d.bots.Relay(ctx, question, request, emit)
		return answer, "", err
	}), nil
}

func (d *Dispatcher) writeStateless(ctx context.Context, key uuid.UUID, question bot.Question, r *reply.Reply) {
	defer d.slots.release(question.Bot.OrganizationID)
	r.Finish(1, d.endStateless(ctx, key, question, func(ctx context.Context) (bot.Answer, string, error) {
		answer, err := d.bots.Respond(ctx, question, func(delta string) error {
			r.Append(1, delta)
			return context.Cause(ctx)
		})
		return answer, r.Text(), err
	}))
}

// endStateless has a bot answer in the slot that its caller took. It counts the usage, and returns
// the outcome.
func (d *Dispatcher) endStateless(ctx context.Context, key uuid.UUID, question bot.Question, answer func(context.Context) (bot.Answer, string, error)) *reply.Outcome {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.answering, func() { cancel(context.Cause(d.answering)) })()
	answered, text, err := answer(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	switch {
	case errors.Is(err, errStopping):
		err = apperr.New(apperr.Unavailable, "The server is stopping. Retry.")
	case errors.Is(err, context.Canceled):
		err = reply.ErrCancelled // the client has disconnected
	case err != nil:
		d.log.Error("answer stateless completion", "bot_id", question.Bot.ID, "err", err)
	}
	outcome := reply.NewOutcome(text, answered, err)
	d.usage.count(question, key, answered, outcome.State == "failed")
	d.tally.countStateless(outcome)
	return outcome
}
