package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"parley/gen/openapi"
	"parley/internal/chat"
	"parley/internal/fault"
)

const (
	// keepAlive is how often an idle stream shows that it lives.
	keepAlive = 15 * time.Second
	// writeTime is how long one write to a stream may take before its reader is
	// given up.
	writeTime = 30 * time.Second
)

// replyStream answers with a reply as it is written, from a position on.
type replyStream struct {
	ctx   context.Context //nolint:containedctx // the answer is written by generated code, which passes none
	chat  *chat.Chat
	reply *chat.Reply
	from  chat.Position // zero: from the beginning
}

// VisitCreateCompletionResponse writes the events.
func (s replyStream) VisitCreateCompletionResponse(w http.ResponseWriter) error { return s.write(w) }

// VisitStreamRunResponse writes the events.
func (s replyStream) VisitStreamRunResponse(w http.ResponseWriter) error { return s.write(w) }

func (s replyStream) write(w http.ResponseWriter) error {
	w.Header().Set("X-Run-Id", s.reply.RunID.String())
	return s.follow(completionEvents{eventWriter: beginEvents(w), reply: s.reply})
}

// replyEvents tells a reply in the form of one of the APIs.
type replyEvents interface {
	// delta tells more of the text; the whole of it so far when the reply has begun anew.
	delta(at chat.Position, text string, isReset bool) error
	// last tells how the reply ended.
	last(at chat.Position, outcome *chat.Outcome) error
	comment() error
	flush() error
}

// follow has the events written. A caller that leaves, or reads too slowly, ends the
// stream and not the reply.
func (s replyStream) follow(events replyEvents) error {
	for at := s.from; ; {
		// What is there already is written as one burst and flushed once.
		delta, after, isReset, outcome, _ := s.reply.Next(at)
		if delta == "" && !isReset && outcome == nil {
			if err := events.flush(); err != nil {
				return err
			}
			var err error
			if delta, after, isReset, outcome, err = s.chat.Follow(s.ctx, s.reply, at, keepAlive); err != nil {
				return broken(s.ctx, events, at, err)
			}
		}
		at = after
		switch {
		case outcome != nil:
			if err := events.last(at, outcome); err != nil {
				return err
			}
			return events.flush()
		case delta != "" || isReset:
			if err := events.delta(at, delta, isReset); err != nil {
				return err
			}
		default:
			if err := events.comment(); err != nil {
				return err
			}
		}
	}
}

// broken ends a stream that cannot go on with the last event that every stream has,
// unless the caller has left.
func broken(ctx context.Context, events replyEvents, at chat.Position, err error) error {
	if ctx.Err() != nil {
		return err
	}
	told, ok := errors.AsType[*fault.Error](err)
	if !ok {
		told = fault.Wrap(fault.Internal, "The server made a mistake. It has been noted.", err)
	}
	return errors.Join(err, events.last(at, &chat.Outcome{FinishReason: "error", Err: told}), events.flush())
}

// completionEvents tells a reply as the Chatbots family does.
type completionEvents struct {
	eventWriter
	reply *chat.Reply
}

func (e completionEvents) delta(at chat.Position, text string, isReset bool) error {
	event := e.event()
	event.Content = text
	if isReset {
		event.Reset = new(openapi.CompletionEventResetTrue)
	}
	return e.write(id(at), event)
}

func (e completionEvents) last(at chat.Position, outcome *chat.Outcome) error {
	event := e.event()
	event.Done = true
	event.Citations = new(toAPICitations(outcome.Answer))
	event.CitationNodes = new(toAPICitationNodes(outcome.Answer))
	event.Suggestions = new(toAPISuggestions(outcome.Answer))
	event.Usage = toAPIUsage(outcome.Answer)
	event.FinishReason = new(openapi.FinishReason(outcome.FinishReason))
	if outcome.Err != nil {
		event.Error = new(problemOf(outcome.Err, e.w.Header().Get("X-Request-Id")))
	}
	return e.write(id(at), event)
}

func (e completionEvents) event() openapi.CompletionEvent {
	return openapi.CompletionEvent{
		ConversationID: e.reply.ConversationID,
		RunID:          e.reply.RunID,
		MessageID:      e.reply.MessageID,
	}
}

// id is the line that names a position.
func id(at chat.Position) string { return fmt.Sprintf("id: %d.%d\n", at.Attempt, at.Offset) }

// eventWriter writes the events of one stream.
type eventWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

// beginEvents begins a stream.
func beginEvents(w http.ResponseWriter) eventWriter {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return eventWriter{w: w, controller: http.NewResponseController(w)}
}

// write writes an event of one line of data after the lines before it.
func (e eventWriter) write(before string, event any) error {
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return e.print(before + "data: " + string(data) + "\n\n")
}

func (e eventWriter) comment() error { return e.print(": still here\n\n") }

func (e eventWriter) print(text string) error {
	if err := e.controller.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return fmt.Errorf("set the stream's deadline: %w", err)
	}
	_, err := io.WriteString(e.w, text)
	return err
}

func (e eventWriter) flush() error { return e.controller.Flush() }
