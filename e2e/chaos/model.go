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

// How the model server behaves.
const (
	behavesWell  = "well"
	behavesMute  = "mute"  // it takes questions and says nothing until it is well again
	behavesSlow  = "slow"  // it says a word now and then
	behavesDying = "dying" // it breaks off in the middle of a word
	behavesMad   = "mad"   // it says what is no answer
	behavesIll   = "ill"   // it answers 500
)

// wordTime is between two words of an answer, and slowTime where it is slow.
const (
	wordTime = 15 * time.Millisecond
	slowTime = 700 * time.Millisecond
)

// speaker is a model server: a question is answered by its own words, some of them.
type speaker struct {
	mu      sync.Mutex
	how     string
	changed chan struct{} // closed when it behaves otherwise
}

func runModel(ctx context.Context, _ io.Reader, out io.Writer) error {
	s := &speaker{how: behavesWell, changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", s.speak)
	mux.HandleFunc("POST /behave", s.behave)
	return harness.Serve(ctx, mux, out)
}

func (s *speaker) behave(w http.ResponseWriter, request *http.Request) {
	var how string
	if err := json.NewDecoder(request.Body).Decode(&how); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how = how
	close(s.changed)
	s.changed = make(chan struct{})
	fmt.Fprint(w, "true")
}

func (s *speaker) now() (how string, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.how, s.changed
}

// answerTo is what the model answers.
func answerTo(question string) string {
	var words strings.Builder
	for i := range 20 {
		fmt.Fprintf(&words, "%s %d ", question, i)
	}
	return strings.TrimSpace(words.String())
}

func (s *speaker) speak(w http.ResponseWriter, request *http.Request) {
	var asked struct{ Messages []struct{ Content string } }
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil || len(asked.Messages) == 0 {
		http.Error(w, fmt.Sprint("there is no question: ", err), http.StatusBadRequest)
		return
	}
	how, changed := s.now()
	if how == behavesIll {
		http.Error(w, `{"error":{"message":"it is ill"}}`, http.StatusInternalServerError)
		return
	}
	for ; how == behavesMute; how, changed = s.now() {
		select {
		case <-changed:
		case <-request.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	question := asked.Messages[len(asked.Messages)-1].Content
	// What has not been answered yet comes with it, in paragraphs of its own.
	question = question[strings.LastIndex(question, "\n")+1:]
	words := strings.SplitAfter(answerTo(question), " ")
	for i, word := range words {
		length := wordTime
		if how, changed = s.now(); how == behavesSlow {
			length = slowTime
		}
		select {
		case <-time.After(length):
		case <-changed:
		case <-request.Context().Done():
			return
		}
		if i == len(words)/2 {
			switch how {
			case behavesDying:
				word = word[:len(word)/2]
				fmt.Fprintf(w, `data: {"choices":[{"index":0,"delta":{"content":"%s`, word)
				_ = flusher.Flush()
				panic(http.ErrAbortHandler)
			case behavesMad:
				fmt.Fprint(w, "data: {\"choices\":\x00[[[\n\n<html>502</html>\n\n")
				return
			}
		}
		text, _ := json.Marshal(word) // a string
		fmt.Fprintf(w, `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}`+"\n\n", text)
		if err := flusher.Flush(); err != nil {
			return // who asked has left
		}
	}
	fmt.Fprint(w, `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
}
