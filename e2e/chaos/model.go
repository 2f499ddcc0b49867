package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"parley/e2e/harness"
)

// Modes of the model server.
const (
	modeNormal  = "normal"
	modeSilent  = "silent"  // accept questions and answer only after the mode has changed
	modeSlow    = "slow"    // send a word occasionally
	modeAborts  = "aborts"  // close the connection in the middle of an answer
	modeGarbage = "garbage" // send invalid data
	modeErrors  = "errors"  // respond with status 500
)

// normalPause and slowPause are the pauses between two words of an answer.
const (
	normalPause = 15 * time.Millisecond
	slowPause   = 700 * time.Millisecond
)

// modelServer answers every question by repeating its words.
type modelServer struct {
	mu      sync.Mutex
	mode    string
	changed chan struct{} // closed when the mode changes
}

func runModel(ctx context.Context, _ io.Reader, out io.Writer) error {
	s := &modelServer{mode: modeNormal, changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", s.complete)
	mux.HandleFunc("POST /mode", s.setMode)
	return harness.Serve(ctx, mux, out)
}

func (s *modelServer) setMode(w http.ResponseWriter, request *http.Request) {
	var mode string
	if err := json.NewDecoder(request.Body).Decode(&mode); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = mode
	close(s.changed)
	s.changed = make(chan struct{})
	fmt.Fprint(w, "true")
}

func (s *modelServer) current() (mode string, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode, s.changed
}

// answerTo returns the model's answer to a question.
func answerTo(question string) string {
	var words strings.Builder
	for i := range 20 {
		fmt.Fprintf(&words, "%s %d ", question, i)
	}
	return strings.TrimSpace(words.String())
}

func (s *modelServer) complete(w http.ResponseWriter, request *http.Request) {
	var body struct{ Messages []struct{ Content string } }
	if err := json.NewDecoder(request.Body).Decode(&body); err != nil || len(body.Messages) == 0 {
		http.Error(w, fmt.Sprint("no question: ", err), http.StatusBadRequest)
		return
	}
	mode, changed := s.current()
	if mode == modeErrors {
		http.Error(w, `{"error":{"message":"injected error"}}`, http.StatusInternalServerError)
		return
	}
	for ; mode == modeSilent; mode, changed = s.current() {
		select {
		case <-changed:
		case <-request.Context().Done():
			return
		}
	}
	question := body.Messages[len(body.Messages)-1].Content
	// Questions without a reply precede it, in separate paragraphs.
	s.stream(w, request, question[strings.LastIndex(question, "\n")+1:])
}

// stream sends the answer word by word.
func (s *modelServer) stream(w http.ResponseWriter, request *http.Request, question string) {
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	words := strings.SplitAfter(answerTo(question), " ")
	for i, word := range words {
		pause := normalPause
		mode, changed := s.current()
		if mode == modeSlow {
			pause = slowPause
		}
		select {
		case <-time.After(pause):
		case <-changed:
		case <-request.Context().Done():
			return
		}
		if i == len(words)/2 {
			switch mode {
			case modeAborts:
				fmt.Fprintf(w, `data: {"choices":[{"index":0,"delta":{"content":"%s`, word[:len(word)/2])
				_ = flusher.Flush()
				panic(http.ErrAbortHandler)
			case modeGarbage:
				fmt.Fprint(w, "data: {\"choices\":\x00[[[\n\n<html>502</html>\n\n")
				return
			}
		}
		text, _ := json.Marshal(word) // a string
		fmt.Fprintf(w, `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}`+"\n\n", text)
		if err := flusher.Flush(); err != nil {
			return // the client has disconnected
		}
	}
	fmt.Fprint(w, `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
}
