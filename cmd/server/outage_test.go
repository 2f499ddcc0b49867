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

// outages is how often PostgreSQL is stopped at once, in the midst of what it does.
const outages = 10

// acknowledged is a message that the server has said is stored.
type acknowledged struct {
	conversation, content string
	sent
}

func TestNothingAcknowledgedIsLostWhenPostgresIsStoppedAtOnce(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// given a server that goes on while its PostgreSQL is stopped and started again, and a
	// crowd that sends to many conversations all the time
	dir := newDir(t)
	postgres := startPostgres(t, dir)
	server := serving(t, newDir(t), "DATABASE_URL=postgres://parley@/postgres?host="+url.QueryEscape(filepath.Join(dir, "postgres.socket")))
	asked := server.client(server.key)
	conversations := make([]string, 12)
	for i := range conversations {
		conversations[i] = asked.start()
		asked.call("PATCH", "/api/conversations/"+conversations[i]+"/", object{"autoReplyEnabled": false}, http.StatusOK, nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	var mu sync.Mutex
	var noted []acknowledged
	refusals := 0
	for member := range 24 {
		crowd.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				one := acknowledged{conversation: conversations[(member+i)%len(conversations)], content: fmt.Sprintf("%d of %d", i, member)}
				message, status, err := asked.send(one.conversation, one.content)
				one.sent = message
				mu.Lock()
				switch {
				case err != nil:
					t.Errorf("%s: %v", one.content, err)
				case status == http.StatusCreated:
					noted = append(noted, one)
				case status == http.StatusServiceUnavailable:
					refusals++
				default:
					t.Errorf("%s: status %d", one.content, status)
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
		// The stop comes at any moment of a load that goes on.
		next := count() + 100 + random.IntN(400)
		within(t, time.Minute, "messages between two stops", func() bool { return count() >= next })
		if err := syscall.Kill(postgres.Pid(), syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		<-postgres.Done()
		postgres = startPostgres(t, dir)
	}
	before := count()
	within(t, time.Minute, "messages after the last one", func() bool { return count() > before+24 })
	cancel()
	crowd.Wait()

	// then what was acknowledged is there, once and in its place, and no place is empty
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
		var one sent
		var at time.Time
		if err := rows.Scan(&conversation, &content, &one.ID, &one.Seq, &at); err != nil {
			t.Fatal(err)
		}
		one.Timestamp = at.UTC().Format("2006-01-02T15:04:05.000000Z")
		if lastSeq[conversation]++; one.Seq != lastSeq[conversation] {
			t.Fatalf("message %d has the seq %d", lastSeq[conversation], one.Seq)
		}
		if _, isTwice := stored[content]; isTwice {
			t.Errorf("%q is stored twice", content)
		}
		stored[content] = one
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	for _, one := range noted {
		if found := stored[one.content]; found != one.sent {
			t.Errorf("acknowledged was %+v, stored is %+v", one, found)
		}
	}
	if len(noted) < 100*outages || refusals == 0 {
		t.Errorf("that was no test: %d acknowledged, %d refused", len(noted), refusals)
	}
	t.Logf("%d acknowledged, %d refused, %d stored", len(noted), refusals, len(stored))
	server.stop()
}

// startPostgres starts PostgreSQL, reached through a link in the directory.
func startPostgres(t *testing.T, dir string) *localpg.Server {
	t.Helper()
	postgres, err := localpg.Start(t.Context(), localpg.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = postgres.Stop(context.WithoutCancel(t.Context())) }) // fails when it has ended
	return postgres
}
