package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/eventstream"
	"parley/internal/reply"
)

// maxHold is how long the headers of a stream wait for the first delta or a failure, so that a
// failure has its status.
const maxHold = 2 * time.Second

// relayed is the response to a request that is passed on to a model server.
type relayed struct {
	completion
	includesUsage bool
	chunks        chan json.RawMessage // closed when the outcome is set
	outcome       *reply.Outcome

	hasRole bool            // a chunk of the stream had the role
	usage   json.RawMessage // which came together with choices
}

// relay passes a request on. The response ends when ctx is done.
func (h Handlers) relay(ctx context.Context, model db.Bot, request bot.Request, asked string, c completion) *relayed {
	r := &relayed{completion: c, chunks: make(chan json.RawMessage, 16)}
	key := auth.PrincipalOf(ctx).KeyID
	go func() {
		defer close(r.chunks)
		outcome, err := h.Runs.RelayStateless(ctx, key, bot.Question{Bot: model, Text: asked}, request, func(chunk json.RawMessage) error {
			select {
			case r.chunks <- chunk:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if err != nil {
			outcome = reply.NewOutcome("", bot.Answer{}, err)
		}
		r.outcome = outcome
	}()
	return r
}

// err returns the error of a response that has failed.
func (r *relayed) err() error {
	switch {
	case r.outcome.Err != nil:
		return r.outcome.Err
	case r.outcome.State == "cancelled":
		return context.Canceled
	}
	return nil
}

// hold waits for the first chunk, but not for long. It returns the error of a response that failed
// before it.
func (r *relayed) hold(ctx context.Context) (first json.RawMessage, err error) {
	select {
	case chunk, ok := <-r.chunks:
		if !ok {
			return nil, r.err()
		}
		return chunk, nil
	case <-time.After(maxHold):
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// whole waits for the end of the response and returns it as one document.
func (r *relayed) whole(ctx context.Context, timeout time.Duration) (map[string]any, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, apperr.New(apperr.Timeout, fmt.Sprintf("The reply takes longer than %g seconds.", timeout.Seconds())))
	defer cancel()
	var parts assembly
	for {
		select {
		case chunk, ok := <-r.chunks:
			if !ok {
				return parts.document(r.completion), r.err()
			}
			if err := parts.add(chunk); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// createRelayed answers a stateless request to a chatbot that passes requests on.
func (h Handlers) createRelayed(ctx context.Context, model db.Bot, parsed chatRequest) (openapi.CreateChatCompletionResponseObject, error) {
	request, err := relayRequest(contract.RequestOf(ctx).Body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := h.relay(ctx, model, request, parsed.text, newCompletion(model))
	r.includesUsage = parsed.includesUsage
	if !parsed.isStreaming {
		defer cancel()
		document, err := r.whole(ctx, h.ReplyTimeout)
		return relayedDocument(document), err
	}
	first, err := r.hold(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return relayedStream{ctx: ctx, cancel: cancel, relayed: r, first: first}, nil
}

// relayRequest returns the fields of a request that are passed on: all except the conversation.
func relayRequest(body []byte) (bot.Request, error) {
	var request bot.Request
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("read a request: %w", err)
	}
	for name, value := range request {
		if string(value) == "null" {
			delete(request, name)
		}
	}
	var metadata map[string]json.RawMessage
	if json.Unmarshal(request["metadata"], &metadata) == nil {
		delete(metadata, "conversation_id")
		if delete(request, "metadata"); len(metadata) > 0 {
			request["metadata"], _ = json.Marshal(metadata) // it was decoded from JSON
		}
	}
	return request, nil
}

// relayedDocument is the JSON response to a relayed request.
type relayedDocument map[string]any

// VisitCreateChatCompletionResponse writes the document.
func (d relayedDocument) VisitCreateChatCompletionResponse(w http.ResponseWriter) error {
	return writeJSON(w, d)
}

func writeJSON(w http.ResponseWriter, document any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	return json.NewEncoder(w).Encode(document)
}

// relayedStream is the event stream of a relayed response.
type relayedStream struct {
	ctx    context.Context //nolint:containedctx // generated code writes the response without a context
	cancel context.CancelFunc
	*relayed
	first json.RawMessage // nil: none has arrived yet
}

// VisitCreateChatCompletionResponse writes the events.
func (s relayedStream) VisitCreateChatCompletionResponse(w http.ResponseWriter) error {
	events := eventstream.NewWriter(w)
	return s.each(&events, func(chunk json.RawMessage) error {
		rewritten, err := s.rewrite(chunk)
		if err != nil || rewritten == nil {
			return err
		}
		return events.Write("", rewritten)
	}, func(err *apperr.Error) error {
		if err != nil {
			return events.Write("", ErrorOf(err))
		}
		if s.usage != nil {
			if err := events.Write("", s.usageChunk()); err != nil {
				return err
			}
		}
		return events.Print([]byte("data: [DONE]\n\n"))
	})
}

// each calls write for each chunk, and end once with the error of a response that failed.
func (s relayedStream) each(events *eventstream.Writer, write func(json.RawMessage) error, end func(*apperr.Error) error) error {
	defer s.cancel()
	if err := events.Flush(); err != nil {
		return err
	}
	idle := time.NewTicker(eventstream.KeepAlive)
	defer idle.Stop()
	for chunk, ok := s.first, true; ; {
		if chunk != nil {
			if err := errors.Join(write(chunk), events.Flush()); err != nil {
				return err
			}
		}
		select {
		case chunk, ok = <-s.chunks:
			idle.Reset(eventstream.KeepAlive)
		case <-idle.C:
			chunk = nil
			if err := errors.Join(events.Comment(), events.Flush()); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		if !ok {
			if s.outcome.State == "cancelled" {
				return context.Canceled
			}
			return errors.Join(end(s.outcome.Err), events.Flush())
		}
	}
}

// rewrite returns a chunk with Parley's ID and model. The usage is removed unless the request asked for it. A chunk
// with nothing else becomes nil.
func (r *relayed) rewrite(chunk json.RawMessage) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(chunk, &fields); err != nil {
		return nil, fmt.Errorf("read a chunk: %w", err)
	}
	hasChoices := string(fields["choices"]) != "[]" && string(fields["choices"]) != ""
	usage := withTotal(fields["usage"])
	switch {
	case !r.includesUsage:
		delete(fields, "usage")
		if !hasChoices {
			return nil, nil
		}
	case usage != nil && hasChoices: // of a server that answers with a document
		delete(fields, "usage")
		r.usage = usage
	case usage != nil:
		fields["usage"] = usage
	}
	if !r.hasRole && hasChoices {
		r.hasRole = true
		fields["choices"] = withRole(fields["choices"])
	}
	for name, value := range map[string]any{"id": r.id, "object": "chat.completion.chunk", "created": r.created.Unix(), "model": r.model} {
		fields[name], _ = json.Marshal(value) // strings and numbers always encode
	}
	fields["choices"] = json.RawMessage(cmp.Or(string(fields["choices"]), "[]"))
	return fields, nil
}

// usageChunk returns the last chunk, which contains only the usage.
func (r *relayed) usageChunk() map[string]any {
	return map[string]any{"id": r.id, "object": "chat.completion.chunk", "created": r.created.Unix(), "model": r.model, "choices": []any{}, "usage": r.usage}
}

// withTotal returns a usage with the sum of its tokens, which some servers omit. It returns nil if there is no usage.
func withTotal(usage json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(usage, &fields) != nil || fields == nil || fields["total_tokens"] != nil {
		if string(usage) == "null" {
			return nil
		}
		return usage
	}
	var counts struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
	}
	if json.Unmarshal(usage, &counts) != nil {
		return usage
	}
	fields["total_tokens"], _ = json.Marshal(counts.Prompt + counts.Completion) // numbers always encode
	completed, _ := json.Marshal(fields)                                        // they were decoded from JSON
	return completed
}

// withRole returns the choices of the first chunk with their indexes and, in the deltas, the role. SDKs
// rely on both.
func withRole(choices json.RawMessage) json.RawMessage {
	var list []map[string]json.RawMessage
	if json.Unmarshal(choices, &list) != nil {
		return choices
	}
	for i, choice := range list {
		if choice["index"] == nil {
			choice["index"], _ = json.Marshal(i) // numbers always encode
		}
		var delta map[string]json.RawMessage
		if json.Unmarshal(choice["delta"], &delta) != nil || delta == nil || delta["role"] != nil {
			continue
		}
		delta["role"] = json.RawMessage(`"assistant"`)
		choice["delta"], _ = json.Marshal(delta) // it was decoded from JSON
	}
	completed, err := json.Marshal(list)
	if err != nil {
		return choices
	}
	return completed
}
