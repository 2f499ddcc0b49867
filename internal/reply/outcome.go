package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"parley/internal/apperr"
	"parley/internal/bot"
)

// QueueLimit is the maximum number of questions of one conversation that wait behind the current one.
const QueueLimit = 20

// ErrQueueFull returns the error for a question beyond QueueLimit.
func ErrQueueFull() *apperr.Error {
	return &apperr.Error{
		Kind:       apperr.Unavailable,
		Message:    "Too many messages of this conversation are waiting for a reply. Retry when some are answered.",
		RetryAfter: 2 * time.Second,
	}
}

// ErrCancelled ends a reply whose run was cancelled.
var ErrCancelled = errors.New("the run was cancelled")

// Outcome is how a reply ended.
type Outcome struct {
	State        string // completed, failed, or cancelled
	FinishReason string // stop, length, cancelled, or error
	Content      string // the whole text
	Answer       bot.Answer
	Seq          int64         // of the bot's message; 0 if it has none, or its seq is unknown here
	Err          *apperr.Error // why the reply failed; nil otherwise
	// IsProvisional is set if only this instance has given up on the reply: another attempt may still end it
	// differently.
	IsProvisional bool
}

// End returns the position of a follower that has the last event of a reply: one beyond the text that
// it has. After a provisional outcome, the reply may continue where the text ends.
func (o *Outcome) End(text Position) Position {
	if !o.IsProvisional {
		text.Offset++
	}
	return text
}

// NewOutcome returns the outcome of a bot that wrote text and returned answer and err.
func NewOutcome(text string, answer bot.Answer, err error) *Outcome {
	outcome := &Outcome{State: "completed", FinishReason: answer.FinishReason, Content: text, Answer: answer}
	switch {
	case errors.Is(err, ErrCancelled):
		outcome.State, outcome.FinishReason = "cancelled", "cancelled"
	case err != nil:
		outcome.State, outcome.FinishReason = "failed", "error"
		outcome.Err = PublicError(err)
	}
	return outcome
}

// PublicError returns what a caller may read about a failed reply. NotFound is hidden: in a reply
// it never concerns what the caller asked for.
func PublicError(err error) *apperr.Error {
	if appErr, ok := errors.AsType[*apperr.Error](err); ok && appErr.Kind != apperr.NotFound {
		return appErr
	}
	return apperr.Wrap(apperr.Internal, "The bot could not answer.", err)
}

// Columns holds the lists of an answer in the form of a message's columns: an empty list is nil.
type Columns struct {
	Citations, CitationNodes, Suggestions json.RawMessage
}

// ColumnsOf encodes an answer's lists.
func ColumnsOf(answer bot.Answer) Columns {
	return Columns{
		Citations:     encode(answer.Citations),
		CitationNodes: encode(answer.Nodes),
		Suggestions:   encode(answer.Suggestions),
	}
}

func encode[T any](list []T) json.RawMessage {
	if len(list) == 0 {
		return nil
	}
	raw, err := json.Marshal(list)
	if err != nil {
		panic(err) // plain structs always encode
	}
	return raw
}

// Decode reads the lists into an answer.
func (c Columns) Decode(answer *bot.Answer) error {
	return errors.Join(
		decode(c.Citations, &answer.Citations),
		decode(c.CitationNodes, &answer.Nodes),
		decode(c.Suggestions, &answer.Suggestions),
	)
}

func decode(raw json.RawMessage, list any) error {
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, list); err != nil {
		return fmt.Errorf("decode a stored reply: %w", err)
	}
	return nil
}
