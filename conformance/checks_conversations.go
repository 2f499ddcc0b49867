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
		{name: "conversations/start", holds: "A conversation starts, alone or with a message, and its two ids are one.", ask: conversationStarts},
		{name: "conversations/both-families", holds: "What one family starts and sends, the other lists and shows.", ask: familiesShareData},
		{name: "conversations/change", holds: "A conversation is renamed, archived, woken by a message and deleted, and each shows at once.", ask: conversationChanges},
		{name: "conversations/batch", holds: "A batch answers each of its operations in order, and one that fails spoils no other.", ask: batchAnswersEach},
		{name: "conversations/offset-pages", holds: "A walk by limit and offset shows each conversation once, and total says how many there are.", ask: offsetPagesAreWhole},
		{name: "conversations/cursor-pages", holds: "A walk along next shows each conversation once, at the address that the deployment is reached at.", ask: cursorPagesAreWhole},
		{name: "conversations/keyword", holds: "A keyword is found in titles and messages, two Chinese characters included.", ask: keywordIsFound},
		{name: "conversations/unread", holds: "What the bot has said is unread until it is marked as read.", ask: unreadIsCounted},
	}
}

func conversationStarts(t *trial) {
	user := t.user()
	alone := user.post("/api/conversations/start", object{"bot_id": t.bot})
	started := alone.gives(http.StatusCreated)
	t.must(started.str("conversation_id") == started.str("session_id") && started.str("status") == "active" && !started.has("message_id"), "it is started as %v", started)
	t.began(started.str("conversation_id"))
	t.scripted() // a start with a message has the bot answer
	asked := user.post("/api/conversations/start", object{"bot_id": t.bot, "initial_message": askAnything}).gives(http.StatusCreated)
	id := asked.str("conversation_id")
	t.must(asked.str("message_id") != "" && asked.str("run_id") != "", "it is started as %v", asked)
	t.eventually("the bot answers the initial message", func() bool {
		messages, _ := user.history(id, "")
		return slices.Equal(contents(messages), []string{askAnything, "Noted."}) && messages[0].str("id") == asked.str("message_id")
	})
}

func familiesShareData(t *trial) {
	user := t.user()
	id := user.quiet()
	user.say(id, "by one")
	other := user.post("/api/messages/", object{"conversation": id, "content": "by the other"}).gives(http.StatusCreated)
	t.must(other.num("seq") == 2, "the second message has the seq %v", other["seq"])
	messages, _ := user.history(id, "")
	t.must(slices.Equal(contents(messages), []string{"by one", "by the other"}), "the history has %v", contents(messages))
	page := user.get("/api/messages/?conversation=" + id).gives(http.StatusOK).list("results")
	slices.Reverse(page)
	for i, one := range messages {
		t.must(i < len(page) && page[i].str("id") == one.str("id") && page[i].str("createdAt") == one.str("timestamp") && page[i].num("seq") == one.num("seq"), "the families show %v and %v", one, page)
	}
	shown := user.get("/api/conversations/" + id + "/").gives(http.StatusOK)
	t.must(shown.obj("lastMessage").str("id") == other.str("id"), "the last message is %v", shown["lastMessage"])
	listed := user.get("/api/conversations?limit=100&bot_id=" + t.bot).gives(http.StatusOK).list("conversations")
	t.must(slices.ContainsFunc(listed, func(one object) bool { return one.str("id") == id && one.str("last_message") == "by the other" }), "the conversation is not listed with its last message")
}

func conversationChanges(t *trial) {
	user := t.user()
	id := user.quiet()
	path := "/api/conversations/" + id + "/"
	changed := user.call(http.MethodPatch, path, object{"title": "第一 & <b>", "status": "archived"}).gives(http.StatusOK)
	t.must(changed.str("title") == "第一 & <b>" && changed.str("status") == "archived", "it is changed to %v", changed)
	shown := user.get(path).gives(http.StatusOK)
	t.must(shown.str("title") == "第一 & <b>" && shown.str("status") == "archived", "after its change it is shown as it was: something on the way keeps answers")
	isListed := func(status string) bool {
		listed := user.get("/api/conversations?limit=100&status=" + status + "&bot_id=" + t.bot).gives(http.StatusOK).list("conversations")
		return slices.ContainsFunc(listed, func(one object) bool { return one.str("id") == id })
	}
	t.must(isListed("archived") && !isListed("active"), "the archived conversation is listed among the active ones, or not among the archived")
	user.say(id, "wake up")
	t.must(user.get(path).gives(http.StatusOK).str("status") == "active", "a message does not wake the archived conversation")
	user.call(http.MethodDelete, path, nil).gives(http.StatusNoContent)
	user.get(path).refused(http.StatusNotFound, "not_found")
	user.get("/api/conversations/"+id+"/history").refused(http.StatusNotFound, "not_found")
}

func batchAnswersEach(t *trial) {
	user := t.user()
	one, two := user.quiet(), user.quiet()
	results := user.post("/api/conversations/batch", object{"operations": []object{
		{"action": "archive", "conversation_id": one},
		{"action": "archive", "conversation_id": "nothing"},
		{"action": "delete", "conversation_id": two},
	}}).gives(http.StatusOK).list("results")
	t.must(len(results) == 3 && results[0].is("ok") && !results[1].is("ok") && results[2].is("ok"), "the results are %v", results)
	t.must(results[1].obj("problem").str("error") == "not_found" && results[1].str("conversation_id") == "nothing", "the failure is told as %v", results[1])
	t.must(user.get("/api/conversations/"+one+"/").gives(http.StatusOK).str("status") == "archived", "the first is not archived")
	user.get("/api/conversations/"+two+"/").refused(http.StatusNotFound, "not_found")
}

func offsetPagesAreWhole(t *trial) {
	t.scripted() // conversations of a bot of the run's own are counted
	user, bot := t.user(), t.newBot("offsets")
	wanted := map[string]bool{}
	for range 5 {
		wanted[user.post("/api/conversations/start", object{"bot_id": bot}).gives(http.StatusCreated).str("conversation_id")] = true
	}
	for offset := 0; offset < 6; offset += 2 {
		page := user.get(fmt.Sprintf("/api/conversations?bot_id=%s&limit=2&offset=%d", bot, offset)).gives(http.StatusOK)
		t.must(page.num("total") == 5 && len(page.list("conversations")) == min(2, 5-offset), "from %d on there are %d of %d", offset, len(page.list("conversations")), page.num("total"))
		for _, one := range page.list("conversations") {
			t.must(wanted[one.str("id")], "the conversation %s is not one of them, or is listed twice", one.str("id"))
			delete(wanted, one.str("id"))
		}
	}
}

func cursorPagesAreWhole(t *trial) {
	user := t.user()
	wanted := map[string]bool{}
	for range 4 {
		wanted[user.quiet()] = true
	}
	seen := map[string]bool{}
	base, err := url.Parse(t.config.BaseURL)
	t.must(err == nil, "%v", err)
	next := "/api/conversations/?pageSize=3&ordering=createdAt"
	for pages := 0; next != "" && len(wanted) > 0 && pages < 10; pages++ {
		page := user.get(next).gives(http.StatusOK)
		for _, one := range page.list("results") {
			t.must(!seen[one.str("id")], "the conversation %s is listed twice", one.str("id"))
			seen[one.str("id")] = true
			delete(wanted, one.str("id"))
		}
		if next = page.str("next"); next == "" {
			break
		}
		address, err := url.Parse(next)
		t.must(err == nil, "next is %q", next)
		t.must(address.Scheme == base.Scheme && address.Host == base.Host && strings.HasPrefix(address.Path, base.Path+"/api/"),
			"next leads to %s, not to where the deployment is reached: something on the way does not pass on Host or X-Forwarded-Proto", shortened(next, 100))
	}
	t.must(len(wanted) == 0, "the walk misses %d conversations", len(wanted))
	user.get("/api/conversations/?cursor=nonsense").refused(http.StatusNotFound, "not_found")
}

func keywordIsFound(t *trial) {
	user := t.user()
	id := user.quiet()
	mark := "退" + t.run + "票款"
	user.say(id, "關於"+mark+"的問題")
	for _, keyword := range []string{"票款", mark, strings.ToUpper(t.run)} {
		found := user.get("/api/conversations/?pageSize=100&keyword=" + url.QueryEscape(keyword)).gives(http.StatusOK).list("results")
		t.must(slices.ContainsFunc(found, func(one object) bool { return one.str("id") == id }), "the conversation is not found by %q", keyword)
	}
}

func unreadIsCounted(t *trial) {
	t.scripted()
	user := t.user()
	id := user.start()
	user.post(t.completions(), question(askAnything, id, false)).gives(http.StatusOK)
	unread := func() int {
		for _, one := range user.get("/api/conversations?limit=100&bot_id=" + t.bot).gives(http.StatusOK).list("conversations") {
			if one.str("id") == id {
				return one.num("unread")
			}
		}
		return -1
	}
	t.must(unread() == 1, "after one reply there are %d unread", unread())
	user.post("/api/conversations/batch", object{"operations": []object{{"action": "mark_read", "conversation_id": id}}}).gives(http.StatusOK)
	t.must(unread() == 0, "after it is marked as read there are %d unread", unread())
}
