package chat

import (
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
)

// Reply is an answer while it is being written: one growing text, and a signal
// when it has grown. Each listener keeps a Position of its own, so nothing is
// queued for anybody and a slow listener costs nothing.
type Reply struct {
	RunID          uuid.UUID
	ConversationID uuid.UUID
	MessageID      uuid.UUID // the id that the bot's message will have

	mu      sync.Mutex
	attempt int
	text    []byte
	ends    []int // where each delta of the text ends
	outcome *Outcome
	grown   chan struct{} // closed, and replaced, when any of the above changes
	ended   chan struct{} // closed when there is an outcome

	encoding sync.Mutex
	last     encodedDelta
}

// encodedDelta is what was made of the delta between two positions.
type encodedDelta struct {
	from, to Position
	frame    []byte
}

// Position is how much of a reply a listener has: so many bytes of which attempt.
type Position struct {
	Attempt int
	Offset  int
}

// Outcome is how a reply ended.
type Outcome struct {
	State        string // completed, failed or cancelled
	FinishReason string // stop, length, cancelled or error
	Content      string // what is stored, and what the deltas amount to
	Answer       bot.Answer
	Seq          int64         // of the bot's message; 0: there is none, or it is not known yet
	Err          *apperr.Error // why it failed; nil when it did not
}

func newReply(run, conversation, message uuid.UUID) *Reply {
	return &Reply{RunID: run, ConversationID: conversation, MessageID: message, attempt: 1, grown: make(chan struct{}), ended: make(chan struct{})}
}

// IsKept tells whether the reply is of a conversation; one that is not ends with its
// asker.
func (r *Reply) IsKept() bool { return r.ConversationID != uuid.Nil }

// Next returns the delta that follows a position and the position after it. An
// empty delta with a nil outcome means that there is nothing yet: wait for the
// channel. The outcome comes once all deltas are taken. When the reply has begun
// anew since, or never had such a position, isReset is true and the delta is the
// whole text so far.
func (r *Reply) Next(at Position) (delta string, after Position, isReset bool, outcome *Outcome, grown <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Attempt != r.attempt || r.isAstray(at.Offset) {
		if at.Offset > 0 || len(r.text) > 0 {
			return string(r.text), Position{r.attempt, len(r.text)}, at.Offset > 0, nil, r.grown
		}
		at = Position{Attempt: r.attempt} // nothing of nothing: the reply may be over
	}
	if at.Offset >= len(r.text) {
		return "", at, false, r.outcome, r.grown
	}
	next, _ := slices.BinarySearch(r.ends, at.Offset+1)
	end := r.ends[next]
	return string(r.text[at.Offset:end]), Position{r.attempt, end}, false, nil, r.grown
}

// Ended returns how the reply has ended, nil while it is being written, and what is
// closed when it ends.
func (r *Reply) Ended() (*Outcome, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcome, r.ended
}

// Encoded returns what encode makes of the delta between two positions; it is made once
// for all who listen at the same pace.
func (r *Reply) Encoded(from, to Position, encode func() []byte) []byte {
	r.encoding.Lock()
	defer r.encoding.Unlock()
	if r.last.frame == nil || r.last.from != from || r.last.to != to {
		r.last = encodedDelta{from, to, encode()}
	}
	return r.last.frame
}

// isAstray tells of an offset that no listener can have: inside a character, or
// beyond the end of a text that is whole. One beyond the end of a growing text may
// come from the process that writes it.
func (r *Reply) isAstray(offset int) bool {
	if offset >= len(r.text) {
		return offset > len(r.text) && r.outcome != nil
	}
	return !utf8.RuneStart(r.text[offset])
}

// Beginning is the position of a listener that has nothing yet.
func (r *Reply) Beginning() Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Position{Attempt: r.attempt}
}

// grow adds a delta for an attempt; one that has been replaced is not heard.
func (r *Reply) grow(attempt int, delta string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt != r.attempt || delta == "" || r.outcome != nil {
		return
	}
	r.text = append(r.text, delta...)
	r.ends = append(r.ends, len(r.text))
	r.signal()
}

// restart begins the text anew for a later attempt.
func (r *Reply) restart(attempt int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt <= r.attempt {
		return
	}
	r.attempt, r.text, r.ends = attempt, nil, nil
	r.signal()
}

// beyond returns what an attempt has written beyond an offset; false when it has been
// replaced.
func (r *Reply) beyond(attempt, offset int) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt != r.attempt || offset > len(r.text) {
		return "", false
	}
	return string(r.text[offset:]), true
}

// reached tells how much of an attempt's text is here.
func (r *Reply) reached(attempt int) (offset int, isCurrent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.text), attempt == r.attempt && r.outcome == nil
}

// growFrom adds what an attempt has written elsewhere beyond an offset.
func (r *Reply) growFrom(attempt, offset int, delta string) {
	if at, isCurrent := r.reached(attempt); isCurrent && at == offset {
		r.grow(attempt, delta)
	}
}

// end tells the outcome of an attempt; only the first one counts. A text that grew
// in another process is filled in.
func (r *Reply) end(attempt int, outcome *Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcome != nil {
		return
	}
	switch rest, isMore := strings.CutPrefix(outcome.Content, string(r.text)); {
	case isMore && rest == "":
	case isMore && attempt == r.attempt:
		r.text, r.ends = append(r.text, rest...), append(r.ends, len(outcome.Content))
	default:
		r.attempt, r.text, r.ends = attempt, []byte(outcome.Content), []int{len(outcome.Content)}
	}
	r.conclude(outcome)
}

// fail tells who listens that nothing more is to be expected here.
func (r *Reply) fail(why *apperr.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcome == nil {
		r.conclude(&Outcome{State: "failed", FinishReason: "error", Content: string(r.text), Err: why})
	}
}

// conclude tells the outcome, the first one. The caller holds the lock.
func (r *Reply) conclude(outcome *Outcome) {
	r.outcome = outcome
	close(r.ended)
	r.signal()
}

func (r *Reply) written() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.text)
}

func (r *Reply) signal() {
	close(r.grown)
	r.grown = make(chan struct{})
}
