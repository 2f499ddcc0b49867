package chat_test

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/dbtest"
	"parley/internal/shortcuts"
	"parley/internal/store"
)

// cluster is a database with an organization and its default bot, on which several instances of the service may run.
type cluster struct {
	t   *testing.T
	sql *pgxpool.Pool
	url string
	who auth.Principal
}

const (
	question = "How do I reset my password?"
	reply    = "Open the sign-in page and follow the link below the form, then choose a new password."
)

func newCluster(t *testing.T) *cluster {
	t.Helper()
	h := &cluster{t: t, url: dbtest.URL(t)}
	s := h.open()
	sql, err := pgxpool.New(t.Context(), h.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sql.Close)
	h.sql = sql
	org, err := s.CreateOrganization(t.Context(), uuid.Must(uuid.NewV7()), "Acme")
	if err != nil {
		t.Fatal(err)
	}
	bots := bottest.New(s, nil)
	made, err := bots.Create(t.Context(), org.ID, bot.NewBot{Name: "Parley", Slug: "parley", IsDefault: true})
	if err != nil {
		t.Fatal(err)
	}
	bottest.AddFAQ(t, s, made, question, reply)
	a := auth.New(s)
	_, key, err := a.CreateKey(t.Context(), org.ID, auth.NewKey{Name: "Key", User: "alice", Scopes: []auth.Scope{auth.Chat}})
	if err != nil {
		t.Fatal(err)
	}
	if h.who, err = a.Authenticate(t.Context(), "Bearer "+key); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *cluster) open() *store.Store {
	h.t.Helper()
	s, err := store.Open(h.t.Context(), h.url)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(s.Close)
	return s
}

// instance starts another instance of the service on the same database.
func (h *cluster) instance() *chat.Chat {
	h.t.Helper()
	return h.instanceOf(chat.Config{})
}

// instanceOf is an instance with limits.
func (h *cluster) instanceOf(config chat.Config) *chat.Chat {
	h.t.Helper()
	s := h.open()
	config.Store, config.Bots, config.Log, config.VisitTTL = s, bottest.New(s, nil), slog.New(slog.DiscardHandler), cmp.Or(config.VisitTTL, time.Minute)
	config.Shortcuts = shortcuts.All()
	c := chat.New(config)
	c.Start()
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(h.t.Context()), 10*time.Second)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

// holdBots makes every bot wait before it answers, until release is called, at the latest by the test's end.
func (h *cluster) holdBots() (release func()) {
	h.t.Helper()
	return h.hold("LOCK TABLE faqs IN ACCESS EXCLUSIVE MODE")
}

// hold keeps what a statement locks until release is called, at the latest by the test's end.
func (h *cluster) hold(statement string, args ...any) (release func()) {
	h.t.Helper()
	tx, err := h.sql.Begin(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := tx.Exec(h.t.Context(), statement, args...); err != nil {
		h.t.Fatal(err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(h.t.Context())) } // again is no matter
	h.t.Cleanup(release)
	return release
}

func (h *cluster) begin(c *chat.Chat) chat.Sent {
	h.t.Helper()
	sent, err := c.Begin(h.t.Context(), h.who, nil, &chat.NewMessage{Content: question}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return sent
}

// runState reads a run from the table: no instance is asked.
func (h *cluster) runState(id uuid.UUID) (state string, attempt int) {
	h.t.Helper()
	if err := h.sql.QueryRow(h.t.Context(), "SELECT state, attempt FROM runs WHERE id = $1", id).Scan(&state, &attempt); err != nil {
		h.t.Fatal(err)
	}
	return state, attempt
}

func (h *cluster) replies() (n int) {
	h.t.Helper()
	if err := h.sql.QueryRow(h.t.Context(), "SELECT count(*) FROM message_history WHERE sender = 'bot' AND content = $1", reply).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func eventually(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !isSo() {
		select {
		case <-deadline.C:
			t.Fatalf("it never came to be: %s", what)
		case <-look.C:
		}
	}
}

// Close waits for the replies that are being written: an ordinary stop leaves nothing undone.
func TestCloseWaitsForTheRepliesThatAreBeingWritten(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instance()
	release := h.holdBots()
	sent := h.begin(c)
	closed := make(chan struct{})
	go func() {
		c.Close(t.Context())
		close(closed)
	}()
	eventually(t, "the reply is being written", func() bool { state, _ := h.runState(*sent.RunID); return state == "running" })
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	release()
	<-closed
	if state, attempt := h.runState(*sent.RunID); state != "completed" || attempt != 1 || h.replies() != 1 {
		t.Errorf("the run is %s at attempt %d, %d replies are stored", state, attempt, h.replies())
	}
}

// A stop that cannot wait gives its runs back: another instance takes them up at once, not when the lease is over, and the
// question is answered once.
func TestWhatAStopCouldNotWaitForIsTakenUpElsewhereAtOnce(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instance()
	h.holdBots()
	sent := h.begin(c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan struct{})
	go func() {
		c.Close(ctx)
		close(closed)
	}()
	<-closed
	if state, attempt := h.runState(*sent.RunID); state != "running" || attempt != 1 {
		t.Errorf("given back, the run is %s at attempt %d", state, attempt)
	}
	began := time.Now()
	h.instance()
	eventually(t, "it is taken up", func() bool { _, attempt := h.runState(*sent.RunID); return attempt == 2 })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it was taken up after %v, when the lease was nearly over", took)
	}
}

// Two instances of the service work on one queue without answering anything twice, and who listens at the one hears what
// the other writes.
func TestTwoInstancesShareOneQueue(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	one, two := h.instance(), h.instance()
	release := h.holdBots()
	first := h.begin(one)
	sents := []chat.Sent{first}
	for i := range 9 {
		at := []*chat.Chat{two, one}[i%2]
		sent, err := at.Send(t.Context(), h.who, first.ConversationID.String(), chat.NewMessage{Content: question})
		if err != nil {
			t.Fatal(err)
		}
		sents = append(sents, sent)
	}
	release()
	var listeners sync.WaitGroup
	for i, sent := range sents {
		listeners.Go(func() { h.listen([]*chat.Chat{one, two}[i%2], sent.Reply) })
	}
	listeners.Wait()
	if n := h.replies(); n != 10 {
		t.Errorf("%d replies are stored", n)
	}
}

// listen follows a reply to its end, which must be the FAQ's answer.
func (h *cluster) listen(c *chat.Chat, written *chat.Reply) {
	heard, at := "", written.Beginning()
	for {
		delta, after, isReset, outcome, err := c.Follow(h.t.Context(), written, at, 20*time.Second)
		if isReset {
			heard = ""
		}
		heard, at = heard+delta, after
		switch {
		case outcome != nil:
			if heard != reply || outcome.Content != reply || outcome.State != "completed" {
				h.t.Errorf("heard %q, %+v", heard, outcome)
			}
			return
		case err != nil || delta == "" && !isReset:
			h.t.Errorf("heard %q and then nothing: %v", heard, err)
			return
		}
	}
}

// Who waits for a reply that does not come is told nothing after a while, and can go on waiting or leave.
func TestFollowComesBackWhenNothingHappens(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instance()
	h.holdBots()
	sent := h.begin(c)
	delta, after, isReset, outcome, err := c.Follow(t.Context(), sent.Reply, sent.Reply.Beginning(), 20*time.Millisecond)
	if delta != "" || after != sent.Reply.Beginning() || isReset || outcome != nil || err != nil {
		t.Errorf("%q, %v, %v, %v, %v", delta, after, isReset, outcome, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, _, err := c.Follow(ctx, sent.Reply, after, time.Minute); err == nil {
		t.Error("a caller that has left is still followed for")
	}
}

// An Idempotency-Key is forgotten after a day: then the same request is a new one.
func TestAnIdempotencyKeyIsForgottenAfterADay(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instance()
	conversation := h.begin(c).ConversationID.String()
	send := func(key string) chat.Sent {
		t.Helper()
		sent, err := c.Send(t.Context(), h.who, conversation, chat.NewMessage{Content: question, IdempotencyKey: &store.IdempotencyKey{Scope: "s", Key: key, Hash: []byte(key)}})
		if err != nil {
			t.Fatal(err)
		}
		return sent
	}
	old, young := send("old"), send("young")
	for key, age := range map[string]string{"old": "24 hours 1 minute", "young": "23 hours 59 minutes"} {
		if _, err := h.sql.Exec(t.Context(), "UPDATE idempotency_keys SET created_at = clock_timestamp() - $1::interval WHERE key = $2", age, key); err != nil {
			t.Fatal(err)
		}
	}
	h.instance()
	eventually(t, "the old key is forgotten", func() bool { return !send("old").IsReplayed })
	if again := send("young"); !again.IsReplayed || again.MessageID != young.MessageID || again.MessageID == old.MessageID {
		t.Errorf("%+v", again)
	}
}

// Whoever asks while the database goes away has an answer when it is back: that nothing could be read of the bot says
// nothing of the question.
func TestAReplyThatTheDatabaseHinderedIsWrittenWhenItIsBack(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instance()
	release := h.holdBots()
	sent := h.begin(c)
	eventually(t, "the bot waits, and its connection is cut", func() bool {
		var cut int
		err := h.sql.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_locks
			WHERE relation = 'faqs'::regclass AND NOT granted`).Scan(&cut)
		return err == nil && cut > 0
	})
	release()
	eventually(t, "the run is over", func() bool { state, _ := h.runState(*sent.RunID); return state != "running" })
	if state, attempt := h.runState(*sent.RunID); state != "completed" || attempt != 1 || h.replies() != 1 {
		t.Errorf("it is %s at attempt %d, with %d replies", state, attempt, h.replies())
	}
}
