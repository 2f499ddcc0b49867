package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// ask sends a request to one of the servers and reads the whole answer; the status is 0
// where none came.
func (l *load) ask(server int, method, path, key string, body any) (status int, said []byte, err error) {
	answer, err := l.open(context.Background(), l.http, server, method, path, key, body)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	said, err = io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil, err
	}
	return answer.StatusCode, said, nil
}

// open sends a request; the answer is still to be read.
func (l *load) open(ctx context.Context, client *http.Client, server int, method, path, key string, body any) (*http.Response, error) {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, l.Bases[server]+path, sent)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Api-Key "+l.Key)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	return client.Do(request)
}

// told is what the server says of a message that it has stored.
type told struct {
	ID           string `json:"message_id"`
	Seq          int64  `json:"seq"`
	Run          string `json:"run_id"`
	Conversation string `json:"conversation_id"`
}

// persistence is how long a client goes on asking after the load's end.
const persistence = 90 * time.Second

// insist makes a request at one server after the other until it is answered or refused for
// good.
func (l *load) insist(random *rand.Rand, try func(server int) (isOver bool)) {
	var deadline time.Time
	for server := random.IntN(2); !try(server); server = 1 - server {
		switch {
		case l.resting.Err() == nil:
		case deadline.IsZero():
			deadline = time.Now().Add(persistence)
		case time.Now().After(deadline):
			l.journal.add(entry{Kind: didBreak, Why: fmt.Sprintf("a request is still not answered %s after the load's end", persistence)})
			return
		}
		<-time.After(retryPause)
	}
}

// post sends a message over REST: with an Idempotency-Key until it is acknowledged, without
// one once.
func (l *load) post(to talk, content string, isKeyed bool, random *rand.Rand) {
	key := ""
	if isKeyed {
		key = content
	}
	l.journal.add(entry{Kind: didAsk, Conversation: to.Conversation, Content: content})
	isAgain := isKeyed && random.IntN(10) == 0 // whoever asks again is told the same
	l.insist(random, func(server int) bool {
		began := time.Now()
		status, said, err := l.ask(server, http.MethodPost, "/api/conversations/"+to.Conversation+"/messages", key, map[string]any{"content": content})
		var message told
		if status == http.StatusCreated && json.Unmarshal(said, &message) == nil {
			l.journal.add(entry{
				Kind: wasTold, Conversation: to.Conversation, Content: content, ID: message.ID, Seq: message.Seq, Run: message.Run, Took: time.Since(began),
			})
			isOver := !isAgain
			isAgain = false
			return isOver
		}
		l.refused("a message", to.Conversation, content, status, said, err)
		return !isKeyed
	})
}

// start begins a conversation with a message, once.
func (l *load) start(content string, random *rand.Rand) {
	l.journal.add(entry{Kind: didAsk, Content: content})
	l.insist(random, func(server int) bool {
		began := time.Now()
		status, said, err := l.ask(server, http.MethodPost, "/api/conversations/start", content, map[string]any{"initial_message": content})
		var begun told
		if status == http.StatusCreated && json.Unmarshal(said, &begun) == nil {
			l.journal.add(entry{
				Kind: wasTold, Conversation: begun.Conversation, Content: content, ID: begun.ID, Seq: 1, Run: begun.Run, Took: time.Since(began),
			})
			return true
		}
		l.refused("a start", "", content, status, said, err)
		return false
	})
}

// look reads as people do: a history, the lists of conversations, records, statistics, an
// export.
func (l *load) look(at talk, random *rand.Rand) {
	today := time.Now().UTC().Format(time.DateOnly)
	days := "startDate=" + today + "&endDate=" + today
	paths := []string{
		"/api/conversations/" + at.Conversation + "/history", "/api/conversations?limit=20", "/api/conversations/?pageSize=20",
		"/api/chatbots/parley/records/?" + days, "/api/chatbots/parley/records/export/?" + days, "/api/chatbots/parley/statistics/?" + days,
	}
	path := paths[random.IntN(len(paths))]
	if status, said, err := l.ask(random.IntN(2), http.MethodGet, path, "", nil); status != http.StatusOK {
		l.refused("a look at "+path, at.Conversation, "", status, said, err)
	}
}

// completed is what a completion answers.
type completed struct {
	Message string `json:"messageId"`
	Run     string `json:"runId"`
	Content string `json:"content"`
}

// complete asks for a reply as a whole. A failed one frees the key, so that the question
// is asked anew.
func (l *load) complete(to talk, content string, random *rand.Rand) {
	l.journal.add(entry{Kind: didAsk, Conversation: to.Conversation, Content: content, MayRepeat: true})
	tries := 0
	l.insist(random, func(server int) bool {
		body := map[string]any{"conversation": to.Conversation, "message": map[string]any{"content": content}}
		status, said, err := l.ask(server, http.MethodPost, "/api/chatbots/"+to.Bot+"/completions/", content, body)
		var reply completed
		if status == http.StatusOK && json.Unmarshal(said, &reply) == nil {
			l.journal.add(entry{Kind: wasAnswered, Conversation: to.Conversation, Content: reply.Content, ID: reply.Message, Run: reply.Run})
			return true
		}
		l.refused("a completion", to.Conversation, content, status, said, err)
		tries++
		return status == http.StatusBadGateway || tries > 20 && l.resting.Err() == nil
	})
}
