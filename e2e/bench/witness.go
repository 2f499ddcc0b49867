package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// testimony is what a process is to witness: messages are sent to conversations over
// so many connections, wherever the server is, whose places come one after the other.
type testimony struct {
	Base, Key     string
	Conversations []string
	Connections   int
}

// witnessed is what it can tell when its input has ended.
type witnessed struct {
	Acknowledged []acknowledged
	Failures     int // requests that were not
}

// acknowledged is a message of which the server has said that it is stored.
type acknowledged struct {
	ID, Conversation, Content string
	Seq                       int64
}

type witness struct {
	testimony
	mu    sync.Mutex
	saw   witnessed
	fatal error
}

func runWitness(ctx context.Context, in io.Reader, out io.Writer) error {
	places := json.NewDecoder(in)
	var w witness
	if err := places.Decode(&w.testimony); err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	for number := range w.Connections {
		all.Go(func() {
			if err := w.send(ctx, number); err != nil {
				w.note(func() { w.fatal = err })
				end()
			}
		})
	}
	for {
		var base string
		if err := places.Decode(&base); err != nil {
			break // there is no further place
		}
		w.note(func() { w.Base = base })
	}
	end()
	all.Wait()
	if w.fatal != nil {
		return w.fatal
	}
	return json.NewEncoder(out).Encode(w.saw)
}

func (w *witness) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// send sends one message after the other. Half of them have an Idempotency-Key, and
// are sent again until they are acknowledged; of the others that fail nobody knows
// whether they are stored.
func (w *witness) send(ctx context.Context, number int) error {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		content := fmt.Sprintf("%d-%d", number, n)
		conversation := w.Conversations[(number+n)%len(w.Conversations)]
		for isAgain := true; isAgain && ctx.Err() == nil; {
			told, err := w.sendOnce(ctx, client, conversation, content, n%2 == 0)
			switch {
			case err == nil:
				isAgain = false
				w.note(func() { w.saw.Acknowledged = append(w.saw.Acknowledged, told) })
			case errors.Is(err, errRefused):
				return err
			case ctx.Err() == nil:
				isAgain = n%2 == 0
				w.note(func() { w.saw.Failures++ })
				select { // the server is away
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}
	}
	return nil
}

var errRefused = errors.New("a message was refused")

func (w *witness) sendOnce(ctx context.Context, client *http.Client, conversation, content string, isKeyed bool) (acknowledged, error) {
	var base string
	w.note(func() { base = w.Base })
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, base+"/api/conversations/"+conversation+"/messages",
		bytes.NewReader(fmt.Appendf(nil, `{"content":%q}`, content)))
	if err != nil {
		return acknowledged{}, err
	}
	request.Header.Set("Authorization", "Api-Key "+w.Key)
	request.Header.Set("Content-Type", "application/json")
	if isKeyed {
		request.Header.Set("Idempotency-Key", content)
	}
	answer, err := client.Do(request)
	if err != nil {
		return acknowledged{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return acknowledged{}, err
	}
	switch {
	case answer.StatusCode >= 500 || answer.StatusCode == http.StatusConflict:
		return acknowledged{}, fmt.Errorf("an answer was %s", answer.Status)
	case answer.StatusCode >= 300:
		return acknowledged{}, fmt.Errorf("%w: %s: %s", errRefused, answer.Status, body)
	}
	var told struct {
		ID  string `json:"message_id"`
		Seq int64  `json:"seq"`
	}
	err = json.Unmarshal(body, &told)
	return acknowledged{told.ID, conversation, content, told.Seq}, err
}
