package chat_test

import (
	"context"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/store"
)

// An organization that has all of its own slots makes only its own wait: another one's question of which nothing is kept,
// which cannot wait, is answered.
func TestAnOrganizationAtItsLimitDoesNotTurnOthersAway(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instanceOf(chat.Config{MaxReplies: 100, MaxRepliesPerOrganization: 2})
	h.flood(c, h.neighbour("Loud", time.Minute), 4)
	calm := h.neighbour("Calm", time.Millisecond)
	asked, err := bottest.New(h.open(), nil).Default(t.Context(), calm.OrganizationID)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		written, err := c.Consult(t.Context(), bot.Question{Bot: asked, Text: "Hi"})
		if err != nil {
			t.Fatal(err)
		}
		h.ended(c, written)
	}
}

// ended follows a reply to its end.
func (h *cluster) ended(c *chat.Chat, written *chat.Reply) *chat.Outcome {
	h.t.Helper()
	for at := written.Beginning(); ; {
		_, after, _, outcome, err := c.Follow(h.t.Context(), written, at, 20*time.Second)
		if err != nil {
			h.t.Fatal(err)
		}
		if outcome != nil {
			return outcome
		}
		if after == at {
			h.t.Fatal("nothing is heard of it")
		}
		at = after
	}
}

// Who follows a reply that another process writes is told when this one stops, and so is who comes later.
func TestCloseTellsThoseWhoWaitForOtherProcesses(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	writing, stopping := h.instance(), h.instance()
	h.holdBots()
	sent := h.begin(writing)
	resumed, err := stopping.Resume(t.Context(), h.who, sent.RunID.String())
	if err != nil {
		t.Fatal(err)
	}
	stopping.Close(t.Context())
	late, err := stopping.Resume(t.Context(), h.who, sent.RunID.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, reply := range []*chat.Reply{resumed, late} {
		if outcome := h.ended(stopping, reply); outcome.Err == nil || outcome.Err.Kind != apperr.Unavailable {
			t.Errorf("it ends with %+v", outcome)
		}
	}
}

// The key of a completion whose answer was given up is kept while its run goes on: the repeat, at another process, gets
// the reply to the first question.
func TestAKeyIsKeptWhileItsRunGoesOn(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	one, two := h.instance(), h.instance()
	key := &store.IdempotencyKey{OrganizationID: h.who.OrganizationID, UserID: h.who.UserID, Scope: "s", Key: "k", Hash: []byte("h")}
	release := h.holdBots()
	first, err := one.Complete(t.Context(), h.who, "parley", "", chat.NewMessage{Content: question, IdempotencyKey: key})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	one.Close(ctx)
	if outcome := h.ended(one, first.Reply); outcome.Err == nil {
		t.Fatalf("%+v", outcome)
	}
	if err := one.Forget(t.Context(), key, *first.RunID); err != nil {
		t.Fatal(err)
	}
	again, err := two.Complete(t.Context(), h.who, "parley", "", chat.NewMessage{Content: question, IdempotencyKey: key})
	if err != nil || !again.IsReplayed || *again.RunID != *first.RunID {
		t.Fatalf("%+v, %v", again, err)
	}
	release()
	h.listen(two, again.Reply)
	if n := h.count("SELECT count(*) FROM message_history"); n != 2 {
		t.Errorf("%d messages are stored", n)
	}
}

// What was abandoned is taken up before what waits in the queue, however busy that is.
func TestWhatWasAbandonedDoesNotWaitForTheQueue(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	loud := h.neighbour("Loud", 150*time.Millisecond)
	c := h.instanceOf(chat.Config{MaxReplies: 2})
	h.flood(c, loud, 60)
	eventually(t, "some are answered", func() bool { return h.count("SELECT count(*) FROM runs WHERE state = 'completed'") > 2 })
	if _, err := h.sql.Exec(t.Context(), `UPDATE runs SET state = 'running', lease_until = 'epoch', started_at = clock_timestamp()
		WHERE id = (SELECT id FROM runs WHERE state = 'queued' ORDER BY created_at DESC LIMIT 1)`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is taken up", func() bool { return h.count("SELECT count(*) FROM runs WHERE attempt = 2") == 1 })
	if left := h.count("SELECT count(*) FROM runs WHERE state = 'queued'"); left < 20 {
		t.Errorf("it was taken up when only %d waited", left)
	}
}
