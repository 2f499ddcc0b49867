package chat

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
)

// Consult has a bot answer a question of which nothing is kept. The reply is its
// asker's alone: it ends when ctx does, at the latest with the server. It takes a slot
// like any other, and is Unavailable where there is none, since nothing of it could
// wait in the database.
func (c *Chat) Consult(ctx context.Context, question bot.Question) (*Reply, error) {
	if !c.slots.takeNow(question.Bot.OrganizationID) {
		return nil, &apperr.Error{
			Kind:       apperr.Unavailable,
			Message:    "As many replies are being written as may be; try again when some have ended.",
			RetryAfter: 2 * time.Second,
		}
	}
	reply := newReply(newID(), uuid.Nil, uuid.Nil)
	go c.consult(ctx, question, reply) // Close waits for its slot
	return reply, nil
}

func (c *Chat) consult(ctx context.Context, question bot.Question, reply *Reply) {
	defer c.slots.release(question.Bot.OrganizationID)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.replying, func() { cancel(context.Cause(c.replying)) })()
	answer, err := c.bots.Respond(ctx, question, func(delta string) error {
		reply.grow(1, delta)
		return context.Cause(ctx)
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	switch {
	case errors.Is(err, errStopping):
		err = apperr.New(apperr.Unavailable, "The server is stopping; ask the next one to start.")
	case err != nil && ctx.Err() == nil:
		c.log.Error("a reply failed", "bot_id", question.Bot.ID, "error", err)
	}
	reply.end(1, judge(reply.written(), answer, err))
}
