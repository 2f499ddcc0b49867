package chat_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/store"
)

// revisit continues a visit, at whichever instance.
func revisit(t *testing.T, c *chat.Chat, watch *chat.Watch) *chat.Watch {
	t.Helper()
	again, err := c.Visit(t.Context(), new(watch.SessionID.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	return again
}

func ask(t *testing.T, watch *chat.Watch, content string) chat.Sent {
	t.Helper()
	sent, err := watch.Send(t.Context(), chat.NewMessage{Content: content})
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

// same fails unless two instances have the same of a visit.
func same(t *testing.T, one, two []db.Message) {
	t.Helper()
	if len(one) != len(two) {
		t.Fatalf("%d messages and %d", len(one), len(two))
	}
	for i := range one {
		if one[i].ID != two[i].ID || one[i].Seq != two[i].Seq || one[i].Content != two[i].Content || !one[i].CreatedAt.Equal(two[i].CreatedAt) ||
			(one[i].Metadata == nil) != (two[i].Metadata == nil) || (one[i].Suggestions == nil) != (two[i].Suggestions == nil) {
			t.Errorf("message %d is %+v and %+v", i+1, one[i], two[i])
		}
	}
}

func TestAVisitGoesOnAtEveryInstance(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	rule, text := slowly(40, 20)
	j.scripted(bot.ScriptRule{Match: "nothing", Deltas: []string{"", "x"}, DelayMS: 300, FailAfter: new(1)}, rule)
	here := visit(t, one)
	there := revisit(t, two, here)
	if there.Bot.ID != here.Bot.ID || !there.IsAnonymous {
		t.Errorf("%+v", there)
	}
	for round := range int64(2) {
		asks, hears, at := here, there, two
		if round == 1 {
			asks, hears, at = there, here, one
		}
		began := time.Now()
		sent := ask(t, asks, "Go")
		got := event(t, hears, func(e *chat.Event) bool { return e.Message != nil && e.Message.Seq == sent.Seq })
		if took := time.Since(began); got.Message.ID != sent.MessageID || took > soon {
			t.Errorf("after %v: %+v", took, got.Message)
		}
		growing := j.follow(at, event(t, hears, func(e *chat.Event) bool { return e.Reply != nil }).Reply)
		growing.whole(text)
		if growing.deltas < 5 {
			t.Errorf("it came in %d pieces", growing.deltas)
		}
		reply := event(t, hears, func(e *chat.Event) bool { return e.Message != nil && e.Message.Sender == "bot" })
		if reply.Message.Seq != 2*round+2 || reply.Message.Content != text {
			t.Errorf("%+v", reply.Message)
		}
		same(t, heard(t, here, 2*round+2), heard(t, there, 2*round+2))
	}
	late := revisit(t, two, here)
	ask(t, here, "nothing")
	silent := event(t, late, func(e *chat.Event) bool { return e.Reply != nil })
	if outcome := j.follow(two, silent.Reply).next(); outcome == nil || outcome.Content != "" {
		t.Errorf("%+v", outcome)
	}
}

// Two instances never give one place twice, nor take one message twice.
func TestManySpeakInAVisitAtTwoInstances(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	first := visit(t, one)
	const speakers, each = 4, 5
	var all sync.WaitGroup
	for i := range speakers {
		watch := revisit(t, []*chat.Chat{one, two}[i%2], first)
		other := revisit(t, []*chat.Chat{two, one}[i%2], first)
		all.Go(func() {
			for n := range each {
				message := chat.NewMessage{Content: "Hm", IdempotencyKey: &store.IdempotencyKey{Key: fmt.Sprintf("%d of %d", n, i)}}
				for k, at := range []*chat.Watch{watch, other} {
					if sent, err := at.Send(t.Context(), message); err != nil || sent.IsReplayed != (k == 1) {
						t.Errorf("%+v, %v", sent, err)
					}
				}
			}
		})
	}
	all.Wait()
	said := heard(t, first, 2*speakers*each)
	asked := 0
	for i, one := range said {
		if one.Seq != int64(i+1) || i > 0 && !one.CreatedAt.After(said[i-1].CreatedAt) {
			t.Errorf("message %d: %+v", i+1, one)
		}
		if one.Sender == "user" {
			asked++
		}
	}
	if len(said) != 2*speakers*each || asked != speakers*each {
		t.Errorf("%d messages, %d questions", len(said), asked)
	}
	same(t, said, heard(t, revisit(t, two, first), 2*speakers*each))
}

func TestAVisitEndsWhenItIsIdleEverywhere(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, _ := j.linked(5 * time.Second)
	two, _ := j.linked(5 * time.Second)
	idle, busy := visit(t, one), visit(t, one)
	elsewhere := revisit(t, two, idle)
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	ended := 0
	for ended < 2 {
		select {
		case e := <-idle.Events:
			if e.IsExpired {
				ended++
			}
		case e := <-elsewhere.Events:
			if e.IsExpired {
				ended++
			}
		case e := <-busy.Events:
			t.Fatalf("the busy one: %+v", e)
		case <-look.C: // it is active at the other instance alone
			again, err := two.Visit(t.Context(), new(busy.SessionID.String()), nil)
			if err != nil {
				t.Fatal(err)
			}
			again.Close()
		case <-t.Context().Done():
			t.Fatal("it never ends")
		}
	}
	for _, c := range []*chat.Chat{one, two} {
		_, err := c.Visit(t.Context(), new(idle.SessionID.String()), nil)
		refused(t, err, apperr.NotFound)
		_, err = c.Visit(t.Context(), new(id().String()), nil)
		refused(t, err, apperr.NotFound)
	}
	ask(t, busy, "In time")
	heard(t, busy, 2)
}

// While Redis is away a visit goes on at its instance; when it is back, though with
// nothing in it, the visit is everywhere again.
func TestAVisitOutlivesRedis(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, oneLink := j.linked(time.Minute)
	two, twoLink := j.linked(time.Minute)
	here := visit(t, one)
	quiet := visit(t, one)
	ask(t, here, "Before")
	heard(t, here, 2)
	there := revisit(t, two, here)

	j.redis.Stop()
	eventually(t, "it is noticed", func() bool { return oneLink.Unavailable() && twoLink.Unavailable() })
	ask(t, here, "Meanwhile")
	heard(t, here, 4)
	ask(t, revisit(t, one, here), "Still")
	heard(t, here, 6)
	_, err := two.Visit(t.Context(), new(quiet.SessionID.String()), nil)
	refused(t, err, apperr.NotFound)
	begun := visit(t, one)

	j.redis.Start()
	eventually(t, "it is back", func() bool { return !oneLink.Unavailable() && !twoLink.Unavailable() })
	same(t, heard(t, here, 6), heard(t, there, 6))
	for _, watch := range []*chat.Watch{quiet, begun} {
		eventually(t, "it is put back", func() bool {
			again, err := two.Visit(t.Context(), new(watch.SessionID.String()), nil)
			if err == nil {
				again.Close()
			}
			return err == nil
		})
	}
	j.redis.Flush()
	ask(t, here, "After")
	if got := ask(t, there, "And there"); got.Seq < 8 {
		t.Errorf("it has the seq %d", got.Seq)
	}
	same(t, heard(t, here, 10), heard(t, there, 10))
}
