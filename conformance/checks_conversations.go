package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func conversationChecks() []check {
	return []check{
		named("conversations/start", "A conversation starts with or without a message, and its two IDs are equal.", checkStart),
		named("conversations/both-families", "Both API families show the same conversations and messages.", checkFamilies),
		named("conversations/change", "A conversation can be renamed, archived, reactivated by a message and deleted, visible immediately.", checkChanges),
		named("conversations/batch", "A batch returns a result for each operation in order, and a failed one does not affect the others.", checkBatch),
		named("conversations/offset-pages", "Paging by limit and offset returns each conversation once, and total is their number.", checkOffsetPages),
		named("conversations/cursor-pages", "Following next returns each conversation once, at the deployment's own address.", checkCursorPages),
		named("conversations/keyword", "A keyword is found in titles and messages, even two Chinese characters.", checkKeyword),
		scripted("conversations/unread", "A reply is unread until it is marked as read.", checkUnread),
	}
}

func checkStart(t *checker) {
	started := t.user.create("/api/conversations/start", object{"bot_id": t.bot})
	t.require(started.str("conversation_id") == started.str("session_id") && started.str("status") == "active" && !started.has("message_id"), "a start returns %v", started)
	t.deleteConversationLater(started.str("conversation_id"))
	t.needScript() // the bot replies to an initial message
	asked := t.user.create("/api/conversations/start", object{"bot_id": t.bot, "initial_message": askAnything})
	id := asked.str("conversation_id")
	t.require(asked.str("message_id") != "" && asked.str("run_id") != "", "a start with a message returns %v", asked)
	t.eventually("the bot answers the initial message", func() bool {
		messages := t.user.messages(id)
		return slices.Equal(contents(messages), []string{askAnything, plainText}) && messages[0].str("id") == asked.str("message_id")
	})
}

func checkFamilies(t *checker) {
	id := t.user.startWithoutBot()
	t.user.send(id, "by one")
	other := t.user.create("/api/messages/", object{"conversation": id, "content": "by the other"})
	t.require(other.num("seq") == 2, "the second message has seq %v", other["seq"])
	messages := t.user.messages(id)
	t.require(slices.Equal(contents(messages), []string{"by one", "by the other"}), "the history has %q", contents(messages))
	page := t.user.getJSON("/api/messages/?conversation=" + id).list("results")
	slices.Reverse(page)
	for i, message := range messages {
		t.require(i < len(page) && page[i].str("id") == message.str("id") && page[i].str("createdAt") == message.str("timestamp") && page[i].num("seq") == message.num("seq"), "one family shows %v, the other %v", message, page)
	}
	shown := t.user.getJSON("/api/conversations/" + id + "/")
	t.require(shown.obj("lastMessage").str("id") == other.str("id"), "lastMessage is %v", shown["lastMessage"])
	listed := t.user.getJSON("/api/conversations?limit=100&bot_id=" + t.bot).list("conversations")
	t.require(slices.ContainsFunc(listed, func(c object) bool { return c.str("id") == id && c.str("last_message") == "by the other" }), "the list does not have the conversation with its last message")
}

func checkChanges(t *checker) {
	id := t.user.startWithoutBot()
	path := "/api/conversations/" + id + "/"
	changed := t.user.patch(path, object{"title": "第一 & <b>", "status": "archived"}).json(http.StatusOK)
	t.require(changed.str("title") == "第一 & <b>" && changed.str("status") == "archived", "the change returns %v", changed)
	shown := t.user.getJSON(path)
	t.require(shown.str("title") == "第一 & <b>" && shown.str("status") == "archived", "the conversation is shown unchanged: a proxy caches responses")
	isListed := func(status string) bool {
		listed := t.user.getJSON("/api/conversations?limit=100&status=" + status + "&bot_id=" + t.bot).list("conversations")
		return containsID(listed, id)
	}
	t.require(isListed("archived") && !isListed("active"), "the archived conversation is listed as active, or not listed as archived")
	t.user.send(id, "wake up")
	t.require(t.user.getJSON(path).str("status") == "active", "a message does not reactivate the archived conversation")
	t.user.remove(path)
	t.user.get(path).expectProblem("not_found")
	t.user.get("/api/conversations/" + id + "/history").expectProblem("not_found")
}

func checkBatch(t *checker) {
	archived, deleted := t.user.startWithoutBot(), t.user.startWithoutBot()
	results := t.user.post("/api/conversations/batch", object{"operations": []object{
		{"action": "archive", "conversation_id": archived},
		{"action": "archive", "conversation_id": "nothing"},
		{"action": "delete", "conversation_id": deleted},
	}}).json(http.StatusOK).list("results")
	t.require(len(results) == 3 && results[0].bool("ok") && !results[1].bool("ok") && results[2].bool("ok"), "the results are %v", results)
	t.require(results[1].obj("problem").str("error") == "not_found" && results[1].str("conversation_id") == "nothing", "the failed operation returns %v", results[1])
	t.require(t.user.getJSON("/api/conversations/"+archived+"/").str("status") == "archived", "the first conversation is not archived")
	t.user.get("/api/conversations/" + deleted + "/").expectProblem("not_found")
}

func checkOffsetPages(t *checker) {
	t.needScript() // only the conversations of the check's own bot are counted
	bot := t.createBot("offsets")
	want := map[string]bool{}
	for range 5 {
		want[t.user.create("/api/conversations/start", object{"bot_id": bot}).str("conversation_id")] = true
	}
	for offset := 0; offset < 6; offset += 2 {
		page := t.user.getJSON(fmt.Sprintf("/api/conversations?bot_id=%s&limit=2&offset=%d", bot, offset))
		t.require(page.num("total") == 5 && len(page.list("conversations")) == min(2, 5-offset), "offset %d returns %d conversations of %d", offset, len(page.list("conversations")), page.num("total"))
		for _, c := range page.list("conversations") {
			t.require(want[c.str("id")], "the conversation %s is listed twice or has another bot", c.str("id"))
			delete(want, c.str("id"))
		}
	}
}

func checkCursorPages(t *checker) {
	want := map[string]bool{}
	for range 4 {
		want[t.user.startWithoutBot()] = true
	}
	seen := map[string]bool{}
	base, err := url.Parse(t.config.BaseURL)
	t.require(err == nil, "%v", err)
	next := "/api/conversations/?pageSize=3&ordering=createdAt"
	for pages := 0; next != "" && len(want) > 0 && pages < 10; pages++ {
		page := t.user.getJSON(next)
		for _, c := range page.list("results") {
			t.require(!seen[c.str("id")], "the conversation %s is listed twice", c.str("id"))
			seen[c.str("id")] = true
			delete(want, c.str("id"))
		}
		if next = page.str("next"); next == "" {
			break
		}
		address, err := url.Parse(next)
		t.require(err == nil, "next is %q", next)
		t.require(address.Scheme == base.Scheme && address.Host == base.Host && strings.HasPrefix(address.Path, base.Path+"/api/"),
			"next is %s, which is not at the deployment's address: a proxy does not forward Host or X-Forwarded-Proto", truncate(next, 100))
	}
	t.require(len(want) == 0, "%d conversations are missing", len(want))
	t.user.get("/api/conversations/?cursor=nonsense").expectProblem("not_found")
}

func checkKeyword(t *checker) {
	id := t.user.startWithoutBot()
	mark := "退" + t.runID + "票款"
	t.user.send(id, "關於"+mark+"的問題")
	for _, keyword := range []string{"票款", mark, strings.ToUpper(t.runID)} {
		found := t.user.getJSON("/api/conversations/?pageSize=100&keyword=" + url.QueryEscape(keyword)).list("results")
		t.require(containsID(found, id), "the keyword %q does not find the conversation", keyword)
	}
}

func checkUnread(t *checker) {
	id := t.user.start()
	t.user.post(t.completionsPath(), question(askAnything, id, false)).json(http.StatusOK)
	unread := func() int {
		for _, c := range t.user.getJSON("/api/conversations?limit=100&bot_id=" + t.bot).list("conversations") {
			if c.str("id") == id {
				return c.num("unread")
			}
		}
		return -1
	}
	t.require(unread() == 1, "%d messages are unread after one reply", unread())
	t.user.post("/api/conversations/batch", object{"operations": []object{{"action": "mark_read", "conversation_id": id}}}).json(http.StatusOK)
	t.require(unread() == 0, "%d messages are unread after they were marked as read", unread())
}
