package run_test

import (
	"context"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/reply"
	"parley/internal/store"
)

// closeNow closes an instance without waiting for its replies.
func closeNow(t *testing.T, d *chattest.Domain) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Close(ctx)
}

func TestCloseWaitsForReplies(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.Instance()
	release := c.BlockBots()
	sent := c.Ask(d)
	closed := make(chan struct{})
	go func() {
		d.Close(t.Context())
		close(closed)
	}()
	chattest.Eventually(t, "the run is running", func() bool { state, _ := c.RunState(*sent.RunID); return state == "running" })
	select {
	case <-closed:
		t.Error("Close did not wait for the reply")
	default:
	}
	release()
	<-closed
	if state, attempt := c.RunState(*sent.RunID); state != "completed" || attempt != 1 || c.CountAnswers() != 1 {
		t.Errorf("run is %s at attempt %d with %d replies, want completed at attempt 1 with 1 reply", state, attempt, c.CountAnswers())
	}
}

// An unfinished run is released by Close, so another instance reclaims it before its lease expires.
func TestCloseReleasesUnfinishedRuns(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.Instance()
	c.BlockBots()
	sent := c.Ask(d)
	closeNow(t, d)
	if state, attempt := c.RunState(*sent.RunID); state != "running" || attempt != 1 {
		t.Errorf("after Close the run is %s at attempt %d, want running at attempt 1", state, attempt)
	}
	began := time.Now()
	c.Instance()
	chattest.Eventually(t, "the run is reclaimed", func() bool { _, attempt := c.RunState(*sent.RunID); return attempt == 2 })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("reclaiming took %v, about as long as the lease", took)
	}
}

// Close aborts all waits for replies of other instances, including later waits.
func TestCloseFailsAwaitedReplies(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	writing, closing := c.Instance(), c.Instance()
	c.BlockBots()
	sent := c.Ask(writing)
	resumed, err := closing.Resume(t.Context(), c.Caller, sent.RunID.String())
	if err != nil {
		t.Fatal(err)
	}
	closing.Close(t.Context())
	late, err := closing.Resume(t.Context(), c.Caller, sent.RunID.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*reply.Reply{resumed, late} {
		if outcome := chattest.AwaitOutcome(t, r); outcome.Err == nil || outcome.Err.Kind != apperr.Unavailable {
			t.Errorf("got outcome %+v, want the error unavailable", outcome)
		}
	}
}

// When an instance closes, another instance starts its queued runs without delay.
func TestQueueSurvivesClose(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	limits := chattest.Config{MaxReplies: 2, MaxRepliesPerOrganization: 2}
	first := c.InstanceWith(limits)
	c.AskMany(first, c.SlowBotUser("Patient", 50*time.Millisecond), 40)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	first.Close(ctx)
	queued := c.Count("SELECT count(*) FROM runs WHERE state = 'queued'")
	if running := c.Count("SELECT count(*) FROM runs WHERE state = 'running'"); running > 0 || queued < 20 {
		t.Fatalf("after Close %d runs are running and %d queued, want 0 and at least 20", running, queued)
	}
	c.InstanceWith(limits)
	if took := c.AwaitCompleted(40); took > 20*time.Second {
		t.Errorf("%d replies of 150 ms, two at once, took %v", queued, took)
	}
	if repeated := c.Count("SELECT count(*) FROM runs WHERE attempt > 1"); repeated > 0 {
		t.Errorf("%d runs had a second attempt, want 0", repeated)
	}
}

// A completion whose instance stops is not failed. A repeat under its key on another instance follows the same run.
func TestRepeatFollowsRunOfClosedInstance(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	first, second := c.Instance(), c.Instance()
	key := &store.IdempotencyKey{OrganizationID: c.Caller.OrganizationID, UserID: c.Caller.UserID, Scope: "s", Key: "k", Hash: []byte("h")}
	message := chat.NewMessage{Content: chattest.Question, IdempotencyKey: key}
	release := c.BlockBots()
	original, err := first.Complete(t.Context(), c.Caller, "parley", "", message)
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, first)
	if outcome := chattest.AwaitOutcome(t, original.Reply); outcome.Err == nil {
		t.Fatalf("got outcome %+v, want an error", outcome)
	}
	repeat, err := second.Complete(t.Context(), c.Caller, "parley", "", message)
	if err != nil || !repeat.IsReplayed || *repeat.RunID != *original.RunID {
		t.Fatalf("repeat returned %+v and %v, want the first run replayed", repeat, err)
	}
	release()
	c.WantAnswer(repeat.Reply)
	if n := c.Count("SELECT count(*) FROM message_history"); n != 2 {
		t.Errorf("%d messages are stored, want 2", n)
	}
}

// The retry of a failed run survives the instance that started it. Another instance completes it, and a repeat under
// the key follows it.
func TestRetryOfFailedRunSurvivesClose(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	first, second := c.Instance(), c.Instance()
	key := &store.IdempotencyKey{OrganizationID: c.Caller.OrganizationID, UserID: c.Caller.UserID, Scope: "s", Key: "k", Hash: []byte("h")}
	message := chat.NewMessage{Content: chattest.Question, IdempotencyKey: key}
	original, err := first.Complete(t.Context(), c.Caller, "parley", "", message)
	if err != nil {
		t.Fatal(err)
	}
	c.WantAnswer(original.Reply)
	if _, err := c.SQL.Exec(t.Context(), "UPDATE runs SET state = 'failed', finish_reason = 'error', error = 'internal', detail = 'It failed.'"); err != nil {
		t.Fatal(err)
	}
	release := c.BlockBots()
	retried, err := first.Complete(t.Context(), c.Caller, "parley", "", message)
	if err != nil || retried.IsReplayed || *retried.RunID == *original.RunID || retried.MessageID != original.MessageID {
		t.Fatalf("repeat returned %+v and %v, want another run for the question %v", retried, err, original.MessageID)
	}
	closeNow(t, first)
	repeat, err := second.Complete(t.Context(), c.Caller, "parley", "", message)
	if err != nil || !repeat.IsReplayed || *repeat.RunID != *retried.RunID {
		t.Fatalf("repeat returned %+v and %v, want the second run", repeat, err)
	}
	release()
	c.WantAnswer(repeat.Reply)
}
