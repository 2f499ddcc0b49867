package visit_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chattest"
	"parley/internal/dbtest"
	"parley/internal/feed"
	"parley/internal/store"
	"parley/internal/visit"
)

// awaitMessages waits until a visit has reached a seq, and returns its messages.
func awaitMessages(t *testing.T, watch *feed.Watch, seq int64) []db.Message {
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
			t.Fatalf("timed out waiting for seq %d: %d messages", seq, len(all))
		}
	}
}

// resume watches a visit again, on any instance.
func resume(t *testing.T, d *chattest.Domain, watch *feed.Watch) *feed.Watch {
	t.Helper()
	resumed, err := d.Visits.Watch(t.Context(), new(watch.SessionID.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(resumed.Close)
	return resumed
}

// say sends a message to a visit.
func say(t *testing.T, d *chattest.Domain, watch *feed.Watch, content string) visit.Sent {
	t.Helper()
	sent, err := d.Visits.Send(t.Context(), watch.SessionID, visit.Message{Content: content})
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

func TestVisitUsesDefaultBotOfFirstOrganization(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	other := f.OtherOrganization(t)
	if _, err := f.Bots.Create(t.Context(), f.Organization, bot.NewBot{Name: "Other", Slug: "other"}); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []*string{nil, &f.Bot.Slug, new(f.Bot.ID.String())} {
		watch, err := f.Visits.Watch(t.Context(), nil, ref)
		if err != nil {
			t.Fatal(err)
		}
		if watch.Bot.ID != f.Bot.ID || !watch.IsAnonymous || watch.LastSeq != 0 || time.Until(*watch.ExpiresAt) > time.Minute {
			t.Errorf("got %+v", watch)
		}
		watch.Close()
	}
	for _, ref := range []string{"other", "nobody", "", other.Bot.ID.String()} {
		_, err := f.Visits.Watch(t.Context(), nil, &ref)
		chattest.WantKind(t, err, apperr.Forbidden)
	}
	alice := f.User(t, "alice")
	for _, id := range []string{store.NewID().String(), "x", "", f.NewConversation(t, alice)} {
		_, err := f.Visits.Watch(t.Context(), &id, nil)
		chattest.WantKind(t, err, apperr.NotFound)
	}
	watch := f.Visit(t)
	_, err := f.Watch(t.Context(), alice, watch.SessionID.String())
	chattest.WantKind(t, err, apperr.NotFound)
}

func TestVisitRequiresAnOrganization(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	empty := chattest.NewDomain(chattest.Config{Store: s, Bots: bottest.New(s, nil)})
	_, err := empty.Visits.Watch(t.Context(), nil, nil)
	chattest.WantKind(t, err, apperr.NotFound)
}

func TestSendRefusesBlankMessagesAndAttachments(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	watch := f.Visit(t)
	_, err := f.Visits.Send(t.Context(), watch.SessionID, visit.Message{Content: " \n"})
	chattest.WantKind(t, err, apperr.InvalidMessage)
	_, err = f.Visits.Send(t.Context(), watch.SessionID, visit.Message{HasAttachments: true})
	chattest.WantKind(t, err, apperr.Forbidden)
	if all, err := watch.Since(t.Context(), 0); err != nil || len(all) > 0 {
		t.Errorf("Since returned %v, %v, want no messages", all, err)
	}
}

// wantOrdered checks that messages have consecutive seqs and increasing times, and that each reply follows its
// question.
func wantOrdered(t *testing.T, messages []db.Message) (questions, answers int) {
	t.Helper()
	for i, message := range messages {
		if message.Seq != int64(i+1) || message.SessionID != messages[0].SessionID || i > 0 && !message.CreatedAt.After(messages[i-1].CreatedAt) {
			t.Errorf("message %d is %+v", i+1, message)
		}
		if message.Sender == "user" {
			questions++
		} else if answers++; answers > questions {
			t.Errorf("answer %d comes before its question", answers)
		}
	}
	return questions, answers
}

// Concurrent messages of a visit are each stored once and answered in order, on one instance and on two.
func TestConcurrentMessagesInVisit(t *testing.T) {
	t.Parallel()
	const senders, each = 4, 5 // the maximum length of the queue
	for name, instances := range map[string]func() []*chattest.Domain{
		"one instance": func() []*chattest.Domain { d := chattest.New(t).Domain; return []*chattest.Domain{d, d} },
		"two instances": func() []*chattest.Domain {
			c := chattest.NewRedisCluster(t)
			return []*chattest.Domain{c.Instance(), c.Instance()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			instances := instances()
			first := instances[0].Visit(t)
			resume(t, instances[1], first)
			var all sync.WaitGroup
			for i := range senders {
				all.Go(func() {
					for n := range each {
						message := visit.Message{Content: "Hm", ClientID: fmt.Sprintf("%d of %d", n, i)}
						for k := range 2 { // the second is a repeat
							sent, err := instances[(i+k)%2].Visits.Send(t.Context(), first.SessionID, message)
							if err != nil || sent.IsReplayed != (k == 1) {
								t.Errorf("Send returned %+v, %v", sent, err)
							}
						}
					}
				})
			}
			all.Wait()
			messages := awaitMessages(t, first, 2*senders*each)
			questions, answers := wantOrdered(t, messages)
			if questions != senders*each || answers != senders*each {
				t.Errorf("got %d questions and %d answers, want %d each", questions, answers, senders*each)
			}
			wantSame(t, messages, awaitMessages(t, resume(t, instances[1], first), 2*senders*each))
		})
	}
}

func TestVisitKeepsNewestMessages(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	watch := f.Visit(t)
	for i := range 60 {
		say(t, f.Domain, watch, fmt.Sprintf("Question %d", i))
		awaitMessages(t, watch, int64(2*i+2))
	}
	all := awaitMessages(t, watch, 120)
	if len(all) != 100 || all[0].Seq != 21 || all[99].Seq != 120 || all[0].Content != "Question 10" {
		t.Errorf("got %d messages from seq %d, want 100 from 21", len(all), all[0].Seq)
	}
	if newest, err := watch.Since(t.Context(), 118); err != nil || len(newest) != 2 || newest[0].Content != "Question 59" {
		t.Errorf("Since returned %v, %v, want the newest two messages", newest, err)
	}
}

// A visit expires after its TTL without activity, and not before. Messages and resumption are activity. Watchers are
// warned.
func TestIdleVisitExpires(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	d := f.Instance(t, chattest.Config{VisitTTL: 5 * time.Second})
	idle, busy := d.Visit(t), d.Visit(t)
	poll := time.NewTicker(500 * time.Millisecond)
	defer poll.Stop()
	isExpired, isWarned := false, false
	for !isExpired {
		select {
		case event := <-idle.Events:
			switch event := event.(type) {
			case *feed.VisitExpired:
				isExpired = true
			case *feed.VisitExpiring:
				isWarned = isWarned || event.At.Equal(*idle.ExpiresAt)
			}
		case <-poll.C:
			resumed, err := d.Visits.Watch(t.Context(), new(busy.SessionID.String()), nil)
			if err != nil {
				t.Fatal(err)
			}
			resumed.Close()
		case event := <-busy.Events:
			t.Fatalf("the busy visit got the event %#v", event)
		case <-t.Context().Done():
			t.Fatal("timed out waiting until the visit expires")
		}
	}
	if !isWarned || time.Now().Before(*idle.ExpiresAt) {
		t.Errorf("the visit expired with warning %t at %v, want a warning and not before %v", isWarned, time.Now(), idle.ExpiresAt)
	}
	_, err := d.Visits.Send(t.Context(), idle.SessionID, visit.Message{Content: "Too late"})
	chattest.WantKind(t, err, apperr.NotFound)
	_, err = d.Visits.Watch(t.Context(), new(idle.SessionID.String()), nil)
	chattest.WantKind(t, err, apperr.NotFound)
	say(t, d, busy, "In time")
	awaitMessages(t, busy, 2)
}

// A visitor who disconnects does not abort the reply. Visits store nothing in the database.
func TestReplyOutlivesItsVisitor(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	answer := strings.Repeat("Here. ", 200)
	bottest.AddFAQ(t, f.Store, f.Bot, "Where?", answer)
	watch, err := f.Visits.Watch(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	say(t, f.Domain, watch, "Where?")
	watch.Close()
	got := awaitMessages(t, resume(t, f.Domain, watch), 2)[1]
	if got.Sender != "bot" || strings.TrimSpace(got.Content) != strings.TrimSpace(answer) || got.RunID == nil || got.Citations == nil {
		t.Errorf("got the reply %+v", got)
	}
	session := watch.SessionID.String()
	if count := f.CountRows(t, "message_history", session) + f.CountRows(t, "runs", session); count > 0 {
		t.Errorf("the database has %d rows of the visit, want 0", count)
	}
}

// When the limit is exceeded, visits end in this order: visits without a message that nobody watches, other visits
// that nobody watches, and then the watched visit that has been idle longest.
func TestIdlestVisitsMakeRoomForNewOnes(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	f.Visits.SetLimits(visit.Limits{Visits: 4})
	watched, used := f.Visit(t), begin(t, f.Domain)
	say(t, f.Domain, used, "Hello")
	awaitMessages(t, used, 2)
	used.Close()
	left, leftLater := begin(t, f.Domain), begin(t, f.Domain)
	left.Close()
	leftLater.Close()

	for _, next := range []*feed.Watch{left, leftLater, used, watched} {
		if count := f.Visits.Count(); count != 4 {
			t.Errorf("%d visits, want 4", count)
		}
		f.Visit(t)
		_, err := f.Visits.Watch(t.Context(), new(next.SessionID.String()), nil)
		chattest.WantKind(t, err, apperr.NotFound)
	}
	for event := range watched.Events {
		if _, isExpired := event.(*feed.VisitExpired); isExpired {
			break
		}
	}
}

// A visit and all visits together have a maximum size in bytes, however many messages the visitors send.
func TestVisitsHaveAMaximumSize(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	limits := visit.Limits{VisitBytes: 32 << 10, Bytes: 100 << 10}
	f.Visits.SetLimits(limits)
	text := strings.Repeat("字", 1000)
	first := f.Visit(t)
	for i := range 30 {
		say(t, f.Domain, first, text)
		awaitMessages(t, first, int64(2*i+2))
		if held := f.Visits.Bytes(); held > limits.VisitBytes {
			t.Fatalf("the visit holds %d bytes after %d messages, want at most %d", held, i+1, limits.VisitBytes)
		}
	}
	kept, err := first.Since(t.Context(), 0)
	if err != nil || len(kept) < 2 || kept[len(kept)-1].Seq != 60 {
		t.Errorf("the visit kept %d messages, %v, want the newest", len(kept), err)
	}
	for range 20 {
		watch := f.Visit(t)
		for range 8 {
			say(t, f.Domain, watch, text)
			if held := f.Visits.Bytes(); held > limits.Bytes {
				t.Fatalf("all visits hold %d bytes, want at most %d", held, limits.Bytes)
			}
		}
		awaitMessages(t, watch, 16)
	}
	_, err = f.Visits.Watch(t.Context(), new(first.SessionID.String()), nil)
	chattest.WantKind(t, err, apperr.NotFound)
}

// begin creates a visit that the test closes itself.
func begin(t *testing.T, d *chattest.Domain) *feed.Watch {
	t.Helper()
	watch, err := d.Visits.Watch(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return watch
}

func TestModelGetsEarlierTurnsOfVisit(t *testing.T) {
	t.Parallel()
	requests := make(chan string, 2)
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Messages json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		requests <- string(body.Messages)
		fmt.Fprint(w, `{"choices":[{"message":{"content":"Good day"},"finish_reason":"stop"}]}`)
	}))
	defer model.Close()
	f := chattest.New(t)
	if err := f.Bots.UseModel(t.Context(), f.Bot, model.URL, "small", ""); err != nil {
		t.Fatal(err)
	}
	watch := f.Visit(t)
	for i, question := range []string{"One?", "Two?"} {
		say(t, f.Domain, watch, question)
		awaitMessages(t, watch, int64(2*i+2))
	}
	for _, want := range []string{
		`[{"role":"user","content":"One?"}]`,
		`[{"role":"user","content":"One?"},{"role":"assistant","content":"Good day"},{"role":"user","content":"Two?"}]`,
	} {
		if got := <-requests; got != want {
			t.Errorf("the model got %s, want %s", got, want)
		}
	}
}
