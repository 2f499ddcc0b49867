package chat

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/realtime"
)

// visitTurns is how many messages of a visit can be read again.
const visitTurns = 100

// visitStore is where visits are kept: in the memory of this instance, or in Redis for
// all of them. What is over is NotFound.
type visitStore interface {
	// begin keeps a new visit.
	begin(ctx context.Context, begun visit) error
	// read returns a visit; isActive says that this is activity, which renews its time.
	read(ctx context.Context, id uuid.UUID, isActive bool) (visit, error)
	// change replaces a visit by what change makes of it, which is activity; with an error
	// of change it stays as it was. change may be called again for a newer state.
	change(ctx context.Context, id uuid.UUID, change func(*visit) error) error
	// forget drops what this instance keeps of a visit that nothing was said in.
	forget(id uuid.UUID)
	// end tells when a visit ends, if nothing happens; one that is over is forgotten.
	end(ctx context.Context, id uuid.UUID) (end time.Time, isOver bool)
}

// visitsIn keeps visits in Redis, or without one in memory.
func visitsIn(link *realtime.Redis, ttl time.Duration) visitStore {
	if link == nil {
		return newMemoryVisits(ttl)
	}
	return &redisVisits{link: link, ttl: ttl, copies: newMemoryVisits(ttl)}
}

// visit is what was said in an anonymous visit. It is a value: a change makes a new one.
type visit struct {
	ID             uuid.UUID `json:"id"`
	OrganizationID uuid.UUID `json:"organization_id"`
	BotID          uuid.UUID `json:"bot_id"`
	Turns          []turn    `json:"turns"` // the newest visitTurns
	LastSeq        int64     `json:"last_seq"`
	LastTime       time.Time `json:"last_time"`
}

// turn is a message of a visit, and the client's own id of it.
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
	CreatedAt   time.Time       `json:"created_at"`
}

// message is the turn as conversations have it.
func (t turn) message(visit uuid.UUID) db.Message {
	return db.Message{
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

// say adds a turn, with its place and time.
func (v *visit) say(said turn) turn {
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(v.LastTime) {
		now = v.LastTime.Add(time.Microsecond)
	}
	v.LastSeq++
	v.LastTime = now
	said.Seq, said.CreatedAt = v.LastSeq, now
	v.Turns = append(slices.Clip(v.Turns), said)
	if len(v.Turns) > visitTurns {
		v.Turns = slices.Clone(v.Turns[1:])
	}
	return said
}

// sent returns what a client has sent under an id of its own.
func (v *visit) sent(clientID string) (turn, bool) {
	i := slices.IndexFunc(v.Turns, func(one turn) bool { return clientID != "" && one.ClientID == clientID })
	if i < 0 {
		return turn{}, false
	}
	return v.Turns[i], true
}

// question is what the bot is asked in a visit, with what was said in it.
func (v *visit) question(owner db.Bot, asked turn) bot.Question {
	question := bot.Question{Bot: owner, Text: asked.Content}
	for _, one := range v.Turns {
		isAsker := one.Sender == byUser
		if one.Seq < asked.Seq || !isAsker {
			question.History = append(question.History, bot.Turn{IsAsker: isAsker, Text: one.Content})
		}
	}
	return question
}

// memoryVisits keeps visits in the memory of this instance.
type memoryVisits struct {
	ttl time.Duration

	mu   sync.Mutex
	byID map[uuid.UUID]*keptVisit
}

type keptVisit struct {
	visit
	lastActive time.Time
	isAhead    bool // of what Redis has
}

func newMemoryVisits(ttl time.Duration) *memoryVisits {
	return &memoryVisits{ttl: ttl, byID: make(map[uuid.UUID]*keptVisit)}
}

func (m *memoryVisits) begin(_ context.Context, begun visit) error {
	m.keep(begun)
	return nil
}

// keep notes the newest state of a visit.
func (m *memoryVisits) keep(seen visit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byID[seen.ID] = &keptVisit{visit: seen, lastActive: time.Now()}
}

func (m *memoryVisits) read(_ context.Context, id uuid.UUID, isActive bool) (visit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(id)
	if err != nil {
		return visit{}, err
	}
	if isActive {
		found.lastActive = time.Now()
	}
	return found.visit, nil
}

// find returns a visit that is not over. The caller holds the lock.
func (m *memoryVisits) find(id uuid.UUID) (*keptVisit, error) {
	found := m.byID[id]
	if found == nil || time.Since(found.lastActive) >= m.ttl {
		return nil, apperr.New(apperr.NotFound, noVisit)
	}
	return found, nil
}

func (m *memoryVisits) change(_ context.Context, id uuid.UUID, change func(*visit) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(id)
	if err != nil {
		return err
	}
	changed := found.visit
	if err := change(&changed); err != nil {
		return err
	}
	found.visit, found.lastActive, found.isAhead = changed, time.Now(), true
	return nil
}

func (m *memoryVisits) forget(id uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byID, id)
}

func (m *memoryVisits) end(_ context.Context, id uuid.UUID) (end time.Time, isOver bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(id)
	if err != nil {
		delete(m.byID, id)
		return time.Time{}, true
	}
	return found.lastActive.Add(m.ttl), false
}
