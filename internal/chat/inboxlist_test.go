package chat_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
)

func TestAWalkNeverMeetsAConversationTwice(t *testing.T) {
	t.Parallel()
	for name, byCreation := range map[string]bool{"by activity": false, "by creation": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// given conversations
			h := newHouse(t)
			alex := h.user(t, "Alex")
			var all []string
			for range 11 {
				all = append(all, h.conversation(t, alex))
			}
			// when some of them become active between the pages, met or not
			var met, active []string
			filter := chat.InboxFilter{ByCreation: byCreation, Limit: 2}
			for page := 0; ; page++ {
				found := h.list(t, alex, filter)
				met = append(met, idsOf(found)...)
				if found.NextCursor == "" {
					break
				}
				filter.Cursor = found.NextCursor
				for _, one := range []string{met[0], all[page], all[10-page]} {
					h.say(t, alex, one, "Hello?")
					active = append(active, one)
				}
			}
			// then none is met twice, and what is missed has become active
			for i, one := range met {
				if slices.Contains(met[:i], one) {
					t.Errorf("%s is met again", one)
				}
			}
			for _, one := range all {
				if !slices.Contains(met, one) && (byCreation || !slices.Contains(active, one)) {
					t.Errorf("%s is missed", one)
				}
			}
		})
	}
}

func TestAWalkGoesBackAsItCame(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	alex := h.user(t, "Alex")
	var all []string
	for range 7 {
		all = append(all, h.conversation(t, alex))
	}
	// The order of activity is not that of creation.
	for _, i := range []int{3, 0, 5} {
		h.say(t, alex, all[i], "Hello?")
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
		var met []string
		for {
			page := h.list(t, alex, filter)
			pages = append(pages, page)
			met = append(met, idsOf(page)...)
			if filter.Cursor = page.NextCursor; filter.Cursor == "" {
				break
			}
		}
		if !slices.Equal(met, want) || len(pages) != 3 {
			t.Errorf("%d pages are %v", len(pages), met)
		}
		if pages[0].PreviousCursor != "" {
			t.Error("there is a page before the first")
		}
		for i := len(pages) - 1; i > 0; i-- {
			filter.Cursor = pages[i].PreviousCursor
			back := h.list(t, alex, filter)
			if !slices.Equal(idsOf(back), idsOf(pages[i-1])) {
				t.Errorf("before page %d is %v", i, idsOf(back))
			}
			if (back.PreviousCursor == "") != (i == 1) {
				t.Errorf("going back to page %d there is more before: %q", i-1, back.PreviousCursor)
			}
			filter.Cursor = back.NextCursor
			if again := h.list(t, alex, filter); !slices.Equal(idsOf(again), idsOf(pages[i])) {
				t.Errorf("after page %d, gone back to, is %v", i-1, idsOf(again))
			}
		}
	}
}

func TestACursorOfAnotherListIsNone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	alex := h.user(t, "Alex")
	conversation := h.conversation(t, alex)
	h.conversation(t, alex)
	for range 2 {
		h.say(t, alex, conversation, "Hello?")
	}
	byActivity := h.list(t, alex, chat.InboxFilter{Limit: 1}).NextCursor
	byCreation := h.list(t, alex, chat.InboxFilter{Limit: 1, ByCreation: true}).NextCursor
	ofAll, err := h.Messages(t.Context(), alex, nil, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	ofOne, err := h.Messages(t.Context(), alex, &conversation, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	cursors := []string{byActivity, byCreation, ofAll.NextCursor, ofOne.NextCursor}
	for own, list := range []func(cursor string) error{
		func(cursor string) error {
			_, err := h.ListInbox(t.Context(), alex, chat.InboxFilter{Limit: 1, Cursor: cursor})
			return err
		},
		func(cursor string) error {
			_, err := h.ListInbox(t.Context(), alex, chat.InboxFilter{Limit: 1, Cursor: cursor, ByCreation: true})
			return err
		},
		func(cursor string) error {
			_, err := h.Messages(t.Context(), alex, nil, cursor, 1)
			return err
		},
		func(cursor string) error {
			_, err := h.Messages(t.Context(), alex, &conversation, cursor, 1)
			return err
		},
	} {
		for of, cursor := range cursors {
			err := list(cursor)
			if of == own && err != nil {
				t.Errorf("its own cursor is %v", err)
			}
			if of != own {
				refused(t, err, apperr.NotFound)
			}
		}
		for _, text := range []string{"n", "na.", "na.1", "na.1.x", "nc.99999999999999999999." + conversation, "xa.1." + conversation, "na.-1." + conversation} {
			refused(t, list(base64.RawURLEncoding.EncodeToString([]byte(text))), apperr.NotFound)
		}
		refused(t, list("!"), apperr.NotFound)
	}
}

func TestAKeywordIsFoundInTitleContactAndMessages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	alex, wang := h.user(t, "Alex"), h.user(t, "王小明")
	agent := h.user(t, "Agent", auth.Agent)
	titled := h.conversation(t, alex)
	if _, err := h.Update(t.Context(), alex, titled, chat.Change{Title: new("Refund of 100%")}); err != nil {
		t.Fatal(err)
	}
	said := h.conversation(t, alex)
	for _, content := range []string{"我想要退票，謝謝", "My file is C:\\a_b", "ÉTÉ", "That is all."} {
		h.say(t, alex, said, content)
	}
	named := h.conversation(t, wang)
	h.say(t, agent, named, "Hello!")

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
		page := h.list(t, agent, chat.InboxFilter{Keyword: &keyword, Limit: 100})
		if found := idsOf(page); !slices.Equal(found, want) {
			t.Errorf("%q finds %v, not %v", keyword, found, want)
		}
	}
	// A search is walked like any list.
	walked := h.list(t, agent, chat.InboxFilter{Keyword: new("alex"), Limit: 1})
	if walked = h.list(t, agent, chat.InboxFilter{Keyword: new("alex"), Limit: 1, Cursor: walked.NextCursor}); !slices.Equal(idsOf(walked), []string{titled}) || walked.NextCursor != "" {
		t.Errorf("the second page is %v", idsOf(walked))
	}
}

func TestWhoIsOfTheStaffSeesTheOrganizationsConversations(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	neighbour := h.neighbour(t)
	alex, kim, agent := h.user(t, "Alex"), h.user(t, "Kim"), h.user(t, "Agent", auth.Agent)
	alexs, kims := h.conversation(t, alex), h.conversation(t, kim)
	foreign := neighbour.user(t, "Alex", auth.Agent)
	neighbour.conversation(t, foreign)

	for name, c := range map[string]struct {
		who  auth.Principal
		want []string
	}{
		"a user":       {alex, []string{alexs}},
		"another one":  {kim, []string{kims}},
		"the staff":    {agent, []string{kims, alexs}},
		"who has none": {h.user(t, "Sam"), []string{}},
	} {
		if found := idsOf(h.list(t, c.who, chat.InboxFilter{Limit: 100})); !slices.Equal(found, c.want) {
			t.Errorf("%s sees %v", name, found)
		}
	}
	if found := idsOf(h.list(t, alex, chat.InboxFilter{Limit: 100, Keyword: new("Kim")})); len(found) != 0 {
		t.Errorf("a search finds somebody else's %v", found)
	}
}

func TestAnInboxesConversationsAreListed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	alex := h.user(t, "Alex")
	first, second := h.webChat(t, "First"), h.webChat(t, "Second")
	made, err := h.Create(t.Context(), alex, first.ID.String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.conversation(t, alex)

	page := h.list(t, alex, chat.InboxFilter{InboxID: new(first.InboxID.String()), Limit: 100})
	if found := idsOf(page); !slices.Equal(found, []string{made.Session.ID.String()}) {
		t.Errorf("it has %v", found)
	}
	if page := h.list(t, alex, chat.InboxFilter{InboxID: new(second.InboxID.String()), Limit: 100}); len(page.Conversations) != 0 {
		t.Errorf("the empty one has %v", idsOf(page))
	}
	var errs []error
	for _, inbox := range []string{id().String(), "no id", h.neighbour(t).webChat(t, "Website").InboxID.String()} {
		_, err := h.ListInbox(t.Context(), alex, chat.InboxFilter{InboxID: &inbox, Limit: 100})
		errs = append(errs, err)
	}
	refusedAlike(t, apperr.NotFound, errs...)
}

func TestAListedConversationIsThatWhichIsGot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	alex, agent := h.user(t, "Alex"), h.user(t, "Agent", auth.Agent)
	webChat := h.webChat(t, "Website").ID.String()
	for i := range 4 {
		made, err := h.Create(t.Context(), alex, webChat, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		conversation := made.Session.ID.String()
		if _, err := h.Update(t.Context(), alex, conversation, chat.Change{AutoReply: new(false)}); err != nil {
			t.Fatal(err)
		}
		for n := range i {
			h.say(t, alex, conversation, fmt.Sprintf("%d of %d", n+1, i))
		}
	}
	h.say(t, alex, h.conversation(t, alex), "elsewhere")

	page := h.list(t, agent, chat.InboxFilter{Limit: 100})
	if len(page.Conversations) != 5 {
		t.Fatalf("there are %d", len(page.Conversations))
	}
	for _, listed := range page.Conversations {
		got := h.get(t, agent, listed.Session.ID.String())
		if listed.InboxUnread != got.InboxUnread || listed.InboxName != got.InboxName || listed.BotName != got.BotName ||
			listed.ChannelType != got.ChannelType || listed.Contact.ID != got.Contact.ID || listed.Session.StaffUnread != got.Session.StaffUnread {
			t.Errorf("%v is listed as %v", got, listed)
		}
		if (listed.LastMessage == nil) != (got.LastMessage == nil) {
			t.Errorf("of %v there is listed %v", got.LastMessage, listed.LastMessage)
		} else if got.LastMessage != nil && (listed.LastMessage.ID != got.LastMessage.ID || listed.LastMessage.SenderName != "Alex") {
			t.Errorf("%v is listed as %v", got.LastMessage, listed.LastMessage)
		}
	}
}

func TestAnInboxTellsWhatItIsTheInboxOf(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.neighbour(t).webChat(t, "Somebody else's")
	alex := h.user(t, "Alex")
	website, gone := h.webChat(t, "Website"), h.webChat(t, "Gone")
	if err := h.DeleteWebChat(t.Context(), h.organization, gone.ID.String()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.say(t, alex, h.conversation(t, alex), "Hello?")
	}
	h.conversation(t, alex)

	rows, count, err := h.ListInboxes(t.Context(), h.organization, 100, 0)
	if err != nil || count != 3 || len(rows) != 3 {
		t.Fatalf("there are %d: %v, %v", count, rows, err)
	}
	for i, want := range []string{
		"Gone web " + h.bot.ID.String() + " Parley 0",
		"Website web " + website.ID.String() + " Website 0",
		"Parley api " + h.bot.ID.String() + " Parley 2",
	} {
		row := rows[i]
		if found := fmt.Sprint(row.Inbox.Name, " ", row.Inbox.ChannelType, " ", row.ChannelID, " ", row.ChannelName, " ", row.Unread); found != want {
			t.Errorf("inbox %d is %s, not %s", i, found, want)
		}
	}
	if rows, count, err := h.ListInboxes(t.Context(), h.organization, 1, 1); err != nil || count != 3 || len(rows) != 1 || rows[0].Inbox.Name != "Website" {
		t.Errorf("the second page is %v of %d: %v", rows, count, err)
	}
}

func (h *house) list(t *testing.T, who auth.Principal, filter chat.InboxFilter) chat.ConversationPage {
	t.Helper()
	page, err := h.ListInbox(t.Context(), who, filter)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func idsOf(page chat.ConversationPage) []string {
	ids := []string{}
	for _, one := range page.Conversations {
		ids = append(ids, one.Session.ID.String())
	}
	return ids
}
