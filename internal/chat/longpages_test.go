package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/chat"
)

const (
	// longCount is the number of long messages in a conversation of these tests.
	longCount = 12
	// shortPage is the maximum number of long messages on a page: the fifth one reaches 4 MiB.
	shortPage = 5
)

var longJSON = json.RawMessage(fmt.Sprintf("{%q: %q}", "a", strings.Repeat("a", 900_000)))

// A page of long messages is cut short and reports that more follow. Paging neither skips nor repeats a message.
func TestLongMessagesMakeShortPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	caller := f.User(t, "alice")
	conversation := f.NewConversation(t, caller)
	var all []string
	for i := range longCount {
		content := fmt.Sprint("Message ", i)
		if _, err := f.Send(t.Context(), caller, conversation, chat.NewMessage{Content: content, Metadata: longJSON}); err != nil {
			t.Fatal(err)
		}
		all = append(all, content)
	}
	if got := contentsOf(t, f.Domain, caller, conversation, shortPage); !slices.Equal(got, all) {
		t.Errorf("the history has %q, want %q", got, all)
	}
	forward, back := f.pageThrough(t, caller, conversation)
	if !slices.Equal(forward, all) || !slices.Equal(back, all[longCount-len(back):]) || len(back) < longCount-shortPage {
		t.Errorf("paging forward returned %q, back %q", forward, back)
	}
	if got := f.watched(t, caller, conversation); !slices.Equal(got, all) {
		t.Errorf("a watcher read %q, want %q", got, all)
	}
}

// contentsOfPage returns the contents of a page, which must be short.
func contentsOfPage(t *testing.T, page []db.Message) []string {
	t.Helper()
	if len(page) > shortPage {
		t.Fatalf("a page has %d messages, want at most %d", len(page), shortPage)
	}
	var contents []string
	for _, message := range page {
		contents = append(contents, message.Content)
	}
	return contents
}

// pageThrough returns the messages of a conversation, oldest first, by following next and then previous. The messages
// of the last page are missing from the way back, which begins there.
func (f fixture) pageThrough(t *testing.T, caller auth.Principal, conversation string) (forward, back []string) {
	t.Helper()
	get := func(conversation *string, cursor string) (chat.MessagePage, []string) {
		page, err := f.Messages(t.Context(), caller, conversation, cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		return page, contentsOfPage(t, page.Messages)
	}
	get(nil, "") // the messages of all conversations are cut short as well
	page, contents := get(&conversation, "")
	for forward = contents; page.NextCursor != ""; forward = append(forward, contents...) {
		page, contents = get(&conversation, page.NextCursor)
	}
	for page.PreviousCursor != "" {
		page, contents = get(&conversation, page.PreviousCursor)
		slices.Reverse(contents)
		back = append(back, contents...)
	}
	slices.Reverse(forward)
	return forward, back
}

// watched returns the messages that a watcher reads.
func (f fixture) watched(t *testing.T, caller auth.Principal, conversation string) (contents []string) {
	t.Helper()
	watch, err := f.Watch(t.Context(), caller, conversation)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	for {
		missed, err := watch.Since(t.Context(), int64(len(contents)))
		if err != nil {
			t.Fatal(err)
		}
		if len(missed) == 0 {
			return contents
		}
		contents = append(contents, contentsOfPage(t, missed)...)
	}
}

// A page of conversations is cut short if their last messages are long.
func TestLongLastMessagesMakeShortPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	caller := f.User(t, "alice")
	var all, listed []string
	for range 7 {
		conversation := f.NewConversation(t, caller)
		if _, err := f.Send(t.Context(), caller, conversation, chat.NewMessage{Content: "Hello", ContentPayload: longJSON}); err != nil {
			t.Fatal(err)
		}
		all = append(all, conversation)
	}
	pages := 0
	for cursor := ""; pages == 0 || cursor != ""; pages++ {
		page, err := f.ListInbox(t.Context(), caller, chat.InboxFilter{Cursor: cursor, Limit: 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, conversation := range page.Conversations {
			if conversation.LastMessage == nil {
				t.Error("a conversation has no last message")
			}
			listed = append(listed, conversation.Session.ID.String())
		}
		cursor = page.NextCursor
	}
	slices.Reverse(listed)
	if !slices.Equal(listed, all) || pages != 2 {
		t.Errorf("got %d pages with %q, want 2 with %q", pages, listed, all)
	}
}
