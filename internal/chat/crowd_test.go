package chat_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"parley/internal/apperr"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/store"
)

// lock locks conversations, like another program that uses the database, until release is called.
func (f fixture) lock(t *testing.T, conversations []string) (release func()) {
	t.Helper()
	conn := f.connect(t)
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

// Messages to locked conversations wait in their order. Messages to other conversations do not wait, even with more
// locked conversations than connections.
func TestLockedConversationsDoNotBlockOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User(t, "alice")
	others, locked := make([]string, 20), make([]string, 100)
	for i := range others {
		others[i] = f.NewConversation(t, alice)
	}
	for i := range locked {
		locked[i] = f.NewConversation(t, alice)
	}
	release := f.lock(t, locked)
	var unblocked, blocked sync.WaitGroup
	blocked.Go(func() {
		for i := range 5 { // send each message after the previous one is stored
			f.Say(t, alice, locked[0], fmt.Sprint(i))
		}
	})
	for i := range 5 {
		blocked.Go(func() { f.Say(t, alice, locked[0], fmt.Sprint("concurrent ", i)) })
	}
	for _, conversation := range locked[1:] {
		blocked.Go(func() { f.Say(t, alice, conversation, "concurrent") })
	}
	for i := range 100 {
		unblocked.Go(func() { f.Say(t, alice, others[i%len(others)], fmt.Sprint(i)) })
	}
	unblocked.Wait() // while the lock is held
	if got := f.contents(t, alice, locked[0]); len(got) != 0 {
		t.Errorf("the locked conversation has %q, want no messages", got)
	}
	release()
	blocked.Wait()
	var ordered []string
	for _, content := range f.contents(t, alice, locked[0]) {
		if !strings.HasPrefix(content, "concurrent") {
			ordered = append(ordered, content)
		}
	}
	if strings.Join(ordered, "") != "01234" {
		t.Errorf("the locked conversation has %q, want the order of sending", ordered)
	}
	for _, conversation := range others {
		if got := f.contents(t, alice, conversation); len(got) != 5 {
			t.Errorf("a conversation has %d messages, want 5", len(got))
		}
	}
}

// When statements of a group commit fail, only their own messages are refused.
func TestConcurrentSendsHaveIndividualErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice, bob := f.User(t, "alice"), f.User(t, "bob")
	conversations := make([]string, 8)
	for i := range conversations {
		conversations[i] = f.NewConversation(t, alice)
	}
	var all sync.WaitGroup
	var stored atomic.Int64
	for i := range 320 {
		conversation := conversations[i%len(conversations)]
		all.Go(func() {
			switch i % 5 {
			case 0:
				_, err := f.Send(t.Context(), alice, conversation, chat.NewMessage{Content: "not \xff UTF-8"})
				chattest.WantKind(t, err, apperr.InvalidRequest)
			case 1:
				_, err := f.Send(t.Context(), bob, conversation, chat.NewMessage{Content: "mine"})
				chattest.WantKind(t, err, apperr.Forbidden)
			case 2:
				_, err := f.Send(t.Context(), alice, store.NewID().String(), chat.NewMessage{Content: "nowhere"})
				chattest.WantKind(t, err, apperr.NotFound)
			default:
				f.Say(t, alice, conversation, fmt.Sprint("good ", i))
				stored.Add(1)
			}
		})
	}
	all.Wait()
	var found int64
	for _, conversation := range conversations {
		for _, content := range f.contents(t, alice, conversation) {
			if !strings.HasPrefix(content, "good ") {
				t.Errorf("the message %q is stored, want it refused", content)
			}
			found++
		}
	}
	if found != stored.Load() || found < 100 {
		t.Errorf("%d messages are stored, want %d and at least 100", found, stored.Load())
	}
}

func TestInstancesSendToTheSameConversations(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	instances := []*chattest.Domain{c.Instance(), c.Instance()}
	conversations := make([]string, 50)
	for i := range conversations {
		conversations[i] = instances[0].NewConversation(t, c.Caller)
	}
	const each = 20
	var seqs sync.Map // of the conversation and the seq
	var all sync.WaitGroup
	for i := range conversations {
		for _, instance := range instances {
			all.Go(func() {
				for n := range each {
					conversation := conversations[(i+n)%len(conversations)]
					sent, err := instance.Send(t.Context(), c.Caller, conversation, chat.NewMessage{Content: fmt.Sprint(i, n)})
					if err != nil {
						t.Error(err)
					} else if _, isDuplicate := seqs.LoadOrStore(fmt.Sprint(conversation, sent.Seq), true); isDuplicate {
						t.Errorf("seq %d was assigned twice", sent.Seq)
					}
				}
			})
		}
	}
	all.Wait()
	for _, conversation := range conversations {
		if got := contentsOf(t, instances[1], c.Caller, conversation, 100); len(got) != 2*each {
			t.Errorf("a conversation has %d messages, want %d", len(got), 2*each)
		}
	}
}
