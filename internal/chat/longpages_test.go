package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"parley/internal/chat"
)

// A page of long messages ends early and tells so; whoever goes on misses none and meets none twice.
func TestLongMessagesMakeShortPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	who := f.User(t, "alice")
	conversation := f.NewConversation(t, who)
	long := json.RawMessage(fmt.Sprintf("{%q: %q}", "a", strings.Repeat("a", 900_000)))
	const count = 12
	var all []string
	for i := range count {
		content := fmt.Sprint("Message ", i)
		if _, err := f.Send(t.Context(), who, conversation, chat.NewMessage{Content: content, Metadata: long}); err != nil {
			t.Fatal(err)
		}
		all = append(all, content)
	}
	const short = 5 // 4 MiB are in the fifth

	if got := contentsOf(t, f.Domain, who, conversation, short); !slices.Equal(got, all) {
		t.Errorf("the history has %q", got)
	}

	// the list of messages, down and up again
	var down, up []string
	page := chat.MessagePage{}
	for cursor := ""; ; cursor = page.NextCursor {
		var err error
		if page, err = f.Messages(t.Context(), who, &conversation, cursor, 100); err != nil {
			t.Fatal(err)
		}
		if len(page.Messages) > short {
			t.Fatalf("a page of %d", len(page.Messages))
		}
		for _, one := range page.Messages {
			down = append(down, one.Content)
		}
		if page.NextCursor == "" {
			break
		}
	}
	for cursor := page.PreviousCursor; cursor != ""; cursor = page.PreviousCursor {
		var err error
		if page, err = f.Messages(t.Context(), who, nil, "", 100); err != nil {
			t.Fatal(err)
		}
		if len(page.Messages) > short {
			t.Fatalf("a page of all of %d", len(page.Messages))
		}
		if page, err = f.Messages(t.Context(), who, &conversation, cursor, 100); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(page.Messages)
		for _, one := range page.Messages {
			up = append(up, one.Content)
		}
	}
	slices.Reverse(down)
	if !slices.Equal(down, all) || !slices.Equal(up, all[count-len(up):]) || len(up) < count-short {
		t.Errorf("down are %q, up %q", down, up)
	}

	// who watches
	watch, err := f.Watch(t.Context(), who, conversation)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	var watched []string
	for {
		missed, err := watch.Since(t.Context(), int64(len(watched)))
		if err != nil {
			t.Fatal(err)
		}
		if len(missed) == 0 {
			break
		}
		if len(missed) > short {
			t.Fatalf("%d at once", len(missed))
		}
		for _, one := range missed {
			watched = append(watched, one.Content)
		}
	}
	if !slices.Equal(watched, all) {
		t.Errorf("who watches has %q", watched)
	}
}

// A page of conversations ends early where their last messages are long.
func TestLongLastMessagesMakeShortPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	who := f.User(t, "alice")
	long := json.RawMessage(fmt.Sprintf("{%q: %q}", "a", strings.Repeat("a", 900_000)))
	var all, listed []string
	for range 7 {
		conversation := f.NewConversation(t, who)
		if _, err := f.Send(t.Context(), who, conversation, chat.NewMessage{Content: "Hello", ContentPayload: long}); err != nil {
			t.Fatal(err)
		}
		all = append(all, conversation)
	}
	pages := 0
	for cursor := ""; pages == 0 || cursor != ""; pages++ {
		page, err := f.ListInbox(t.Context(), who, chat.InboxFilter{Cursor: cursor, Limit: 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Conversations {
			if one.LastMessage == nil {
				t.Error("a conversation has no last message")
			}
			listed = append(listed, one.Session.ID.String())
		}
		cursor = page.NextCursor
	}
	slices.Reverse(listed)
	if !slices.Equal(listed, all) || pages != 2 {
		t.Errorf("%d pages, with %q of %q", pages, listed, all)
	}
}
