package feed_test

import (
	"fmt"
	"testing"
	"time"

	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/feed"
)

func TestMessagesReachOtherInstances(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	instances := []*chattest.Domain{c.Instance(), c.Instance()}
	conversation := instances[0].NewConversation(t, c.Caller)
	first, second := c.Watch(instances[1], conversation), c.Watch(instances[1], conversation)
	for seq := int64(1); seq <= 20; seq++ {
		began := time.Now()
		content := fmt.Sprint("Message ", seq)
		sent := c.Send(instances[seq%2], conversation, content)
		hasSeq := func(e *feed.MessageStored) bool { return e.Message.Seq == seq }
		got, same := chattest.AwaitEvent(t, first, hasSeq), chattest.AwaitEvent(t, second, hasSeq)
		if took := time.Since(began); took > chattest.Soon {
			t.Errorf("message %d took %v", seq, took)
		}
		if got != same || got.Message.ID != sent.MessageID || got.Message.Content != content {
			t.Errorf("watchers got %+v and %+v, want the same event of message %d", got.Message, same.Message, seq)
		}
	}
}

// Concurrent messages of several instances are delivered in order. Missed ones can be read from the database.
func TestConcurrentMessagesAreComplete(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	instances := []*chattest.Domain{c.Instance(), c.Instance(), c.Instance()}
	conversation := instances[0].NewConversation(t, c.Caller)
	watch := c.Watch(instances[0], conversation)
	const count = 90
	go func() {
		for i := range count {
			if _, err := instances[i%3].Send(t.Context(), c.Caller, conversation, chat.NewMessage{Content: "x"}); err != nil {
				t.Error(err)
			}
		}
	}()
	deadline := time.After(30 * time.Second)
	for last := int64(0); last < count; {
		select {
		case event := <-watch.Events:
			stored, ok := event.(*feed.MessageStored)
			if ok && stored.Message.Seq <= last {
				continue
			}
			if ok && stored.Message.Seq == last+1 {
				last++
				continue
			}
		case <-watch.Missed:
		case <-deadline:
			t.Fatalf("timed out after message %d", last)
		}
		missed, err := watch.Since(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		last += int64(len(missed))
	}
}

func TestFeedbackReachesOtherInstances(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, second := c.Instance(), c.Instance()
	conversation := first.NewConversation(t, c.Caller)
	sent := c.Send(first, conversation, "Good")
	watch := c.Watch(second, conversation)
	for _, feedback := range []*string{new("like"), nil} {
		began := time.Now()
		if _, err := first.Rate(t.Context(), c.Caller, sent.MessageID.String(), feedback); err != nil {
			t.Fatal(err)
		}
		got := chattest.AwaitEvent(t, watch, chattest.Any[*feed.FeedbackChanged])
		if got.Message.ID != sent.MessageID || (got.Message.Feedback == nil) != (feedback == nil) || time.Since(began) > chattest.Soon {
			t.Errorf("got %+v after %v", got.Message, time.Since(began))
		}
	}
}

// Redis restarts during a reply. The other instances poll meanwhile, lose nothing, and receive notifications again
// afterwards.
func TestRedisRestartLosesNothing(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, firstRedis := c.Connected(chattest.Config{})
	second, secondRedis := c.Connected(chattest.Config{})
	rule, text := chattest.SlowRule(200, 20)
	c.Script(rule)
	sent := c.Ask(first)
	conversation := first.NewConversation(t, c.Caller)
	watch := c.Watch(second, conversation)
	remote := c.Resume(second, sent)
	remote.Next()
	remote.Next()

	c.Redis.Stop()
	chattest.Eventually(t, "the outage is noticed", func() bool { return firstRedis.Unavailable() && secondRedis.Unavailable() })
	during := c.Send(first, conversation, "Meanwhile")
	chattest.AwaitEvent(t, watch, chattest.Any[*feed.Behind])
	if missed, err := watch.Since(t.Context(), 0); err != nil || len(missed) != 1 || missed[0].ID != during.MessageID {
		t.Errorf("Since returned %v, %v, want the message sent during the outage", missed, err)
	}
	seen := remote.Deltas
	c.Redis.Start()
	for remote.Deltas < seen+5 {
		if remote.Next() != nil {
			t.Fatal("the reply ended without growing again")
		}
	}
	remote.WantText(text)
	if remote.Resets > 0 {
		t.Errorf("got %d resets, want 0", remote.Resets)
	}
	began := time.Now()
	after := c.Send(first, conversation, "And again")
	chattest.AwaitEvent(t, watch, func(e *feed.MessageStored) bool { return e.Message.ID == after.MessageID })
	if took := time.Since(began); took > chattest.Soon {
		t.Errorf("after the outage a message took %v", took)
	}
}
