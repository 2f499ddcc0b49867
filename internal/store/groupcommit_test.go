package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	gendb "parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// conversation is a conversation of a user, and a connection that bypasses the store.
type conversation struct {
	*store.Store
	store.SessionKey
	user uuid.UUID
	sql  *pgx.Conn
}

func newConversation(t *testing.T) *conversation {
	t.Helper()
	url := dbtest.URL(t)
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	c := &conversation{Store: s, user: uuid.New(), sql: conn}
	// All rows of the conversation have the user's id.
	c.OrganizationID, c.SessionID = uuid.New(), c.user
	c.exec(t, "INSERT INTO organizations (id, name) VALUES ($1, 'Acme')", c.OrganizationID)
	for _, statement := range []string{
		"INSERT INTO users (organization_id, id, name) VALUES ($1, $2, 'alice')",
		"INSERT INTO contacts (organization_id, id, user_id, name) VALUES ($1, $2, $2, 'alice')",
		"INSERT INTO bots (organization_id, id, slug, name, engine) VALUES ($1, $2, 'parley', 'Parley', 'faq')",
		"INSERT INTO inboxes (organization_id, id, bot_id, name, channel_type) VALUES ($1, $2, $2, 'API', 'api')",
		"INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id) VALUES ($1, $2, $2, $2, $2, $2)",
	} {
		c.exec(t, statement, c.OrganizationID, c.user)
	}
	return c
}

func (c *conversation) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := c.sql.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (c *conversation) send(ctx context.Context, content string, metadata json.RawMessage) (int64, error) {
	sent, err := c.GroupCommit(c.SessionKey).SendMessage(ctx, gendb.SendMessageParams{
		OrganizationID: c.OrganizationID, SessionID: c.SessionID, UserID: c.user,
		Reply: "never", QueueLimit: 20, MessageID: uuid.New(), Content: content, Metadata: metadata,
	})
	return sent.Seq, err
}

// count returns the number of stored messages, and checks that their seqs have no gap.
func (c *conversation) count(t *testing.T) (count int64) {
	t.Helper()
	var last int64
	if err := c.sql.QueryRow(t.Context(), "SELECT count(*), coalesce(max(seq), 0) FROM message_history").Scan(&count, &last); err != nil {
		t.Fatal(err)
	}
	if count != last {
		t.Errorf("there are %d messages, and the last seq is %d", count, last)
	}
	return count
}

// While a session is locked, the queue is bounded: further statements are refused with unavailable, and all queued
// ones are eventually committed.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	c := newConversation(t)
	c.exec(t, "BEGIN")
	c.exec(t, "SELECT FROM sessions FOR UPDATE")
	large := strings.Repeat("a", 750_000)
	var senders sync.WaitGroup
	var stored, refused atomic.Int64
	isRefused := make(chan struct{}, 100)
	for range 100 {
		senders.Go(func() {
			switch _, err := c.send(t.Context(), large, json.RawMessage(`"`+large+`"`)); {
			case err == nil:
				stored.Add(1)
			case apperr.Is(err, apperr.Unavailable):
				refused.Add(1)
				isRefused <- struct{}{}
			default:
				t.Error(err)
			}
		})
	}
	<-isRefused
	c.exec(t, "ROLLBACK")
	senders.Wait()
	if stored.Load() < 30 || c.count(t) != stored.Load() || stored.Load()+refused.Load() != 100 {
		t.Errorf("%d sends succeeded and %d were refused; %d messages are stored", stored.Load(), refused.Load(), c.count(t))
	}
}

func TestQueuedStatementIsAbandonedWithItsContext(t *testing.T) {
	t.Parallel()
	c := newConversation(t)
	c.exec(t, "BEGIN")
	c.exec(t, "SELECT FROM sessions FOR UPDATE")
	ctx, cancel := context.WithCancel(t.Context())
	var canceled, senders sync.WaitGroup
	var stored, abandoned atomic.Int64
	for i := range 40 {
		sendCtx, group := t.Context(), &senders
		if i%2 == 0 {
			sendCtx, group = ctx, &canceled
		}
		group.Go(func() {
			switch _, err := c.send(sendCtx, "Hello", nil); {
			case err == nil:
				stored.Add(1)
			case errors.Is(err, context.Canceled):
				abandoned.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	cancel()
	// At most one statement is running. It waits for the lock until its lock timeout.
	eventually(t, "the canceled senders return", func() bool { return abandoned.Load() >= 19 })
	c.exec(t, "ROLLBACK")
	canceled.Wait()
	senders.Wait()
	if stored.Load() < 20 || stored.Load()+abandoned.Load() != 40 || c.count(t) != stored.Load() {
		t.Errorf("%d sends succeeded and %d were abandoned; %d messages are stored", stored.Load(), abandoned.Load(), c.count(t))
	}
}

// eventually polls a condition until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-t.Context().Done():
			t.Fatalf("never: %s", what)
		case <-poll.C:
		}
	}
}

func TestGroupCommitInsideATransactionJoinsIt(t *testing.T) {
	t.Parallel()
	c := newConversation(t)
	err := c.WithTx(t.Context(), func(s *store.Store) error {
		inside := *c
		inside.Store = s
		if _, err := inside.send(t.Context(), "Hello", nil); err != nil {
			t.Error(err)
		}
		return context.Canceled
	})
	if !errors.Is(err, context.Canceled) || c.count(t) != 0 {
		t.Errorf("error %v, and %d messages are stored; want a rollback", err, c.count(t))
	}
}
