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
		named("messages/order", "Messages have seq 1, 2, 3 …, strictly increasing times and unique IDs.", checkMessageOrder),
		named("messages/content", "Text is returned exactly as it was sent.", checkContent),
		named("messages/free-json", "Free-form JSON is returned equal, with its keys unchanged.", checkFreeJSON),
		named("messages/attachments", "Attachments of all five types are accepted and returned with the message.", checkAttachments),
		scripted("messages/queued", "Messages sent during a reply are answered after it, in order.", checkQueuedMessages),
		named("messages/agent", "A key with the scope agent sends as agent in any conversation; without it, outgoing is 403.", checkAgent),
		named("messages/feedback", "Feedback on a message can be like, dislike or removed.", checkFeedback),
		named("messages/lists", "Following the cursors of the list returns each message once, newest first.", checkMessageList),
		named("history/pages", "Paging through the history in both directions, by seq and by time, has no gaps or duplicates.", checkHistoryPages),
	}
}

var uuidV7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func checkMessageOrder(t *checker) {
	id := t.user.startWithoutBot()
	t.require(uuidV7.MatchString(id), "the conversation ID %q is not a UUIDv7", id)
	for i := range 4 {
		sent := t.user.send(id, fmt.Sprint(i))
		t.require(sent.num("seq") == i+1 && sent.str("status") == "delivered", "message %d is acknowledged with %v", i+1, sent)
	}
	messages := t.user.messages(id)
	t.require(len(messages) == 4, "the history has %d messages, want 4", len(messages))
	previous := object{}
	for i, message := range messages {
		t.require(message.num("seq") == i+1 && message.str("content") == fmt.Sprint(i), "message %d is %v", i+1, message)
		t.require(uuidV7.MatchString(message.str("id")) && message.str("id") != previous.str("id"), "message %d has the ID %q", i+1, message.str("id"))
		t.require(timestamp.MatchString(message.str("timestamp")), "message %d has the time %q, which is not in UTC with six fraction digits", i+1, message.str("timestamp"))
		t.require(message.str("timestamp") > previous.str("timestamp"), "message %d has the time %s, the previous one %s", i+1, message.str("timestamp"), previous.str("timestamp"))
		previous = message
	}
}

func checkContent(t *checker) {
	id := t.user.startWithoutBot()
	texts := []string{"繁體中文、日本語、한국어 🙂👩‍👩‍👧", " spaces  around\tand\r\nlines ", `<script>alert("x")</script> & ' \ / %2F + =1+1`, strings.Repeat("字", 100000)}
	for _, text := range texts {
		t.user.send(id, text)
	}
	messages := t.user.messages(id)
	for i, text := range texts {
		t.require(i < len(messages) && messages[i].str("content") == text, "the text %q was changed", truncate(text, 60))
	}
}

func checkFreeJSON(t *checker) {
	id := t.user.startWithoutBot()
	free := map[string]any{"snake_case": map[string]any{"camelCase": []any{1.5, "two", nil, true, map[string]any{}}}, "": "empty", "漢字": "鍵"}
	t.user.create("/api/conversations/"+id+"/messages", object{"content": "x", "metadata": free})
	messages := t.user.messages(id)
	t.require(len(messages) == 1 && reflect.DeepEqual(messages[0]["metadata"], any(free)), "the metadata were changed: %v", messages)
	sent := t.user.create("/api/messages/", object{"conversation": id, "content": "x", "content_payload": free})
	t.require(reflect.DeepEqual(sent["contentPayload"], any(free)), "content_payload is returned as contentPayload %v", sent["contentPayload"])
}

func checkAttachments(t *checker) {
	id := t.user.startWithoutBot()
	var sent []object
	for _, kind := range []string{"image", "video", "audio", "sticker", "other"} {
		sent = append(sent, object{"type": kind, "file": "https://files.example.com/" + kind + ".bin"})
	}
	t.user.create("/api/conversations/"+id+"/messages", object{"attachments": sent})
	messages := t.user.messages(id)
	t.require(len(messages) == 1, "the message is not stored")
	shown := messages[0].list("attachments")
	for i, attachment := range sent {
		t.require(i < len(shown) && shown[i].str("type") == attachment.str("type") && shown[i].str("file") == attachment.str("file"), "the attachments are %v", shown)
	}
	t.user.post("/api/conversations/"+id+"/messages", object{"attachments": []object{{"type": "image"}}}).expectProblem("invalid_message")
}

func checkQueuedMessages(t *checker) {
	id := t.user.start()
	t.user.send(id, askPaced)
	t.user.send(id, askBrief)
	t.user.send(id, askAnything)
	t.eventually("all three messages are answered", func() bool { return len(t.user.messages(id)) == 6 })
	messages := t.user.messages(id)
	t.require(slices.Equal(contents(messages)[3:], []string{pacedText, briefText, plainText}), "the replies are %q", contents(messages)[3:])
}

func checkAgent(t *checker) {
	id := t.user.startWithoutBot()
	t.user.post("/api/messages/", object{"conversation": id, "content": "x", "type": "outgoing"}).expectStatus(expectedOutgoing(t))
	if !t.hasScope("agent") {
		return
	}
	t.otherUser() // without users of the run, the conversation would belong to the agent
	t.owner().send(id, "from the staff")
	sent := t.owner().create("/api/messages/", object{"conversation": id, "content": "outgoing", "type": "outgoing"})
	t.require(sent.str("type") == "outgoing", "the message is %v", sent)
	messages := t.user.messages(id)
	for _, message := range messages {
		t.require(message.str("sender") == "agent", "a message of the agent has the sender %q", message.str("sender"))
	}
	t.require(len(messages) == 2, "the history has %q", contents(messages))
}

// expectedOutgoing returns the status of a user's outgoing message. The run's own users have only
// the scope chat.
func expectedOutgoing(t *checker) int {
	if len(t.userKeys) == 0 && t.hasScope("agent") {
		return http.StatusCreated
	}
	return http.StatusForbidden
}

func checkFeedback(t *checker) {
	id := t.user.startWithoutBot()
	message := t.user.send(id, "x").str("message_id")
	for _, feedback := range []any{"like", "dislike", nil} {
		t.user.call(http.MethodPut, "/api/messages/"+message+"/feedback/", object{"feedback": feedback}).json(http.StatusOK)
		shown := t.user.getJSON("/api/messages/" + message + "/")
		t.require(shown["feedback"] == feedback, "the feedback is set to %v and returned as %v", feedback, shown["feedback"])
	}
}

func checkMessageList(t *checker) {
	id := t.user.startWithoutBot()
	for i := range 5 {
		t.user.send(id, fmt.Sprint(i))
	}
	var walked []string
	path := "/api/messages/?pageSize=2&conversation=" + id
	for next := path; ; {
		page := t.user.getJSON(next)
		walked = append(walked, contents(page.list("results"))...)
		if page.str("nextCursor") == "" || len(walked) > 5 {
			break
		}
		next = path + "&cursor=" + page.str("nextCursor")
	}
	t.require(slices.Equal(walked, []string{"4", "3", "2", "1", "0"}), "the pages have %q", walked)
	t.user.get(path + "&pageSize=1").expectProblem("invalid_request") // a duplicate parameter
	message := t.user.getJSON(path).list("results")[0].str("id")
	t.user.getJSON("/api/messages/" + message + "/?conversation=" + id)
	t.user.get("/api/messages/" + message + "/?conversation=" + t.user.startWithoutBot()).expectProblem("not_found")
}

func checkHistoryPages(t *checker) {
	id := t.user.startWithoutBot()
	const n = 7
	for i := range n {
		t.user.send(id, fmt.Sprint(i+1))
	}
	all, hasMore := t.user.history(id, "?limit=100")
	t.require(len(all) == n && !hasMore, "the history of %d messages has %q, has_more %v", n, contents(all), hasMore)
	newest, hasMore := t.user.history(id, "?limit=3")
	t.require(slices.Equal(contents(newest), []string{"5", "6", "7"}) && hasMore, "the newest three messages are %q, has_more %v", contents(newest), hasMore)
	for name, position := range map[string]func(object) string{
		"seq":  func(message object) string { return fmt.Sprint(message.num("seq")) },
		"time": func(message object) string { return message.str("timestamp") },
	} {
		before, after := "before", "after"
		if name == "seq" {
			before, after = "before_seq", "after_seq"
		}
		var backwards []string
		page, hasMore := newest, true
		for backwards = contents(page); hasMore && len(page) > 0 && len(backwards) <= n; {
			page, hasMore = t.user.history(id, "?limit=3&"+before+"="+position(page[0]))
			backwards = append(contents(page), backwards...)
		}
		t.require(slices.Equal(backwards, contents(all)), "paging backwards by %s returns %q", name, backwards)
		page, hasMore = t.user.history(id, "?limit=3&after_seq=0")
		forwards := contents(page)
		for hasMore && len(page) > 0 && len(forwards) <= n {
			page, hasMore = t.user.history(id, "?limit=3&"+after+"="+position(page[len(page)-1]))
			forwards = append(forwards, contents(page)...)
		}
		t.require(slices.Equal(forwards, contents(all)), "paging forwards by %s returns %q", name, forwards)
	}
}
