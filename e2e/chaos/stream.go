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

// event is one event of a streamed reply.
type event struct {
	Run          string `json:"runId"`
	Message      string `json:"messageId"`
	Content      string `json:"content"`
	Reset        bool   `json:"reset"`
	Done         bool   `json:"done"`
	FinishReason string `json:"finishReason"`
	Error        *struct {
		Error  string `json:"error"`
		Detail string `json:"detail"`
	} `json:"error"`
}

// reading is a reply that is read over one stream after the other.
type reading struct {
	run, message string
	last         string // the id of the last event that came
	text         strings.Builder
	isOver       bool
	failure      string // why the reply has failed, where it has
}

// stream asks for a reply as it is written, and takes it up where a stream breaks off.
func (l *load) stream(to talk, content string, random *rand.Rand) {
	l.journal.add(entry{Kind: didAsk, Conversation: to.Conversation, Content: content, MayRepeat: true})
	var r reading
	isCancelled := random.IntN(8) == 0
	l.insist(random, func(server int) bool {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		silence := time.AfterFunc(silenceTime, cancel)
		defer silence.Stop()
		method, path, key := http.MethodPost, "/api/chatbots/"+to.Bot+"/completions/", content
		var body any = map[string]any{"conversation": to.Conversation, "isStreaming": true, "message": map[string]any{"content": content}}
		if r.run != "" {
			method, path, key, body = http.MethodGet, "/api/runs/"+r.run+"/events/", "", nil
			if r.last != "" {
				path += "?after=" + r.last
			}
		}
		answer, err := l.open(ctx, l.streams, server, method, path, key, body)
		if err != nil {
			l.refused("a stream", to.Conversation, content, 0, nil, err)
			return false
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			said, _ := io.ReadAll(answer.Body)
			l.refused("a stream", to.Conversation, content, answer.StatusCode, said, nil)
			return false
		}
		if r.run == "" {
			r.run = answer.Header.Get("X-Run-Id")
			l.journal.add(entry{Kind: wasTold, Conversation: to.Conversation, Content: content, Run: r.run})
		}
		heard := func() {
			silence.Reset(silenceTime)
			if isCancelled {
				isCancelled = false
				// What it is answered is no matter: the reply ends in one way or another.
				_, _, _ = l.ask(1-server, http.MethodPost, "/api/runs/"+r.run+"/cancel/", "", nil)
			}
		}
		if err := r.read(answer.Body, heard); err != nil {
			l.refused("a stream", to.Conversation, content, 0, nil, err)
		}
		return r.isOver || l.hasFailed(server, &r)
	})
	if r.isOver {
		l.journal.add(entry{Kind: didRead, Conversation: to.Conversation, Content: r.text.String(), ID: r.message, Run: r.run, Why: r.failure})
	}
}

// hasFailed tells whether a reply is over that its last stream could not tell the end of.
func (l *load) hasFailed(server int, r *reading) bool {
	var run struct {
		State string `json:"state"`
		Error *struct {
			Error  string `json:"error"`
			Detail string `json:"detail"`
		} `json:"error"`
	}
	status, said, err := l.ask(server, http.MethodGet, "/api/runs/"+r.run+"/", "", nil)
	if status != http.StatusOK || json.Unmarshal(said, &run) != nil {
		l.refused("a look at a run", "", "", status, said, err)
		return false
	}
	if run.State == "failed" && run.Error != nil && run.Error.Error == "unavailable" {
		r.isOver, r.failure = true, run.Error.Error+": "+run.Error.Detail
	}
	return r.isOver
}

// read reads one stream to its end, and calls heard whenever something has come.
func (r *reading) read(stream io.Reader, heard func()) error {
	id := ""
	for lines := bufio.NewReader(stream); !r.isOver; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		heard()
		line = strings.TrimSuffix(line, "\n")
		if said, ok := strings.CutPrefix(line, "id: "); ok {
			id = said
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var one event
		if err := json.Unmarshal([]byte(data), &one); err != nil {
			return err
		}
		if one.Done && one.Error != nil && one.Error.Error == "unavailable" {
			return nil // the reply goes on elsewhere, or is written again
		}
		if one.Reset {
			r.text.Reset()
		}
		r.text.WriteString(one.Content)
		r.last, r.message, r.isOver = id, one.Message, one.Done
		if one.Error != nil {
			r.failure = one.Error.Error + ": " + one.Error.Detail
		}
	}
	return nil
}
