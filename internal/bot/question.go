package bot

import (
	"slices"

	"github.com/google/uuid"

	"parley/gen/db"
)

// Question is a message that a chatbot is asked to answer.
type Question struct {
	Bot  db.Bot
	Text string
	// Selection restricts which of its FAQs the chatbot may use.
	Selection Selection
	// Attachments are those of the message. They and History are set only for engines that use
	// them.
	Attachments []Attachment
	// History holds the turns of the conversation before the question, oldest first.
	History []Turn
}

// Turn is an earlier message of the conversation.
type Turn struct {
	IsAsker     bool // written by the user; otherwise by the chatbot or an agent
	Text        string
	Attachments []Attachment
}

// Attachment is a file that belongs to a message.
type Attachment struct {
	Type     string // image, video, audio, sticker or other
	Filename string
	File     string // the URL
}

// Selection restricts which of its FAQs a chatbot may use for a question. The zero Selection
// restricts nothing.
type Selection struct {
	// IsPartial restricts the FAQs to those in Entries.
	IsPartial bool
	Entries   []uuid.UUID
	// Labels is the condition that the labels of an FAQ must meet.
	Labels Relation
}

// Relation is a condition on a set of labels. It requires all of its labels and nested relations,
// or any of them if IsAny is set. The zero Relation is always met. Labels are compared after Fold.
type Relation struct {
	IsAny  bool
	Labels []string
	Nested []Relation
}

// IsEmpty reports whether the relation has no conditions.
func (r Relation) IsEmpty() bool { return len(r.Labels) == 0 && len(r.Nested) == 0 }

// Folded returns the relation with every label folded.
func (r Relation) Folded() Relation {
	folded := Relation{IsAny: r.IsAny}
	for _, label := range r.Labels {
		folded.Labels = append(folded.Labels, Fold(label))
	}
	for _, nested := range r.Nested {
		folded.Nested = append(folded.Nested, nested.Folded())
	}
	return folded
}

// Matches reports whether the labels meet the relation. Both must be folded.
func (r Relation) Matches(labels []string) bool {
	if r.IsEmpty() {
		return true
	}
	// With IsAny one condition that is met decides, otherwise one that is not met.
	decides := func(met bool) bool { return met == r.IsAny }
	decided := slices.ContainsFunc(r.Labels, func(label string) bool { return decides(slices.Contains(labels, label)) }) ||
		slices.ContainsFunc(r.Nested, func(nested Relation) bool { return decides(nested.Matches(labels)) })
	return decided == r.IsAny
}
