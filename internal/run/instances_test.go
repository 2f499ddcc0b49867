package run_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/feed"
	"parley/internal/reply"
)

// Without Redis, each question is answered once, and a follower receives the replies of all instances.
func TestInstancesAnswerEachQuestionOnce(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	instances := []*chattest.Domain{c.Instance(), c.Instance()}
	release := c.BlockBots()
	first := c.Ask(instances[0])
	sents := []chat.Sent{first}
	for i := range 9 {
		sents = append(sents, c.Send(instances[(i+1)%2], first.ConversationID.String(), chattest.Question))
	}
	release()
	var followers sync.WaitGroup
	for _, sent := range sents {
		followers.Go(func() {
			if outcome := chattest.AwaitOutcome(t, sent.Reply); outcome.Content != chattest.Answer || outcome.State != "completed" {
				t.Errorf("got outcome %+v, want the answer", outcome)
			}
		})
	}
	followers.Wait()
	if n := c.CountAnswers(); n != 10 {
		t.Errorf("%d replies are stored, want 10", n)
	}
}

func TestCancelFromAnotherInstance(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	first, second := c.Instance(), c.Instance()
	caller := c.SlowBotUser("Slow", time.Minute)
	running := c.AskMany(first, caller, 1)[0]
	queued, err := first.Send(t.Context(), caller, running.ConversationID.String(), chat.NewMessage{Content: "And?"})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []*uuid.UUID{queued.RunID, running.RunID} {
		cancelled, err := second.Cancel(t.Context(), caller, run.String(), nil)
		if err != nil || cancelled.State != "cancelled" {
			t.Errorf("Cancel returned %+v, %v, want state cancelled", cancelled, err)
		}
	}
	for _, r := range []*reply.Reply{queued.Reply, running.Reply} {
		if outcome := chattest.AwaitOutcome(t, r); outcome.State != "cancelled" || outcome.Content != "" {
			t.Errorf("got outcome %+v, want cancelled without text", outcome)
		}
	}
	took := c.Count("SELECT (extract(epoch FROM max(finished_at) - min(finished_at)) * 1000)::integer FROM runs")
	if took > 3000 {
		t.Errorf("the running run was stopped %d ms after the queued one", took)
	}
}

// If the database fails while a bot is read, the run is retried when the database is available again.
func TestAnswerRetriesAfterDatabaseOutage(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.Instance()
	release := c.BlockBots()
	sent := c.Ask(d)
	chattest.Eventually(t, "the waiting bot's connection is terminated", func() bool {
		var terminated int
		err := c.SQL.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_locks
			WHERE relation = 'faqs'::regclass AND NOT granted`).Scan(&terminated)
		return err == nil && terminated > 0
	})
	release()
	chattest.Eventually(t, "the run has finished", func() bool { state, _ := c.RunState(*sent.RunID); return state != "running" })
	if state, attempt := c.RunState(*sent.RunID); state != "completed" || attempt != 1 || c.CountAnswers() != 1 {
		t.Errorf("run is %s at attempt %d with %d replies, want completed at attempt 1 with 1 reply", state, attempt, c.CountAnswers())
	}
}

// A follower on another instance receives the text while it is written. Each position is valid on all instances.
func TestReplyGrowsOnAllInstances(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, second := c.Instance(), c.Instance()
	rule, text := chattest.SlowRule(60, 20)
	c.Script(rule)
	begun, err := first.Begin(t.Context(), c.Caller, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	conversation := begun.ConversationID.String()
	watch := c.Watch(second, conversation)
	sent := c.Send(first, conversation, "Go")

	started := chattest.AwaitEvent(t, watch, chattest.Any[*feed.ReplyStarted])
	if started.Reply.RunID != *sent.RunID {
		t.Errorf("the event is of run %v, want %v", started.Reply.RunID, sent.RunID)
	}
	watching := c.Follow(started.Reply)
	for watching.Deltas < 5 {
		watching.Next()
	}
	local := c.Resume(first, sent)
	for local.Deltas < 10 {
		local.Next()
	}
	remote := c.Resume(second, sent)
	remote.At, remote.Text = local.At, local.Text
	late := c.Resume(second, sent)
	late.Next()
	for _, f := range []*chattest.Follower{watching, local, remote, late} {
		f.WantText(text)
		if f.Resets > 0 || f.At.Attempt != 1 {
			t.Errorf("got %d resets and the position %v, want no resets in attempt 1", f.Resets, f.At)
		}
	}
	if watching.Deltas < 10 || remote.Deltas < 5 {
		t.Errorf("the text came in %d and %d deltas, want at least 10 and 5", watching.Deltas, remote.Deltas)
	}
	chattest.AwaitEvent(t, watch, func(e *feed.MessageStored) bool { return e.Message.Sender == "bot" && e.Message.Content == text })
}

func TestOutcomeReachesOtherInstances(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, second := c.Instance(), c.Instance()
	c.Script(bot.ScriptRule{Match: "fail", Deltas: []string{"x"}, DelayMS: 300, FailAfter: new(0)}, bot.ScriptRule{Deltas: []string{"Brief."}, DelayMS: 300})
	for _, question := range []string{"brief", "fail"} {
		sent, err := first.Begin(t.Context(), c.Caller, nil, &chat.NewMessage{Content: question}, nil)
		if err != nil {
			t.Fatal(err)
		}
		remote, local := c.Resume(second, sent), c.Resume(first, sent)
		local.Outcome()
		ended := time.Now()
		outcome := remote.Outcome()
		if took := time.Since(ended); took > chattest.Soon || (outcome.Err != nil) != (question == "fail") {
			t.Errorf("%s: got outcome %+v after %v", question, outcome, took)
		}
	}
}

func TestCancelWithRedisIsImmediate(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, second := c.Instance(), c.Instance()
	c.Script(chattest.StallingRule())
	for range 3 {
		running := c.Ask(first)
		local, remote := c.Resume(first, running), c.Resume(second, running)
		local.Next()
		remote.Next()
		queued := c.Send(second, running.ConversationID.String(), "Waits")
		queuedAtOne := c.Resume(first, queued)
		for _, sent := range []chat.Sent{queued, running} {
			began := time.Now()
			cancelled, err := second.Cancel(t.Context(), c.Caller, sent.RunID.String(), nil)
			if took := time.Since(began); err != nil || cancelled.State != "cancelled" || took > chattest.Soon {
				t.Errorf("Cancel returned %+v, %v after %v, want state cancelled", cancelled, err, took)
			}
		}
		for _, f := range []*chattest.Follower{local, remote, queuedAtOne} {
			if outcome := f.Next(); outcome == nil || outcome.State != "cancelled" || outcome.Content != f.Text {
				t.Errorf("got outcome %+v after %q, want cancelled", outcome, f.Text)
			}
		}
	}
}

func TestDeletedConversationEndsRemoteReply(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, second := c.Instance(), c.Instance()
	c.Script(chattest.StallingRule())
	sent := c.Ask(first)
	remote := c.Resume(second, sent)
	remote.Next()
	if err := second.Delete(t.Context(), c.Caller, sent.ConversationID.String()); err != nil {
		t.Fatal(err)
	}
	if outcome := remote.Next(); outcome == nil || outcome.Err == nil {
		t.Errorf("got outcome %+v, want an error", outcome)
	}
	awaitNoLiveReplies(t, first)
	awaitNoLiveReplies(t, second)
}

// If Redis loses the text of a reply in progress, the text is published again. Followers on other instances receive
// the whole text once.
func TestTextSurvivesDataLossInRedis(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, second := c.Instance(), c.Instance()
	rule, text := chattest.SlowRule(150, 20)
	c.Script(rule)
	sent := c.Ask(first)
	remote := c.Resume(second, sent)
	for range 4 {
		for seen := remote.Deltas; remote.Deltas < seen+3; {
			remote.Next()
		}
		c.Redis.Flush()
	}
	late := c.Resume(second, sent)
	late.WantText(text)
	remote.WantText(text)
	if remote.Resets+late.Resets > 0 || remote.Deltas < 20 {
		t.Errorf("got %d and %d resets and %d deltas, want no resets and at least 20 deltas", remote.Resets, late.Resets, remote.Deltas)
	}
}

// A new attempt on another instance resets all followers.
func TestNewAttemptResetsFollowers(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, second, third := c.Instance(), c.Instance(), c.Instance()
	c.Script(chattest.StallingRule())
	sent := c.Ask(first)
	remote, local := c.Resume(third, sent), c.Resume(first, sent)
	remote.Next()
	local.Next()
	rule, text := chattest.SlowRule(80, 20)
	c.Script(rule)
	chattest.Eventually(t, "the run is reclaimed", func() bool { // a heartbeat may renew the lease in between
		if _, err := c.SQL.Exec(t.Context(), "UPDATE runs SET lease_until = 'epoch' WHERE id = $1 AND attempt = 1", sent.RunID); err != nil {
			t.Fatal(err)
		}
		_, attempt := c.RunState(*sent.RunID)
		return attempt == 2
	})
	for _, f := range []*chattest.Follower{remote, local, c.Resume(second, sent)} {
		f.WantText(text)
		if f.At.Attempt != 2 {
			t.Errorf("got the position %v, want attempt 2", f.At)
		}
	}
	if remote.Resets != 1 || remote.Deltas < 10 {
		t.Errorf("got %d resets and %d deltas, want 1 and at least 10", remote.Resets, remote.Deltas)
	}
}
