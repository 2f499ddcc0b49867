package feed

import (
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/reply"
)

// Event is something that happened in a conversation or a visit: one of the types in this file.
// Events are shared by all watchers and must not be modified.
type Event interface {
	// notification returns the notification for other instances, or false if the event is local.
	notification(topic uuid.UUID) (Notification, bool)
}

// MessageStored is a message that was committed. Message lacks the sender's name.
type MessageStored struct{ Message *db.Message }

// FeedbackChanged is a message that was liked, disliked, or neither anymore.
type FeedbackChanged struct{ Message *db.Message }

// ReplyStarted is a reply that the bot has begun to write.
type ReplyStarted struct{ Reply *reply.Reply }

// ConversationDeleted is the end of a conversation. It is repeated until its watchers have left.
type ConversationDeleted struct{}

// KeyEnded is an API key that was revoked or has expired. Only watches that were opened with it are affected.
type KeyEnded struct{ KeyID uuid.UUID }

// VisitExpiring announces when a visit ends unless it becomes active again.
type VisitExpiring struct{ At time.Time }

// VisitExpired is the end of a visit.
type VisitExpired struct{}

// Behind announces committed messages that the watcher has yet to read (Watch.Since).
type Behind struct{}

func (e *MessageStored) notification(topic uuid.UUID) (Notification, bool) {
	return Notification{Kind: KindMessage, Topic: topic, Number: e.Message.Seq}, true
}

func (e *FeedbackChanged) notification(topic uuid.UUID) (Notification, bool) {
	return Notification{Kind: KindFeedback, Topic: topic, ID: e.Message.ID}, true
}

func (e *ReplyStarted) notification(topic uuid.UUID) (Notification, bool) {
	return Notification{Kind: KindRun, Topic: topic, ID: e.Reply.RunID}, true
}

func (*ConversationDeleted) notification(uuid.UUID) (Notification, bool) {
	return Notification{}, false
}
func (*KeyEnded) notification(uuid.UUID) (Notification, bool)      { return Notification{}, false }
func (*VisitExpiring) notification(uuid.UUID) (Notification, bool) { return Notification{}, false }
func (*VisitExpired) notification(uuid.UUID) (Notification, bool)  { return Notification{}, false }
func (*Behind) notification(uuid.UUID) (Notification, bool)        { return Notification{}, false }
