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

// recorderJob configures a recorder process: it sends messages and records which are acknowledged.
// Each further value of its input is the new URL of the server.
type recorderJob struct {
	Base, Key     string
	Conversations []string
	Connections   int
}

// recording is what a recorder returns after the end of its input.
type recording struct {
	Acknowledged []acknowledgedMessage
	Failures     int // requests that were not acknowledged
}

// acknowledgedMessage is a message that the server has reported as stored.
type acknowledgedMessage struct {
	ID, Conversation, Content string
	Seq                       int64
}

type recorder struct {
	recorderJob
	mu       sync.Mutex // guards Base and the fields below
	recorded recording
	fatal    error
}

// runRecorder is the recorder process.
func runRecorder(ctx context.Context, in io.Reader, out io.Writer) error {
	input := json.NewDecoder(in)
	var r recorder
	if err := input.Decode(&r.recorderJob); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var senders sync.WaitGroup
	for number := range r.Connections {
		senders.Go(func() {
			if err := r.send(ctx, number); err != nil {
				r.locked(func() { r.fatal = err })
				stop()
			}
		})
	}
	for {
		var base string
		if err := input.Decode(&base); err != nil {
			break // the end of the input
		}
		r.locked(func() { r.Base = base })
	}
	stop()
	senders.Wait()
	if r.fatal != nil {
		return r.fatal
	}
	return json.NewEncoder(out).Encode(r.recorded)
}

func (r *recorder) locked(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

// send sends one message after the other. Half of them carry an Idempotency-Key and are retried
// until they are acknowledged. The others are sent once; if one fails, it may or may not be stored.
func (r *recorder) send(ctx context.Context, number int) error {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		content := fmt.Sprintf("%d-%d", number, n)
		conversation := r.Conversations[(number+n)%len(r.Conversations)]
		isKeyed := n%2 == 0
		for retry := true; retry && ctx.Err() == nil; {
			message, err := r.sendOnce(ctx, client, conversation, content, isKeyed)
			switch {
			case err == nil:
				retry = false
				r.locked(func() { r.recorded.Acknowledged = append(r.recorded.Acknowledged, message) })
			case errors.Is(err, errRefused):
				return err
			case ctx.Err() == nil:
				retry = isKeyed
				r.locked(func() { r.recorded.Failures++ })
				select { // the server is down
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}
	}
	return nil
}

var errRefused = errors.New("a message was refused")

func (r *recorder) sendOnce(ctx context.Context, client *http.Client, conversation, content string, isKeyed bool) (acknowledgedMessage, error) {
	var base string
	r.locked(func() { base = r.Base })
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, base+"/api/conversations/"+conversation+"/messages",
		bytes.NewReader(fmt.Appendf(nil, `{"content":%q}`, content)))
	if err != nil {
		return acknowledgedMessage{}, err
	}
	request.Header.Set("Authorization", "Api-Key "+r.Key)
	request.Header.Set("Content-Type", "application/json")
	if isKeyed {
		request.Header.Set("Idempotency-Key", content)
	}
	response, err := client.Do(request)
	if err != nil {
		return acknowledgedMessage{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return acknowledgedMessage{}, err
	}
	switch {
	case response.StatusCode >= 500 || response.StatusCode == http.StatusConflict:
		return acknowledgedMessage{}, fmt.Errorf("status %s", response.Status)
	case response.StatusCode >= 300:
		return acknowledgedMessage{}, fmt.Errorf("%w: %s: %s", errRefused, response.Status, body)
	}
	var stored struct {
		ID  string `json:"message_id"`
		Seq int64  `json:"seq"`
	}
	err = json.Unmarshal(body, &stored)
	return acknowledgedMessage{stored.ID, conversation, content, stored.Seq}, err
}
