package chat_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/store"
)

func TestPagingNeverRepeatsAConversation(t *testing.T) {
	t.Parallel()
	for name, byCreation := range map[string]bool{"by activity": false, "by creation": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// given conversations
			f := newFixture(t)
			alex := f.User(t, "Alex")
			var all []string
			for range 11 {
				all = append(all, f.NewConversation(t, alex))
			}
			// when some of them, listed or not, become active between the pages
			var listed, active []string
			filter := chat.InboxFilter{ByCreation: byCreation, Limit: 2}
			for page := 0; ; page++ {
				found := f.list(t, alex, filter)
				listed = append(listed, idsOf(found)...)
				if found.NextCursor == "" {
					break
				}
				filter.Cursor = found.NextCursor
				for _, id := range []string{listed[0], all[page], all[10-page]} {
					f.Say(t, alex, id, "Hello?")
					active = append(active, id)
				}
			}
			// then none is listed twice, and only active ones may be missing
			for i, id := range listed {
				if slices.Contains(listed[:i], id) {
					t.Errorf("%s is listed twice", id)
				}
			}
			for _, id := range all {
				if !slices.Contains(listed, id) && (byCreation || !slices.Contains(active, id)) {
					t.Errorf("%s is missing", id)
				}
			}
		})
	}
}

func TestPagingBackReturnsTheSamePages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	var all []string
	for range 7 {
		all = append(all, f.NewConversation(t, alex))
	}
	// The order by activity differs from the order by creation.
	for _, i := range []int{3, 0, 5} {
		f.Say(t, alex, all[i], "Hello?")
	}
	newest := slices.Clone(all)
	slices.Reverse(newest)
	orders := map[bool][]string{
		false: {all[5], all[0], all[3], all[6], all[4], all[2], all[1]},
		true:  newest,
	}
	for byCreation, want := range orders {
		filter := chat.InboxFilter{ByCreation: byCreation, Limit: 3}
		var pages []chat.ConversationPage
		var listed []string
		for {
			page := f.list(t, alex, filter)
			pages = append(pages, page)
			listed = append(listed, idsOf(page)...)
			if filter.Cursor = page.NextCursor; filter.Cursor == "" {
				break
			}
		}
		if !slices.Equal(listed, want) || len(pages) != 3 {
			t.Errorf("%d pages list %v, want 3 pages with %v", len(pages), listed, want)
		}
		if pages[0].PreviousCursor != "" {
			t.Error("the first page has a previous cursor")
		}
		for i := len(pages) - 1; i > 0; i-- {
			filter.Cursor = pages[i].PreviousCursor
			back := f.list(t, alex, filter)
			if !slices.Equal(idsOf(back), idsOf(pages[i-1])) {
				t.Errorf("the page before page %d is %v, want %v", i, idsOf(back), idsOf(pages[i-1]))
			}
			if (back.PreviousCursor == "") != (i == 1) {
				t.Errorf("back on page %d the previous cursor is %q", i-1, back.PreviousCursor)
			}
			filter.Cursor = back.NextCursor
			if again := f.list(t, alex, filter); !slices.Equal(idsOf(again), idsOf(pages[i])) {
				t.Errorf("the page after page %d, reached backward, is %v, want %v", i-1, idsOf(again), idsOf(pages[i]))
			}
		}
	}
}

func TestCursorOfAnotherListIsNotFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	conversation := f.NewConversation(t, alex)
	f.NewConversation(t, alex)
	for range 2 {
		f.Say(t, alex, conversation, "Hello?")
	}
	byActivity := f.list(t, alex, chat.InboxFilter{Limit: 1}).NextCursor
	byCreation := f.list(t, alex, chat.InboxFilter{Limit: 1, ByCreation: true}).NextCursor
	ofAll, err := f.Messages(t.Context(), alex, nil, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	ofOne, err := f.Messages(t.Context(), alex, &conversation, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	cursors := []string{byActivity, byCreation, ofAll.NextCursor, ofOne.NextCursor}
	for own, list := range []func(cursor string) error{
		func(cursor string) error {
			_, err := f.ListInbox(t.Context(), alex, chat.InboxFilter{Limit: 1, Cursor: cursor})
			return err
		},
		func(cursor string) error {
			_, err := f.ListInbox(t.Context(), alex, chat.InboxFilter{Limit: 1, Cursor: cursor, ByCreation: true})
			return err
		},
		func(cursor string) error {
			_, err := f.Messages(t.Context(), alex, nil, cursor, 1)
			return err
		},
		func(cursor string) error {
			_, err := f.Messages(t.Context(), alex, &conversation, cursor, 1)
			return err
		},
	} {
		for of, cursor := range cursors {
			err := list(cursor)
			if of == own && err != nil {
				t.Errorf("a list refused its own cursor: %v", err)
			}
			if of != own {
				chattest.WantKind(t, err, apperr.NotFound)
			}
		}
		for _, text := range []string{"n", "na.", "na.1", "na.1.x", "nc.99999999999999999999." + conversation, "xa.1." + conversation, "na.-1." + conversation} {
			chattest.WantKind(t, list(base64.RawURLEncoding.EncodeToString([]byte(text))), apperr.NotFound)
		}
		chattest.WantKind(t, list("!"), apperr.NotFound)
	}
}

func TestKeywordSearchesTitleContactAndMessages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex, wang := f.User(t, "Alex"), f.User(t, "王小明")
	agent := f.User(t, "Agent", auth.Agent)
	titled := f.NewConversation(t, alex)
	if _, err := f.Update(t.Context(), alex, titled, chat.Change{Title: new("Refund of 100%")}); err != nil {
		t.Fatal(err)
	}
	said := f.NewConversation(t, alex)
	for _, content := range []string{"我想要退票，謝謝", "My file is C:\\a_b", "ÉTÉ", "That is all."} {
		f.Say(t, alex, said, content)
	}
	named := f.NewConversation(t, wang)
	f.Say(t, agent, named, "Hello!")

	cases := map[string][]string{
		"退票":      {said},
		"票退":      {},
		"小明":      {named},
		"refund":  {titled},
		"MY FILE": {said},
		"été":     {said},
		"0%":      {titled},
		"%":       {titled},
		"a_b":     {said},
		"_":       {said},
		`:\a`:     {said},
		`\`:       {said},
		"a%b":     {},
		"aleX":    {said, titled},
		"'":       {},
	}
	for keyword, want := range cases {
		page := f.list(t, agent, chat.InboxFilter{Keyword: &keyword, Limit: 100})
		if found := idsOf(page); !slices.Equal(found, want) {
			t.Errorf("%q found %v, want %v", keyword, found, want)
		}
	}
	// The results of a search are paged.
	page := f.list(t, agent, chat.InboxFilter{Keyword: new("alex"), Limit: 1})
	if page = f.list(t, agent, chat.InboxFilter{Keyword: new("alex"), Limit: 1, Cursor: page.NextCursor}); !slices.Equal(idsOf(page), []string{titled}) || page.NextCursor != "" {
		t.Errorf("got the second page %v", idsOf(page))
	}
}

func TestStaffSeesAllConversations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := f.OtherOrganization(t)
	alex, kim, agent := f.User(t, "Alex"), f.User(t, "Kim"), f.User(t, "Agent", auth.Agent)
	alexs, kims := f.NewConversation(t, alex), f.NewConversation(t, kim)
	foreign := other.User(t, "Alex", auth.Agent)
	other.NewConversation(t, foreign)

	for name, c := range map[string]struct {
		caller auth.Principal
		want   []string
	}{
		"a user":       {alex, []string{alexs}},
		"another user": {kim, []string{kims}},
		"the staff":    {agent, []string{kims, alexs}},
		"a new user":   {f.User(t, "Sam"), []string{}},
	} {
		if found := idsOf(f.list(t, c.caller, chat.InboxFilter{Limit: 100})); !slices.Equal(found, c.want) {
			t.Errorf("%s sees %v, want %v", name, found, c.want)
		}
	}
	if found := idsOf(f.list(t, alex, chat.InboxFilter{Limit: 100, Keyword: new("Kim")})); len(found) != 0 {
		t.Errorf("a search found another user's conversation %v", found)
	}
}

func TestListInboxFiltersByInbox(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex := f.User(t, "Alex")
	first, second := f.WebChat(t, "First"), f.WebChat(t, "Second")
	created, err := f.Create(t.Context(), alex, first.ID.String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.NewConversation(t, alex)

	page := f.list(t, alex, chat.InboxFilter{InboxID: new(first.InboxID.String()), Limit: 100})
	if found := idsOf(page); !slices.Equal(found, []string{created.Session.ID.String()}) {
		t.Errorf("the inbox lists %v", found)
	}
	if page := f.list(t, alex, chat.InboxFilter{InboxID: new(second.InboxID.String()), Limit: 100}); len(page.Conversations) != 0 {
		t.Errorf("the empty inbox lists %v", idsOf(page))
	}
	var errs []error
	for _, inbox := range []string{store.NewID().String(), "no id", f.OtherOrganization(t).WebChat(t, "Website").InboxID.String()} {
		_, err := f.ListInbox(t.Context(), alex, chat.InboxFilter{InboxID: &inbox, Limit: 100})
		errs = append(errs, err)
	}
	chattest.WantSameError(t, apperr.NotFound, errs...)
}

func TestListedConversationsMatchGet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alex, agent := f.User(t, "Alex"), f.User(t, "Agent", auth.Agent)
	webChat := f.WebChat(t, "Website").ID.String()
	for i := range 4 {
		created, err := f.Create(t.Context(), alex, webChat, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		conversation := created.Session.ID.String()
		if _, err := f.Update(t.Context(), alex, conversation, chat.Change{AutoReply: new(false)}); err != nil {
			t.Fatal(err)
		}
		for n := range i {
			f.Say(t, alex, conversation, fmt.Sprintf("%d of %d", n+1, i))
		}
	}
	f.Say(t, alex, f.NewConversation(t, alex), "elsewhere")

	page := f.list(t, agent, chat.InboxFilter{Limit: 100})
	if len(page.Conversations) != 5 {
		t.Fatalf("got %d conversations, want 5", len(page.Conversations))
	}
	for _, listed := range page.Conversations {
		got := f.get(t, agent, listed.Session.ID.String())
		if listed.InboxUnread != got.InboxUnread || listed.InboxName != got.InboxName || listed.BotName != got.BotName ||
			listed.ChannelType != got.ChannelType || listed.Contact.ID != got.Contact.ID || listed.Session.StaffUnread != got.Session.StaffUnread {
			t.Errorf("Get returned %v, but the list has %v", got, listed)
		}
		if (listed.LastMessage == nil) != (got.LastMessage == nil) {
			t.Errorf("Get returned the last message %v, but the list has %v", got.LastMessage, listed.LastMessage)
		} else if got.LastMessage != nil && (listed.LastMessage.ID != got.LastMessage.ID || listed.LastMessage.SenderName != "Alex") {
			t.Errorf("Get returned the last message %v, but the list has %v", got.LastMessage, listed.LastMessage)
		}
	}
}

func TestListInboxesNamesChannels(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.OtherOrganization(t).WebChat(t, "Foreign")
	alex := f.User(t, "Alex")
	website, gone := f.WebChat(t, "Website"), f.WebChat(t, "Gone")
	if err := f.Inboxes.DeleteWebChat(t.Context(), f.Organization, gone.ID.String()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f.Say(t, alex, f.NewConversation(t, alex), "Hello?")
	}
	f.NewConversation(t, alex)

	rows, count, err := f.Inboxes.List(t.Context(), f.Organization, 100, 0)
	if err != nil || count != 3 || len(rows) != 3 {
		t.Fatalf("got %d inboxes: %v, %v, want 3", count, rows, err)
	}
	for i, want := range []string{
		"Gone web " + f.Bot.ID.String() + " Parley 0",
		"Website web " + website.ID.String() + " Website 0",
		"Parley api " + rows[2].Inbox.ID.String() + " Parley 2", // its web chat has its ID
	} {
		row := rows[i]
		if found := fmt.Sprint(row.Inbox.Name, " ", row.Inbox.ChannelType, " ", row.ChannelID, " ", row.ChannelName, " ", row.Unread); found != want {
			t.Errorf("inbox %d is %s, want %s", i, found, want)
		}
	}
	if rows, count, err := f.Inboxes.List(t.Context(), f.Organization, 1, 1); err != nil || count != 3 || len(rows) != 1 || rows[0].Inbox.Name != "Website" {
		t.Errorf("got the second page %v of %d, %v", rows, count, err)
	}
}

func (f fixture) list(t *testing.T, caller auth.Principal, filter chat.InboxFilter) chat.ConversationPage {
	t.Helper()
	page, err := f.ListInbox(t.Context(), caller, filter)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func idsOf(page chat.ConversationPage) []string {
	ids := []string{}
	for _, conversation := range page.Conversations {
		ids = append(ids, conversation.Session.ID.String())
	}
	return ids
}
