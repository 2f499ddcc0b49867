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

// call sends a request to one of the servers and reads the whole response. The status is 0 if none
// arrived.
func (l *load) call(server int, method, path, key string, body any) (status int, received []byte, err error) {
	response, err := l.open(context.Background(), l.http, server, method, path, key, body)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	received, err = io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, err
	}
	return response.StatusCode, received, nil
}

// open sends a request. The caller reads and closes the response.
func (l *load) open(ctx context.Context, client *http.Client, server int, method, path, key string, body any) (*http.Response, error) {
	var encoded io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		encoded = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, l.Bases[server]+path, encoded)
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

// acknowledgement is the server's response to a message that it has stored.
type acknowledgement struct {
	ID           string `json:"message_id"`
	Seq          int64  `json:"seq"`
	Run          string `json:"run_id"`
	Conversation string `json:"conversation_id"`
}

// retryTime is how long a client keeps retrying after the load has ended.
const retryTime = 90 * time.Second

// retry repeats a request on alternating servers until attempt returns true.
func (l *load) retry(random *rand.Rand, attempt func(server int) (done bool)) {
	var deadline time.Time
	for server := random.IntN(2); !attempt(server); server = 1 - server {
		switch {
		case l.sending.Err() == nil:
		case deadline.IsZero():
			deadline = time.Now().Add(retryTime)
		case time.Now().After(deadline):
			l.journal.add(entry{Kind: kindViolation, Why: fmt.Sprintf("a request is not answered %s after the end of the load", retryTime)})
			return
		}
		<-time.After(retryPause)
	}
}

// sendMessage sends a message over REST. With an Idempotency-Key it retries until the message is acknowledged, and
// sometimes repeats the request once more. Without a key it sends the message once.
func (l *load) sendMessage(to conversation, content string, isKeyed bool, random *rand.Rand) {
	key := ""
	if isKeyed {
		key = content
	}
	l.journal.add(entry{Kind: kindSent, Conversation: to.ID, Content: content})
	repeatOnce := isKeyed && random.IntN(10) == 0 // the repeated request must get the same response
	l.retry(random, func(server int) bool {
		start := time.Now()
		status, received, err := l.call(server, http.MethodPost, "/api/conversations/"+to.ID+"/messages", key, map[string]any{"content": content})
		var ack acknowledgement
		if status == http.StatusCreated && json.Unmarshal(received, &ack) == nil {
			l.journal.add(entry{
				Kind: kindAcked, Conversation: to.ID, Content: content, ID: ack.ID, Seq: ack.Seq, Run: ack.Run, Took: time.Since(start),
			})
			done := !repeatOnce
			repeatOnce = false
			return done
		}
		l.recordFailure("a message", to.ID, content, status, received, err)
		return !isKeyed
	})
}

// startConversation starts a conversation with a first message, under an Idempotency-Key.
func (l *load) startConversation(content string, random *rand.Rand) {
	l.journal.add(entry{Kind: kindSent, Content: content})
	l.retry(random, func(server int) bool {
		start := time.Now()
		status, received, err := l.call(server, http.MethodPost, "/api/conversations/start", content, map[string]any{"initial_message": content})
		var ack acknowledgement
		if status == http.StatusCreated && json.Unmarshal(received, &ack) == nil {
			l.journal.add(entry{
				Kind: kindAcked, Conversation: ack.Conversation, Content: content, ID: ack.ID, Seq: 1, Run: ack.Run, Took: time.Since(start),
			})
			return true
		}
		l.recordFailure("a conversation start", "", content, status, received, err)
		return false
	})
}

// browse requests one of these: a history, the conversation lists, records, statistics, an export.
func (l *load) browse(c conversation, random *rand.Rand) {
	today := time.Now().UTC().Format(time.DateOnly)
	days := "startDate=" + today + "&endDate=" + today
	paths := []string{
		"/api/conversations/" + c.ID + "/history", "/api/conversations?limit=20", "/api/conversations/?pageSize=20",
		"/api/chatbots/parley/records/?" + days, "/api/chatbots/parley/records/export/?" + days, "/api/chatbots/parley/statistics/?" + days,
	}
	path := paths[random.IntN(len(paths))]
	if status, received, err := l.call(random.IntN(2), http.MethodGet, path, "", nil); status != http.StatusOK {
		l.recordFailure("GET "+path, c.ID, "", status, received, err)
	}
}

// completion is the response to a completion request.
type completion struct {
	Message string `json:"messageId"`
	Run     string `json:"runId"`
	Content string `json:"content"`
}

// complete requests a complete reply. A failed reply releases the key, so that a retry asks again.
func (l *load) complete(to conversation, content string, random *rand.Rand) {
	l.journal.add(entry{Kind: kindSent, Conversation: to.ID, Content: content})
	attempts := 0
	l.retry(random, func(server int) bool {
		body := map[string]any{"conversation": to.ID, "message": map[string]any{"content": content}}
		status, received, err := l.call(server, http.MethodPost, "/api/chatbots/"+to.Bot+"/completions/", content, body)
		var reply completion
		if status == http.StatusOK && json.Unmarshal(received, &reply) == nil {
			l.journal.add(entry{Kind: kindAnswered, Conversation: to.ID, Content: reply.Content, ID: reply.Message, Run: reply.Run})
			return true
		}
		l.recordFailure("a completion", to.ID, content, status, received, err)
		attempts++
		return status == http.StatusBadGateway || attempts > 20 && l.sending.Err() == nil
	})
}
