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

// teachLongAnswer gives the default bot an answer that no buffer holds, and returns it.
func teachLongAnswer(c client) string {
	c.t.Helper()
	var story strings.Builder
	for i := 0; story.Len() < 30_000; i++ {
		fmt.Fprintf(&story, "Part %d 第%d章, in which something happens. ", i, i)
	}
	answer := strings.TrimSpace(story.String())
	c.call("POST", "/api/chatbots/parley/faqs/", object{"question": longQuestion, "answer": answer}, http.StatusCreated, nil)
	return answer
}

// hold keeps whoever needs them away from tables, until it is released.
func hold(t *testing.T, conn *pgx.Conn, tables string) (release func()) {
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
		c.t.Fatalf("the completion is answered with %s", answer.Status)
	}
	c.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// checkStory checks that the events are the whole answer, and one last event.
func checkStory(t *testing.T, events []event, answer string) {
	t.Helper()
	var told strings.Builder
	for i, one := range events {
		told.WriteString(one.Content)
		if isLast := i == len(events)-1; one.Done != isLast {
			t.Fatalf("event %d of %d says done: %t", i+1, len(events), one.Done)
		}
	}
	if len(events) == 0 {
		t.Fatal("there are no events")
	}
	if last := events[len(events)-1]; last.FinishReason != "stop" || last.Error != nil || last.Content != "" {
		t.Errorf("the last event is %+v", last)
	}
	if told.String() != answer {
		t.Errorf("the deltas are %d bytes, not the answer of %d", told.Len(), len(answer))
	}
}

func TestAStopLetsTheRepliesBeWritten(t *testing.T) {
	t.Parallel()
	// given a reply that cannot go on
	dir := newDir(t)
	server := serving(t, dir, "PARLEY_LOG_LEVEL=debug")
	slow := newClient(t, server.base, server.key, 4096)
	answer := teachLongAnswer(slow)
	conversation := slow.start()
	release := hold(t, connect(t, server), "faqs")
	stream := slow.ask(conversation)

	// when the server is told to stop
	server.signal(syscall.SIGTERM)

	// then it takes no new connections
	eventually(t, "the refusal of new connections", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(server.base, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})

	// and the reply is written to its end
	release()
	events := readEvents(t, stream.Body)
	checkStory(t, events, answer)
	if code := server.awaitEnd(patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	server.mustBeAlone()
	next := serving(t, dir)
	stored := next.client(server.key).messages(conversation)
	if len(stored) != 2 || stored[1].Content != answer || stored[1].ID != events[0].MessageID {
		t.Errorf("%d messages are stored, or not what the stream told", len(stored))
	}
	next.stop()
}

func TestAStopLetsASlowReaderHaveTheRest(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	slow := newClient(t, server.base, server.key, 4096)
	answer := teachLongAnswer(slow)
	stream := slow.ask(slow.start())
	reader := bufio.NewReaderSize(stream.Body, 256)
	if _, err := reader.Peek(64); err != nil { // the reply is being written
		t.Fatal(err)
	}
	server.signal(syscall.SIGTERM)
	eventually(t, "the beginning of the stop", func() bool { return strings.Contains(server.stderr.String(), "stop server") })
	checkStory(t, readEvents(t, reader), answer)
	if code := server.awaitEnd(patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	server.mustBeAlone()
}

func TestAStopIsBounded(t *testing.T) {
	t.Parallel()
	// given a reply that can neither be written nor be given back
	dir := newDir(t)
	server := serving(t, dir)
	asked := server.client(server.key)
	answer := teachLongAnswer(asked)
	conversation := asked.start()
	hold(t, connect(t, server), "faqs")
	asked.ask(conversation)
	hold(t, connect(t, server), "runs")

	// when the server is told to stop
	server.signal(syscall.SIGTERM)

	// then it ends all the same, in good order
	if code := server.awaitEnd(replyGracePeriod + requestGracePeriod + postgresGracePeriod); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	server.mustBeAlone()

	// and the question is answered after the next start
	next := serving(t, dir)
	asked = next.client(server.key)
	var stored []message
	within(t, time.Minute, "the answer", func() bool {
		stored = asked.messages(conversation)
		return len(stored) == 2
	})
	if stored[1].Content != answer {
		t.Errorf("the answer is %.100q", stored[1].Content)
	}
	next.stop()
}
