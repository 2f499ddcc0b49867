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
	Citations   json.RawMessage `json:"citations,omitempty"`
	Suggestions json.RawMessage `json:"suggestions,omitempty"`
	RunID       *uuid.UUID      `json:"run_id,omitempty"`
	ClientID    string          `json:"client_id,omitempty"`
	Hash        []byte          `json:"hash,omitempty"` // of the content of a client's message; nil if an older version stored it
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
		Citations:   t.Citations,
		Suggestions: t.Suggestions,
		RunID:       t.RunID,
		CreatedAt:   t.CreatedAt,
	}
}

// bytes estimates the memory of a visit.
func (s *state) bytes() int {
	bytes := visitBytes
	for _, t := range s.Turns {
		bytes += t.bytes()
	}
	return bytes
}

// visitBytes and turnBytes estimate the memory of a visit and of a turn in addition to their texts.
const (
	visitBytes = 2 << 10
	turnBytes  = 512
)

func (t turn) bytes() int {
	return turnBytes + len(t.Content) + len(t.Citations) + len(t.Suggestions) + len(t.ClientID)
}

// add appends a turn and returns it with its seq and time. It drops the oldest turns beyond
// maxTurns and beyond the limit of bytes, where 0 means no limit.
func (s *state) add(t turn, limit int) turn {
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(s.LastTime) {
		now = s.LastTime.Add(time.Microsecond)
	}
	s.LastSeq++
	s.LastTime = now
	t.Seq, t.CreatedAt = s.LastSeq, now
	s.Turns = append(slices.Clip(s.Turns), t)
	excess, dropped := s.bytes()-limit, 0
	for dropped < len(s.Turns)-1 && (len(s.Turns)-dropped > maxTurns || limit > 0 && excess > 0) {
		excess -= s.Turns[dropped].bytes()
		dropped++
	}
	if dropped > 0 {
		s.Turns = slices.Clone(s.Turns[dropped:])
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

// repeats reports whether another turn has the same content.
func (t turn) repeats(other turn) bool {
	if t.Hash == nil {
		return t.Content == other.Content
	}
	return bytes.Equal(t.Hash, other.Hash)
}

// question returns the question of a turn for the bot, with the turns before it.
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
