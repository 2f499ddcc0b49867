package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// load is what the loud organization, or strangers, do meanwhile. run starts it.
type load struct {
	name string
	run  func(ctx context.Context, s *stack, counted *counts, running *sync.WaitGroup)
}

const allDays = "startDate=2026-01-01&endDate=2026-12-31"

var loads = []load{
	{"(a) 40 filtered lists of records", repeat(40, func(s *stack, _ int) (string, string, string, []byte) {
		return http.MethodGet, "/api/chatbots/parley/records/?userMessage=nowhere&startDate=2020-01-01&endDate=2030-01-01", "", nil
	})},
	{"(b) 16 statistics of a year", repeat(16, func(*stack, int) (string, string, string, []byte) {
		return http.MethodGet, "/api/chatbots/parley/statistics/?" + allDays, "", nil
	})},
	{"(c) 300 replies of a silent model", silentReplies},
	{"(d) visitors from 200 addresses and a /64", visitors},
	{"(e) 64 bulk senders", repeat(64, func(s *stack, _ int) (string, string, string, []byte) {
		return http.MethodPost, "/api/conversations/start", "application/json", encode(map[string]any{"initial_message": "How do I reset my password?"})
	})},
	{"(f) 32 ticket floods", repeat(32, func(*stack, int) (string, string, string, []byte) {
		return http.MethodPost, "/api/ws-tickets/", "application/json", []byte("{}")
	})},
	{"(g) 100 imports at once", repeat(100, func(*stack, int) (string, string, string, []byte) {
		body, kind := importForm()
		return http.MethodPost, "/api/chatbots/parley/faqs/import/?dryRun=true", kind, body
	})},
	{"(h) 16 exports", repeat(16, func(*stack, int) (string, string, string, []byte) {
		return http.MethodGet, "/api/chatbots/parley/records/export/?format=jsonl&startDate=2020-01-01&endDate=2030-01-01", "", nil
	})},
}

// repeat returns a load of callers that repeat a request of the loud organization.
func repeat(callers int, next func(s *stack, caller int) (method, path, kind string, body []byte)) func(context.Context, *stack, *counts, *sync.WaitGroup) {
	return func(ctx context.Context, s *stack, counted *counts, running *sync.WaitGroup) {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
		for caller := range callers {
			running.Go(func() {
				for ctx.Err() == nil {
					method, path, kind, body := next(s, caller)
					status, err := request(ctx, client, method, s.server.Base+path, s.loud.key, kind, body)
					count(ctx, counted, status, err)
				}
			})
		}
	}
}

// count counts a response, and pauses after a refusal, which no client repeats at once.
func count(ctx context.Context, counted *counts, status int, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil || status >= http.StatusBadRequest:
		counted.refused.Add(1)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	default:
		counted.done.Add(1)
	}
}

// silentReplies asks 300 questions that the model does not answer. They fail when the load ends.
func silentReplies(ctx context.Context, s *stack, counted *counts, running *sync.WaitGroup) {
	running.Go(func() {
		for range 300 {
			body := encode(map[string]any{"bot_id": "silent", "initial_message": "Hi"})
			status, err := request(ctx, http.DefaultClient, http.MethodPost, s.server.Base+"/api/conversations/start", s.loud.key, "application/json", body)
			count(ctx, counted, status, err)
		}
		<-ctx.Done()
		s.silent.Store(false)
		s.model.CloseClientConnections()
	})
}

// visitors opens sockets from 200 addresses, and as many from one /64 network, and sends as fast as the
// server accepts.
func visitors(ctx context.Context, s *stack, counted *counts, running *sync.WaitGroup) {
	for i := range 400 {
		address := fmt.Sprintf("203.0.113.%d", i)
		if i >= 200 {
			address = fmt.Sprintf("2001:db8::%x", i)
		}
		running.Go(func() {
			for ctx.Err() == nil {
				err := visit(ctx, s, address, counted)
				count(ctx, counted, 0, err)
			}
		})
	}
}

func visit(ctx context.Context, s *stack, address string, counted *counts) error {
	conn, response, err := websocket.Dial(ctx, strings.Replace(s.server.Base, "http", "ws", 1)+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"X-Forwarded-For": {address}},
	})
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	for range 100 {
		if err := conn.Write(ctx, websocket.MessageText, encode(map[string]any{"type": "message", "content": strings.Repeat("x", 3000)})); err != nil {
			return err
		}
		if _, _, err := conn.Read(ctx); err != nil {
			return err
		}
		counted.done.Add(1)
	}
	return nil
}

var importForm = sync.OnceValues(func() (body []byte, kind string) {
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	file, _ := writer.CreateFormFile("file", "faqs.csv") // a bytes.Buffer returns no error
	_, _ = io.WriteString(file, "question,answer\n")
	for i := range 4000 {
		_, _ = fmt.Fprintf(file, "Question %d?,%s\n", i, strings.Repeat("answer ", 30))
	}
	_ = writer.Close()
	return form.Bytes(), writer.FormDataContentType()
})

func encode(value any) []byte {
	encoded, _ := json.Marshal(value) // of maps and strings
	return encoded
}

func discard(body io.Reader) (int64, error) { return io.Copy(io.Discard, body) }
