package records

import (
	"context"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/store"
)

// Filter says which of a chatbot's records are wanted: those of some days that fulfil
// all else that it has. An empty text asks for nothing.
type Filter struct {
	Days         Days
	UserMessage  string // is contained in the question, whatever the case
	BotMessage   string // is contained in the answer, whatever the case
	Conversation string // the conversation's id; NotFound when the chatbot has none with it
	Status       string // completed, failed or cancelled
	Feedback     string // like, dislike, or none where nobody has said
	Type         string // New or Follow
}

// isNarrow tells whether records are wanted by more than their days.
func (f Filter) isNarrow() bool { return f != Filter{Days: f.Days} }

// sessionOf is the conversation that the records must be of; nil where any will do.
func (r *Records) sessionOf(ctx context.Context, organization, bot uuid.UUID, filter Filter) (*uuid.UUID, error) {
	if filter.Conversation == "" {
		return nil, nil
	}
	id, err := store.ParseID(filter.Conversation, noConversation)
	if err != nil {
		return nil, err
	}
	isThere, err := r.store.HasConversation(ctx, organization, id, bot)
	if err == nil && !isThere {
		err = apperr.New(apperr.NotFound, noConversation)
	}
	return &id, err
}

// pattern is a text to be contained, as SQL has it; both are empty for no text.
type pattern struct{ like, ilike string }

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// patternOf takes LIKE, which is twice as fast, where nothing in the text has a case.
func patternOf(text string) pattern {
	if text == "" {
		return pattern{}
	}
	contained := "%" + escapeLike.Replace(text) + "%"
	if strings.ContainsFunc(text, hasCase) {
		return pattern{ilike: contained}
	}
	return pattern{like: contained}
}

// hasCase tells whether a character stands in for another one when the case does
// not matter.
func hasCase(r rune) bool {
	return unicode.SimpleFold(r) != r || unicode.ToLower(r) != r || unicode.ToUpper(r) != r
}
