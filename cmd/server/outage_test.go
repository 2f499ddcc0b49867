package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/internal/localpg"
)

// outages is how often PostgreSQL is crashed (immediate shutdown) under load.
const outages = 10

// storedMessage is a message that the server has acknowledged.
type storedMessage struct {
	conversation, content string
	sent
}

func TestPostgresCrashLosesNoAcknowledgedMessage(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// given: a server whose PostgreSQL crashes and restarts repeatedly, and constant load on many conversations
	dir := newDir(t)
	postgres := startPostgres(t, dir)
	server := serving(t, newDir(t), "DATABASE_URL=postgres://parley@/postgres?host="+url.QueryEscape(filepath.Join(dir, "postgres.socket")))
	api := server.client(server.key)
	conversations := make([]string, 12)
	for i := range conversations {
		conversations[i] = api.start()
		api.call("PATCH", "/api/conversations/"+conversations[i]+"/", object{"autoReplyEnabled": false}, http.StatusOK, nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	var mu sync.Mutex
	var noted []storedMessage
	refusals := 0
	for member := range 24 {
		crowd.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				msg := storedMessage{conversation: conversations[(member+i)%len(conversations)], content: fmt.Sprintf("%d of %d", i, member)}
				message, status, err := api.send(msg.conversation, msg.content)
				msg.sent = message
				mu.Lock()
				switch {
				case err != nil:
					t.Errorf("%s: %v", msg.content, err)
				case status == http.StatusCreated:
					noted = append(noted, msg)
				case status == http.StatusServiceUnavailable:
					refusals++
				default:
					t.Errorf("%s: status %d", msg.content, status)
				}
				mu.Unlock()
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(noted)
	}
	for range outages {
		// The crash comes at a random moment under load.
		next := count() + 100 + random.IntN(400)
		within(t, time.Minute, "messages between two crashes", func() bool { return count() >= next })
		if err := syscall.Kill(postgres.Pid(), syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		<-postgres.Done()
		postgres = startPostgres(t, dir)
	}
	before := count()
	within(t, time.Minute, "messages after the last crash", func() bool { return count() > before+24 })
	cancel()
	crowd.Wait()

	// then: every acknowledged message is stored once with its seq, and no seq is missing
	stored := map[string]sent{} // by content
	lastSeq := map[string]int64{}
	conn, err := pgx.Connect(t.Context(), postgres.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "SELECT session_id::text, content, id::text, seq, created_at FROM message_history ORDER BY session_id, seq")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var conversation, content string
		var msg sent
		var at time.Time
		if err := rows.Scan(&conversation, &content, &msg.ID, &msg.Seq, &at); err != nil {
			t.Fatal(err)
		}
		msg.Timestamp = at.UTC().Format("2006-01-02T15:04:05.000000Z")
		if lastSeq[conversation]++; msg.Seq != lastSeq[conversation] {
			t.Fatalf("message %d: seq %d", lastSeq[conversation], msg.Seq)
		}
		if _, isTwice := stored[content]; isTwice {
			t.Errorf("%q is stored twice", content)
		}
		stored[content] = msg
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	for _, want := range noted {
		if found := stored[want.content]; found != want.sent {
			t.Errorf("acknowledged %+v, stored %+v", want, found)
		}
	}
	if len(noted) < 100*outages || refusals == 0 {
		t.Errorf("too little load for a meaningful test: %d acknowledged, %d refused", len(noted), refusals)
	}
	t.Logf("%d acknowledged, %d refused, %d stored", len(noted), refusals, len(stored))
	server.stop()
}

// startPostgres starts PostgreSQL, which listens on a socket in the directory.
func startPostgres(t *testing.T, dir string) *localpg.Server {
	t.Helper()
	postgres, err := localpg.Start(t.Context(), localpg.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = postgres.Stop(context.WithoutCancel(t.Context())) }) // fails if it is already stopped
	return postgres
}
