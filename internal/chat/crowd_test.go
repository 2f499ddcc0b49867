package chat_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/shortcuts"
)

// contents are what a conversation holds, by seq; the test fails where one is missing.
func (h *house) contents(t *testing.T, who auth.Principal, conversation string) []string {
	t.Helper()
	var all []string
	for {
		rows, hasMore, err := h.History(t.Context(), who, conversation, chat.Range{AfterSeq: new(int64(len(all))), Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row.Seq != int64(len(all)+1) {
				t.Fatalf("seq %d follows %d", row.Seq, len(all))
			}
			all = append(all, row.Content)
		}
		if !hasMore {
			return all
		}
	}
}

// lock locks conversations as another program on the database may, until release.
func (h *house) lock(t *testing.T, conversations []string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM sessions WHERE id = ANY ($1::uuid[]) FOR UPDATE", conversations); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := tx.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// While conversations are locked by somebody else, as a batch that deletes them does, what is
// sent to them waits, in its order, and all others go on. By the plain path each that
// waits keeps a connection from the others.
func TestLockedConversationsHoldUpNoOther(t *testing.T) {
	t.Parallel()
	h := newHouseWith(t, shortcuts.All())
	who := h.user(t, "alice")
	others, allLocked := make([]string, 20), make([]string, 100)
	for i := range others {
		others[i] = h.conversation(t, who)
	}
	for i := range allLocked {
		allLocked[i] = h.conversation(t, who)
	}
	locked := allLocked[0]
	release := h.lock(t, allLocked)
	ordered := make(chan struct{})
	go func() {
		defer close(ordered)
		for i := range 5 { // each is sent when the one before is stored
			h.say(t, who, locked, fmt.Sprint(i))
		}
	}()
	var crowd, held sync.WaitGroup
	for i := range 5 {
		held.Go(func() { h.say(t, who, locked, fmt.Sprint("beside ", i)) })
	}
	for _, one := range allLocked[1:] {
		held.Go(func() { h.say(t, who, one, "beside") })
	}
	for i := range 100 {
		crowd.Go(func() { h.say(t, who, others[i%len(others)], fmt.Sprint(i)) })
	}
	crowd.Wait() // while the lock is held
	if got := h.contents(t, who, locked); len(got) != 0 {
		t.Errorf("in the locked one are %q", got)
	}
	release()
	held.Wait()
	<-ordered
	var inOrder []string
	for _, content := range h.contents(t, who, locked) {
		if !strings.HasPrefix(content, "beside") {
			inOrder = append(inOrder, content)
		}
	}
	if strings.Join(inOrder, "") != "01234" {
		t.Errorf("in the locked one are %q", inOrder)
	}
	for _, one := range others {
		if got := h.contents(t, who, one); len(got) != 5 {
			t.Errorf("%d messages are stored, of 5", len(got))
		}
	}
}

// In a crowd each message has its own answer: what cannot be stored, or is refused,
// takes no other with it.
func TestInACrowdEachMessageIsAnsweredForItself(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	who, stranger := h.user(t, "alice"), h.user(t, "bob")
	conversations := make([]string, 8)
	for i := range conversations {
		conversations[i] = h.conversation(t, who)
	}
	var crowd sync.WaitGroup
	var stored atomic.Int64
	for i := range 320 {
		conversation := conversations[i%len(conversations)]
		crowd.Go(func() {
			switch i % 5 {
			case 0:
				_, err := h.Send(t.Context(), who, conversation, chat.NewMessage{Content: "not \xff UTF-8"})
				refused(t, err, apperr.InvalidRequest)
			case 1:
				_, err := h.Send(t.Context(), stranger, conversation, chat.NewMessage{Content: "mine"})
				refused(t, err, apperr.Forbidden)
			case 2:
				_, err := h.Send(t.Context(), who, id().String(), chat.NewMessage{Content: "nowhere"})
				refused(t, err, apperr.NotFound)
			default:
				h.say(t, who, conversation, fmt.Sprint("good ", i))
				stored.Add(1)
			}
		})
	}
	crowd.Wait()
	var found int64
	for _, one := range conversations {
		for _, content := range h.contents(t, who, one) {
			if !strings.HasPrefix(content, "good ") {
				t.Errorf("%q is stored", content)
			}
			found++
		}
	}
	if found != stored.Load() || found < 100 {
		t.Errorf("%d are stored, of %d", found, stored.Load())
	}
}

// Two instances that send to the same conversations refuse nothing and lose nothing.
func TestTwoInstancesSendToTheSameConversations(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	instances := []*chat.Chat{cluster.instance(), cluster.instance()}
	conversations := make([]string, 50)
	for i := range conversations {
		begun, err := instances[0].Begin(t.Context(), cluster.who, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		conversations[i] = begun.ConversationID.String()
		if _, err := instances[0].Update(t.Context(), cluster.who, conversations[i], chat.Change{AutoReply: new(false)}); err != nil {
			t.Fatal(err)
		}
	}
	const each = 20
	var seqs sync.Map // of conversation and seq
	var crowd sync.WaitGroup
	for i := range conversations {
		for _, instance := range instances {
			crowd.Go(func() {
				for n := range each {
					conversation := conversations[(i+n)%len(conversations)]
					sent, err := instance.Send(t.Context(), cluster.who, conversation, chat.NewMessage{Content: fmt.Sprint(i, n)})
					if err != nil {
						t.Error(err)
					} else if _, isTwice := seqs.LoadOrStore(fmt.Sprint(conversation, sent.Seq), true); isTwice {
						t.Errorf("seq %d was given twice", sent.Seq)
					}
				}
			})
		}
	}
	crowd.Wait()
	for _, conversation := range conversations {
		rows, _, err := instances[1].History(t.Context(), cluster.who, conversation, chat.Range{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != 2*each || rows[len(rows)-1].Seq != 2*each {
			t.Errorf("%d messages, the last of seq %d", len(rows), rows[len(rows)-1].Seq)
		}
	}
}
