package chat_test

import (
	"testing"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/chat"
)

// left stores a question as a process does that ends at once: its run is queued, or its lease is over.
func (h *cluster) left(conversation uuid.UUID, isRunning bool, lease int32) (run uuid.UUID) {
	h.t.Helper()
	run = id()
	sent, err := h.open().SendMessage(h.t.Context(), db.SendMessageParams{
		OrganizationID: h.who.OrganizationID, SessionID: conversation, UserID: h.who.UserID, Sender: "user", Reply: "always",
		QueueLimit: 1, CanStart: isRunning, LeaseSeconds: lease, MessageID: id(), RunID: run, ReplyID: id(), Content: question,
	})
	if err != nil || !sent.IsSent || (sent.RunState == "running") != isRunning {
		h.t.Fatalf("%+v, %v", sent, err)
	}
	return run
}

// conversations begins some, and ends the instance that did.
func (h *cluster) conversations(n int) []uuid.UUID {
	h.t.Helper()
	c := h.instance()
	defer c.Close(h.t.Context())
	ids := make([]uuid.UUID, n)
	for i := range ids {
		begun, err := c.Begin(h.t.Context(), h.who, nil, nil, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		ids[i] = begun.ConversationID
	}
	return ids
}

// While somebody else keeps conversations locked in which questions wait, more of them than replies can be written at
// once, and a run that was abandoned, all others are begun and taken up; and those too when they are free.
func TestLockedConversationsHoldUpNoQueue(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	const locked = 5
	conversations := h.conversations(locked + 3)
	for _, one := range conversations[:locked] {
		h.left(one, false, 0)
	}
	lockedRun := h.left(conversations[locked], true, 0)
	free := []uuid.UUID{h.left(conversations[locked+1], true, 0), h.left(conversations[locked+2], false, 0)}
	releaseSessions := h.hold("SELECT FROM sessions WHERE id = ANY ($1) FOR UPDATE", conversations[:locked])
	releaseRun := h.hold("SELECT FROM runs WHERE id = $1 FOR UPDATE", lockedRun)

	h.instanceOf(chat.Config{MaxReplies: 2})
	eventually(t, "the others are answered", func() bool {
		return h.count("SELECT count(*) FROM runs WHERE state = 'completed' AND id = ANY ($1)", free) == len(free)
	})
	if done := h.count("SELECT count(*) FROM runs WHERE state = 'completed'"); done != len(free) {
		t.Errorf("%d are answered while they are locked", done-len(free))
	}
	releaseSessions()
	releaseRun()
	h.allAnswered(locked + 3)
}

// A run that somebody else has locked does not keep the leases of the others from being renewed.
func TestALockedRunKeepsNoOthersLease(t *testing.T) {
	t.Parallel()
	h := newCluster(t)
	var runs, organizations []uuid.UUID
	var attempts []int32
	for _, one := range h.conversations(3) {
		runs = append(runs, h.left(one, true, 60))
		organizations, attempts = append(organizations, h.who.OrganizationID), append(attempts, 1)
	}
	attempts[2] = 2 // which is another one's
	h.hold("SELECT FROM runs WHERE id = $1 FOR UPDATE", runs[0])
	err := h.open().RenewLeases(t.Context(), db.RenewLeasesParams{OrganizationIds: organizations, Ids: runs, Attempts: attempts, LeaseSeconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	const renewed = "SELECT count(*) FROM runs WHERE lease_until > clock_timestamp() + interval '2 minutes'"
	if all, one := h.count(renewed), h.count(renewed+" AND id = $1", runs[1]); all != 1 || one != 1 {
		t.Errorf("%d are renewed, %d of them the one that is free and alive", all, one)
	}
}
