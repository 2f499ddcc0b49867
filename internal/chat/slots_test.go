package chat_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
)

// neighbour is somebody of another organization on the same database, whose default bot says a few words slowly.
func (h *cluster) neighbour(name string, delay time.Duration) auth.Principal {
	h.t.Helper()
	s := h.open()
	made, err := s.CreateOrganization(h.t.Context(), id(), name)
	if err != nil {
		h.t.Fatal(err)
	}
	script := bot.Script{Rules: []bot.ScriptRule{{Deltas: []string{"Ah ", "well ", "then."}, DelayMS: int(delay.Milliseconds())}}}
	_, err = bottest.New(s, nil).Create(h.t.Context(), made.ID, bot.NewBot{Name: "Slow", IsDefault: true, Engine: bot.EngineScripted, Script: &script})
	if err != nil {
		h.t.Fatal(err)
	}
	user, err := s.UpsertUser(h.t.Context(), made.ID, id(), name)
	if err != nil {
		h.t.Fatal(err)
	}
	return auth.Principal{OrganizationID: made.ID, UserID: user.ID, UserName: name, Scopes: []auth.Scope{auth.Chat}}
}

// flood asks one question in each of n new conversations.
func (h *cluster) flood(c *chat.Chat, who auth.Principal, n int) []chat.Sent {
	h.t.Helper()
	sents, errs := make([]chat.Sent, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { sents[i], errs[i] = c.Begin(h.t.Context(), who, nil, &chat.NewMessage{Content: "Hi"}, nil) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return sents
}

// count runs a statement that counts something.
func (h *cluster) count(statement string, args ...any) (n int) {
	h.t.Helper()
	if err := h.sql.QueryRow(h.t.Context(), statement, args...).Scan(&n); err != nil {
		h.t.Fatalf("%s: %v", statement, err)
	}
	return n
}

// allAnswered waits until that many runs are completed, and tells how long it took.
func (h *cluster) allAnswered(runs int) time.Duration {
	h.t.Helper()
	began := time.Now()
	eventually(h.t, fmt.Sprintf("all %d are answered", runs), func() bool { return h.count("SELECT count(*) FROM runs WHERE state = 'completed'") == runs })
	if left := h.count("SELECT count(*) FROM sessions WHERE active_run IS NOT NULL OR queued_runs <> 0"); left > 0 {
		h.t.Errorf("%d conversations still wait", left)
	}
	return time.Since(began)
}

// atOnce is how many runs were at work at the same time, at the most: in all, and of one organization.
func (h *cluster) atOnce() (all, ofOne int) {
	h.t.Helper()
	const others = "SELECT coalesce(max((SELECT count(*) FROM runs b WHERE b.started_at <= a.started_at AND b.finished_at > a.started_at"
	return h.count(others + ")), 0) FROM runs a"), h.count(others + " AND b.organization_id = a.organization_id)), 0) FROM runs a")
}

// Never are more replies written at once than may be, in all and for one organization; all is answered in the end, and
// without pauses: whoever ends lets the next one begin.
func TestNoMoreRepliesAreWrittenAtOnceThanMayBe(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instanceOf(chat.Config{MaxReplies: 4, MaxRepliesPerOrganization: 3})
	var all sync.WaitGroup
	for i := range 3 {
		who := h.neighbour(fmt.Sprint("Neighbour ", i), 10*time.Millisecond)
		all.Go(func() { h.flood(c, who, 30) })
	}
	sampled := 0
	eventually(t, "all is answered", func() bool {
		sampled = max(sampled, h.count("SELECT count(*) FROM runs WHERE state = 'running'"))
		return h.count("SELECT count(*) FROM runs WHERE state = 'completed'") == 90
	})
	all.Wait()
	h.allAnswered(90)
	if total, ofOne := h.atOnce(); sampled > 4 || total > 4 || ofOne > 3 || total < 4 || ofOne < 3 {
		t.Errorf("at once were written %d (seen: %d), of one organization %d", total, sampled, ofOne)
	}
	eventually(t, "nothing is kept of what is over", func() bool { return c.LiveReplies() == 0 })
}

// An organization that is alone has its own limit, and goes on to the end of its queue without pauses although there is
// room for others.
func TestAnOrganizationAtItsLimitGoesOnWithoutPauses(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instanceOf(chat.Config{MaxReplies: 4, MaxRepliesPerOrganization: 3})
	h.flood(c, h.neighbour("Alone", 5*time.Millisecond), 60)
	if took := h.allAnswered(60); took > 10*time.Second {
		t.Errorf("60 replies of 15 ms took %v", took)
	}
	if total, ofOne := h.atOnce(); total != 3 || ofOne != 3 {
		t.Errorf("at once were written %d, of one organization %d", total, ofOne)
	}
}

// One organization that floods does not keep another one's single question waiting behind all of its own: there is room
// left for it, or it is next.
func TestAFloodDoesNotKeepOthersWaiting(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]chat.Config{
		"with room left": {MaxReplies: 4, MaxRepliesPerOrganization: 3},
		"without":        {MaxReplies: 3, MaxRepliesPerOrganization: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newCluster(t)
			c := h.instanceOf(limits)
			loud, calm := h.neighbour("Loud", 30*time.Millisecond), h.neighbour("Calm", time.Millisecond)
			h.flood(c, loud, 40)
			for i := range 3 {
				sent, err := c.Begin(t.Context(), calm, nil, &chat.NewMessage{Content: "Hi"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				answered(t, sent)
				before := h.count(`SELECT count(*) FROM runs r JOIN runs single ON single.id = $1
					WHERE r.organization_id = $2 AND r.started_at > single.created_at AND r.started_at < single.started_at`, *sent.RunID, loud.OrganizationID)
				waiting := h.count("SELECT count(*) FROM runs WHERE state = 'queued'")
				if before > 3 || waiting == 0 {
					t.Errorf("question %d was begun after %d others, %d wait", i, before, waiting)
				}
			}
			h.allAnswered(43)
		})
	}
}

// In each conversation the questions are answered in their order, one at a time, however few replies may be written.
func TestConversationsKeepTheirOrderInACrowd(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	c := h.instanceOf(chat.Config{MaxReplies: 4, MaxRepliesPerOrganization: 3})
	who := h.neighbour("Talkative", 2*time.Millisecond)
	var all sync.WaitGroup
	for _, sent := range h.flood(c, who, 10) {
		all.Go(func() {
			for i := range 8 {
				if _, err := c.Send(t.Context(), who, sent.ConversationID.String(), chat.NewMessage{Content: fmt.Sprint("question ", i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	h.allAnswered(90)
	disorder := h.count(`SELECT count(*) FROM runs a JOIN runs b ON a.session_id = b.session_id AND a.question_seq < b.question_seq WHERE b.started_at < a.finished_at`)
	answers := h.count(`SELECT count(*) FROM message_history a JOIN message_history b ON a.session_id = b.session_id AND a.sender = 'bot' AND b.sender = 'bot' AND a.seq < b.seq
		JOIN runs x ON x.id = a.run_id JOIN runs y ON y.id = b.run_id WHERE x.question_seq > y.question_seq`)
	if disorder+answers > 0 {
		t.Errorf("%d runs were begun before an earlier one was over, %d replies are in another order than the questions", disorder, answers)
	}
	if total, ofOne := h.atOnce(); total > 3 || ofOne > 3 {
		t.Errorf("at once were written %d", total)
	}
}

// Two instances on one database share what waits: each writes as many as it may, nothing is answered twice.
func TestTwoInstancesShareWhatWaits(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	limits := chat.Config{MaxReplies: 4, MaxRepliesPerOrganization: 3}
	one, two := h.instanceOf(limits), h.instanceOf(limits)
	loud, other := h.neighbour("Loud", 100*time.Millisecond), h.neighbour("Other", 10*time.Millisecond)
	h.flood(one, loud, 100) // all of them at the one
	h.flood(two, other, 10)
	h.allAnswered(110)
	if total, ofOne := h.atOnce(); total > 8 || ofOne > 6 || ofOne <= 3 {
		t.Errorf("at once were written %d, of one organization %d", total, ofOne)
	}
	if n := h.count("SELECT count(*) FROM message_history WHERE sender = 'bot'"); n != 110 {
		t.Errorf("%d replies are stored", n)
	}
	for _, c := range []*chat.Chat{one, two} {
		eventually(t, "nothing is kept of what is over", func() bool { return c.LiveReplies() == 0 })
	}
}

// What waits when an instance is closed is gone on with by another one, at its full pace; who asked there finds the
// reply.
func TestWhatWaitsWhenAnInstanceIsClosedIsGoneOnWithElsewhere(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	one := h.instanceOf(chat.Config{MaxReplies: 2, MaxRepliesPerOrganization: 2})
	who := h.neighbour("Patient", 50*time.Millisecond)
	h.flood(one, who, 40)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	one.Close(ctx)
	waiting := h.count("SELECT count(*) FROM runs WHERE state = 'queued'")
	if running := h.count("SELECT count(*) FROM runs WHERE state = 'running'"); running > 0 || waiting < 20 {
		t.Fatalf("after Close %d runs are running, %d wait", running, waiting)
	}
	h.instanceOf(chat.Config{MaxReplies: 2, MaxRepliesPerOrganization: 2})
	if took := h.allAnswered(40); took > 20*time.Second {
		t.Errorf("%d replies of 150 ms, two at once, took %v", waiting, took)
	}
	if again := h.count("SELECT count(*) FROM runs WHERE attempt > 1"); again > 0 {
		t.Errorf("%d runs were begun twice", again)
	}
}

// A run may be cancelled at an instance that does not write its reply: the one that does stops.
func TestARunIsCancelledFromAnotherInstance(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	one, two := h.instanceOf(chat.Config{}), h.instanceOf(chat.Config{})
	who := h.neighbour("Long", time.Minute)
	sent := h.flood(one, who, 1)[0]
	waiting, err := one.Send(t.Context(), who, sent.ConversationID.String(), chat.NewMessage{Content: "And?"})
	if err != nil {
		t.Fatal(err)
	}
	// First what waits, then what is written.
	for _, run := range []*uuid.UUID{waiting.RunID, sent.RunID} {
		ended, err := two.Cancel(t.Context(), who, run.String(), nil)
		if err != nil || ended.State != "cancelled" {
			t.Errorf("%+v, %v", ended, err)
		}
	}
	for _, reply := range []*chat.Reply{waiting.Reply, sent.Reply} {
		answered(t, chat.Sent{Reply: reply})
		if _, _, _, outcome, _ := reply.Next(reply.Beginning()); outcome.State != "cancelled" || outcome.Content != "" {
			t.Errorf("who asked is told %+v", outcome)
		}
	}
	took := h.count("SELECT (extract(epoch FROM max(finished_at) - min(finished_at)) * 1000)::integer FROM runs")
	if took > 3000 {
		t.Errorf("the second was stopped %d ms after the first", took)
	}
}
