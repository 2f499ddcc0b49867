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

// tokenInterval is the time between two tokens of a reply.
const tokenInterval = 20 * time.Millisecond

// runModel is an OpenAI-compatible model server. A question is a number, and its answer has that number of tokens.
// Each token is the time at which it was written.
func runModel(ctx context.Context, _ io.Reader, out io.Writer) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", completeByModel)
	return harness.Serve(ctx, mux, out)
}

func completeByModel(w http.ResponseWriter, request *http.Request) {
	var body struct{ Messages []struct{ Content string } }
	if err := json.NewDecoder(request.Body).Decode(&body); err != nil || len(body.Messages) == 0 {
		http.Error(w, fmt.Sprint("no question: ", err), http.StatusBadRequest)
		return
	}
	tokens, err := strconv.Atoi(body.Messages[len(body.Messages)-1].Content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	const chunk = `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{%s},"finish_reason":%s}]}` + "\n\n"
	ticker := time.NewTicker(tokenInterval)
	defer ticker.Stop()
	for range tokens {
		select {
		case <-ticker.C:
		case <-request.Context().Done():
			return
		}
		fmt.Fprintf(w, chunk, `"content":"`+timestamp(time.Now())+` "`, "null")
		if err := flusher.Flush(); err != nil {
			return // the client has disconnected
		}
	}
	fmt.Fprintf(w, chunk, "", `"stop"`)
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// timestamp returns a time as a token of constant length.
func timestamp(at time.Time) string { return fmt.Sprintf("@%019d", at.UnixNano()) }

// runProxy is the standard library's reverse proxy in front of the model server, whose URL is its
// input.
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
