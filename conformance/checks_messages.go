package conformance

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

func messageChecks() []check {
	return []check{
		{name: "messages/order", holds: "Messages have a seq of 1, 2, 3 …, strictly growing times and ids of their own.", ask: messagesAreInOrder},
		{name: "messages/texts", holds: "A text comes back as it was sent, whatever its characters.", ask: textsAreKept},
		{name: "messages/free-json", holds: "Free JSON comes back equal, its keys as they were.", ask: freeJSONIsKept},
		{name: "messages/attachments", holds: "Attachments of all five types are taken, and shown with the message.", ask: attachmentsAreTaken},
		{name: "messages/queued", holds: "What is sent while a reply is written is answered after it, in order.", ask: messagesAreQueued},
		{name: "messages/agent", holds: "Who has the scope agent speaks in others' conversations as agent; others may not be outgoing.", ask: agentsSpeak},
		{name: "messages/feedback", holds: "A message is liked, disliked, and neither any more.", ask: feedbackIsKept},
		{name: "messages/lists", holds: "The list of messages is walked along its cursors, newest first, and a message is shown alone.", ask: messageListIsWhole},
		{name: "history/pages", holds: "The history is walked forwards and backwards, by seq and by time, without gap or duplicate.", ask: historyIsWhole},
	}
}

var uuidV7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func messagesAreInOrder(t *trial) {
	user := t.user()
	id := user.quiet()
	t.must(uuidV7.MatchString(id), "the conversation's id %q is no UUID of version 7", id)
	for i := range 4 {
		sent := user.say(id, fmt.Sprint(i))
		t.must(sent.num("seq") == i+1 && sent.str("status") == "delivered", "message %d is answered with %v", i+1, sent)
	}
	messages, _ := user.history(id, "")
	t.must(len(messages) == 4, "of 4 messages the history has %d", len(messages))
	before := object{}
	for i, one := range messages {
		t.must(one.num("seq") == i+1 && one.str("content") == fmt.Sprint(i), "message %d is %v", i+1, one)
		t.must(uuidV7.MatchString(one.str("id")) && one.str("id") != before.str("id"), "the id of message %d is %q", i+1, one.str("id"))
		t.must(ourTime.MatchString(one.str("timestamp")), "the time of message %d is %q, not in UTC with six fraction digits", i+1, one.str("timestamp"))
		t.must(one.str("timestamp") > before.str("timestamp"), "message %d is of %s, the one before it of %s", i+1, one.str("timestamp"), before.str("timestamp"))
		before = one
	}
}

func textsAreKept(t *trial) {
	user := t.user()
	id := user.quiet()
	texts := []string{"繁體中文、日本語、한국어 🙂👩‍👩‍👧", " spaces  around\tand\r\nlines ", `<script>alert("x")</script> & ' \ / %2F + =1+1`, strings.Repeat("字", 32768)}
	for _, text := range texts {
		user.say(id, text)
	}
	messages, _ := user.history(id, "")
	for i, text := range texts {
		t.must(i < len(messages) && messages[i].str("content") == text, "the text %q comes back otherwise", shortened(text, 60))
	}
}

func freeJSONIsKept(t *trial) {
	user := t.user()
	id := user.quiet()
	free := map[string]any{"snake_case": map[string]any{"camelCase": []any{1.5, "two", nil, true, map[string]any{}}}, "": "empty", "漢字": "鍵"}
	user.post("/api/conversations/"+id+"/messages", object{"content": "x", "metadata": free}).gives(http.StatusCreated)
	messages, _ := user.history(id, "")
	t.must(len(messages) == 1 && reflect.DeepEqual(messages[0]["metadata"], any(free)), "the metadata come back otherwise: %v", messages)
	made := user.post("/api/messages/", object{"conversation": id, "content": "x", "content_payload": free}).gives(http.StatusCreated)
	t.must(reflect.DeepEqual(made["contentPayload"], any(free)), "the contentPayload, sent as content_payload, comes back as %v", made["contentPayload"])
}

func attachmentsAreTaken(t *trial) {
	user := t.user()
	id := user.quiet()
	var sent []object
	for _, kind := range []string{"image", "video", "audio", "sticker", "other"} {
		sent = append(sent, object{"type": kind, "file": "https://files.example.com/" + kind + ".bin"})
	}
	user.post("/api/conversations/"+id+"/messages", object{"attachments": sent}).gives(http.StatusCreated)
	messages, _ := user.history(id, "")
	t.must(len(messages) == 1, "the message is not stored")
	shown := messages[0].list("attachments")
	for i, one := range sent {
		t.must(i < len(shown) && shown[i].str("type") == one.str("type") && shown[i].str("file") == one.str("file"), "the attachments come back as %v", shown)
	}
	user.post("/api/conversations/"+id+"/messages", object{"attachments": []object{{"type": "image"}}}).refused(http.StatusBadRequest, "invalid_message")
}

func messagesAreQueued(t *trial) {
	t.scripted()
	user := t.user()
	id := user.start()
	user.say(id, askPaced)
	user.say(id, askBrief)
	user.say(id, askAnything)
	t.eventually("all three are answered", func() bool {
		messages, _ := user.history(id, "")
		return len(messages) == 6
	})
	messages, _ := user.history(id, "")
	t.must(slices.Equal(contents(messages)[3:], []string{strings.Join(pacedDeltas, ""), strings.Join(briefDeltas, ""), "Noted."}), "the replies are %v", contents(messages)[3:])
}

func agentsSpeak(t *trial) {
	user := t.user()
	id := user.quiet()
	user.post("/api/messages/", object{"conversation": id, "content": "x", "type": "outgoing"}).has(expectedOutgoing(t))
	if !t.has("agent") {
		return
	}
	t.another() // without a user of the run's own the conversation would be the agent's
	t.owner().say(id, "from the staff")
	made := t.owner().post("/api/messages/", object{"conversation": id, "content": "outgoing", "type": "outgoing"}).gives(http.StatusCreated)
	t.must(made.str("type") == "outgoing", "it is made as %v", made)
	messages, _ := user.history(id, "")
	for _, one := range messages {
		t.must(one.str("sender") == "agent", "what the staff says is shown as said by %q", one.str("sender"))
	}
	t.must(len(messages) == 2, "the history has %v", contents(messages))
}

// expectedOutgoing is how a user's outgoing message is answered: those of the run's own have the scope chat alone.
func expectedOutgoing(t *trial) int {
	if len(t.userKeys) == 0 && t.has("agent") {
		return http.StatusCreated
	}
	return http.StatusForbidden
}

func feedbackIsKept(t *trial) {
	user := t.user()
	id := user.quiet()
	message := user.say(id, "x").str("message_id")
	for _, feedback := range []any{"like", "dislike", nil} {
		user.call(http.MethodPut, "/api/messages/"+message+"/feedback/", object{"feedback": feedback}).gives(http.StatusOK)
		shown := user.get("/api/messages/" + message + "/").gives(http.StatusOK)
		t.must(shown["feedback"] == feedback, "after the feedback %v it is %v", feedback, shown["feedback"])
	}
}

func messageListIsWhole(t *trial) {
	user := t.user()
	id := user.quiet()
	for i := range 5 {
		user.say(id, fmt.Sprint(i))
	}
	var walked []string
	path := "/api/messages/?pageSize=2&conversation=" + id
	for next := path; ; {
		page := user.get(next).gives(http.StatusOK)
		walked = append(walked, contents(page.list("results"))...)
		if page.str("nextCursor") == "" || len(walked) > 5 {
			break
		}
		next = path + "&cursor=" + page.str("nextCursor")
	}
	t.must(slices.Equal(walked, []string{"4", "3", "2", "1", "0"}), "the walk shows %v", walked)
	one := user.get(path + "&pageSize=1").status
	t.must(one == http.StatusBadRequest, "a parameter that is given twice is answered with %d", one)
	message := user.get(path).gives(http.StatusOK).list("results")[0].str("id")
	user.get("/api/messages/" + message + "/?conversation=" + id).gives(http.StatusOK)
	user.get("/api/messages/"+message+"/?conversation="+user.quiet()).refused(http.StatusNotFound, "not_found")
}

func historyIsWhole(t *trial) {
	user := t.user()
	id := user.quiet()
	const n = 7
	for i := range n {
		user.say(id, fmt.Sprint(i+1))
	}
	all, hasMore := user.history(id, "?limit=100")
	t.must(len(all) == n && !hasMore, "of %d messages the history has %v, and more: %v", n, contents(all), hasMore)
	newest, hasMore := user.history(id, "?limit=3")
	t.must(slices.Equal(contents(newest), []string{"5", "6", "7"}) && hasMore, "the newest three are %v, and more: %v", contents(newest), hasMore)
	for name, of := range map[string]func(object) string{
		"seq":  func(one object) string { return fmt.Sprint(one.num("seq")) },
		"time": func(one object) string { return one.str("timestamp") },
	} {
		before, after := "before", "after"
		if name == "seq" {
			before, after = "before_seq", "after_seq"
		}
		var backwards []string
		page, hasMore := newest, true
		for backwards = contents(page); hasMore && len(page) > 0 && len(backwards) <= n; {
			page, hasMore = user.history(id, "?limit=3&"+before+"="+of(page[0]))
			backwards = append(contents(page), backwards...)
		}
		t.must(slices.Equal(backwards, contents(all)), "backwards by %s the history is %v", name, backwards)
		page, hasMore = user.history(id, "?limit=3&after_seq=0")
		forwards := contents(page)
		for hasMore && len(page) > 0 && len(forwards) <= n {
			page, hasMore = user.history(id, "?limit=3&"+after+"="+of(page[len(page)-1]))
			forwards = append(forwards, contents(page)...)
		}
		t.must(slices.Equal(forwards, contents(all)), "forwards by %s the history is %v", name, forwards)
	}
}
