package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

// stream writes the events of a response while the chat completion is streamed.
func (r *response) stream(w http.ResponseWriter) error {
	events := &responseEvents{ResponseWriter: w, response: r}
	if err := r.chat.VisitCreateChatCompletionResponse(events); err != nil {
		return err
	}
	return events.err
}

// responseEvents is the writer of a streamed chat completion. It writes events of a response instead
// of the chunks.
type responseEvents struct {
	http.ResponseWriter
	response *response
	hasBegun bool
	number   int
	line     bytes.Buffer
	err      error
}

// Unwrap gives http.ResponseController access to the connection.
func (e *responseEvents) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader begins the stream.
func (e *responseEvents) WriteHeader(status int) {
	e.ResponseWriter.WriteHeader(status)
	e.begin()
}

func (e *responseEvents) begin() {
	if e.hasBegun {
		return
	}
	e.hasBegun = true
	for _, name := range []string{"response.created", "response.in_progress"} {
		document := maps.Clone(e.response.document)
		document["output"] = []any{}
		e.note(e.emit(map[string]any{"type": name, "response": document}))
	}
}

// Write accepts a part of the stream of chunks.
func (e *responseEvents) Write(written []byte) (int, error) {
	e.begin()
	for rest := written; len(rest) > 0; {
		line, after, isWhole := bytes.Cut(rest, []byte("\n"))
		e.line.Write(line)
		if rest = after; isWhole {
			e.note(e.read(e.line.Bytes()))
			e.line.Reset()
		}
	}
	return len(written), e.err
}

func (e *responseEvents) note(err error) {
	if e.err == nil {
		e.err = err
	}
}

// read translates a line of the stream.
func (e *responseEvents) read(line []byte) error {
	data, isData := bytes.CutPrefix(line, []byte("data:"))
	switch {
	case bytes.HasPrefix(line, []byte(":")):
		_, err := e.ResponseWriter.Write(append(bytes.Clone(line), "\n\n"...))
		return err
	case !isData:
		return nil
	case string(bytes.TrimSpace(data)) == "[DONE]":
		return e.end()
	}
	var chunk struct {
		Choices []struct {
			Delta        chatDelta `json:"delta"`
			FinishReason *string   `json:"finish_reason"`
		} `json:"choices"`
		Usage json.RawMessage `json:"usage"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(data, &chunk); err != nil {
		return fmt.Errorf("read a chunk: %w", err)
	}
	if chunk.Error != nil {
		return e.fail(chunk.Error)
	}
	e.response.setUsage(chunk.Usage)
	for _, choice := range chunk.Choices {
		if err := e.response.add(choice.Delta, e.emit); err != nil {
			return err
		}
		if choice.FinishReason != nil {
			e.response.finish(*choice.FinishReason)
		}
	}
	return nil
}

// end writes the ends of all items and the last event.
func (e *responseEvents) end() error {
	r := e.response
	document := r.whole()
	for i, item := range r.items {
		place := map[string]any{"item_id": item.id, "output_index": i}
		done := map[string]any{"type": "response.function_call_arguments.done", "arguments": item.text.String(), "name": item.name}
		if item.kind == "message" {
			place["content_index"] = 0
			done = map[string]any{"type": "response.output_text.done", "text": item.text.String(), "logprobs": []any{}}
			if item.part == "refusal" {
				done = map[string]any{"type": "response.refusal.done", "refusal": item.text.String()}
			}
		}
		maps.Copy(done, place)
		if err := e.emit(done); err != nil {
			return err
		}
		if item.kind == "message" {
			part := map[string]any{"type": "response.content_part.done", "part": item.contentPart()}
			maps.Copy(part, place)
			if err := e.emit(part); err != nil {
				return err
			}
		}
		if err := e.emit(map[string]any{"type": "response.output_item.done", "output_index": i, "item": document["output"].([]any)[i]}); err != nil {
			return err
		}
	}
	return e.emit(map[string]any{"type": fmt.Sprintf("response.%s", document["status"]), "response": document})
}

// fail writes the event of a response that failed after the stream had begun.
func (e *responseEvents) fail(raw json.RawMessage) error {
	var failure struct{ Code, Message string }
	if err := json.Unmarshal(raw, &failure); err != nil {
		return fmt.Errorf("read an error: %w", err)
	}
	document := e.response.whole()
	document["status"], document["error"] = "failed", map[string]any{"code": failure.Code, "message": failure.Message}
	return e.emit(map[string]any{"type": "response.failed", "response": document})
}

// emit writes an event with its number.
func (e *responseEvents) emit(event map[string]any) error {
	event["sequence_number"] = e.number
	e.number++
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	_, err = fmt.Fprintf(e.ResponseWriter, "event: %s\ndata: %s\n\n", event["type"], data)
	return err
}
