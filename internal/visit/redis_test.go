package visit_test

import (
	"testing"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/chattest"
	"parley/internal/feed"
	"parley/internal/store"
)

// wantSame fails the test unless two instances have the same messages of a visit.
func wantSame(t *testing.T, first, second []db.Message) {
	t.Helper()
	if len(first) != len(second) {
		t.Fatalf("instances have %d and %d messages, want the same", len(first), len(second))
	}
	for i := range first {
		if first[i].ID != second[i].ID || first[i].Seq != second[i].Seq || first[i].Content != second[i].Content || !first[i].CreatedAt.Equal(second[i].CreatedAt) ||
			(first[i].Metadata == nil) != (second[i].Metadata == nil) || (first[i].Suggestions == nil) != (second[i].Suggestions == nil) {
			t.Errorf("message %d is %+v and %+v, want the same", i+1, first[i], second[i])
		}
	}
}

func TestVisitContinuesOnAllInstances(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, second := c.Instance(), c.Instance()
	rule, text := chattest.SlowRule(40, 20)
	c.Script(bot.ScriptRule{Match: "nothing", Deltas: []string{"", "x"}, DelayMS: 300, FailAfter: new(1)}, rule)
	visit := first.Visit(t)
	resumed := resume(t, second, visit)
	if resumed.Bot.ID != visit.Bot.ID || !resumed.IsAnonymous {
		t.Errorf("the resumed visit is %+v", resumed)
	}
	for round := range int64(2) {
		sender, from, watcher := first, visit, resumed
		if round == 1 {
			sender, from, watcher = second, resumed, visit
		}
		began := time.Now()
		sent := say(t, sender, from, "Go")
		got := chattest.AwaitEvent(t, watcher, func(e *feed.MessageStored) bool { return e.Message.Seq == sent.Seq })
		if took := time.Since(began); got.Message.ID != sent.MessageID || took > chattest.Soon {
			t.Errorf("got the message %+v after %v", got.Message, took)
		}
		remote := c.Follow(chattest.AwaitEvent(t, watcher, chattest.Any[*feed.ReplyStarted]).Reply)
		remote.WantText(text)
		if remote.Deltas < 5 {
			t.Errorf("the reply came in %d deltas, want at least 5", remote.Deltas)
		}
		stored := chattest.AwaitEvent(t, watcher, func(e *feed.MessageStored) bool { return e.Message.Sender == "bot" })
		if stored.Message.Seq != 2*round+2 || stored.Message.Content != text {
			t.Errorf("got the reply's message %+v", stored.Message)
		}
		wantSame(t, awaitMessages(t, visit, 2*round+2), awaitMessages(t, resumed, 2*round+2))
	}
	late := resume(t, second, visit)
	say(t, first, visit, "nothing")
	empty := chattest.AwaitEvent(t, late, chattest.Any[*feed.ReplyStarted])
	if outcome := c.Follow(empty.Reply).Next(); outcome == nil || outcome.Content != "" {
		t.Errorf("got outcome %+v, want one without text", outcome)
	}
}

func TestVisitExpiresWhenIdleOnAllInstances(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, _ := c.Connected(chattest.Config{VisitTTL: 5 * time.Second})
	second, _ := c.Connected(chattest.Config{VisitTTL: 5 * time.Second})
	idle, busy := first.Visit(t), first.Visit(t)
	elsewhere := resume(t, second, idle)
	poll := time.NewTicker(500 * time.Millisecond)
	defer poll.Stop()
	for expired := 0; expired < 2; {
		select {
		case event := <-idle.Events:
			if _, ok := event.(*feed.VisitExpired); ok {
				expired++
			}
		case event := <-elsewhere.Events:
			if _, ok := event.(*feed.VisitExpired); ok {
				expired++
			}
		case event := <-busy.Events:
			t.Fatalf("the busy visit got the event %#v", event)
		case <-poll.C: // active on the other instance only
			resumed, err := second.Visits.Watch(t.Context(), new(busy.SessionID.String()), nil)
			if err != nil {
				t.Fatal(err)
			}
			resumed.Close()
		case <-t.Context().Done():
			t.Fatal("timed out waiting until the visit expires")
		}
	}
	for _, d := range []*chattest.Domain{first, second} {
		for _, id := range []string{idle.SessionID.String(), store.NewID().String()} {
			_, err := d.Visits.Watch(t.Context(), &id, nil)
			chattest.WantKind(t, err, apperr.NotFound)
		}
	}
	say(t, first, busy, "In time")
	awaitMessages(t, busy, 2)
}

// While Redis is unavailable, a visit continues on its instance. When Redis is available again, even
// without data, so is the visit on all instances.
func TestVisitSurvivesRedisOutage(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	first, firstRedis := c.Connected(chattest.Config{})
	second, secondRedis := c.Connected(chattest.Config{})
	visit, quiet := first.Visit(t), first.Visit(t)
	say(t, first, visit, "Before")
	awaitMessages(t, visit, 2)
	elsewhere := resume(t, second, visit)

	c.Redis.Stop()
	chattest.Eventually(t, "the outage is noticed", func() bool { return firstRedis.Unavailable() && secondRedis.Unavailable() })
	say(t, first, visit, "Meanwhile")
	awaitMessages(t, visit, 4)
	say(t, first, resume(t, first, visit), "Still")
	awaitMessages(t, visit, 6)
	_, err := second.Visits.Watch(t.Context(), new(quiet.SessionID.String()), nil)
	chattest.WantKind(t, err, apperr.NotFound)
	begun := first.Visit(t)

	c.Redis.Start()
	chattest.Eventually(t, "Redis is back", func() bool { return !firstRedis.Unavailable() && !secondRedis.Unavailable() })
	wantSame(t, awaitMessages(t, visit, 6), awaitMessages(t, elsewhere, 6))
	for _, watch := range []*feed.Watch{quiet, begun} {
		chattest.Eventually(t, "the visit is written back", func() bool {
			resumed, err := second.Visits.Watch(t.Context(), new(watch.SessionID.String()), nil)
			if err == nil {
				resumed.Close()
			}
			return err == nil
		})
	}
	c.Redis.Flush()
	say(t, first, visit, "After")
	if got := say(t, second, elsewhere, "And there"); got.Seq < 8 {
		t.Errorf("the message has seq %d, want at least 8", got.Seq)
	}
	wantSame(t, awaitMessages(t, visit, 10), awaitMessages(t, elsewhere, 10))
}
