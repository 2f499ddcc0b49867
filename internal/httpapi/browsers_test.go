package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// bearer authenticates with a client token instead of the caller's key.
func bearer(token string) option { return withHeader("Authorization", "Bearer "+token) }

// token creates a client token with the caller's key and returns it.
func (c caller) token(body object) string {
	c.t.Helper()
	return text(c.post("/api/client-tokens/", body), "token")
}

// tokenTarget returns resources that a client token can be bound to: a conversation of the caller with a chatbot and
// a contact. It creates the chatbot and the contact unless they are given, and an answered message with an
// attachment.
func (c caller) tokenTarget(chatbot, contact string) resourceIDs {
	c.t.Helper()
	manager := c.as("manager of "+c.user, auth.Admin)
	ids := resourceIDs{"chatbots": chatbot, "contacts": contact}
	if chatbot == "" {
		ids["chatbots"] = text(manager.post("/api/chatbots/", object{"name": "Another"}), "id")
	}
	if contact == "" {
		ids["contacts"] = text(manager.post("/api/contacts/", object{"name": "Kim"}), "id")
	}
	shop := manager.post("/api/web-chats/", object{"name": "Shop", "chatbot": ids["chatbots"]})
	ids["web-chats"], ids["inboxes"] = text(shop, "id"), text(shop, "inbox")
	ids["conversations"] = text(c.post("/api/conversations/", object{"webChat": ids["web-chats"], "contact": ids["contacts"]}), "id")
	sent := c.post("/api/messages/", object{
		"conversation": ids["conversations"], "content": question,
		"attachments": []object{{"file": "https://files.example.com/secret.png"}},
	})
	ids["messages"], ids["runs"] = text(sent, "id"), text(sent, "runId")
	ids["attachments"] = text(objects(sent, "attachments")[0], "id")
	c.awaitRun(ids["runs"])
	missing := unknownIDs()
	for kind, id := range missing {
		if ids[kind] == "" {
			ids[kind] = id // not accessible with a client token
		}
	}
	return ids
}

// clientToken is a client token with the resources that it is bound to.
type clientToken struct {
	name, kind string
	token      string
	target     resourceIDs
}

// clientTokens returns one client token of each kind.
func (c caller) clientTokens() []clientToken {
	c.t.Helper()
	all := c.tokenTarget("", "")
	alone := c.post("/api/client-tokens/", object{"chatbot": all["chatbots"]})
	return []clientToken{
		{"conversation", "conversation", c.token(object{"conversation": all["conversations"]}), all},
		{"contact", "contact", c.token(object{"contact": all["contacts"]}), all},
		{"chatbot and contact", "chatbot", c.token(object{"chatbot": all["chatbots"], "contact": all["contacts"]}), all},
		{"chatbot", "chatbot", text(alone, "token"), c.tokenTarget(all["chatbots"], text(alone, "contact"))},
	}
}

// filter returns the query that restricts an operation to a conversation.
func (op operation) filter(ids resourceIDs) string {
	switch op.id {
	case "listMessages":
		return "conversation=" + ids["conversations"]
	case "connect":
		return "session_id=" + ids["conversations"]
	}
	return ""
}

// inConversation adds the conversation to the body of a completion. Without it, a completion creates a conversation.
func (op operation) inConversation(body any, ids resourceIDs) any {
	if asked, ok := body.(object); ok && op.id == "createCompletion" && asked["conversation"] == nil {
		asked["conversation"] = ids["conversations"]
	}
	if asked, ok := body.(object); ok && op.id == "createChatCompletion" && asked["metadata"] == nil {
		asked["metadata"] = object{"conversation_id": ids["conversations"]}
	}
	return body
}

// acceptsToken reports whether the document accepts client tokens of a kind for the operation.
func (op operation) acceptsToken(purpose string) bool {
	return slices.Contains(words(op.Extensions["x-client-tokens"]), purpose)
}

// INVARIANT: a client token permits exactly the operations whose x-client-tokens name its kind, on the resources that
// it is bound to.
func TestClientTokensAllowTheOperationsOfTheirPurpose(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	for _, scope := range []auth.Scope{auth.Chat, auth.Agent, auth.Admin} {
		me := o.as("maker with "+string(scope), scope)
		for _, token := range me.clientTokens() {
			opened := 0
			for _, op := range operations {
				if !op.isSecured {
					continue
				}
				got := op.send(me, op.target(token.target, op.filter(token.target)), op.inConversation(op.validBody(token.target), token.target), bearer(token.token))
				if !op.acceptsToken(token.kind) {
					if err := got.checkProblem(403, "forbidden", ""); err != nil {
						t.Errorf("%s with a token for a %s, made with %s: %v", op.id, token.name, scope, err)
					}
					continue
				}
				opened++
				if got.status >= 300 {
					t.Errorf("%s with a token for a %s, made with %s: %d %s", op.id, token.name, scope, got.status, got.body)
				}
			}
			if want := map[string]int{"conversation": 13, "contact": 16, "chatbot": 16}[token.kind]; opened != want {
				t.Errorf("a token for a %s permits %d operations, want %d", token.name, opened, want)
			}
		}
	}
}

// INVARIANT: other resources of the same user are 403 for a client token, and resources of another organization are
// 404. The rule holds wherever an operation accepts an ID, and none of these resources changes.
func TestClientTokensAreValidForTheirPurposeOnly(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o, others := s.organization(), s.organization()
	foreign := others.as("owner", auth.Admin).createResources()
	theirs := others.snapshot()
	me := o.as("me", auth.Agent)
	tokens := me.clientTokens()
	elsewhere := me.tokenTarget("", "")
	tried := 0
	for _, token := range tokens {
		for _, op := range operations {
			if !op.acceptsToken(token.kind) {
				continue
			}
			for _, at := range op.idPlaces() {
				ask := func(id string) answer {
					path, body := at.put(token.target, id)
					if filter := op.filter(token.target); filter != "" && !strings.Contains(path, "?") {
						path += "?" + filter
					}
					return op.send(me, path, op.inConversation(body, token.target), bearer(token.token), withHeader("X-Request-Id", "same"))
				}
				tried++
				got := ask(elsewhere[at.kind])
				isOpen := at.kind == "chatbots" && token.name == "contact" || at.kind == "web-chats" && token.name == "contact"
				switch {
				case at.name == "query bot_id": // ignored when session_id is given
				case at.kind == "attachments":
					if err := got.checkProblem(400, "invalid_message", ""); err != nil {
						t.Errorf("%s, %s, with a token for a %s: %v", op.id, at.name, token.name, err)
					}
				case isOpen && (op.id == "createCompletion" || op.id == "createChatCompletion"):
					if err := got.checkProblem(404, "not_found", ""); err != nil { // the conversation belongs to another bot
						t.Errorf("%s, %s, with a token for a %s: %v", op.id, at.name, token.name, err)
					}
				case isOpen:
					if got.status >= 300 {
						t.Errorf("%s, %s, with a token for a %s: %d %s", op.id, at.name, token.name, got.status, got.body)
					}
				default:
					if err := got.checkProblem(403, "forbidden", ""); err != nil {
						t.Errorf("%s, %s, with a token for a %s: %v", op.id, at.name, token.name, err)
					}
				}
				if at.name == "query bot_id" {
					continue
				}
				theirs, nobodys := ask(foreign[at.kind]), ask(unknownIDs()[at.kind])
				if theirs.status != nobodys.status || string(theirs.body) != string(nobodys.body) || theirs.status != 404 && theirs.status != 400 {
					t.Errorf("%s, %s, with a token for a %s: the foreign ID is %d %s, the unknown one %d %s", op.id, at.name, token.name, theirs.status, theirs.body, nobodys.status, nobodys.body)
				}
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d places were tested", tried)
	}
	if after := others.snapshot(); after != theirs {
		t.Error("data of another organization changed")
	}
	for _, message := range me.history(elsewhere["conversations"]) {
		if message["feedback"] != nil || number(message, "seq") > 2 {
			t.Errorf("outside of the tokens' conversations there is %v", message)
		}
	}
	// Operations that name no conversation read all conversations.
	for _, token := range tokens {
		me.call(http.MethodGet, "/api/messages/", nil, bearer(token.token)).wantProblem(403, "forbidden", "")
		if token.kind == "conversation" {
			me.call(http.MethodPost, "/api/chatbots/"+token.target["chatbots"]+"/completions/", object{"message": object{"content": "Hi"}}, bearer(token.token)).wantProblem(403, "forbidden", "")
			me.call(http.MethodPost, "/api/conversations/start", object{}, bearer(token.token)).wantProblem(403, "forbidden", "")
		}
	}
}

// A conversation created with a token belongs to the user who made the token, to the token's contact and, if the
// token is bound to one, to its chatbot. Another token for the same contact can continue it.
func TestClientTokensReachOnlyConversationsOfTheirContact(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me := o.as("me", auth.Chat)
	for _, token := range me.clientTokens() {
		if token.kind == "conversation" {
			continue
		}
		path := "/api/chatbots/" + token.target["chatbots"] + "/completions/"
		asked := me.call(http.MethodPost, path, object{"message": object{"content": question}}, bearer(token.token)).wantStatus(200)
		shown := me.get("/api/conversations/" + text(asked, "conversationId") + "/")
		if shown["contact"].(object)["id"] != token.target["contacts"] || shown["chatbot"].(object)["id"] != token.target["chatbots"] {
			t.Errorf("%s: %v", token.name, shown)
		}
		started := me.call(http.MethodPost, "/api/conversations/start", object{}, bearer(token.token)).wantStatus(201)
		shown = me.get("/api/conversations/" + text(started, "conversation_id") + "/")
		isBound := shown["chatbot"].(object)["id"] == token.target["chatbots"]
		if shown["contact"].(object)["id"] != token.target["contacts"] || isBound != (token.kind == "chatbot") {
			t.Errorf("%s: %v", token.name, shown)
		}
		renewed := me.token(object{"contact": token.target["contacts"]})
		me.call(http.MethodGet, "/api/conversations/"+text(started, "conversation_id")+"/history", nil, bearer(renewed)).wantStatus(200)
	}
}

// Two browsers have tokens for one chatbot, made by one user. Neither can read the other's conversations, and equal
// Idempotency-Keys do not replay the other's responses.
func TestClientTokensOfTwoContactsAreIsolated(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me := o.as("me", auth.Chat)
	door := "/api/chatbots/parley/completions/"
	var conversations, tokens []string
	for range 2 {
		token := me.token(object{"chatbot": "parley"})
		first := me.call(http.MethodPost, door, object{"message": object{"content": question}}, bearer(token), withHeader("Idempotency-Key", "1"))
		again := me.call(http.MethodPost, door, object{"message": object{"content": question}}, bearer(token), withHeader("Idempotency-Key", "1"))
		if again.header.Get("Idempotency-Replayed") != "true" || string(again.body) != string(first.body) || !first.isExecuted() {
			t.Errorf("%d %s, again %d %s", first.status, first.body, again.status, again.body)
		}
		tokens, conversations = append(tokens, token), append(conversations, text(first.wantStatus(200), "conversationId"))
	}
	if conversations[0] == conversations[1] {
		t.Error("the second browser received the first one's response")
	}
	for i := range tokens {
		me.call(http.MethodGet, "/api/conversations/"+conversations[i]+"/history", nil, bearer(tokens[i])).wantStatus(200)
		me.call(http.MethodGet, "/api/conversations/"+conversations[1-i]+"/history", nil, bearer(tokens[i])).wantProblem(403, "forbidden", "")
	}
}

// A key can make a token for any conversation that it may read. Messages sent with the token are those of the
// conversation's user.
func TestConversationTokensActAsTheConversationsUser(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, portal := o.as("alice", auth.Chat), o.as("portal", auth.Agent)
	id := alice.startConversation()
	o.as("bob", auth.Chat).call(http.MethodPost, "/api/client-tokens/", object{"conversation": id}).wantProblem(403, "forbidden", "")
	token := portal.token(object{"conversation": id})
	path := "/api/conversations/" + id + "/messages"
	sent := portal.call(http.MethodPost, path, object{"content": question}, bearer(token)).wantStatus(201)
	alice.awaitRun(text(sent, "run_id"))
	if said := alice.history(id); said[0]["sender"] != "user" || said[1]["sender"] != "bot" {
		t.Errorf("%v", said)
	}
	portal.call(http.MethodPost, "/api/messages/", object{"conversation": id, "content": "Hi", "type": "outgoing"}, bearer(token)).wantProblem(403, "forbidden", "")
}

// The response names the target and the expiry of the token. IDs are returned in the form in which they were sent.
func TestClientTokensDescribeTheirPurpose(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me := o.as("me", auth.Chat)
	all := me.tokenTarget("", "")
	made := me.post("/api/client-tokens/", object{"chatbot": "parley", "contact": all["contacts"], "origin": "https://Shop.Example:443", "scopes": []string{"chat"}})
	want := []string{"chatbot", "contact", "conversation", "expiresAt", "origin", "scopes", "token"}
	if fields := slices.Sorted(maps.Keys(made)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	if made["chatbot"] != o.bot.ID.String() || made["contact"] != all["contacts"] || made["conversation"] != nil || made["origin"] != "https://shop.example" || !equalJSON(made["scopes"], []any{"chat"}) {
		t.Errorf("%v", made)
	}
	made = me.post("/api/client-tokens/", object{"conversation": all["conversations"]})
	if made["conversation"] != all["conversations"] || made["chatbot"] != all["chatbots"] || made["contact"] != all["contacts"] || made["origin"] != nil {
		t.Errorf("%v", made)
	}
	for name, body := range map[string]object{
		"nothing":      {},
		"all":          {"conversation": all["conversations"], "contact": all["contacts"]},
		"two":          {"conversation": all["conversations"], "chatbot": all["chatbots"]},
		"too long":     {"chatbot": "parley", "expiresIn": 3601},
		"no time":      {"chatbot": "parley", "expiresIn": 0},
		"another":      {"chatbot": "parley", "scopes": []string{"agent"}},
		"no scope":     {"chatbot": "parley", "scopes": []string{}},
		"no origin":    {"chatbot": "parley", "origin": "shop.example"},
		"an address":   {"chatbot": "parley", "origin": "https://shop.example/chat"},
		"empty":        {"chatbot": "parley", "origin": ""},
		"a pattern":    {"chatbot": "parley", "origin": "https://*.shop.example"},
		"no one's":     {"contact": "x"},
		"both tickets": nil,
	} {
		path := "/api/client-tokens/"
		if body == nil {
			path, body = "/api/ws-tickets/", object{"conversation": all["conversations"], "chatbot": "parley"}
		}
		if err := me.call(http.MethodPost, path, body).checkProblem(400, "invalid_request", ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
