package inbox_test

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
	"parley/internal/chattest"
	"parley/internal/inbox"
	"parley/internal/store"
)

func TestContactIsInDefaultInboxUnlessNamed(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	apiInbox, err := f.Store.GetAPIInbox(t.Context(), f.Organization, f.Bot.ID)
	if err != nil {
		t.Fatal(err)
	}
	first, second := f.WebChat(t, "First").InboxID, f.WebChat(t, "Second").InboxID

	if alex := contact(t, f, inbox.ContactFields{}); !slices.Equal(alex.InboxIDs, []uuid.UUID{apiInbox.ID}) {
		t.Errorf("the contact is in the inboxes %v", alex.InboxIDs)
	}
	named := []string{second.String(), first.String(), strings.ToUpper(first.String())}
	if alex := contact(t, f, inbox.ContactFields{InboxIDs: named}); !slices.Equal(alex.InboxIDs, []uuid.UUID{first, second}) {
		t.Errorf("the contact is in the inboxes %v", alex.InboxIDs)
	}
}

func TestContactKeepsItsFields(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	wanted := inbox.ContactFields{
		Avatar:        new("https://files.example.com/alex.png"),
		Email:         new("alex@example.com"),
		PhoneNumber:   new("+886 2 1234 5678"),
		SourceID:      new("line-4711"),
		QueryMetadata: json.RawMessage(`{"Tier": 1e2, "knowledge_bases": [{"has_user_selected_all": "True"}]}`),
	}
	created := contact(t, f, wanted)
	found, err := f.Inboxes.GetContact(t.Context(), f.Organization, created.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, contact := range []inbox.Contact{created, found} {
		if contact.Name != "Alex" || contact.Avatar != *wanted.Avatar || contact.Email != *wanted.Email ||
			contact.PhoneNumber != *wanted.PhoneNumber || *contact.SourceID != *wanted.SourceID ||
			string(contact.QueryMetadata) != string(wanted.QueryMetadata) {
			t.Errorf("got contact %v, want the fields %v", contact, wanted)
		}
	}
}

func TestSourceIDIsUniqueInInbox(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	webInbox := f.WebChat(t, "Website").InboxID.String()
	var created, conflicts atomic.Int32
	var creators sync.WaitGroup
	for range 8 {
		creators.Go(func() {
			_, err := f.Inboxes.CreateContact(t.Context(), f.Organization, inbox.ContactFields{
				Name: new("Alex"), SourceID: new("line-4711"), InboxIDs: []string{webInbox},
			}, nil)
			switch {
			case err == nil:
				created.Add(1)
			case apperr.Is(err, apperr.Conflict):
				conflicts.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	creators.Wait()
	if created.Load() != 1 || conflicts.Load() != 7 {
		t.Errorf("%d contacts were created and %d refused, want 1 and 7", created.Load(), conflicts.Load())
	}
	if _, count := contacts(t, f, nil); count != 1 {
		t.Errorf("there are %d contacts, want 1", count)
	}
	contact(t, f, inbox.ContactFields{SourceID: new("line-4711")}) // in another inbox
}

func TestUpdateLeavesOtherFields(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	before := contact(t, f, inbox.ContactFields{Email: new("alex@example.com"), SourceID: new("a"), QueryMetadata: json.RawMessage(`{"tier":"gold"}`)})
	after, err := f.Inboxes.UpdateContact(t.Context(), f.Organization, before.ID.String(), inbox.ContactFields{PhoneNumber: new("1"), Email: new("")})
	if err != nil {
		t.Fatal(err)
	}
	if after.PhoneNumber != "1" || after.Email != "" {
		t.Errorf("the change was not applied: %v", after)
	}
	if after.Name != before.Name || *after.SourceID != "a" || string(after.QueryMetadata) != `{"tier":"gold"}` || !slices.Equal(after.InboxIDs, before.InboxIDs) {
		t.Errorf("other fields changed: %v", after)
	}
}

func TestUpdateReplacesInboxes(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	first, second, third := f.WebChat(t, "First").InboxID, f.WebChat(t, "Second").InboxID, f.WebChat(t, "Third").InboxID
	alex := contact(t, f, inbox.ContactFields{SourceID: new("a"), InboxIDs: []string{first.String(), second.String()}})
	moved, err := f.Inboxes.UpdateContact(t.Context(), f.Organization, alex.ID.String(), inbox.ContactFields{InboxIDs: []string{second.String(), third.String()}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(moved.InboxIDs, []uuid.UUID{second, third}) {
		t.Errorf("the contact is in the inboxes %v, want %v and %v", moved.InboxIDs, second, third)
	}
	// Its source ID has moved with it.
	contact(t, f, inbox.ContactFields{SourceID: new("a"), InboxIDs: []string{first.String()}})
	_, err = f.Inboxes.CreateContact(t.Context(), f.Organization, inbox.ContactFields{Name: new("Kim"), SourceID: new("a"), InboxIDs: []string{third.String()}}, nil)
	chattest.WantKind(t, err, apperr.Conflict)
}

func TestSourceIDChangesInAllInboxesOrNone(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	first, second := f.WebChat(t, "First").InboxID.String(), f.WebChat(t, "Second").InboxID.String()
	alex := contact(t, f, inbox.ContactFields{SourceID: new("a"), InboxIDs: []string{first, second}})
	contact(t, f, inbox.ContactFields{SourceID: new("b"), InboxIDs: []string{second}})

	_, err := f.Inboxes.UpdateContact(t.Context(), f.Organization, alex.ID.String(), inbox.ContactFields{Name: new("Kim"), SourceID: new("b")})
	chattest.WantKind(t, err, apperr.Conflict)
	if found, _ := f.Inboxes.GetContact(t.Context(), f.Organization, alex.ID.String()); *found.SourceID != "a" || found.Name != "Alex" {
		t.Errorf("the refused change was applied: %v", found)
	}
	contact(t, f, inbox.ContactFields{SourceID: new("b"), InboxIDs: []string{first}})

	// In another inbox, a contact may have the same source ID.
	third := f.WebChat(t, "Third").InboxID.String()
	if _, err := f.Inboxes.UpdateContact(t.Context(), f.Organization, alex.ID.String(), inbox.ContactFields{SourceID: new("b"), InboxIDs: []string{third}}); err != nil {
		t.Error(err)
	}
	contact(t, f, inbox.ContactFields{SourceID: new("a"), InboxIDs: []string{first, second}})
}

func TestContactOutlivesItsInboxes(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	created, err := f.Bots.Create(t.Context(), f.Organization, bot.NewBot{Name: "Other"})
	if err != nil {
		t.Fatal(err)
	}
	apiInbox, err := f.Store.GetAPIInbox(t.Context(), f.Organization, created.ID)
	if err != nil {
		t.Fatal(err)
	}
	alex := contact(t, f, inbox.ContactFields{InboxIDs: []string{apiInbox.ID.String()}})
	if err := f.Bots.Delete(t.Context(), f.Organization, created.ID.String()); err != nil {
		t.Fatal(err)
	}
	found, err := f.Inboxes.GetContact(t.Context(), f.Organization, alex.ID.String())
	if err != nil || found.InboxIDs == nil || len(found.InboxIDs) > 0 {
		t.Errorf("got inboxes %#v, %v, want an empty list", found.InboxIDs, err)
	}
}

func TestUnknownInboxIsNotFound(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	known, foreign := f.WebChat(t, "Website").InboxID.String(), f.OtherOrganization(t).WebChat(t, "Website").InboxID.String()
	alex := contact(t, f, inbox.ContactFields{})
	var errs []error
	for _, id := range []string{store.NewID().String(), foreign, "no id", ""} {
		named := []string{known, id}
		_, created := f.Inboxes.CreateContact(t.Context(), f.Organization, inbox.ContactFields{Name: new("Kim"), InboxIDs: named}, nil)
		_, updated := f.Inboxes.UpdateContact(t.Context(), f.Organization, alex.ID.String(), inbox.ContactFields{Name: new("Kim"), InboxIDs: named})
		errs = append(errs, created, updated)
	}
	chattest.WantSameError(t, apperr.NotFound, errs...)
	if rows, count := contacts(t, f, nil); count != 1 || rows[0].Name != "Alex" || !slices.Equal(rows[0].InboxIDs, alex.InboxIDs) {
		t.Errorf("refused requests changed the contacts to %v", rows)
	}
}

func TestForeignContactIsNotFound(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	other := f.OtherOrganization(t)
	foreign := contact(t, other, inbox.ContactFields{}).ID.String()
	var errs []error
	for _, contact := range []string{foreign, store.NewID().String(), "no id"} {
		_, got := f.Inboxes.GetContact(t.Context(), f.Organization, contact)
		_, updated := f.Inboxes.UpdateContact(t.Context(), f.Organization, contact, inbox.ContactFields{Name: new("Kim")})
		errs = append(errs, got, updated, f.Inboxes.DeleteContact(t.Context(), f.Organization, contact))
	}
	chattest.WantSameError(t, apperr.NotFound, errs...)
	if rows, count := contacts(t, other, nil); count != 1 || rows[0].Name != "Alex" {
		t.Errorf("the other organization has the contacts %v", rows)
	}
}

func TestContactQueryMetadataIsChecked(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	alex := contact(t, f, inbox.ContactFields{}).ID.String()
	invalid := json.RawMessage(`{"knowledge_bases": [{}, {"has_user_selected_all": "yes"}]}`)
	_, created := f.Inboxes.CreateContact(t.Context(), f.Organization, inbox.ContactFields{Name: new("Kim"), QueryMetadata: invalid}, nil)
	_, updated := f.Inboxes.UpdateContact(t.Context(), f.Organization, alex, inbox.ContactFields{QueryMetadata: invalid})
	chattest.WantSameError(t, apperr.InvalidRequest, created, updated)
	appErr, _ := errors.AsType[*apperr.Error](created)
	if appErr == nil || len(appErr.Violations) != 1 || appErr.Violations[0].Pointer != "/queryMetadata/knowledge_bases/1/has_user_selected_all" {
		t.Errorf("the error has no pointer to the invalid value: %v", created)
	}
}

func TestListContactsSearchesNameAndSourceID(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	for _, name := range []string{"Alex 100%", "ALEXANDRA", "王小明", `Kim\Lee`} {
		contact(t, f, inbox.ContactFields{Name: &name})
	}
	contact(t, f, inbox.ContactFields{Name: new("Sam"), SourceID: new("line_alex")})
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
		rows, count := contacts(t, f, &search)
		names := []string{}
		for _, row := range rows {
			names = append(names, row.Name)
		}
		if !slices.Equal(names, want) || count != int64(len(want)) {
			t.Errorf("%q found %d contacts: %v, want %v", search, count, names, want)
		}
	}
}

func TestListContactsPages(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	for _, name := range []string{"One", "Two", "Three"} {
		contact(t, f, inbox.ContactFields{Name: &name})
	}
	rows, count, err := f.Inboxes.ListContacts(t.Context(), f.Organization, inbox.ContactFilter{}, 2, 1)
	if err != nil || count != 3 || len(rows) != 2 || rows[0].Name != "Two" || rows[1].Name != "One" {
		t.Errorf("got page %v of %d, %v", rows, count, err)
	}
}

func TestDeleteContactDeletesConversations(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	user := f.User(t, "Portal")
	webChat := f.WebChat(t, "Website").ID.String()
	alex, kim := contact(t, f, inbox.ContactFields{}), contact(t, f, inbox.ContactFields{Name: new("Kim")})
	var conversations []string
	for _, contact := range []inbox.Contact{alex, kim} {
		created, err := f.Create(t.Context(), user, webChat, new(contact.ID.String()), nil)
		if err != nil {
			t.Fatal(err)
		}
		conversations = append(conversations, created.Session.ID.String())
		sent, err := f.Send(t.Context(), user, created.Session.ID.String(), chat.NewMessage{Content: "Hello?"})
		if err != nil {
			t.Fatal(err)
		}
		chattest.AwaitOutcome(t, sent.Reply)
	}
	if err := f.Inboxes.DeleteContact(t.Context(), f.Organization, alex.ID.String()); err != nil {
		t.Fatal(err)
	}
	_, err := f.Get(t.Context(), user, conversations[0])
	chattest.WantKind(t, err, apperr.NotFound)
	for _, table := range []string{"message_history", "runs", "records"} {
		if left := f.CountRows(t, table, conversations[0]); left != 0 {
			t.Errorf("table %s has %d rows left, want 0", table, left)
		}
	}
	if _, err := f.Get(t.Context(), user, conversations[1]); err != nil {
		t.Errorf("another contact's conversation returned %v", err)
	}
	chattest.WantKind(t, f.Inboxes.DeleteContact(t.Context(), f.Organization, alex.ID.String()), apperr.NotFound)
}

// contact creates a contact, by default with the name Alex.
func contact(t *testing.T, f *chattest.Fixture, wanted inbox.ContactFields) inbox.Contact {
	t.Helper()
	if wanted.Name == nil {
		wanted.Name = new("Alex")
	}
	created, err := f.Inboxes.CreateContact(t.Context(), f.Organization, wanted, nil)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func contacts(t *testing.T, f *chattest.Fixture, search *string) ([]inbox.Contact, int64) {
	t.Helper()
	rows, count, err := f.Inboxes.ListContacts(t.Context(), f.Organization, inbox.ContactFilter{Search: search}, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	return rows, count
}
