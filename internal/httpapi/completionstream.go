package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"parley/gen/openapi"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/eventstream"
	"parley/internal/reply"
)

// completionStream is a response that streams a reply from a position on, in the format of the
// Chatbots family.
type completionStream struct {
	ctx   context.Context //nolint:containedctx // generated code writes the response without a context
	reply *reply.Reply
	from  reply.Position
}

// VisitCreateCompletionResponse writes the events.
func (s completionStream) VisitCreateCompletionResponse(w http.ResponseWriter) error {
	return s.write(w)
}

// VisitStreamRunResponse writes the events.
func (s completionStream) VisitStreamRunResponse(w http.ResponseWriter) error { return s.write(w) }

func (s completionStream) write(w http.ResponseWriter) error {
	w.Header().Set("X-Run-Id", s.reply.RunID.String())
	events, err := newCompletionEvents(w, s.reply)
	if err != nil || contract.IsHead(s.ctx) {
		return err
	}
	return eventstream.Run(s.ctx, s.reply, s.from, events)
}

// completionEvents writes a reply as the events of the Chatbots family.
type completionEvents struct {
	eventstream.Writer
	reply     *reply.Reply
	requestID string
	delta     eventstream.Frame
}

func newCompletionEvents(w http.ResponseWriter, reply *reply.Reply) (*completionEvents, error) {
	e := &completionEvents{Writer: eventstream.NewWriter(w), reply: reply, requestID: w.Header().Get("X-Request-Id")}
	var err error
	e.delta, err = eventstream.NewFrame(e.event())
	return e, err
}

// Delta implements eventstream.Events.
func (e *completionEvents) Delta(at reply.Position, text string, isReset bool) error {
	if !isReset {
		return e.WriteText(idLine(at), e.delta, text)
	}
	event := e.event()
	event.Content = text
	event.Reset = new(true)
	return e.Write(idLine(at), event)
}

// Last implements eventstream.Events.
func (e *completionEvents) Last(at reply.Position, outcome *reply.Outcome) error {
	event := e.event()
	event.Done = true
	event.Citations = new(toAPICitations(outcome.Answer))
	event.CitationNodes = new(toAPICitationNodes(outcome.Answer))
	event.Suggestions = new(toAPISuggestions(outcome.Answer))
	event.Usage = toAPIUsage(outcome.Answer)
	event.Model = toAPIModelUsed(outcome.Answer)
	event.FinishReason = new(openapi.FinishReason(outcome.FinishReason))
	if outcome.Err != nil {
		event.Error = new(contract.ProblemOf(outcome.Err, e.requestID))
	}
	return e.Write(idLine(outcome.End(at)), event)
}

func (e *completionEvents) event() openapi.CompletionEvent {
	return openapi.CompletionEvent{
		ConversationID: e.reply.ConversationID,
		RunID:          e.reply.RunID,
		MessageID:      e.reply.MessageID,
	}
}

// idLine returns the id line of an event: the position of a follower that has it.
func idLine(at reply.Position) string {
	line := append(make([]byte, 0, 32), "id: "...)
	line = append(strconv.AppendInt(line, int64(at.Attempt), 10), '.')
	return string(append(strconv.AppendInt(line, int64(at.Offset), 10), '\n'))
}
