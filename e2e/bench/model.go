package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"parley/e2e/harness"
)

// tokenTime is the time between two tokens of a reply.
const tokenTime = 20 * time.Millisecond

// runModel serves a model behind OpenAI's API. A question is a number; the answer has
// so many tokens, and each is the moment at which it was written.
func runModel(ctx context.Context, _ io.Reader, out io.Writer) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", speak)
	return harness.Serve(ctx, mux, out)
}

func speak(w http.ResponseWriter, request *http.Request) {
	var question struct{ Messages []struct{ Content string } }
	if err := json.NewDecoder(request.Body).Decode(&question); err != nil || len(question.Messages) == 0 {
		http.Error(w, fmt.Sprint("there is no question: ", err), http.StatusBadRequest)
		return
	}
	tokens, err := strconv.Atoi(question.Messages[len(question.Messages)-1].Content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	const chunk = `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{%s},"finish_reason":%s}]}` + "\n\n"
	ticker := time.NewTicker(tokenTime)
	defer ticker.Stop()
	for range tokens {
		select {
		case <-ticker.C:
		case <-request.Context().Done():
			return
		}
		fmt.Fprintf(w, chunk, `"content":"`+stampOf(time.Now())+` "`, "null")
		if err := flusher.Flush(); err != nil {
			return // who asked has left
		}
	}
	fmt.Fprintf(w, chunk, "", `"stop"`)
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// stampOf is a moment as a token tells it: always as long.
func stampOf(at time.Time) string { return fmt.Sprintf("@%019d", at.UnixNano()) }

// runProxy stands before a model as the least that can: the standard library's reverse
// proxy.
func runProxy(ctx context.Context, in io.Reader, out io.Writer) error {
	address, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	target, err := url.Parse(string(address))
	if err != nil {
		return err
	}
	return harness.Serve(ctx, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}, out)
}
