package run_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/chattest"
)

// slotLimits are the limits in most tests of slots.
var slotLimits = chattest.Config{MaxReplies: 4, MaxRepliesPerOrganization: 3}

func awaitNoLiveReplies(t *testing.T, d *chattest.Domain) {
	t.Helper()
	chattest.Eventually(t, "no finished reply is kept in memory", func() bool { return d.Runs.LiveReplies() == 0 })
}

func TestSlotsBoundConcurrentReplies(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.InstanceWith(slotLimits)
	// The first organization fills its own slots while it is alone. Then all organizations compete.
	c.AskMany(d, c.SlowBotUser("Organization 0", 10*time.Millisecond), 30)
	var all sync.WaitGroup
	for i := range 2 {
		caller := c.SlowBotUser(fmt.Sprint("Organization ", i+1), 10*time.Millisecond)
		all.Go(func() { c.AskMany(d, caller, 30) })
	}
	sampled := 0
	chattest.Eventually(t, "all runs are completed", func() bool {
		sampled = max(sampled, c.Count("SELECT count(*) FROM runs WHERE state = 'running'"))
		return c.Count("SELECT count(*) FROM runs WHERE state = 'completed'") == 90
	})
	all.Wait()
	c.AwaitCompleted(90)
	if total, ofOrganization := c.MaxConcurrent(); sampled > 4 || total != 4 || ofOrganization != 3 {
		t.Errorf("%d replies (sampled: %d) and %d of one organization were concurrent, want 4 and 3", total, sampled, ofOrganization)
	}
	awaitNoLiveReplies(t, d)
}

// An organization at its own limit works through its queue without pauses, even if other slots are free.
func TestQueueOfFullOrganizationHasNoPauses(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.InstanceWith(slotLimits)
	c.AskMany(d, c.SlowBotUser("Alone", 5*time.Millisecond), 60)
	if took := c.AwaitCompleted(60); took > 10*time.Second {
		t.Errorf("60 replies of 15 ms took %v", took)
	}
	if total, ofOrganization := c.MaxConcurrent(); total != 3 || ofOrganization != 3 {
		t.Errorf("%d replies and %d of one organization were concurrent, want 3 and 3", total, ofOrganization)
	}
}

// An organization with many queued runs does not delay a single question of another one.
func TestQueueIsFairToOrganizations(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]chattest.Config{
		"slots left":    {MaxReplies: 4, MaxRepliesPerOrganization: 3},
		"no slots left": {MaxReplies: 3, MaxRepliesPerOrganization: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := chattest.NewCluster(t)
			d := c.InstanceWith(limits)
			busy, calm := c.SlowBotUser("Busy", 30*time.Millisecond), c.SlowBotUser("Calm", time.Millisecond)
			c.AskMany(d, busy, 40)
			for i := range 3 {
				sent := c.AskMany(d, calm, 1)[0]
				chattest.AwaitOutcome(t, sent.Reply)
				before := c.Count(`SELECT count(*) FROM runs r JOIN runs single ON single.id = $1
					WHERE r.organization_id = $2 AND r.started_at > single.created_at AND r.started_at < single.started_at`, *sent.RunID, busy.OrganizationID)
				queued := c.Count("SELECT count(*) FROM runs WHERE state = 'queued'")
				if before > 3 || queued == 0 {
					t.Errorf("question %d started after %d others with %d queued, want at most 3 others and a queue", i, before, queued)
				}
			}
			c.AwaitCompleted(43)
		})
	}
}

// A stateless completion cannot be queued. It gets a slot even if another organization is at its own limit.
func TestFullOrganizationDoesNotRefuseOthers(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.InstanceWith(chattest.Config{MaxReplies: 100, MaxRepliesPerOrganization: 2})
	c.AskMany(d, c.SlowBotUser("Busy", time.Minute), 4)
	calm := c.SlowBotUser("Calm", time.Millisecond)
	owner, err := bottest.New(c.OpenStore(), nil).Default(t.Context(), calm.OrganizationID)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		r, err := d.Runs.CompleteStateless(t.Context(), uuid.Nil, bot.Question{Bot: owner, Text: "Hi"})
		if err != nil {
			t.Fatal(err)
		}
		chattest.AwaitOutcome(t, r)
	}
}

// However many organizations take all the slots that they can, another one still gets a slot at once.
func TestSomeSlotsAreLeftForOtherOrganizations(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.InstanceWith(chattest.Config{MaxReplies: 16, MaxRepliesPerOrganization: 8})
	for i := range 4 {
		c.AskMany(d, c.SlowBotUser(fmt.Sprint("Silent ", i), time.Minute), 20)
	}
	sent := c.AskMany(d, c.SlowBotUser("Calm", time.Millisecond), 1)[0]
	if queued := c.Count("SELECT count(*) FROM runs WHERE id = $1 AND state = 'queued'", *sent.RunID); queued != 0 {
		t.Error("the question of the last organization was queued")
	}
	chattest.AwaitOutcome(t, sent.Reply)
	if total, ofOrganization := c.MaxConcurrent(); total > 16 || ofOrganization > 8 {
		t.Errorf("%d replies and %d of one organization were concurrent", total, ofOrganization)
	}
	if running := c.Count("SELECT count(*) FROM runs WHERE state = 'running'"); running != 8+4+2+1 {
		t.Errorf("%d silent replies are running, want 8, 4, 2 and 1", running)
	}
}

func TestConversationsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.InstanceWith(slotLimits)
	caller := c.SlowBotUser("Talkative", 2*time.Millisecond)
	var all sync.WaitGroup
	for _, sent := range c.AskMany(d, caller, 10) {
		all.Go(func() {
			for i := range 8 {
				if _, err := d.Send(t.Context(), caller, sent.ConversationID.String(), chat.NewMessage{Content: fmt.Sprint("question ", i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	c.AwaitCompleted(90)
	overlapping := c.Count(`SELECT count(*) FROM runs a JOIN runs b ON a.session_id = b.session_id AND a.question_seq < b.question_seq WHERE b.started_at < a.finished_at`)
	outOfOrder := c.Count(`SELECT count(*) FROM message_history a JOIN message_history b ON a.session_id = b.session_id AND a.sender = 'bot' AND b.sender = 'bot' AND a.seq < b.seq
		JOIN runs x ON x.id = a.run_id JOIN runs y ON y.id = b.run_id WHERE x.question_seq > y.question_seq`)
	if overlapping+outOfOrder > 0 {
		t.Errorf("%d runs overlap with an earlier one, %d replies are out of order, want 0 and 0", overlapping, outOfOrder)
	}
	if total, ofOrganization := c.MaxConcurrent(); total > 3 || ofOrganization > 3 {
		t.Errorf("%d replies were concurrent, want at most 3", total)
	}
}

func TestInstancesShareTheQueue(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	first, second := c.InstanceWith(slotLimits), c.InstanceWith(slotLimits)
	busy, other := c.SlowBotUser("Busy", 100*time.Millisecond), c.SlowBotUser("Other", 10*time.Millisecond)
	c.AskMany(first, busy, 100) // all on one instance
	c.AskMany(second, other, 10)
	c.AwaitCompleted(110)
	if total, ofOrganization := c.MaxConcurrent(); total > 8 || ofOrganization > 6 || ofOrganization <= 3 {
		t.Errorf("%d replies and %d of one organization were concurrent, want at most 8 and 4 to 6", total, ofOrganization)
	}
	if n := c.Count("SELECT count(*) FROM message_history WHERE sender = 'bot'"); n != 110 {
		t.Errorf("%d replies are stored, want 110", n)
	}
	awaitNoLiveReplies(t, first)
	awaitNoLiveReplies(t, second)
}
