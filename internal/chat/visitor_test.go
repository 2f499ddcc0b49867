package chat_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// visits is a Chat of the house's whose visits live only so long.
func (h *house) visits(t *testing.T, ttl time.Duration) *chat.Chat {
	t.Helper()
	c := chat.New(chat.Config{Store: h.store, Bots: h.bots, Log: slog.New(slog.DiscardHandler), VisitTTL: ttl})
	c.Start()
	t.Cleanup(func() { c.Close(t.Context()) })
	return c
}

// visit begins a visit.
func visit(t *testing.T, c *chat.Chat) *chat.Watch {
	t.Helper()
	watch, err := c.Visit(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watch.Close)
	return watch
}

// heard waits until a visit has come to a seq, and returns what can be read of it.
func heard(t *testing.T, watch *chat.Watch, seq int64) []db.Message {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for {
		all, err := watch.Since(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) > 0 && all[len(all)-1].Seq >= seq {
			return all
		}
		select {
		case <-watch.Events:
		case <-watch.Missed:
		case <-deadline.C:
			t.Fatalf("it never came to %d: %d messages", seq, len(all))
		}
	}
}

func TestAVisitIsToTheFirstOrganizationsDefaultBot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	neighbour := h.neighbour(t)
	if _, err := h.bots.Create(t.Context(), h.organization, bot.NewBot{Name: "Other", Slug: "other"}); err != nil {
		t.Fatal(err)
	}
	for _, named := range []*string{nil, &h.bot.Slug, new(h.bot.ID.String())} {
		watch, err := h.Visit(t.Context(), nil, named)
		if err != nil {
			t.Fatal(err)
		}
		if watch.Bot.ID != h.bot.ID || !watch.IsAnonymous || watch.LastSeq != 0 || time.Until(*watch.ExpiresAt) > time.Minute {
			t.Errorf("%+v", watch)
		}
		watch.Close()
	}
	for _, named := range []string{"other", "nobody", "", neighbour.bot.ID.String()} {
		_, err := h.Visit(t.Context(), nil, &named)
		refused(t, err, apperr.Forbidden)
	}
	alice := h.user(t, "alice")
	for _, session := range []string{id().String(), "x", "", h.conversation(t, alice)} {
		_, err := h.Visit(t.Context(), &session, nil)
		refused(t, err, apperr.NotFound)
	}
	watch := visit(t, h.Chat)
	_, err := h.Watch(t.Context(), alice, watch.SessionID.String())
	refused(t, err, apperr.NotFound)
}

func TestWithoutAnOrganizationThereIsNothingToVisit(t *testing.T) {
	t.Parallel()
	opened := dbtest.Open(t)
	empty := chat.New(chat.Config{Store: opened, Bots: bottest.New(opened, nil), Log: slog.New(slog.DiscardHandler), VisitTTL: time.Minute})
	_, err := empty.Visit(t.Context(), nil, nil)
	refused(t, err, apperr.NotFound)
}

func TestWhatAVisitorMayNotSayIsRefused(t *testing.T) {
	t.Parallel()
	watch := visit(t, newHouse(t).Chat)
	_, err := watch.Send(t.Context(), chat.NewMessage{Content: " \n"})
	refused(t, err, apperr.InvalidMessage)
	_, err = watch.Send(t.Context(), chat.NewMessage{Attachments: []chat.NewAttachment{{File: "https://a.example/x"}}})
	refused(t, err, apperr.Forbidden)
	if all, err := watch.Since(t.Context(), 0); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// Many who speak at once in a visit get places without gap, in rising times, and an
// answer each, in the order of the questions.
func TestManySpeakInAVisitAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := visit(t, h.Chat)
	const speakers, each = 4, 5 // as many as may wait
	var all sync.WaitGroup
	for i := range speakers {
		watch, err := h.Visit(t.Context(), new(first.SessionID.String()), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer watch.Close()
		all.Go(func() {
			for n := range each {
				content := fmt.Sprintf("%d of %d", n, i)
				for range 2 { // the second time it is stored already
					if _, err := watch.Send(t.Context(), chat.NewMessage{Content: content, IdempotencyKey: &store.IdempotencyKey{Key: content}}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	said := heard(t, first, 2*speakers*each)
	if len(said) != 2*speakers*each {
		t.Errorf("%d messages", len(said))
	}
	asked, answered := 0, 0
	for i, one := range said {
		if one.Seq != int64(i+1) || one.SessionID != first.SessionID || i > 0 && !one.CreatedAt.After(said[i-1].CreatedAt) {
			t.Errorf("message %d: %+v", i+1, one)
		}
		if one.Sender == "user" {
			asked++
		} else if answered++; answered > asked {
			t.Errorf("answer %d comes before its question", answered)
		}
	}
	if asked != answered {
		t.Errorf("%d questions, %d answers", asked, answered)
	}
}

func TestTheNewestHundredMessagesOfAVisitCanBeRead(t *testing.T) {
	t.Parallel()
	watch := visit(t, newHouse(t).Chat)
	for i := range 60 {
		if _, err := watch.Send(t.Context(), chat.NewMessage{Content: fmt.Sprintf("Question %d", i)}); err != nil {
			t.Fatal(err)
		}
		heard(t, watch, int64(2*i+2))
	}
	all := heard(t, watch, 120)
	if len(all) != 100 || all[0].Seq != 21 || all[99].Seq != 120 || all[0].Content != "Question 10" {
		t.Errorf("%d messages from %d", len(all), all[0].Seq)
	}
	if some, err := watch.Since(t.Context(), 118); err != nil || len(some) != 2 || some[0].Content != "Question 59" {
		t.Errorf("%v, %v", some, err)
	}
}

// A visit ends after its time without activity, and not before: to speak and to come
// back are activity. Who watches is told before.
func TestAVisitEndsWhenNothingHappensInIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.visits(t, 5*time.Second)
	idle, busy := visit(t, c), visit(t, c)
	resumed := busy.SessionID.String()
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	isOver, isTold := false, false
	for !isOver {
		select {
		case event := <-idle.Events:
			isOver = event.IsExpired
			isTold = isTold || event.ExpiresAt != nil && event.ExpiresAt.Equal(*idle.ExpiresAt)
		case <-look.C:
			again, err := c.Visit(t.Context(), &resumed, nil)
			if err != nil {
				t.Fatal(err)
			}
			again.Close()
		case event := <-busy.Events:
			t.Fatalf("the busy one: %+v", event)
		case <-t.Context().Done():
			t.Fatal("it never ends")
		}
	}
	if !isTold {
		t.Error("it ends without a warning")
	}
	if time.Now().Before(*idle.ExpiresAt) {
		t.Error("it ends before its time")
	}
	_, err := idle.Send(t.Context(), chat.NewMessage{Content: "Too late"})
	refused(t, err, apperr.NotFound)
	_, err = c.Visit(t.Context(), new(idle.SessionID.String()), nil)
	refused(t, err, apperr.NotFound)
	if _, err := busy.Send(t.Context(), chat.NewMessage{Content: "In time"}); err != nil {
		t.Error(err)
	}
	heard(t, busy, 2)
}

// A reply that is being written is not cut off by a visitor that leaves.
func TestAVisitorsReplyBelongsToTheVisit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bottest.AddFAQ(t, h.store, h.bot, "Where?", strings.Repeat("Here. ", 200))
	watch := visit(t, h.Chat)
	if _, err := watch.Send(t.Context(), chat.NewMessage{Content: "Where?"}); err != nil {
		t.Fatal(err)
	}
	again, err := h.Visit(t.Context(), new(watch.SessionID.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	said := heard(t, again, 2)
	if got := said[1]; got.Sender != "bot" || strings.TrimSpace(got.Content) != strings.TrimSpace(strings.Repeat("Here. ", 200)) || got.RunID == nil || got.Citations == nil {
		t.Errorf("%+v", got)
	}
	if count := h.rows(t, "message_history", watch.SessionID.String()) + h.rows(t, "runs", watch.SessionID.String()); count > 0 {
		t.Errorf("%d rows", count)
	}
}

// Who comes and goes without a word keeps no others out: where there is no room, the oldest visit that was left so ends.
func TestVisitsWithoutAWordMakeRoom(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.visits(t, time.Minute)
	c.LimitVisits(4)
	watched, spoken := visit(t, c), visit(t, c)
	if _, err := spoken.Send(t.Context(), chat.NewMessage{Content: "Hello"}); err != nil {
		t.Fatal(err)
	}
	heard(t, spoken, 2)
	spoken.Close()
	left, leftLater := visit(t, c), visit(t, c)
	left.Close()
	leftLater.Close()
	resume := func(former *chat.Watch) (*chat.Watch, error) {
		return c.Visit(t.Context(), new(former.SessionID.String()), nil)
	}

	visit(t, c)
	if _, err := resume(left); !apperr.Is(err, apperr.NotFound) {
		t.Errorf("the one that was left is still there: %v", err)
	}
	for name, former := range map[string]*chat.Watch{"watched": watched, "spoken in": spoken, "left later": leftLater} {
		again, err := resume(former)
		if err != nil {
			t.Fatalf("the one that is %s: %v", name, err)
		}
		t.Cleanup(again.Close)
	}
	if _, err := c.Visit(t.Context(), nil, nil); !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("there is room for a fifth: %v", err)
	}
}
