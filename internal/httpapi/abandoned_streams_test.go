package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// partialReader reads some events of a stream, and then continues, disconnects or cancels the run.
type partialReader struct {
	action string
	after  int // events
	events []event
	err    error
}

// ask sends the request, reads the stream, and performs the action of c.
func (c *partialReader) ask(alice caller, path string) {
	ctx, leave := context.WithCancel(alice.t.Context())
	defer leave()
	l, err := alice.tryListen(http.MethodPost, path, completionBody("Go on", true), func(request *http.Request) { *request = *request.WithContext(ctx) })
	if err != nil {
		c.err = err
		return
	}
	defer l.disconnect()
	defer func() { c.events = l.events }()
	for n := 0; ; n++ {
		if n == c.after && c.action == "leaves" {
			return
		}
		if n == c.after && c.action == "cancels" {
			got, err := alice.tryCall(http.MethodPost, "/api/runs/"+l.run+"/cancel/", nil, withHeader("Authorization", "Api-Key "+alice.key))
			if err != nil || got.status != http.StatusOK {
				c.err = fmt.Errorf("cancel: %d %w", got.status, err)
				return
			}
		}
		if _, err := l.tryNext(); err != nil {
			if !errors.Is(err, io.EOF) {
				c.err = err
			}
			return
		}
	}
}

// Two hundred streams run at once. A third of the clients disconnect and a third cancel, each at a random event.
// Afterwards every conversation has one reply, complete or partial, no run is queued or running, and all goroutines
// and connections are released. The test is not parallel, because it counts the goroutines of the process.
func TestAbandonedAndCancelledStreamsReleaseTheirResources(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	rule, whole := slowRule(20, 20)
	alice, path := scriptedCaller(t, rule)
	alice.call(http.MethodPost, path, completionBody("Go on", false)).wantStatus(http.StatusOK)
	// Open all connections that the pool may have, so that none is opened later.
	alice.postConcurrently(64, func(int) (string, any) { return "/api/conversations/start", object{} })
	goroutines := alice.idleGoroutines()

	const callers = 200
	many := make([]*partialReader, callers)
	var all sync.WaitGroup
	for i := range many {
		many[i] = &partialReader{action: []string{"stays", "leaves", "cancels"}[i%3], after: random.IntN(21)}
		all.Go(func() { many[i].ask(alice, path) })
	}
	all.Wait()
	eventually(t, "no run is queued or running", func() bool {
		return query[int](alice.server, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})
	for i, reader := range many {
		if reader.err != nil {
			t.Errorf("caller %d, who %s after %d events: %v", i, reader.action, reader.after, reader.err)
			continue
		}
		alice.checkReader(t, reader, whole)
	}
	for what, statement := range map[string]string{
		"conversations that wait":               "SELECT count(*) FROM sessions WHERE active_run IS NOT NULL OR queued_runs <> 0",
		"runs without a record":                 "SELECT count(*) FROM runs r LEFT JOIN records c ON c.id = r.id WHERE c.id IS NULL OR c.status <> r.state",
		"conversations with more than a reply":  "SELECT count(*) FROM (SELECT FROM message_history WHERE sender = 'bot' GROUP BY session_id HAVING count(*) > 1) x",
		"runs that are neither":                 "SELECT count(*) FROM runs WHERE state NOT IN ('completed', 'cancelled') OR attempt <> 1",
		"completed runs without a reply":        "SELECT count(*) FROM runs r WHERE state = 'completed' AND NOT EXISTS (SELECT FROM message_history m WHERE m.id = r.reply_id)",
		"records that differ from their reply":  "SELECT count(*) FROM records r LEFT JOIN message_history m ON m.id = r.reply_id WHERE r.output_message <> coalesce(m.content, '')",
		"replies that are not the script's":     "SELECT count(*) FROM message_history WHERE sender = 'bot' AND NOT starts_with('" + whole + "', content)",
		"runs beyond those that were asked for": fmt.Sprintf("SELECT count(*) - %d FROM runs", callers+1),
	} {
		if n := query[int](alice.server, statement); n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
	if n := query[int](alice.server, "SELECT count(*) FROM runs WHERE state = 'cancelled'"); n == 0 || n > callers/3 {
		t.Errorf("%d runs were cancelled", n)
	}
	eventually(t, "no database connection is in use", func() bool {
		return query[int](alice.server, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'") == 0
	})
	left := alice.idleGoroutines()
	if left > goroutines+10 {
		t.Errorf("%d goroutines at first, now %d", goroutines, left)
	}
	t.Logf("%d goroutines before, %d after", goroutines, left)
}

// idleGoroutines returns the number of goroutines after all connections are closed.
func (s *server) idleGoroutines() int {
	s.http.CloseIdleConnections()
	least := runtime.NumGoroutine()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for calm := 0; calm < 25; calm++ {
		<-look.C
		if n := runtime.NumGoroutine(); n < least {
			least, calm = n, 0
		}
	}
	return least
}

// checkReader compares the events that a reader received with what is stored.
func (c caller) checkReader(t *testing.T, reader *partialReader, whole string) {
	t.Helper()
	if len(reader.events) == 0 {
		return // disconnected before the first text
	}
	run := c.get("/api/runs/" + text(reader.events[0].data, "runId") + "/")
	stored := ""
	for _, message := range c.history(text(run, "conversation")) {
		if message["sender"] == "bot" {
			stored += text(message, "content")
		}
	}
	if reader.action == "leaves" {
		heard := ""
		for _, reader := range reader.events {
			heard += reader.data["content"].(string)
		}
		if run["state"] != "completed" || stored != whole || !strings.HasPrefix(stored, heard) {
			t.Errorf("disconnected after %d events: run %v, stored %q, received %q", reader.after, run, stored, heard)
		}
		return
	}
	content, last := checkStream(t, reader.events)
	if content != stored || last["finishReason"] != run["finishReason"] || reader.action == "stays" && (content != whole || run["state"] != "completed") {
		t.Errorf("%s after %d events: run %v, stored %q, received %q and %v", reader.action, reader.after, run, stored, content, last)
	}
}
