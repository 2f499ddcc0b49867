package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"parley/gen/openapi"
	"parley/internal/chat"
)

const (
	// keepAlive is how often an idle stream shows that it lives.
	keepAlive = 15 * time.Second
	// writeTime is how long one write to a stream may take before its reader is
	// given up.
	writeTime = 30 * time.Second
	// deadlineAge is how old the deadline of a stream's writes may become.
	deadlineAge = 5 * time.Second
)

// replyStream answers with a reply as it is written, from a position on.
type replyStream struct {
	ctx   context.Context //nolint:containedctx // the answer is written by generated code, which passes none
	reply *chat.Reply
	from  chat.Position // zero: what there is already comes as one delta
}

// VisitCreateCompletionResponse writes the events.
func (s replyStream) VisitCreateCompletionResponse(w http.ResponseWriter) error { return s.write(w) }

// VisitStreamRunResponse writes the events.
func (s replyStream) VisitStreamRunResponse(w http.ResponseWriter) error { return s.write(w) }

func (s replyStream) write(w http.ResponseWriter) error {
	w.Header().Set("X-Run-Id", s.reply.RunID.String())
	events, err := newCompletionEvents(w, s.reply)
	if err != nil {
		return err
	}
	return s.follow(events)
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
	idle := time.NewTimer(keepAlive)
	defer idle.Stop()
	for at := s.from; ; {
		delta, after, isReset, outcome, grown := s.reply.Next(at)
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
			continue
		}
		// What was there already was written as one burst and is flushed once.
		if err := events.flush(); err != nil {
			return err
		}
		idle.Reset(keepAlive)
		select {
		case <-grown:
		case <-idle.C:
			if err := events.comment(); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// completionEvents tells a reply as the Chatbots family does.
type completionEvents struct {
	eventWriter
	reply *chat.Reply
	grown frame
}

// newCompletionEvents begins the stream of a reply.
func newCompletionEvents(w http.ResponseWriter, reply *chat.Reply) (*completionEvents, error) {
	e := &completionEvents{eventWriter: beginEvents(w), reply: reply}
	var err error
	e.grown, err = frameOf(e.event())
	return e, err
}

func (e *completionEvents) delta(at chat.Position, text string, isReset bool) error {
	if !isReset {
		return e.writeText(id(at), e.grown, text)
	}
	event := e.event()
	event.Content = text
	event.Reset = new(true)
	return e.write(id(at), event)
}

func (e *completionEvents) last(at chat.Position, outcome *chat.Outcome) error {
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

func (e *completionEvents) event() openapi.CompletionEvent {
	return openapi.CompletionEvent{
		ConversationID: e.reply.ConversationID,
		RunID:          e.reply.RunID,
		MessageID:      e.reply.MessageID,
	}
}

// id is the line that names a position.
func id(at chat.Position) string {
	line := append(make([]byte, 0, 32), "id: "...)
	line = append(strconv.AppendInt(line, int64(at.Attempt), 10), '.')
	return string(append(strconv.AppendInt(line, int64(at.Offset), 10), '\n'))
}

// eventWriter writes the events of one stream.
type eventWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
	deadline   time.Time // of the writes, as it was last set
	buffer     []byte    // of the last event that tells text, for the next one
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
func (e *eventWriter) write(before string, event any) error {
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return e.print([]byte(before + "data: " + string(data) + "\n\n"))
}

// frame is what surrounds the text in the events of a stream that tell nothing but more
// of it: it is encoded once, and each text put into it as encoding/json would.
type frame struct{ before, after []byte }

// frameOf returns the frame of an event, whose content must be there and empty.
func frameOf(event any) (frame, error) {
	data, err := json.Marshal(event)
	if err != nil {
		return frame{}, fmt.Errorf("encode the frame of events: %w", err)
	}
	const empty = `"content":""`
	at := bytes.Index(data, []byte(empty)) // within a string its quotes would be escaped
	if at < 0 {
		return frame{}, fmt.Errorf("an event has no content: %s", data)
	}
	at += len(empty) - len(`""`)
	return frame{before: data[:at], after: data[at+len(`""`):]}, nil
}

// writeText writes an event that tells more of the text, after the lines before it.
func (e *eventWriter) writeText(before string, around frame, text string) error {
	event := append(append(e.buffer[:0], before...), "data: "...)
	event = appendString(append(event, around.before...), []byte(text))
	e.buffer = append(append(event, around.after...), "\n\n"...)
	return e.print(e.buffer)
}

func (e *eventWriter) comment() error { return e.print([]byte(": still here\n\n")) }

// print writes an event. The deadline is set anew when it is a little older: no write has
// less time than writeTime lacks of deadlineAge, and a token seldom sets a timer.
func (e *eventWriter) print(event []byte) error {
	if now := time.Now(); e.deadline.Sub(now) < writeTime-deadlineAge {
		e.deadline = now.Add(writeTime)
		if err := e.controller.SetWriteDeadline(e.deadline); err != nil {
			return fmt.Errorf("set the stream's deadline: %w", err)
		}
	}
	_, err := e.w.Write(event)
	return err
}

func (e *eventWriter) flush() error { return e.controller.Flush() }
