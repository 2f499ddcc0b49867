package visit

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/bot"
)

// maxTurns is how many messages of a visit are kept.
const maxTurns = 100

// state is the stored state of a visit, with its turns. It is immutable: a change yields a new one.
type state struct {
	ID             uuid.UUID `json:"id"`
	OrganizationID uuid.UUID `json:"organization_id"`
	BotID          uuid.UUID `json:"bot_id"`
	Turns          []turn    `json:"turns"` // the newest maxTurns
	LastSeq        int64     `json:"last_seq"`
	LastTime       time.Time `json:"last_time"`
}

// turn is a message of a visit, and the client's own ID of it.
type turn struct {
	ID          uuid.UUID       `json:"id"`
	Seq         int64           `json:"seq"`
	Sender      string          `json:"sender"`
	Content     string          `json:"content"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	Citations   json.RawMessage `json:"citations,omitempty"`
	Suggestions json.RawMessage `json:"suggestions,omitempty"`
	RunID       *uuid.UUID      `json:"run_id,omitempty"`
	ClientID    string          `json:"client_id,omitempty"`
	Hash        []byte          `json:"hash,omitempty"` // of what a client's message says; nil if an older version stored it
	CreatedAt   time.Time       `json:"created_at"`
}

// message returns the turn as a message of a conversation.
func (t turn) message(visit uuid.UUID) *db.Message {
	return &db.Message{
		ID:          t.ID,
		SessionID:   visit,
		Seq:         t.Seq,
		Sender:      t.Sender,
		Content:     t.Content,
		Metadata:    t.Metadata,
		Citations:   t.Citations,
		Suggestions: t.Suggestions,
		RunID:       t.RunID,
		CreatedAt:   t.CreatedAt,
	}
}

// add appends a turn and returns it with its seq and time.
func (s *state) add(t turn) turn {
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(s.LastTime) {
		now = s.LastTime.Add(time.Microsecond)
	}
	s.LastSeq++
	s.LastTime = now
	t.Seq, t.CreatedAt = s.LastSeq, now
	s.Turns = append(slices.Clip(s.Turns), t)
	if len(s.Turns) > maxTurns {
		s.Turns = slices.Clone(s.Turns[1:])
	}
	return t
}

// sent returns the turn that a client has sent under its own ID.
func (s *state) sent(clientID string) (turn, bool) {
	i := slices.IndexFunc(s.Turns, func(t turn) bool { return clientID != "" && t.ClientID == clientID })
	if i < 0 {
		return turn{}, false
	}
	return s.Turns[i], true
}

// repeats reports whether another turn says the same.
func (t turn) repeats(other turn) bool {
	if t.Hash == nil {
		return t.Content == other.Content
	}
	return bytes.Equal(t.Hash, other.Hash)
}

// question returns what the bot is asked by a turn, with the turns before it.
func (s *state) question(owner db.Bot, asked turn) bot.Question {
	question := bot.Question{Bot: owner, Text: asked.Content}
	for _, t := range s.Turns {
		isAsker := t.Sender == "user"
		if t.Seq < asked.Seq || !isAsker {
			question.History = append(question.History, bot.Turn{IsAsker: isAsker, Text: t.Content})
		}
	}
	return question
}
