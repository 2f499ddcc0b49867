package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// problem is the error of a failed reply.
type problem struct {
	Error  string `json:"error"`
	Detail string `json:"detail"`
}

// event is an event of a streamed reply.
type event struct {
	Run          string   `json:"runId"`
	Message      string   `json:"messageId"`
	Content      string   `json:"content"`
	Reset        bool     `json:"reset"`
	Done         bool     `json:"done"`
	FinishReason string   `json:"finishReason"`
	Error        *problem `json:"error"`
}

// streamedReply is a reply that is read over any number of streams.
type streamedReply struct {
	run, message string
	lastID       string // of the last event received
	text         strings.Builder
	isOver       bool
	failure      string // the reply's error, if it failed
}

// stream asks a question, streams the reply and resumes it when a stream breaks. It cancels some replies on the other
// server.
func (l *load) stream(to conversation, content string, random *rand.Rand) {
	l.journal.add(entry{Kind: kindSent, Conversation: to.ID, Content: content})
	var r streamedReply
	cancelRun := random.IntN(8) == 0
	l.retry(random, func(server int) bool {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		timeout := time.AfterFunc(silenceLimit, cancel)
		defer timeout.Stop()
		response, err := l.openStream(ctx, server, to, content, &r)
		if err != nil {
			l.recordFailure("a stream", to.ID, content, 0, nil, err)
			return false
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			received, _ := io.ReadAll(response.Body)
			l.recordFailure("a stream", to.ID, content, response.StatusCode, received, nil)
			return false
		}
		if r.run == "" {
			r.run = response.Header.Get("X-Run-Id")
			l.journal.add(entry{Kind: kindAcked, Conversation: to.ID, Content: content, Run: r.run})
		}
		onLine := func() {
			timeout.Reset(silenceLimit)
			if cancelRun {
				cancelRun = false
				// The response does not matter: the reply ends in either case.
				_, _, _ = l.call(1-server, http.MethodPost, "/api/runs/"+r.run+"/cancel/", "", nil)
			}
		}
		if err := r.read(response.Body, onLine); err != nil {
			l.recordFailure("a stream", to.ID, content, 0, nil, err)
		}
		return r.isOver || l.hasFailed(server, &r)
	})
	if r.isOver {
		l.journal.add(entry{Kind: kindStreamed, Conversation: to.ID, Content: r.text.String(), ID: r.message, Run: r.run, Why: r.failure})
	}
}

// openStream asks the question, or resumes the reply if its run is known.
func (l *load) openStream(ctx context.Context, server int, to conversation, content string, r *streamedReply) (*http.Response, error) {
	if r.run == "" {
		body := map[string]any{"conversation": to.ID, "isStreaming": true, "message": map[string]any{"content": content}}
		return l.open(ctx, l.streams, server, http.MethodPost, "/api/chatbots/"+to.Bot+"/completions/", content, body)
	}
	path := "/api/runs/" + r.run + "/events/"
	if r.lastID != "" {
		path += "?after=" + r.lastID
	}
	return l.open(ctx, l.streams, server, http.MethodGet, path, "", nil)
}

// hasFailed reports whether the run failed because its server was unavailable. Streams never end with that error,
// because another server may take over the reply.
func (l *load) hasFailed(server int, r *streamedReply) bool {
	var run struct {
		State string   `json:"state"`
		Error *problem `json:"error"`
	}
	status, received, err := l.call(server, http.MethodGet, "/api/runs/"+r.run+"/", "", nil)
	if status != http.StatusOK || json.Unmarshal(received, &run) != nil {
		l.recordFailure("GET of a run", "", "", status, received, err)
		return false
	}
	if run.State == "failed" && run.Error != nil && run.Error.Error == "unavailable" {
		r.isOver, r.failure = true, run.Error.Error+": "+run.Error.Detail
	}
	return r.isOver
}

// read reads one stream to its end and calls onLine after each line.
func (r *streamedReply) read(stream io.Reader, onLine func()) error {
	id := ""
	for lines := bufio.NewReader(stream); !r.isOver; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		onLine()
		line = strings.TrimSuffix(line, "\n")
		if value, ok := strings.CutPrefix(line, "id: "); ok {
			id = value
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		if e.Done && e.Error != nil && e.Error.Error == "unavailable" {
			return nil // another server continues or restarts the reply
		}
		if e.Reset {
			r.text.Reset()
		}
		r.text.WriteString(e.Content)
		r.lastID, r.message, r.isOver = id, e.Message, e.Done
		if e.Error != nil {
			r.failure = e.Error.Error + ": " + e.Error.Detail
		}
	}
	return nil
}
