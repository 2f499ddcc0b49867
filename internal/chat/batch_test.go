package chat_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/store"
)

func TestRefusedOperationsDoNotAffectOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex, colleague := f.User(t, "Alex"), f.User(t, "Colleague")
	other := f.OtherOrganization(t)
	own, colleagues := f.NewConversation(t, alex), f.NewConversation(t, colleague)
	foreign := other.NewConversation(t, other.User(t, "Alex"))

	outcomes, err := f.refusals(t, alex, []chat.Operation{
		{Action: "archive", ConversationID: "no id"},
		{Action: "archive", ConversationID: store.NewID().String()},
		{Action: "archive", ConversationID: foreign},
		{Action: "archive", ConversationID: uuid.Nil.String()},
		{Action: "archive", ConversationID: colleagues},
		{Action: "delete", ConversationID: colleagues},
		{Action: "archive", ConversationID: own},
	})
	if err != nil {
		t.Fatal(err)
	}
	chattest.WantSameError(t, apperr.NotFound, outcomes[:4]...)
	chattest.WantSameError(t, apperr.Forbidden, outcomes[4:6]...)
	if outcomes[6] != nil {
		t.Errorf("the valid operation was refused: %v", outcomes[6])
	}
	if status := f.get(t, alex, own).Session.Status; status != "archived" {
		t.Errorf("the status is %s, want archived", status)
	}
	if status := f.get(t, colleague, colleagues).Session.Status; status != "active" {
		t.Errorf("a forbidden operation set the status %s", status)
	}
}

func TestBatchIsAppliedInOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	cases := map[string]struct {
		actions []string
		refused []bool
		status  string // empty: the conversation is deleted
	}{
		"archived twice":               {[]string{"archive", "archive"}, []bool{false, false}, "archived"},
		"archived and unarchived":      {[]string{"archive", "unarchive"}, []bool{false, false}, "active"},
		"unarchived and archived":      {[]string{"unarchive", "archive"}, []bool{false, false}, "archived"},
		"unarchived while active":      {[]string{"unarchive"}, []bool{false}, "active"},
		"marked read and archived":     {[]string{"mark_read", "archive"}, []bool{false, false}, "archived"},
		"deleted twice":                {[]string{"delete", "delete"}, []bool{false, true}, ""},
		"deleted before other actions": {[]string{"delete", "archive", "mark_read"}, []bool{false, true, true}, ""},
		"archived before deletion":     {[]string{"archive", "delete"}, []bool{false, false}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conversation := f.NewConversation(t, alex)
			operations := make([]chat.Operation, len(c.actions))
			for i, action := range c.actions {
				operations[i] = chat.Operation{Action: action, ConversationID: conversation}
			}
			outcomes, err := f.refusals(t, alex, operations)
			if err != nil {
				t.Fatal(err)
			}
			for i, outcome := range outcomes {
				if c.refused[i] {
					chattest.WantKind(t, outcome, apperr.NotFound)
				} else if outcome != nil {
					t.Errorf("operation %d was refused: %v", i, outcome)
				}
			}
			found, err := f.Get(t.Context(), alex, conversation)
			if c.status == "" {
				chattest.WantKind(t, err, apperr.NotFound)
			} else if err != nil || found.Session.Status != c.status {
				t.Errorf("got status %s, %v, want %s", found.Session.Status, err, c.status)
			}
		})
	}
}

func TestArchiveIsIdempotent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	conversation := f.NewConversation(t, alex)
	f.batch(t, alex, "archive", conversation)
	first := f.get(t, alex, conversation)
	f.batch(t, alex, "archive", conversation)
	if second := f.get(t, alex, conversation); second.Session != first.Session {
		t.Errorf("the session changed from %v to %v", first.Session, second.Session)
	}
}

func TestMarkReadClearsTheReadersCounter(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex, agent := f.User(t, "Alex"), f.User(t, "Agent", auth.Agent)
	both := f.User(t, "Both", auth.Agent)
	cases := map[string]struct {
		owner, reader auth.Principal
		user, staff   int32
		isReadByStaff bool
	}{
		"the owner":             {alex, alex, 0, 2, false},
		"the staff":             {alex, agent, 3, 0, true},
		"an owner who is staff": {both, both, 0, 0, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// given two messages of the user and three of the staff
			conversation := f.NewConversation(t, c.owner)
			for range 2 {
				f.Say(t, c.owner, conversation, "Hello?")
			}
			for range 3 {
				f.Say(t, agent, conversation, "Yes?")
			}
			if s := f.get(t, c.owner, conversation).Session; s.UserUnread != 3 || s.StaffUnread != 2 {
				t.Fatalf("got %d unread by the user and %d by the staff, want 3 and 2", s.UserUnread, s.StaffUnread)
			}
			// when one of them marks them as read
			f.batch(t, c.reader, "mark_read", conversation)
			// then only the reader's counter is zero
			s := f.get(t, c.owner, conversation).Session
			if s.UserUnread != c.user || s.StaffUnread != c.staff {
				t.Errorf("got %d unread by the user and %d by the staff, want %d and %d", s.UserUnread, s.StaffUnread, c.user, c.staff)
			}
			if (s.LastReadAt != nil) != c.isReadByStaff {
				t.Errorf("got last_read_at %v, want it set: %t", s.LastReadAt, c.isReadByStaff)
			}
			// and later messages are counted
			f.Say(t, c.owner, conversation, "Still there?")
			if s := f.get(t, c.owner, conversation).Session; s.StaffUnread != c.staff+1 {
				t.Errorf("got %d unread by the staff after another message, want %d", s.StaffUnread, c.staff+1)
			}
		})
	}
}

func TestReplyCountsAsUnread(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	sent, err := f.Begin(t.Context(), alex, nil, &chat.NewMessage{Content: "Hello?"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	chattest.AwaitOutcome(t, sent.Reply)
	conversation := sent.ConversationID.String()
	if s := f.get(t, alex, conversation).Session; s.UserUnread != 1 || s.StaffUnread != 1 {
		t.Errorf("got %d unread by the user and %d by the staff, want 1 and 1", s.UserUnread, s.StaffUnread)
	}
}

func TestDeleteLeavesNoRows(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	sent, err := f.Begin(t.Context(), alex, nil, &chat.NewMessage{Content: "Hello?"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	chattest.AwaitOutcome(t, sent.Reply)
	conversation := sent.ConversationID.String()
	tables := []string{"message_history", "runs", "records"}
	for _, table := range tables {
		if f.CountRows(t, table, conversation) == 0 {
			t.Fatalf("table %s has no rows to delete", table)
		}
	}
	f.batch(t, alex, "delete", conversation)
	for _, table := range tables {
		if left := f.CountRows(t, table, conversation); left != 0 {
			t.Errorf("table %s has %d rows left, want 0", table, left)
		}
	}
}

// Two batches lock the same conversations in opposite orders.
func TestOverlappingBatchesDoNotDeadlock(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	var operations []chat.Operation
	for range 20 {
		operations = append(operations, chat.Operation{Action: "mark_read", ConversationID: f.NewConversation(t, alex)})
	}
	var batches sync.WaitGroup
	for range 8 {
		shuffled := slices.Clone(operations)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		batches.Go(func() {
			outcomes, err := f.refusals(t, alex, shuffled)
			if err != nil || slices.ContainsFunc(outcomes, func(err error) bool { return err != nil }) {
				t.Errorf("a batch returned %v, %v, want no errors", outcomes, err)
			}
		})
	}
	batches.Wait()
}

// refusals applies a batch and returns the error of each operation.
func (f fixture) refusals(t *testing.T, caller auth.Principal, operations []chat.Operation) ([]error, error) {
	t.Helper()
	outcomes, err := f.Batch(t.Context(), caller, "", operations, nil)
	errs := make([]error, len(outcomes.Refused))
	for i, refused := range outcomes.Refused {
		if refused != nil {
			errs[i] = refused
		}
	}
	return errs, err
}

func (f fixture) batch(t *testing.T, caller auth.Principal, action, conversation string) {
	t.Helper()
	outcomes, err := f.refusals(t, caller, []chat.Operation{{Action: action, ConversationID: conversation}})
	if err != nil || outcomes[0] != nil {
		t.Fatalf("%s returned %v, %v", action, outcomes, err)
	}
}
