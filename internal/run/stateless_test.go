package run_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/reply"
)

// statelessQuestion returns a question to the default bot.
func statelessQuestion(t *testing.T, c *chattest.Cluster) bot.Question {
	t.Helper()
	owner, err := bottest.New(c.OpenStore(), nil).Default(t.Context(), c.Caller.OrganizationID)
	if err != nil {
		t.Fatal(err)
	}
	return bot.Question{Bot: owner, Text: chattest.Question}
}

func completeStateless(t *testing.T, c *chattest.Cluster, d *chattest.Domain) *reply.Reply {
	t.Helper()
	r, err := d.Runs.CompleteStateless(t.Context(), uuid.Nil, statelessQuestion(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Close waits for stateless completions as for all replies, and ends those that take too long.
func TestCloseWaitsForStatelessCompletions(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	patient, hasty := c.Instance(), c.Instance()
	release := c.BlockBots()
	finished, ended := completeStateless(t, c, patient), completeStateless(t, c, hasty)

	closeNow(t, hasty)
	if got := chattest.AwaitOutcome(t, ended); got.Err == nil || got.Err.Kind != apperr.Unavailable || got.State != "failed" {
		t.Errorf("the completion that Close ended has outcome %+v, want failed and unavailable", got)
	}

	closed := make(chan struct{})
	go func() {
		patient.Close(t.Context())
		close(closed)
	}()
	select {
	case <-closed:
		t.Error("Close did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	release()
	<-closed
	if got := chattest.AwaitOutcome(t, finished); got.Err != nil || got.Content != chattest.Answer {
		t.Errorf("the completion that Close waited for has outcome %+v, want the answer", got)
	}
	if n := c.CountAnswers(); n != 0 {
		t.Errorf("%d replies are stored, want 0", n)
	}
	if _, err := patient.Runs.CompleteStateless(t.Context(), uuid.Nil, bot.Question{}); !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("after Close a completion returned %v, want unavailable", err)
	}
}

// A refused stateless completion does not wait for a slot. The next message is therefore not queued behind it.
func TestRefusedStatelessCompletionDoesNotQueueOthers(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	s := c.OpenStore()
	d := chattest.NewDomain(chattest.Config{Store: s, Bots: bottest.New(s, nil), MaxReplies: 1})
	defer d.Close(t.Context())
	ctx, leave := context.WithCancel(t.Context())
	question := statelessQuestion(t, c)
	release := c.BlockBots()
	first, err := d.Runs.CompleteStateless(ctx, uuid.Nil, question)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Runs.CompleteStateless(t.Context(), uuid.Nil, question); !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("a completion without a free slot returned %v, want unavailable", err)
	}
	leave()
	chattest.AwaitOutcome(t, first)
	release()
	chattest.Eventually(t, "the slot is free", func() bool {
		r, err := d.Runs.CompleteStateless(t.Context(), uuid.Nil, question)
		if err == nil {
			chattest.AwaitOutcome(t, r)
		}
		return err == nil
	})
	// The instance was not started, so nothing processes its queue: a queued message would never be answered.
	var sent chat.Sent
	chattest.Eventually(t, "a message gets the slot", func() bool {
		sent = c.Ask(d)
		state, _ := c.RunState(*sent.RunID)
		return state != "queued"
	})
	if got := chattest.AwaitOutcome(t, sent.Reply); got.Content != chattest.Answer {
		t.Errorf("got outcome %+v, want the answer", got)
	}
}
