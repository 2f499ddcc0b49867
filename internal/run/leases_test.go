package run_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/chattest"
	"parley/internal/store"
)

// insertRun stores a question like an instance that dies immediately afterwards, and returns its run. The run is
// queued, or running with a lease.
func insertRun(t *testing.T, c *chattest.Cluster, conversation uuid.UUID, isRunning bool, leaseSeconds int32) (run uuid.UUID) {
	t.Helper()
	run = store.NewID()
	sent, err := c.OpenStore().SendMessage(t.Context(), db.SendMessageParams{
		OrganizationID: c.Caller.OrganizationID, SessionID: conversation, UserID: c.Caller.UserID, Sender: "user", Reply: "always",
		QueueLimit: 1, CanStart: isRunning, LeaseSeconds: leaseSeconds, MessageID: store.NewID(), RunID: run, ReplyID: store.NewID(), Content: chattest.Question,
	})
	if err != nil || !sent.IsSent || (sent.RunState == "running") != isRunning {
		t.Fatalf("SendMessage returned %+v, %v", sent, err)
	}
	return run
}

// newConversations creates conversations on an instance that is closed afterwards.
func newConversations(t *testing.T, c *chattest.Cluster, n int) []uuid.UUID {
	t.Helper()
	d := c.Instance()
	defer d.Close(t.Context())
	ids := make([]uuid.UUID, n)
	for i := range ids {
		begun, err := d.Begin(t.Context(), c.Caller, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = begun.ConversationID
	}
	return ids
}

// Locked conversations with queued runs, even more than there are slots, and a locked abandoned run do not delay
// other runs. They start when they are unlocked.
func TestLockedRowsDoNotBlockTheQueue(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	const locked = 5
	conversations := newConversations(t, c, locked+3)
	for _, conversation := range conversations[:locked] {
		insertRun(t, c, conversation, false, 0)
	}
	lockedRun := insertRun(t, c, conversations[locked], true, 0)
	free := []uuid.UUID{insertRun(t, c, conversations[locked+1], true, 0), insertRun(t, c, conversations[locked+2], false, 0)}
	unlockSessions := c.Lock("SELECT FROM sessions WHERE id = ANY ($1) FOR UPDATE", conversations[:locked])
	unlockRun := c.Lock("SELECT FROM runs WHERE id = $1 FOR UPDATE", lockedRun)

	c.InstanceWith(chattest.Config{MaxReplies: 2})
	chattest.Eventually(t, "the unlocked runs are completed", func() bool {
		return c.Count("SELECT count(*) FROM runs WHERE state = 'completed' AND id = ANY ($1)", free) == len(free)
	})
	if done := c.Count("SELECT count(*) FROM runs WHERE state = 'completed'"); done != len(free) {
		t.Errorf("%d locked runs are completed, want 0", done-len(free))
	}
	unlockSessions()
	unlockRun()
	c.AwaitCompleted(locked + 3)
}

func TestRenewLeasesSkipsLockedRuns(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	var runs, organizations []uuid.UUID
	var attempts []int32
	for _, conversation := range newConversations(t, c, 3) {
		runs = append(runs, insertRun(t, c, conversation, true, 60))
		organizations, attempts = append(organizations, c.Caller.OrganizationID), append(attempts, 1)
	}
	attempts[2] = 2 // another instance's attempt
	c.Lock("SELECT FROM runs WHERE id = $1 FOR UPDATE", runs[0])
	err := c.OpenStore().RenewLeases(t.Context(), db.RenewLeasesParams{OrganizationIds: organizations, Ids: runs, Attempts: attempts, LeaseSeconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	const renewed = "SELECT count(*) FROM runs WHERE lease_until > clock_timestamp() + interval '2 minutes'"
	if all, unlocked := c.Count(renewed), c.Count(renewed+" AND id = $1", runs[1]); all != 1 || unlocked != 1 {
		t.Errorf("%d leases are renewed, %d of them the unlocked run's, want 1 and 1", all, unlocked)
	}
}

// Abandoned runs are reclaimed before queued runs start, however long the queue is.
func TestAbandonedRunsComeBeforeTheQueue(t *testing.T) {
	t.Parallel()
	c := chattest.NewCluster(t)
	d := c.InstanceWith(chattest.Config{MaxReplies: 2})
	c.AskMany(d, c.SlowBotUser("Busy", 150*time.Millisecond), 90)
	chattest.Eventually(t, "some runs are completed", func() bool { return c.Count("SELECT count(*) FROM runs WHERE state = 'completed'") > 2 })
	if _, err := c.SQL.Exec(t.Context(), `UPDATE runs SET state = 'running', lease_until = 'epoch', started_at = clock_timestamp()
		WHERE id = (SELECT id FROM runs WHERE state = 'queued' ORDER BY created_at DESC LIMIT 1)`); err != nil {
		t.Fatal(err)
	}
	chattest.Eventually(t, "the run is reclaimed", func() bool { return c.Count("SELECT count(*) FROM runs WHERE attempt = 2") == 1 })
	if queued := c.Count("SELECT count(*) FROM runs WHERE state = 'queued'"); queued < 30 {
		t.Errorf("%d runs were queued when the abandoned run was reclaimed, want at least 30", queued)
	}
}
