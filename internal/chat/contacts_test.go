package chat_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/chat"
)

func TestAContactIsInTheDefaultBotsInboxUnlessOthersAreNamed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	inbox, err := h.store.GetAPIInbox(t.Context(), h.organization, h.bot.ID)
	if err != nil {
		t.Fatal(err)
	}
	first, second := h.webChat(t, "First").InboxID, h.webChat(t, "Second").InboxID

	if alex := h.contact(t, chat.ContactFields{}); !slices.Equal(alex.InboxIDs, []uuid.UUID{inbox.ID}) {
		t.Errorf("it is in %v", alex.InboxIDs)
	}
	named := []string{second.String(), first.String(), strings.ToUpper(first.String())}
	if alex := h.contact(t, chat.ContactFields{InboxIDs: named}); !slices.Equal(alex.InboxIDs, []uuid.UUID{first, second}) {
		t.Errorf("it is in %v", alex.InboxIDs)
	}
}

func TestAContactIsReturnedAsItWasMade(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	wanted := chat.ContactFields{
		Avatar:        new("https://files.example.com/alex.png"),
		Email:         new("alex@example.com"),
		PhoneNumber:   new("+886 2 1234 5678"),
		SourceID:      new("line-4711"),
		QueryMetadata: json.RawMessage(`{"Tier": 1e2, "knowledge_bases": [{"has_user_selected_all": "True"}]}`),
	}
	made := h.contact(t, wanted)
	found, err := h.GetContact(t.Context(), h.organization, made.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, contact := range []chat.Contact{made, found} {
		if contact.Name != "Alex" || contact.Avatar != *wanted.Avatar || contact.Email != *wanted.Email ||
			contact.PhoneNumber != *wanted.PhoneNumber || *contact.SourceID != *wanted.SourceID ||
			string(contact.QueryMetadata) != string(wanted.QueryMetadata) {
			t.Errorf("it is %v", contact)
		}
	}
}

func TestOnlyOneContactOfAnInboxHasASourceID(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	inbox := h.webChat(t, "Website").InboxID.String()
	var made, taken atomic.Int32
	var creators sync.WaitGroup
	for range 8 {
		creators.Go(func() {
			_, err := h.CreateContact(t.Context(), h.organization, chat.ContactFields{
				Name: new("Alex"), SourceID: new("line-4711"), InboxIDs: []string{inbox},
			}, nil)
			switch {
			case err == nil:
				made.Add(1)
			case apperr.Is(err, apperr.Conflict):
				taken.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	creators.Wait()
	if made.Load() != 1 || taken.Load() != 7 {
		t.Errorf("%d were made and %d refused", made.Load(), taken.Load())
	}
	if _, count := h.contacts(t, nil); count != 1 {
		t.Errorf("there are %d", count)
	}
	h.contact(t, chat.ContactFields{SourceID: new("line-4711")}) // in another inbox
}

func TestAChangeLeavesTheFieldsThatItDoesNotName(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	before := h.contact(t, chat.ContactFields{Email: new("alex@example.com"), SourceID: new("a"), QueryMetadata: json.RawMessage(`{"tier":"gold"}`)})
	after, err := h.UpdateContact(t.Context(), h.organization, before.ID.String(), chat.ContactFields{PhoneNumber: new("1"), Email: new("")})
	if err != nil {
		t.Fatal(err)
	}
	if after.PhoneNumber != "1" || after.Email != "" {
		t.Errorf("the change is not made: %v", after)
	}
	if after.Name != before.Name || *after.SourceID != "a" || string(after.QueryMetadata) != `{"tier":"gold"}` || !slices.Equal(after.InboxIDs, before.InboxIDs) {
		t.Errorf("more than the change is made: %v", after)
	}
}

func TestNamedInboxesTakeThePlaceOfTheOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, second, third := h.webChat(t, "First").InboxID, h.webChat(t, "Second").InboxID, h.webChat(t, "Third").InboxID
	alex := h.contact(t, chat.ContactFields{SourceID: new("a"), InboxIDs: []string{first.String(), second.String()}})
	moved, err := h.UpdateContact(t.Context(), h.organization, alex.ID.String(), chat.ContactFields{InboxIDs: []string{second.String(), third.String()}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(moved.InboxIDs, []uuid.UUID{second, third}) {
		t.Errorf("it is in %v", moved.InboxIDs)
	}
	// The source id has gone with it.
	h.contact(t, chat.ContactFields{SourceID: new("a"), InboxIDs: []string{first.String()}})
	_, err = h.CreateContact(t.Context(), h.organization, chat.ContactFields{Name: new("Kim"), SourceID: new("a"), InboxIDs: []string{third.String()}}, nil)
	refused(t, err, apperr.Conflict)
}

func TestASourceIDChangesInEveryInboxOrInNone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, second := h.webChat(t, "First").InboxID.String(), h.webChat(t, "Second").InboxID.String()
	alex := h.contact(t, chat.ContactFields{SourceID: new("a"), InboxIDs: []string{first, second}})
	h.contact(t, chat.ContactFields{SourceID: new("b"), InboxIDs: []string{second}})

	_, err := h.UpdateContact(t.Context(), h.organization, alex.ID.String(), chat.ContactFields{Name: new("Kim"), SourceID: new("b")})
	refused(t, err, apperr.Conflict)
	if found, _ := h.GetContact(t.Context(), h.organization, alex.ID.String()); *found.SourceID != "a" || found.Name != "Alex" {
		t.Errorf("the refused change made it %v", found)
	}
	h.contact(t, chat.ContactFields{SourceID: new("b"), InboxIDs: []string{first}})

	// Out of the inbox where it is taken, it may have it.
	third := h.webChat(t, "Third").InboxID.String()
	if _, err := h.UpdateContact(t.Context(), h.organization, alex.ID.String(), chat.ContactFields{SourceID: new("b"), InboxIDs: []string{third}}); err != nil {
		t.Error(err)
	}
	h.contact(t, chat.ContactFields{SourceID: new("a"), InboxIDs: []string{first, second}})
}

func TestAContactOutlivesItsInboxes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	made, err := h.bots.Create(t.Context(), h.organization, bot.NewBot{Name: "Other"})
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := h.store.GetAPIInbox(t.Context(), h.organization, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	alex := h.contact(t, chat.ContactFields{InboxIDs: []string{inbox.ID.String()}})
	if err := h.bots.Delete(t.Context(), h.organization, made.ID.String()); err != nil {
		t.Fatal(err)
	}
	found, err := h.GetContact(t.Context(), h.organization, alex.ID.String())
	if err != nil || found.InboxIDs == nil || len(found.InboxIDs) > 0 {
		t.Errorf("it is in %#v: %v", found.InboxIDs, err)
	}
}

func TestAnInboxThatThereIsNotIsNotFound(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	known, foreign := h.webChat(t, "Website").InboxID.String(), h.neighbour(t).webChat(t, "Website").InboxID.String()
	alex := h.contact(t, chat.ContactFields{})
	var errs []error
	for _, inbox := range []string{id().String(), foreign, "no id", ""} {
		named := []string{known, inbox}
		_, created := h.CreateContact(t.Context(), h.organization, chat.ContactFields{Name: new("Kim"), InboxIDs: named}, nil)
		_, updated := h.UpdateContact(t.Context(), h.organization, alex.ID.String(), chat.ContactFields{Name: new("Kim"), InboxIDs: named})
		errs = append(errs, created, updated)
	}
	refusedAlike(t, apperr.NotFound, errs...)
	if rows, count := h.contacts(t, nil); count != 1 || rows[0].Name != "Alex" || !slices.Equal(rows[0].InboxIDs, alex.InboxIDs) {
		t.Errorf("what was refused left %v", rows)
	}
}

func TestAnotherOrganizationsContactLooksLikeNone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	neighbour := h.neighbour(t)
	foreign := neighbour.contact(t, chat.ContactFields{}).ID.String()
	var errs []error
	for _, contact := range []string{foreign, id().String(), "no id"} {
		_, got := h.GetContact(t.Context(), h.organization, contact)
		_, updated := h.UpdateContact(t.Context(), h.organization, contact, chat.ContactFields{Name: new("Kim")})
		errs = append(errs, got, updated, h.DeleteContact(t.Context(), h.organization, contact))
	}
	refusedAlike(t, apperr.NotFound, errs...)
	if rows, count := neighbour.contacts(t, nil); count != 1 || rows[0].Name != "Alex" {
		t.Errorf("the neighbour has %v", rows)
	}
}

func TestQueryMetadataOfAContactIsChecked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	alex := h.contact(t, chat.ContactFields{}).ID.String()
	wrong := json.RawMessage(`{"knowledge_bases": [{}, {"has_user_selected_all": "yes"}]}`)
	_, created := h.CreateContact(t.Context(), h.organization, chat.ContactFields{Name: new("Kim"), QueryMetadata: wrong}, nil)
	_, updated := h.UpdateContact(t.Context(), h.organization, alex, chat.ContactFields{QueryMetadata: wrong})
	refusedAlike(t, apperr.InvalidRequest, created, updated)
	told, _ := errors.AsType[*apperr.Error](created)
	if told == nil || len(told.Violations) != 1 || told.Violations[0].Pointer != "/queryMetadata/knowledge_bases/1/has_user_selected_all" {
		t.Errorf("it does not tell where: %v", created)
	}
}

func TestContactsAreFoundByNameAndSourceID(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, name := range []string{"Alex 100%", "ALEXANDRA", "王小明", `Kim\Lee`} {
		h.contact(t, chat.ContactFields{Name: &name})
	}
	h.contact(t, chat.ContactFields{Name: new("Sam"), SourceID: new("line_alex")})
	cases := map[string][]string{
		"alex": {"Sam", "ALEXANDRA", "Alex 100%"}, // newest first
		"0%":   {"Alex 100%"},
		"%":    {"Alex 100%"},
		"_":    {"Sam"},
		`\`:    {`Kim\Lee`},
		"小明":   {"王小明"},
		"x a":  {},
	}
	for search, want := range cases {
		rows, count := h.contacts(t, &search)
		names := []string{}
		for _, row := range rows {
			names = append(names, row.Name)
		}
		if !slices.Equal(names, want) || count != int64(len(want)) {
			t.Errorf("%q finds %d: %v", search, count, names)
		}
	}
}

func TestContactsAreListedByPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, name := range []string{"One", "Two", "Three"} {
		h.contact(t, chat.ContactFields{Name: &name})
	}
	rows, count, err := h.ListContacts(t.Context(), h.organization, nil, 2, 1)
	if err != nil || count != 3 || len(rows) != 2 || rows[0].Name != "Two" || rows[1].Name != "One" {
		t.Errorf("the page is %v of %d: %v", rows, count, err)
	}
}

func TestADeletedContactTakesItsConversationsAlong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	user := h.user(t, "Portal")
	webChat := h.webChat(t, "Website").ID.String()
	alex, kim := h.contact(t, chat.ContactFields{}), h.contact(t, chat.ContactFields{Name: new("Kim")})
	var conversations []string
	for _, contact := range []chat.Contact{alex, kim} {
		made, err := h.Create(t.Context(), user, webChat, new(contact.ID.String()), nil)
		if err != nil {
			t.Fatal(err)
		}
		conversations = append(conversations, made.Session.ID.String())
		sent, err := h.Send(t.Context(), user, made.Session.ID.String(), chat.NewMessage{Content: "Hello?"})
		if err != nil {
			t.Fatal(err)
		}
		answered(t, sent)
	}
	if err := h.DeleteContact(t.Context(), h.organization, alex.ID.String()); err != nil {
		t.Fatal(err)
	}
	_, err := h.Get(t.Context(), user, conversations[0])
	refused(t, err, apperr.NotFound)
	for _, table := range []string{"message_history", "runs", "records"} {
		if left := h.rows(t, table, conversations[0]); left != 0 {
			t.Errorf("%s holds %d of it", table, left)
		}
	}
	if _, err := h.Get(t.Context(), user, conversations[1]); err != nil {
		t.Errorf("another contact's conversation is %v", err)
	}
	refused(t, h.DeleteContact(t.Context(), h.organization, alex.ID.String()), apperr.NotFound)
}

// contact makes one, named Alex where nothing else is said.
func (h *house) contact(t *testing.T, wanted chat.ContactFields) chat.Contact {
	t.Helper()
	if wanted.Name == nil {
		wanted.Name = new("Alex")
	}
	made, err := h.CreateContact(t.Context(), h.organization, wanted, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (h *house) contacts(t *testing.T, search *string) ([]chat.Contact, int64) {
	t.Helper()
	rows, count, err := h.ListContacts(t.Context(), h.organization, search, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	return rows, count
}
