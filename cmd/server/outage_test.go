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

// outages is the number of crashes (immediate shutdowns) of PostgreSQL under load.
const outages = 10

func TestPostgresCrashLosesNoAcknowledgedMessage(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// given: a server with constant load on many conversations
	dir := newDir(t)
	postgres := startPostgres(t, dir)
	server := serving(t, newDir(t), "DATABASE_URL=postgres://parley@/postgres?host="+url.QueryEscape(filepath.Join(dir, "postgres.socket")))
	senders := startSenders(t, server.client(server.key))

	// when: its PostgreSQL crashes and restarts repeatedly
	for range outages {
		// The crash comes at a random moment under load.
		senders.await("messages between two crashes", 100+random.IntN(400))
		if err := syscall.Kill(postgres.Pid(), syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		<-postgres.Done()
		postgres = startPostgres(t, dir)
	}
	senders.await("messages after the last crash", 25)
	senders.stop()

	// then: every acknowledged message is stored once with its seq, and no seq is missing
	stored := readStoredMessages(t, postgres.URL("postgres"))
	for _, want := range senders.acknowledged {
		if found := stored[want.content]; found != want.sent {
			t.Errorf("acknowledged %+v, stored %+v", want, found)
		}
	}
	if len(senders.acknowledged) < 100*outages || senders.refusals == 0 {
		t.Errorf("too little load for a meaningful test: %d acknowledged, %d refused", len(senders.acknowledged), senders.refusals)
	}
	t.Logf("%d acknowledged, %d refused, %d stored", len(senders.acknowledged), senders.refusals, len(stored))
	server.stop()
}

// messageSenders send messages to twelve conversations until they are stopped.
type messageSenders struct {
	t             *testing.T
	api           client
	conversations [12]string
	stop          func() // returns after the last response

	mu           sync.Mutex
	acknowledged []acknowledgedMessage
	refusals     int
}

func startSenders(t *testing.T, api client) *messageSenders {
	t.Helper()
	s := &messageSenders{t: t, api: api}
	for i := range s.conversations {
		s.conversations[i] = api.start()
		api.call("PATCH", "/api/conversations/"+s.conversations[i]+"/", object{"autoReplyEnabled": false}, http.StatusOK, nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for sender := range 24 {
		running.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				s.send(s.conversations[(sender+i)%len(s.conversations)], fmt.Sprintf("%d of %d", i, sender))
			}
		})
	}
	s.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(s.stop)
	return s
}

// send sends a message. The response must be an acknowledgement or 503.
func (s *messageSenders) send(conversation, content string) {
	message, status, err := s.api.send(conversation, content)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.t.Errorf("%s: %v", content, err)
	case status == http.StatusCreated:
		s.acknowledged = append(s.acknowledged, acknowledgedMessage{conversation, content, message})
	case status == http.StatusServiceUnavailable:
		s.refusals++
	default:
		s.t.Errorf("%s: status %d", content, status)
	}
}

// await waits until that many more messages are acknowledged.
func (s *messageSenders) await(what string, more int) {
	s.t.Helper()
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.acknowledged)
	}
	next := count() + more
	within(s.t, time.Minute, what, func() bool { return count() >= next })
}

// readStoredMessages returns the stored messages by content, each of which must be stored once. In each conversation,
// seq must have no gaps.
func readStoredMessages(t *testing.T, database string) map[string]sent {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "SELECT session_id::text, content, id::text, seq, created_at FROM message_history ORDER BY session_id, seq")
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]sent{}
	lastSeq := map[string]int64{}
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
	return stored
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
