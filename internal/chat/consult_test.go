package chat_test

import (
	"context"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
)

// asking is a question for the default bot.
func (h *cluster) asking() bot.Question {
	h.t.Helper()
	asked, err := bottest.New(h.open(), nil).Default(h.t.Context(), h.who.OrganizationID)
	if err != nil {
		h.t.Fatal(err)
	}
	return bot.Question{Bot: asked, Text: question}
}

// consult asks the default bot something of which nothing is kept.
func (h *cluster) consult(ctx context.Context, c *chat.Chat) *chat.Reply {
	h.t.Helper()
	written, err := c.Consult(ctx, h.asking())
	if err != nil {
		h.t.Fatal(err)
	}
	return written
}

// outcome follows a reply to its end.
func outcome(t *testing.T, c *chat.Chat, written *chat.Reply) *chat.Outcome {
	t.Helper()
	for at := written.Beginning(); ; {
		_, after, _, ended, err := c.Follow(t.Context(), written, at, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if ended != nil {
			return ended
		}
		at = after
	}
}

// Close waits for replies of which nothing is kept as for all others, and ends those that take too long.
func TestCloseWaitsForWhatIsNotKeptAndThenEndsIt(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	patient, hasty := h.instance(), h.instance()
	release := h.holdBots()
	kept, ended := h.consult(t.Context(), patient), h.consult(t.Context(), hasty)

	now, cancel := context.WithCancel(t.Context())
	cancel()
	hasty.Close(now)
	if got := outcome(t, hasty, ended); got.Err == nil || got.Err.Kind != apperr.Unavailable || got.State != "failed" {
		t.Errorf("the one that was not waited for: %+v", got)
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
	if got := outcome(t, patient, kept); got.Err != nil || got.Content != reply {
		t.Errorf("%+v", got)
	}
	if n := h.replies(); n != 0 {
		t.Errorf("%d replies are stored", n)
	}
	if _, err := patient.Consult(t.Context(), bot.Question{}); !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("after Close: %v", err)
	}
}

// Who is refused a slot for what is not kept waits for none: the next message is not made to queue on that account.
func TestARefusedConsultationMakesNobodyWait(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	s := h.open()
	c := chat.New(chat.Config{Store: s, Bots: bottest.New(s, nil), VisitTTL: time.Minute, MaxReplies: 1})
	defer c.Close(t.Context())
	asker, leave := context.WithCancel(t.Context())
	asking := h.asking()
	release := h.holdBots()
	first, err := c.Consult(asker, asking)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Consult(t.Context(), asking); !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("the second one: %v", err)
	}
	leave()
	outcome(t, c, first)
	release()
	eventually(t, "the slot is free", func() bool {
		written, err := c.Consult(t.Context(), asking)
		if err == nil {
			outcome(t, c, written)
		}
		return err == nil
	})
	// Nothing serves the queue of c, which was not started: a message that is made to queue is not answered.
	var sent chat.Sent
	eventually(t, "a message finds the slot free", func() bool {
		sent = h.begin(c)
		state, _ := h.runState(*sent.RunID)
		return state != "queued"
	})
	if got := outcome(t, c, sent.Reply); got.Content != reply {
		t.Errorf("%+v", got)
	}
}
