package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const longQuestion = "Would you tell me the whole story?"

// createLongFAQ gives the default chatbot an FAQ whose answer exceeds all buffers, and returns the answer.
func createLongFAQ(c client) string {
	c.t.Helper()
	var story strings.Builder
	for i := 0; story.Len() < 30_000; i++ {
		fmt.Fprintf(&story, "Part %d 第%d章, in which something happens. ", i, i)
	}
	answer := strings.TrimSpace(story.String())
	c.call("POST", "/api/chatbots/parley/faqs/", object{"question": longQuestion, "answer": answer}, http.StatusCreated, nil)
	return answer
}

// lockTables locks tables exclusively until release is called.
func lockTables(t *testing.T, conn *pgx.Conn, tables string) (release func()) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE "+tables+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (c client) ask(conversation string) *http.Response {
	c.t.Helper()
	answer, err := c.open("POST", "/api/chatbots/parley/completions/", object{
		"conversation": conversation, "message": object{"content": longQuestion}, "isStreaming": true,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		c.t.Fatalf("completion: %s", answer.Status)
	}
	c.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// checkStory checks that the events are the whole answer and one final event.
func checkStory(t *testing.T, events []event, answer string) {
	t.Helper()
	var got strings.Builder
	for i, ev := range events {
		got.WriteString(ev.Content)
		if isLast := i == len(events)-1; ev.Done != isLast {
			t.Fatalf("event %d of %d: done is %t", i+1, len(events), ev.Done)
		}
	}
	if len(events) == 0 {
		t.Fatal("no events")
	}
	if last := events[len(events)-1]; last.FinishReason != "stop" || last.Error != nil || last.Content != "" {
		t.Errorf("the final event is %+v", last)
	}
	if got.String() != answer {
		t.Errorf("the deltas have %d bytes, the answer %d", got.Len(), len(answer))
	}
}

func TestShutdownFinishesReplies(t *testing.T) {
	t.Parallel()
	// given: a reply that is blocked
	dir := newDir(t)
	server := serving(t, dir, "PARLEY_LOG_LEVEL=debug")
	slow := newClient(t, server.base, server.key, 4096)
	answer := createLongFAQ(slow)
	conversation := slow.start()
	release := lockTables(t, connect(t, server), "faqs")
	stream := slow.ask(conversation)

	// when: the server is stopped
	server.signal(syscall.SIGTERM)

	// then: it accepts no new connections
	eventually(t, "new connections are refused", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(server.base, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})

	// and: the reply is completed
	release()
	events := readEvents(t, stream.Body)
	checkStory(t, events, answer)
	if code := server.awaitExit(testTimeout); code != 0 {
		t.Errorf("exit code %d", code)
	}
	server.expectNoProcesses()
	next := serving(t, dir)
	stored := next.client(server.key).messages(conversation)
	if len(stored) != 2 || stored[1].Content != answer || stored[1].ID != events[0].MessageID {
		t.Errorf("%d messages are stored, or they differ from the stream", len(stored))
	}
	next.stop()
}

func TestShutdownWaitsForSlowReader(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	slow := newClient(t, server.base, server.key, 4096)
	answer := createLongFAQ(slow)
	stream := slow.ask(slow.start())
	reader := bufio.NewReaderSize(stream.Body, 256)
	if _, err := reader.Peek(64); err != nil { // the reply is in progress
		t.Fatal(err)
	}
	server.signal(syscall.SIGTERM)
	eventually(t, "the shutdown has begun", func() bool { return strings.Contains(server.stderr.String(), "stop server") })
	checkStory(t, readEvents(t, reader), answer)
	if code := server.awaitExit(testTimeout); code != 0 {
		t.Errorf("exit code %d", code)
	}
	server.expectNoProcesses()
}

func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	// given: a reply that can neither be completed nor released
	dir := newDir(t)
	server := serving(t, dir)
	api := server.client(server.key)
	answer := createLongFAQ(api)
	conversation := api.start()
	lockTables(t, connect(t, server), "faqs")
	api.ask(conversation)
	lockTables(t, connect(t, server), "runs")

	// when: the server is stopped
	server.signal(syscall.SIGTERM)

	// then: it exits cleanly nevertheless
	if code := server.awaitExit(replyGracePeriod + requestGracePeriod + postgresGracePeriod); code != 0 {
		t.Errorf("exit code %d", code)
	}
	server.expectNoProcesses()

	// and: the question is answered after the next start
	next := serving(t, dir)
	api = next.client(server.key)
	var stored []message
	within(t, time.Minute, "the reply is stored", func() bool {
		stored = api.messages(conversation)
		return len(stored) == 2
	})
	if stored[1].Content != answer {
		t.Errorf("the reply is %.100q", stored[1].Content)
	}
	next.stop()
}
