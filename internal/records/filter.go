package records

import (
	"context"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/store"
)

// Filter selects records of a chatbot. An empty text matches all records.
type Filter struct {
	Days         Days
	UserMessage  string // contained in the question, ignoring case
	BotMessage   string // contained in the answer, ignoring case
	Conversation string // ID of a conversation of the chatbot; NotFound when there is none
	Status       string // completed, failed or cancelled
	Feedback     string // like, dislike, or none for records without feedback
	Type         string // New or Follow
}

// hasMoreThanDays reports whether the filter selects by anything but days.
func (f Filter) hasMoreThanDays() bool { return f != Filter{Days: f.Days} }

// CheckFilter returns the error that Export would return for a filter. It exports nothing.
func (r *Records) CheckFilter(ctx context.Context, organization, bot uuid.UUID, filter Filter) error {
	_, err := r.findSession(ctx, organization, bot, filter)
	return err
}

// findSession returns the ID of the filter's conversation, or nil when the filter has none.
func (r *Records) findSession(ctx context.Context, organization, bot uuid.UUID, filter Filter) (*uuid.UUID, error) {
	if filter.Conversation == "" {
		return nil, nil
	}
	id, err := store.ParseID(filter.Conversation, noConversation)
	if err != nil {
		return nil, err
	}
	exists, err := r.store.HasConversation(ctx, organization, id, bot)
	if err == nil && !exists {
		err = apperr.New(apperr.NotFound, noConversation)
	}
	return &id, err
}

// pattern matches texts that contain a given one. At most one of its fields is set; with none it
// matches all texts.
type pattern struct{ like, ilike string }

func newPattern(text string) pattern {
	text = store.SearchText(text)
	switch {
	case text == "":
		return pattern{}
	case store.HasCase(text):
		return pattern{ilike: store.ContainsPattern(text)}
	}
	return pattern{like: store.ContainsPattern(text)}
}
