package chat

import (
	"context"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/fault"
)

// Rate notes how a message of a conversation that the caller may read is liked: like,
// dislike, or nil for neither. The record of the exchange gets the same, and who
// watches hears of it. What a user has said is a Conflict.
func (c *Chat) Rate(ctx context.Context, who auth.Principal, id string, feedback *string) (db.Message, error) {
	message, err := c.Message(ctx, who, id, nil)
	if err != nil {
		return db.Message{}, err
	}
	if message.Sender == byUser {
		return db.Message{}, fault.New(fault.Conflict, "Only what the bot or an agent has said can be liked or disliked.")
	}
	if err := c.store.SetFeedback(ctx, feedback, who.OrganizationID, message.ID); err != nil {
		return db.Message{}, err
	}
	message.Feedback = feedback
	c.publish(message.SessionID, &Event{Rated: &message})
	return message, nil
}
