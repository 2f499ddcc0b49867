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

// talk is a conversation to send to.
type talk struct {
	*store.Store
	store.SessionKey
	user uuid.UUID
	sql  *pgx.Conn
}

func newTalk(t *testing.T) *talk {
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
	k := &talk{Store: s, user: uuid.New(), sql: conn}
	// A user, and all that a conversation of theirs takes, under the same id.
	k.OrganizationID, k.SessionID = uuid.New(), k.user
	k.exec(t, "INSERT INTO organizations (id, name) VALUES ($1, 'Acme')", k.OrganizationID)
	for _, statement := range []string{
		"INSERT INTO users (organization_id, id, name) VALUES ($1, $2, 'alice')",
		"INSERT INTO contacts (organization_id, id, user_id, name) VALUES ($1, $2, $2, 'alice')",
		"INSERT INTO bots (organization_id, id, slug, name, engine) VALUES ($1, $2, 'parley', 'Parley', 'faq')",
		"INSERT INTO inboxes (organization_id, id, bot_id, name, channel_type) VALUES ($1, $2, $2, 'API', 'api')",
		"INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id) VALUES ($1, $2, $2, $2, $2, $2)",
	} {
		k.exec(t, statement, k.OrganizationID, k.user)
	}
	return k
}

func (k *talk) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := k.sql.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (k *talk) send(ctx context.Context, content string, metadata json.RawMessage) (int64, error) {
	sent, err := k.GroupCommit(k.SessionKey).SendMessage(ctx, gendb.SendMessageParams{
		OrganizationID: k.OrganizationID, SessionID: k.SessionID, UserID: k.user,
		Reply: "never", QueueLimit: 20, MessageID: uuid.New(), Content: content, Metadata: metadata,
	})
	return sent.Seq, err
}

// count is how many messages are stored; they have the seqs from 1 on.
func (k *talk) count(t *testing.T) (count int64) {
	t.Helper()
	var last int64
	if err := k.sql.QueryRow(t.Context(), "SELECT count(*), coalesce(max(seq), 0) FROM message_history").Scan(&count, &last); err != nil {
		t.Fatal(err)
	}
	if count != last {
		t.Errorf("there are %d messages, the last has the seq %d", count, last)
	}
	return count
}

// While nothing can be stored, what waits is bounded: more is refused at once and can be
// tried again. Of what waits everything is stored in the end.
func TestWhatWaitsToBeStoredIsBounded(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.exec(t, "BEGIN")
	k.exec(t, "SELECT FROM sessions FOR UPDATE")
	large := strings.Repeat("a", 750_000)
	var crowd sync.WaitGroup
	var stored, refused atomic.Int64
	isRefused := make(chan struct{}, 100)
	for range 100 {
		crowd.Go(func() {
			switch _, err := k.send(t.Context(), large, json.RawMessage(`"`+large+`"`)); {
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
	k.exec(t, "ROLLBACK")
	crowd.Wait()
	if stored.Load() < 30 || k.count(t) != stored.Load() || stored.Load()+refused.Load() != 100 {
		t.Errorf("%d were acknowledged and %d refused, %d are stored", stored.Load(), refused.Load(), k.count(t))
	}
}

// Who leaves while their statement waits has it not carried out; the others are.
func TestAStatementThatWaitsCanBeGivenUp(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.exec(t, "BEGIN")
	k.exec(t, "SELECT FROM sessions FOR UPDATE")
	ctx, cancel := context.WithCancel(t.Context())
	var leaving, crowd sync.WaitGroup
	var stored, left atomic.Int64
	for i := range 40 {
		whose, members := t.Context(), &crowd
		if i%2 == 0 {
			whose, members = ctx, &leaving
		}
		members.Go(func() {
			switch _, err := k.send(whose, "Hello", nil); {
			case err == nil:
				stored.Add(1)
			case errors.Is(err, context.Canceled):
				left.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	cancel()
	// One at most is being carried out, and waits for the lock until its patience ends.
	eventually(t, "they leave", func() bool { return left.Load() >= 19 })
	k.exec(t, "ROLLBACK")
	leaving.Wait()
	crowd.Wait()
	if stored.Load() < 20 || stored.Load()+left.Load() != 40 || k.count(t) != stored.Load() {
		t.Errorf("%d were acknowledged and %d given up, %d are stored", stored.Load(), left.Load(), k.count(t))
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !isSo() {
		select {
		case <-t.Context().Done():
			t.Fatalf("it never came to be: %s", what)
		case <-look.C:
		}
	}
}

// Inside a transaction a shared statement is part of that one.
func TestInATransactionNothingIsShared(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	err := k.WithTx(t.Context(), func(s *store.Store) error {
		inside := *k
		inside.Store = s
		if _, err := inside.send(t.Context(), "Hello", nil); err != nil {
			t.Error(err)
		}
		return context.Canceled
	})
	if !errors.Is(err, context.Canceled) || k.count(t) != 0 {
		t.Errorf("%v, and %d messages are stored", err, k.count(t))
	}
}
