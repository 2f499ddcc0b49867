package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// write writes the events. A caller that leaves, or reads too slowly, ends the stream
// and not the reply.
func (s replyStream) write(w http.ResponseWriter) error {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	header.Set("X-Run-Id", s.reply.RunID.String())
	w.WriteHeader(http.StatusOK)
	events := eventWriter{w: w, controller: http.NewResponseController(w), reply: s.reply}
	for at := s.from; ; {
		// What is there already is written as one burst and flushed once.
		delta, after, isReset, outcome, _ := s.reply.Next(at)
		if delta == "" && !isReset && outcome == nil {
			if err := events.flush(); err != nil {
				return err
			}
			var err error
			if delta, after, isReset, outcome, err = s.chat.Follow(s.ctx, s.reply, at, keepAlive); err != nil {
				return events.broken(s.ctx, at, err)
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

// eventWriter writes the events of one stream.
type eventWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
	reply      *chat.Reply
}

func (e eventWriter) delta(at chat.Position, text string, isReset bool) error {
	event := e.event()
	event.Content = text
	if isReset {
		event.Reset = new(openapi.CompletionEventResetTrue)
	}
	return e.write(at, event)
}

func (e eventWriter) last(at chat.Position, outcome *chat.Outcome) error {
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
	return e.write(at, event)
}

// broken ends a stream that cannot go on with the last event that every stream has,
// unless the caller has left.
func (e eventWriter) broken(ctx context.Context, at chat.Position, err error) error {
	if ctx.Err() != nil {
		return err
	}
	told, ok := errors.AsType[*fault.Error](err)
	if !ok {
		told = fault.Wrap(fault.Internal, "The server made a mistake. It has been noted.", err)
	}
	return errors.Join(err, e.last(at, &chat.Outcome{FinishReason: "error", Err: told}), e.flush())
}

func (e eventWriter) event() openapi.CompletionEvent {
	return openapi.CompletionEvent{
		ConversationID: e.reply.ConversationID,
		RunID:          e.reply.RunID,
		MessageID:      e.reply.MessageID,
	}
}

func (e eventWriter) write(at chat.Position, event openapi.CompletionEvent) error {
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	if err := e.controller.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return fmt.Errorf("set the stream's deadline: %w", err)
	}
	_, err = fmt.Fprintf(e.w, "id: %d.%d\ndata: %s\n\n", at.Attempt, at.Offset, data)
	return err
}

func (e eventWriter) comment() error {
	if err := e.controller.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return fmt.Errorf("set the stream's deadline: %w", err)
	}
	_, err := fmt.Fprint(e.w, ": still here\n\n")
	return err
}

func (e eventWriter) flush() error { return e.controller.Flush() }
