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
func wantSame(t *testing.T, one, two []db.Message) {
	t.Helper()
	if len(one) != len(two) {
		t.Fatalf("instances have %d and %d messages, want the same", len(one), len(two))
	}
	for i := range one {
		if one[i].ID != two[i].ID || one[i].Seq != two[i].Seq || one[i].Content != two[i].Content || !one[i].CreatedAt.Equal(two[i].CreatedAt) ||
			(one[i].Metadata == nil) != (two[i].Metadata == nil) || (one[i].Suggestions == nil) != (two[i].Suggestions == nil) {
			t.Errorf("message %d is %+v and %+v, want the same", i+1, one[i], two[i])
		}
	}
}

func TestVisitGoesOnAtAllInstances(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	one, two := c.Instance(), c.Instance()
	rule, text := chattest.SlowRule(40, 20)
	c.Script(bot.ScriptRule{Match: "nothing", Deltas: []string{"", "x"}, DelayMS: 300, FailAfter: new(1)}, rule)
	here := one.Visit(t)
	there := resume(t, two, here)
	if there.Bot.ID != here.Bot.ID || !there.IsAnonymous {
		t.Errorf("the resumed visit is %+v", there)
	}
	for round := range int64(2) {
		sender, from, watcher := one, here, there
		if round == 1 {
			sender, from, watcher = two, there, here
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
		wantSame(t, awaitMessages(t, here, 2*round+2), awaitMessages(t, there, 2*round+2))
	}
	late := resume(t, two, here)
	say(t, one, here, "nothing")
	empty := chattest.AwaitEvent(t, late, chattest.Any[*feed.ReplyStarted])
	if outcome := c.Follow(empty.Reply).Next(); outcome == nil || outcome.Content != "" {
		t.Errorf("got outcome %+v, want one without text", outcome)
	}
}

func TestVisitExpiresWhenIdleOnAllInstances(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	one, _ := c.Connected(chattest.Config{VisitTTL: 5 * time.Second})
	two, _ := c.Connected(chattest.Config{VisitTTL: 5 * time.Second})
	idle, busy := one.Visit(t), one.Visit(t)
	elsewhere := resume(t, two, idle)
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
			resumed, err := two.Visits.Watch(t.Context(), new(busy.SessionID.String()), nil)
			if err != nil {
				t.Fatal(err)
			}
			resumed.Close()
		case <-t.Context().Done():
			t.Fatal("timed out waiting until the visit expires")
		}
	}
	for _, d := range []*chattest.Domain{one, two} {
		for _, id := range []string{idle.SessionID.String(), store.NewID().String()} {
			_, err := d.Visits.Watch(t.Context(), &id, nil)
			chattest.WantKind(t, err, apperr.NotFound)
		}
	}
	say(t, one, busy, "In time")
	awaitMessages(t, busy, 2)
}

// While Redis is unavailable, a visit continues on its instance. When Redis is available again, even
// without data, so is the visit on all instances.
func TestVisitSurvivesRedisOutage(t *testing.T) {
	t.Parallel()
	c := chattest.NewRedisCluster(t)
	one, oneRedis := c.Connected(chattest.Config{})
	two, twoRedis := c.Connected(chattest.Config{})
	here, quiet := one.Visit(t), one.Visit(t)
	say(t, one, here, "Before")
	awaitMessages(t, here, 2)
	there := resume(t, two, here)

	c.Redis.Stop()
	chattest.Eventually(t, "the outage is noticed", func() bool { return oneRedis.Unavailable() && twoRedis.Unavailable() })
	say(t, one, here, "Meanwhile")
	awaitMessages(t, here, 4)
	say(t, one, resume(t, one, here), "Still")
	awaitMessages(t, here, 6)
	_, err := two.Visits.Watch(t.Context(), new(quiet.SessionID.String()), nil)
	chattest.WantKind(t, err, apperr.NotFound)
	begun := one.Visit(t)

	c.Redis.Start()
	chattest.Eventually(t, "Redis is back", func() bool { return !oneRedis.Unavailable() && !twoRedis.Unavailable() })
	wantSame(t, awaitMessages(t, here, 6), awaitMessages(t, there, 6))
	for _, watch := range []*feed.Watch{quiet, begun} {
		chattest.Eventually(t, "the visit is written back", func() bool {
			resumed, err := two.Visits.Watch(t.Context(), new(watch.SessionID.String()), nil)
			if err == nil {
				resumed.Close()
			}
			return err == nil
		})
	}
	c.Redis.Flush()
	say(t, one, here, "After")
	if got := say(t, two, there, "And there"); got.Seq < 8 {
		t.Errorf("the message has seq %d, want at least 8", got.Seq)
	}
	wantSame(t, awaitMessages(t, here, 10), awaitMessages(t, there, 10))
}
