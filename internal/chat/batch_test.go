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
)

func TestABadOperationDoesNotSpoilTheOthersOfItsBatch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex, colleague := f.User(t, "Alex"), f.User(t, "Colleague")
	other := f.OtherOrganization(t)
	own, colleagues := f.NewConversation(t, alex), f.NewConversation(t, colleague)
	foreign := other.NewConversation(t, other.User(t, "Alex"))

	outcomes, err := f.refusals(t, alex, []chat.Operation{
		{Action: "archive", ConversationID: "no id"},
		{Action: "archive", ConversationID: chattest.NewID().String()},
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
		t.Errorf("the good one is %v", outcomes[6])
	}
	if status := f.get(t, alex, own).Session.Status; status != "archived" {
		t.Errorf("the good one made it %s", status)
	}
	if status := f.get(t, colleague, colleagues).Session.Status; status != "active" {
		t.Errorf("a forbidden one made it %s", status)
	}
}

func TestABatchIsCarriedOutInOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	cases := map[string]struct {
		actions []string
		refused []bool
		status  string // empty: it is gone
	}{
		"archived twice":                {[]string{"archive", "archive"}, []bool{false, false}, "archived"},
		"archived and taken back":       {[]string{"archive", "unarchive"}, []bool{false, false}, "active"},
		"taken back and archived":       {[]string{"unarchive", "archive"}, []bool{false, false}, "archived"},
		"taken back that was not gone":  {[]string{"unarchive"}, []bool{false}, "active"},
		"read and archived":             {[]string{"mark_read", "archive"}, []bool{false, false}, "archived"},
		"deleted twice":                 {[]string{"delete", "delete"}, []bool{false, true}, ""},
		"deleted before anything else":  {[]string{"delete", "archive", "mark_read"}, []bool{false, true, true}, ""},
		"archived before it is deleted": {[]string{"archive", "delete"}, []bool{false, false}, ""},
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
					t.Errorf("operation %d is %v", i, outcome)
				}
			}
			found, err := f.Get(t.Context(), alex, conversation)
			if c.status == "" {
				chattest.WantKind(t, err, apperr.NotFound)
			} else if err != nil || found.Session.Status != c.status {
				t.Errorf("it is %s: %v", found.Session.Status, err)
			}
		})
	}
}

func TestArchivingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	conversation := f.NewConversation(t, alex)
	f.batch(t, alex, "archive", conversation)
	first := f.get(t, alex, conversation)
	f.batch(t, alex, "archive", conversation)
	if second := f.get(t, alex, conversation); second.Session != first.Session {
		t.Errorf("it was %v and is %v", first.Session, second.Session)
	}
}

func TestWhoMarksAsReadClearsTheirOwnCount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex, agent := f.User(t, "Alex"), f.User(t, "Agent", auth.Agent)
	both := f.User(t, "Both", auth.Agent)
	cases := map[string]struct {
		owner, reader auth.Principal
		user, staff   int32
		isReadByStaff bool
	}{
		"the owner":                    {alex, alex, 0, 2, false},
		"the staff":                    {alex, agent, 3, 0, true},
		"an owner who is of the staff": {both, both, 0, 0, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// given two messages of the user's and three of the staff's
			conversation := f.NewConversation(t, c.owner)
			for range 2 {
				f.Say(t, c.owner, conversation, "Hello?")
			}
			for range 3 {
				f.Say(t, agent, conversation, "Yes?")
			}
			if s := f.get(t, c.owner, conversation).Session; s.UserUnread != 3 || s.StaffUnread != 2 {
				t.Fatalf("the user has %d to read and the staff %d", s.UserUnread, s.StaffUnread)
			}
			// when one of them reads
			f.batch(t, c.reader, "mark_read", conversation)
			// then the other one has not
			s := f.get(t, c.owner, conversation).Session
			if s.UserUnread != c.user || s.StaffUnread != c.staff {
				t.Errorf("the user has %d to read and the staff %d", s.UserUnread, s.StaffUnread)
			}
			if (s.LastReadAt != nil) != c.isReadByStaff {
				t.Errorf("the staff last read at %v", s.LastReadAt)
			}
			// and counting goes on
			f.Say(t, c.owner, conversation, "Still there?")
			if s := f.get(t, c.owner, conversation).Session; s.StaffUnread != c.staff+1 {
				t.Errorf("after another message the staff has %d to read", s.StaffUnread)
			}
		})
	}
}

func TestTheBotsReplyCountsAsUnread(t *testing.T) {
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
		t.Errorf("the user has %d to read and the staff %d", s.UserUnread, s.StaffUnread)
	}
}

func TestADeletedConversationLeavesNothing(t *testing.T) {
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
			t.Fatalf("there is nothing in %s to delete", table)
		}
	}
	f.batch(t, alex, "delete", conversation)
	for _, table := range tables {
		if left := f.CountRows(t, table, conversation); left != 0 {
			t.Errorf("%s holds %d of it", table, left)
		}
	}
}

// Each locks what the other one has to lock, in another order.
func TestBatchesThatMeetAreAllCarriedOut(t *testing.T) {
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
				t.Errorf("a batch ends with %v and %v", outcomes, err)
			}
		})
	}
	batches.Wait()
}

// refusals carries out a batch, and tells of each operation why it could not be.
func (f fixture) refusals(t *testing.T, who auth.Principal, operations []chat.Operation) ([]error, error) {
	t.Helper()
	outcomes, err := f.Batch(t.Context(), who, "", operations, nil)
	errs := make([]error, len(outcomes.Refused))
	for i, refused := range outcomes.Refused {
		if refused != nil {
			errs[i] = refused
		}
	}
	return errs, err
}

func (f fixture) batch(t *testing.T, who auth.Principal, action, conversation string) {
	t.Helper()
	outcomes, err := f.refusals(t, who, []chat.Operation{{Action: action, ConversationID: conversation}})
	if err != nil || outcomes[0] != nil {
		t.Fatalf("%s is %v, %v", action, outcomes, err)
	}
}
