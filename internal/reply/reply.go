// Package reply holds the text of a reply while it is written, and how the reply ended.
//
// A Reply is one growing text and a signal. The writer appends to it; each follower keeps its own Position and asks
// for the text after it. Nothing is queued for a follower, so a slow follower costs the writer nothing. All methods
// are safe for concurrent use and none of them blocks, except Follow.
package reply

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"parley/internal/apperr"
)

// Reply is a reply while it is written.
type Reply struct {
	RunID          uuid.UUID
	ConversationID uuid.UUID // zero for a stateless completion
	MessageID      uuid.UUID // the ID that the bot's message will have

	mu      sync.Mutex
	attempt int
	text    []byte
	ends    []int // the offset at which each delta of the text ends
	outcome *Outcome
	grown   chan struct{} // closed and replaced whenever a field above changes
	ended   chan struct{} // closed when outcome is set
}

// Position is how much of a reply a follower has: a number of bytes of one attempt's text.
type Position struct {
	Attempt int
	Offset  int
}

// Chunk is the part of a reply that follows a position.
type Chunk struct {
	Delta string
	// After is the position behind Delta.
	After Position
	// IsReset is set when the follower's position is not in the current attempt's text. Delta then
	// replaces all the text that the follower has.
	IsReset bool
	// Outcome is set once the follower has the whole text of a reply that ended.
	Outcome *Outcome
}

// IsEmpty reports whether the chunk has neither text nor an outcome.
func (c Chunk) IsEmpty() bool { return c.Delta == "" && !c.IsReset && c.Outcome == nil }

// New returns the empty reply of a run's first attempt.
func New(run, conversation, message uuid.UUID) *Reply {
	return &Reply{
		RunID: run, ConversationID: conversation, MessageID: message,
		attempt: 1, grown: make(chan struct{}), ended: make(chan struct{}),
	}
}

// IsStored reports whether the reply belongs to a conversation. One that does not is a stateless
// completion and ends with its request.
func (r *Reply) IsStored() bool { return r.ConversationID != uuid.Nil }

// Next returns the part of the reply that follows a position. If the chunk is empty, wait for the channel and call
// Next again.
func (r *Reply) Next(at Position) (Chunk, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Attempt != r.attempt || r.isInvalid(at.Offset) {
		if at.Offset > 0 || len(r.text) > 0 {
			return Chunk{Delta: string(r.text), After: Position{r.attempt, len(r.text)}, IsReset: at.Offset > 0}, r.grown
		}
		at = Position{Attempt: r.attempt} // both texts are empty, so the reply may be over
	}
	if at.Offset >= len(r.text) {
		return Chunk{After: at, Outcome: r.outcome}, r.grown
	}
	next, _ := slices.BinarySearch(r.ends, at.Offset+1)
	end := r.ends[next]
	return Chunk{Delta: string(r.text[at.Offset:end]), After: Position{r.attempt, end}}, r.grown
}

// Follow waits for text that follows a position. It returns an empty chunk after idle, and ctx's error when ctx is
// done.
func (r *Reply) Follow(ctx context.Context, at Position, idle time.Duration) (Chunk, error) {
	deadline := time.NewTimer(idle)
	defer deadline.Stop()
	for {
		chunk, grown := r.Next(at)
		if !chunk.IsEmpty() {
			return chunk, nil
		}
		at = chunk.After
		select {
		case <-grown:
		case <-deadline.C:
			return chunk, nil
		case <-ctx.Done():
			return chunk, ctx.Err()
		}
	}
}

// HasEnded reports whether a follower has the last event of the reply.
func (r *Reply) HasEnded(at Position) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcome != nil && !r.outcome.IsProvisional && at == Position{r.attempt, len(r.text) + 1}
}

// Outcome returns how the reply ended, nil while it is written, and a channel that is closed when
// it ends.
func (r *Reply) Outcome() (*Outcome, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcome, r.ended
}

// isInvalid reports whether no follower can be at an offset: it is inside a character, or beyond
// the end of a complete text. An offset beyond the end of a growing text may come from the instance
// that writes it, which is ahead of this one.
func (r *Reply) isInvalid(offset int) bool {
	if offset >= len(r.text) {
		return offset > len(r.text) && r.outcome != nil
	}
	return !utf8.RuneStart(r.text[offset])
}

// Start returns the position of a follower that has no text yet.
func (r *Reply) Start() Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Position{Attempt: r.attempt}
}

// Append adds a delta to an attempt's text. It does nothing if the attempt was replaced or the
// reply has ended.
func (r *Reply) Append(attempt int, delta string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.append(attempt, delta)
}

// AppendAt is Append for text of another instance that begins at an offset. It does nothing if the text here does not
// end at that offset.
func (r *Reply) AppendAt(attempt, offset int, delta string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.text) == offset {
		r.append(attempt, delta)
	}
}

// append requires the lock.
func (r *Reply) append(attempt int, delta string) {
	if attempt != r.attempt || delta == "" || r.outcome != nil {
		return
	}
	r.text = append(r.text, delta...)
	r.ends = append(r.ends, len(r.text))
	r.signal()
}

// Restart empties the text for a later attempt. It does nothing if the attempt is not later.
func (r *Reply) Restart(attempt int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt <= r.attempt {
		return
	}
	r.attempt, r.text, r.ends = attempt, nil, nil
	r.signal()
}

// TextAfter returns the text of an attempt beyond an offset. It returns false if the attempt was replaced.
func (r *Reply) TextAfter(attempt, offset int) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt != r.attempt || offset > len(r.text) {
		return "", false
	}
	return string(r.text[offset:]), true
}

// Progress returns the current position, and whether more text may follow.
func (r *Reply) Progress() (at Position, mayGrow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Position{r.attempt, len(r.text)}, r.outcome == nil
}

// Text returns the text so far.
func (r *Reply) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.text)
}

// Finish ends the reply with an attempt's outcome. Only the first outcome counts. If the text here is incomplete, the
// rest is appended; if it differs, it is replaced.
func (r *Reply) Finish(attempt int, outcome *Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcome != nil {
		return
	}
	rest, isPrefix := strings.CutPrefix(outcome.Content, string(r.text))
	switch {
	case isPrefix && rest == "":
	case isPrefix && attempt == r.attempt:
		r.text, r.ends = append(r.text, rest...), append(r.ends, len(outcome.Content))
	default:
		r.attempt, r.text, r.ends = attempt, []byte(outcome.Content), []int{len(outcome.Content)}
	}
	r.finish(outcome)
}

// Fail ends the reply for its followers on this instance. Another attempt may still store it.
func (r *Reply) Fail(err *apperr.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcome == nil {
		r.finish(&Outcome{State: "failed", FinishReason: "error", Content: string(r.text), Err: err, IsProvisional: true})
	}
}

// finish requires the lock, and that there is no outcome yet.
func (r *Reply) finish(outcome *Outcome) {
	r.outcome = outcome
	close(r.ended)
	r.signal()
}

// signal requires the lock.
func (r *Reply) signal() {
	close(r.grown)
	r.grown = make(chan struct{})
}
