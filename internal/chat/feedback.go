package chat

import (
	"context"

	"parley/gen/db"
	"parley/internal/auth"
)

// Rate notes how a message of a conversation that the caller may read is liked: like,
// dislike, or nil for neither. The record of an exchange gets the feedback of its
// reply, and who watches hears of it.
func (c *Chat) Rate(ctx context.Context, who auth.Principal, id string, feedback *string) (db.Message, error) {
	message, err := c.Message(ctx, who, id, nil)
	if err != nil {
		return db.Message{}, err
	}
	if err := c.store.SetFeedback(ctx, feedback, who.OrganizationID, message.ID); err != nil {
		return db.Message{}, err
	}
	message.Feedback = feedback
	c.publish(message.SessionID, &Event{Rated: &message})
	return message, nil
}
