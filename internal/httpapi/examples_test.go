package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/inbox"
)

// recording rewrites the document's examples (make examples).
var recording = flag.Bool("record", false, "rewrite the examples of api/openapi.yaml")

// The examples of the document are responses of the server. The tour calls every operation and compares each example
// with the recorded response, except for values that differ between runs.
func TestTheExamplesAreWhatTheServerAnswers(t *testing.T) {
	t.Parallel()
	s := newTour(t)
	s.knowledge()
	s.conversations()
	s.records() // first, because later steps may repeat requests
	s.streams()
	s.settings()
	s.browsers()
	s.openai()
	s.service()
	s.refusals()
	s.socket()
	s.compare(readExamples(t))
}

// tour calls all operations with the admin key.
type tour struct {
	caller
	began time.Time
	// ids maps IDs of responses to IDs of the document.
	ids  map[string]string
	kept *[]kept
	// at is the example that is being normalized.
	at string
}

// kept are the recorded examples, as JSON.
type kept struct {
	name string
	body []byte
}

// IDs that also occur in the document's parameters and schemas.
const (
	exampleID             = "019bc0a4-7c10-7f3a-8d55-1b2f6a1c%04x"
	theBot                = 0x0e00
	theConversation       = 0x0e01
	theQuestion           = 0x0e02
	theRun                = 0x0e03
	theFAQ                = 0x0e04
	theWebChat            = 0x0e05
	theKey                = 0x0e06
	theContact            = 0x0e07
	theInbox              = 0x0e08
	theAttachment         = 0x0e09
	theReply              = 0x0e0a
	theUser               = 0x0e0b
	theOrganization       = 0x0e0c
	theRequest            = 0x0e0d
	exampleTime           = "2026-01-15T10:30:00.000000Z"
	exampleDay            = "2026-01-15"
	exampleServer         = "http://localhost:8080"
	exampleIdempotencyKey = "8e03978e-40d5-43e8-bc93-6894a57f9324"
)

func newTour(t *testing.T) *tour {
	t.Helper()
	server := serveWith(t, settings{limits: map[string]int{"messages": 60, "history": 100, "list": 30}})
	made := must(server.store.CreateOrganization(t.Context(), uuid.Must(uuid.NewV7()), "Acme"))
	acme := organization{server: server, id: made.ID, name: made.Name}
	acme.bot = must(server.bots.Create(t.Context(), made.ID, bot.NewBot{
		Name: "Parley", Slug: "parley", Description: "Answers questions about Parley.", Greeting: "Hello!", UnanswerableReply: "Sorry, I do not know that.", IsDefault: true,
	}))
	acme.webChat = must(server.chat.Inboxes.CreateWebChat(t.Context(), made.ID, inbox.WebChat{Name: new("Website")}, nil))
	s := &tour{caller: acme.as("admin", auth.Admin), began: time.Now().UTC(), ids: map[string]string{}, kept: new([]kept)}
	s.name(theBot, acme.bot.ID.String())
	s.name(theOrganization, made.ID.String())
	s.name(theWebChat, acme.webChat.ID.String())
	s.name(theInbox, acme.webChat.InboxID.String())
	s.name(theUser, text(s.get("/api/me/")["user"].(object), "id"))
	return s
}

// name maps an ID of the tour to one of the IDs above.
func (s *tour) name(as int, id string) { s.ids[id] = fmt.Sprintf(exampleID, as) }

// tell sends a request and records its body and its response as examples, such as startConversationRequest and
// startConversation201.
func (s *tour) tell(operation, method, path string, body any, status int, options ...option) object {
	s.t.Helper()
	got := s.ask(operation, method, path, body, status, options...)
	if got.isJSON() {
		return got.json()
	}
	return nil
}

func (s *tour) ask(operation, method, path string, body any, status int, options ...option) answer {
	s.t.Helper()
	got := s.call(method, path, body, append([]option{withHeader("X-Request-Id", fmt.Sprintf(exampleID, theRequest))}, options...)...)
	if got.status != status {
		s.t.Fatalf("%s: %d, want %d\n%s", operation, got.status, status, got.body)
	}
	if body, isObject := body.(object); isObject && status < 400 {
		s.keep(operation+"Request", body)
	}
	if got.isJSON() {
		s.keep(fmt.Sprintf("%s%d", operation, status), got.body)
	}
	return got
}

func (a answer) isJSON() bool {
	return strings.HasPrefix(a.header.Get("Content-Type"), "application/json")
}

// refuse sends a request that must fail, and records the problem as an example with its own name.
func (s *tour) refuse(name, method, path string, body any, status int, options ...option) {
	s.t.Helper()
	got := s.call(method, path, body, append([]option{withHeader("X-Request-Id", fmt.Sprintf(exampleID, theRequest))}, options...)...)
	if got.status != status {
		s.t.Fatalf("%s: %d, want %d\n%s", name, got.status, status, got.body)
	}
	s.keep(name, got.body)
}

// refuseAtLast repeats a request until it exceeds its rate limit.
func (s *tour) refuseAtLast(name, method, path string, body any) {
	s.t.Helper()
	eventually(s.t, name, func() bool { return s.call(method, path, body).status == http.StatusTooManyRequests })
	s.refuse(name, method, path, body, http.StatusTooManyRequests)
}

// keep records an example. Bytes are JSON, a string is text.
func (s *tour) keep(name string, value any) {
	body, isJSON := value.([]byte)
	if !isJSON {
		body = must(json.Marshal(value))
	}
	*s.kept = append(*s.kept, kept{name, body})
}

func (s *tour) knowledge() {
	const faqs = "/api/chatbots/parley/faqs/"
	faq := s.tell("createFaq", "POST", faqs, object{"question": question, "answer": "Use the link on the sign-in page. <b>It is good for an hour.</b>", "labels": []string{"account"}}, 201)
	s.name(theFAQ, text(faq, "id"))
	table := "question,answer\nHow do I change my password?,Under Settings.\nWhere are the invoices?,\n"
	form, kind := upload("file", "faqs.csv", []byte(table))
	s.keep("importFaqsRequest", object{"file": table})
	s.tell("importFaqs", "POST", faqs+"import/", form, 200, kind)
	s.tell("listFaqs", "GET", faqs+"?pageSize=1", nil, 200)
	s.tell("getFaq", "GET", faqs+text(faq, "id")+"/", nil, 200)
	s.tell("updateFaq", "PATCH", faqs+text(faq, "id")+"/", object{"labels": []string{"account", "password"}}, 200)
}

func (s *tour) conversations() {
	alex := s.tell("createContact", "POST", "/api/contacts/", object{"name": "Alex", "email": "alex@example.com", "sourceId": "line-4711", "queryMetadata": object{"tier": "gold"}}, 201)
	s.name(theContact, text(alex, "id"))

	began := s.tell("startConversation", "POST", "/api/conversations/start", object{"bot_id": "parley", "initial_message": question}, 201)
	conversation := text(began, "conversation_id")
	s.name(theConversation, conversation)
	s.name(theQuestion, text(began, "message_id"))
	s.name(theRun, text(began, "run_id"))
	s.name(theReply, text(s.awaitRun(text(began, "run_id")), "messageId"))
	s.tell("getRun", "GET", "/api/runs/"+text(began, "run_id")+"/", nil, 200)

	sent := s.tell("sendMessage", "POST", "/api/conversations/"+conversation+"/messages", object{"content": "Thank you!", "metadata": object{"source": "newsletter"}}, 201)
	s.awaitRun(text(sent, "run_id"))
	s.tell("getHistory", "GET", "/api/conversations/"+conversation+"/history?limit=2&after_seq=0", nil, 200)
	s.tell("listConversations", "GET", "/api/conversations?limit=1", nil, 200)
	s.tell("listInboxConversations", "GET", "/api/conversations/?pageSize=1", nil, 200)
	s.tell("updateConversation", "PATCH", "/api/conversations/"+conversation+"/", object{"title": "Password reset"}, 200)
	s.tell("createConversation", "POST", "/api/conversations/", object{"webChat": s.webChat.ID.String(), "contact": text(alex, "id")}, 201)

	s.tell("setMessageFeedback", "PUT", "/api/messages/"+s.real(theReply)+"/feedback/", object{"feedback": "like"}, 200)
	message := s.tell("createMessage", "POST", "/api/messages/", object{
		"conversation": conversation, "content": "It looks like this.",
		"attachments": []object{{"type": "image", "filename": "screen.png", "file": "https://files.example.com/screen.png"}},
	}, 201)
	s.name(theAttachment, text(objects(message, "attachments")[0], "id"))
	s.awaitRun(text(message, "runId"))
	s.tell("listMessages", "GET", "/api/messages/?conversation="+conversation+"&pageSize=1", nil, 200)
	s.tell("getMessage", "GET", "/api/messages/"+s.real(theQuestion)+"/", nil, 200)
	s.tell("getConversation", "GET", "/api/conversations/"+conversation+"/", nil, 200)
	other := text(s.call("POST", "/api/conversations/start", object{}).wantStatus(201), "conversation_id")
	s.tell("batchConversations", "POST", "/api/conversations/batch", object{"operations": []object{
		{"action": "mark_read", "conversation_id": conversation}, {"action": "archive", "conversation_id": other}, {"action": "delete", "conversation_id": "gone"},
	}}, 200)
}

func (s *tour) streams() {
	s.tell("createCompletion", "POST", completions, object{"conversation": s.real(theConversation), "message": object{"content": question}, "isStreaming": false}, 200)
	stream := s.streamInEvents("createCompletionStream", completions, object{"message": object{"content": question}, "isStreaming": true}, 3)
	s.keepEvents("createCompletion", stream)
	s.keep("createCompletionTranscript", string(stream.body))
	run := stream.header.Get("X-Run-Id")
	s.keepEvents("streamRun", s.ask("streamRun", "GET", "/api/runs/"+run+"/events/?after=1.20", nil, 200))

	s.call("POST", "/api/chatbots/", object{"name": "Slow", "engine": "scripted", "script": object{"rules": []object{{"deltas": []string{"Late."}, "delayMs": 60000}}}}).wantStatus(201)
	slow := s.call("POST", "/api/conversations/start", object{"bot_id": "slow", "initial_message": "Hello"}).wantStatus(201)
	eventually(s.t, "the reply begins", func() bool { return s.get("/api/runs/" + text(slow, "run_id") + "/")["state"] == "running" })
	s.tell("cancelRun", "POST", "/api/runs/"+text(slow, "run_id")+"/cancel/", nil, 200)
}

// streamInEvents repeats a request until its stream has that many events. Deltas that are written before the stream
// is read arrive as one event.
func (s *tour) streamInEvents(operation, path string, body object, events int) answer {
	s.t.Helper()
	var stream answer
	eventually(s.t, operation+" comes in pieces", func() bool {
		stream = s.call("POST", path, body).stream()
		return bytes.Count(stream.body, []byte("data: ")) == events
	})
	s.keep(operation+"Request", body)
	return stream
}

// stream fails the test unless the response is a stream.
func (a answer) stream() answer {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("%s: %d\n%s", a.request, a.status, a.body)
	}
	return a
}

// keepEvents records the first and the last event of a stream.
func (s *tour) keepEvents(operation string, stream answer) {
	events := stream.events()
	s.keep(operation+"Event", events[0].data)
	s.keep(operation+"LastEvent", events[len(events)-1].data)
}

func (s *tour) records() {
	const records = "/api/chatbots/parley/records/"
	record := s.tell("getRecord", "GET", records+s.real(theRun)+"/", nil, 200)
	day := text(record, "createdAt")[:len(time.DateOnly)]
	days := "startDate=" + day + "&endDate=" + day
	s.tell("listRecords", "GET", records+"?pageSize=1&conversation="+s.real(theConversation)+"&type=New&"+days, nil, 200)
	s.tell("updateRecord", "PATCH", records+s.real(theRun)+"/", object{"faithfulnessScore": 0.9, "answerRelevancyScore": 0.85}, 200)
	s.tell("getStatistics", "GET", "/api/chatbots/parley/statistics/?"+days, nil, 200)
	first := "export/?conversation=" + s.real(theConversation) + "&type=New&" + days
	s.keep("exportRecordsAsTextCsv", string(s.ask("exportRecordsAsText", "GET", records+first, nil, 200).body))
	s.keep("exportRecordsAsTextJsonl", s.ask("exportRecordsAsText", "GET", records+first+"&format=jsonl", nil, 200).body)
}

func (s *tour) settings() {
	support := s.tell("createChatbot", "POST", "/api/chatbots/", object{"name": "Support", "greeting": "How can I help?"}, 201)
	s.tell("listChatbots", "GET", "/api/chatbots/?pageSize=1", nil, 200)
	s.tell("getChatbot", "GET", "/api/chatbots/parley/", nil, 200)
	s.tell("updateChatbot", "PATCH", "/api/chatbots/"+text(support, "id")+"/", object{
		"engine": "scripted", "script": object{"rules": []object{{"match": "refund", "deltas": []string{"Refunds take ", "three days."}, "delayMs": 50}}},
	}, 200)
	shop := s.tell("createWebChat", "POST", "/api/web-chats/", object{"name": "Shop", "chatbot": "support", "allowedOrigins": []string{"https://shop.example.com"}}, 201)
	s.tell("listWebChats", "GET", "/api/web-chats/?pageSize=1", nil, 200)
	s.tell("getWebChat", "GET", "/api/web-chats/"+s.webChat.ID.String()+"/", nil, 200)
	s.tell("updateWebChat", "PATCH", "/api/web-chats/"+text(shop, "id")+"/", object{"chatbot": "parley"}, 200)
	s.tell("listInboxes", "GET", "/api/inboxes/?pageSize=1", nil, 200)
	s.tell("listContacts", "GET", "/api/contacts/?query=alex", nil, 200)
	s.tell("getContact", "GET", "/api/contacts/"+s.real(theContact)+"/", nil, 200)
	s.tell("updateContact", "PATCH", "/api/contacts/"+s.real(theContact)+"/", object{"phoneNumber": "+886 2 1234 5678"}, 200)
	s.name(theKey, text(s.tell("createApiKey", "POST", "/api/api-keys/", object{"name": "Portal", "user": "portal", "scopes": []string{"agent"}}, 201), "id"))
	s.tell("listApiKeys", "GET", "/api/api-keys/?pageSize=1", nil, 200)
	s.tell("listAuditEvents", "GET", "/api/audit-events/?pageSize=1", nil, 200)
	s.tell("getMe", "GET", "/api/me/", nil, 200)
}

func (s *tour) browsers() {
	s.tell("createClientToken", "POST", "/api/client-tokens/", object{"chatbot": "parley", "contact": s.real(theContact), "origin": "https://www.example.com"}, 201)
	s.tell("createWsTicket", "POST", "/api/ws-tickets/", object{"conversation": s.real(theConversation)}, 201)
}

func (s *tour) openai() {
	asked := object{"model": "parley", "messages": []object{{"role": "user", "content": question}}}
	s.tell("createChatCompletion", "POST", "/v1/chat/completions", asked, 200)
	usage := "/api/stateless-usage/" + around("")
	eventually(s.t, "the completion is counted", func() bool { return number(s.get(usage), "count") == 1 })
	s.tell("listStatelessUsage", "GET", usage, nil, 200)
	streamed := s.streamInEvents("createChatCompletionStream", "/v1/chat/completions", streaming(asked), 5)
	chunks, _ := streamed.chunks()
	s.keep("createChatCompletionFirstChunk", chunks[0])
	s.keep("createChatCompletionChunk", chunks[1])
	s.keep("createChatCompletionLastChunk", chunks[len(chunks)-1])
	s.keep("createChatCompletionTranscript", string(streamed.body))
	asked = object{"model": "parley", "input": question}
	s.tell("createResponse", "POST", "/v1/responses", asked, 200)
	events := s.streamInEvents("createResponseStream", "/v1/responses", streaming(asked), 10).typedEvents()
	s.keep("createResponseFirstEvent", events[0])
	s.tell("listModels", "GET", "/v1/models", nil, 200)
	s.tell("getModel", "GET", "/v1/models/parley", nil, 200)
}

func (s *tour) service() {
	s.tell("getProblem", "GET", "/problems/not_found", nil, 200)
	s.tell("getHealth", "GET", "/healthz", nil, 200)
	s.tell("getReadiness", "GET", "/readyz", nil, 200)
}

func (s *tour) refusals() {
	conversation := "/api/conversations/" + s.real(theConversation)
	bob := &tour{caller: s.as("bob", auth.Chat), ids: s.ids, began: s.began, kept: s.kept}
	s.refuse("invalidMessage", "POST", conversation+"/messages", object{"content": " "}, 400)
	s.refuse("invalidRequest", "GET", conversation+"/history?limit=0&after=yesterday", nil, 400)
	s.refuse("unauthorized", "GET", conversation+"/", nil, 401, withHeader("Authorization", "Bearer pk_4f9a1c22d0.wrong"))
	bob.refuse("forbidden", "GET", "/api/chatbots/", nil, 403)
	s.refuse("notFound", "GET", "/api/conversations/"+uuid.NewString()+"/", nil, 404)
	s.refuse("methodNotAllowed", "POST", conversation+"/", object{}, 405)
	s.refuse("conflict", "DELETE", "/api/chatbots/parley/", nil, 409)
	s.expectFailures()
	s.call("POST", "/api/chatbots/", object{"name": "Broken", "engine": "scripted", "script": object{"rules": []object{{"deltas": []string{"Never."}, "failAfter": 0}}}}).wantStatus(201)
	s.refuse("upstreamFailed", "POST", "/api/chatbots/broken/completions/", object{"message": object{"content": question}}, 502)
	once := withHeader("Idempotency-Key", exampleIdempotencyKey)
	s.call("POST", "/api/ws-tickets/", object{}, once).wantStatus(201)
	s.refuse("repeatConflict", "POST", "/api/ws-tickets/", object{}, 409, once)
	s.call("POST", conversation+"/messages", object{"content": "Hello"}, once).wantStatus(201)
	s.refuse("unprocessable", "POST", conversation+"/messages", object{"content": "Good morning"}, 422, once)
	s.refuse("tooLarge", "POST", conversation+"/messages", object{"content": strings.Repeat("x", 100001)}, 413)
	s.refuse("unsupportedMediaType", "POST", conversation+"/messages", "Hello", 415, withHeader("Content-Type", "text/plain"))
	bob.refuseAtLast("rateLimited", "GET", "/api/conversations", nil)

	const chats = "/v1/chat/completions"
	s.refuse("openaiInvalidRequest", "POST", chats, object{"model": "parley", "messages": []object{}}, 400)
	s.refuse("openaiUnauthorized", "GET", "/v1/models", nil, 401, withHeader("Authorization", "Bearer pk_4f9a1c22d0.wrong"))
	s.refuse("openaiModelNotFound", "GET", "/v1/models/gpt-4o-mini", nil, 404)
	s.refuse("openaiMethodNotAllowed", "GET", chats, nil, 405)
	bob.refuseAtLast("openaiRateLimited", "POST", chats, object{})
}

// socket records the dialogue in the description of connect. It repeats the dialogue until no frame arrived too late.
func (s *tour) socket() {
	s.t.Helper()
	var said string
	eventually(s.t, "a dialogue comes in pieces", func() bool {
		said = s.dialogue()
		return strings.Count(said, `"delta"`) == 2 && strings.Index(said, `"delivered"`) < strings.Index(said, `"is_typing"`)
	})
	s.keep("connectTranscript", said)
}

func (s *tour) dialogue() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	address := "ws" + strings.TrimPrefix(s.url, "http") + "/ws?stream=true"
	conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{Subprotocols: []string{"bearer", s.key}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.CloseNow()
	var said bytes.Buffer
	hear := func(until string) {
		for {
			_, frame, err := conn.Read(ctx)
			if err != nil {
				s.t.Fatalf("%v after\n%s", err, said.String())
			}
			fmt.Fprintf(&said, "← %s\n", frame)
			if bytes.Contains(frame, []byte(until)) {
				return
			}
		}
	}
	say := func(frame string) {
		fmt.Fprintf(&said, "→ %s\n", frame)
		if err := conn.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
			s.t.Fatal(err)
		}
	}
	hear(`"connected"`)
	say(`{"type":"message","content":"` + question + `","client_message_id":"c-17"}`)
	hear(`"suggestion"`)
	say(`{"type":"message","content":" ","client_message_id":"c-18"}`)
	hear(`"error"`)
	return said.String()
}

// real returns the ID that the tour has in place of one of the document's.
func (s *tour) real(place int) string {
	for id, as := range s.ids {
		if as == fmt.Sprintf(exampleID, place) {
			return id
		}
	}
	s.t.Fatalf("nothing has been named %04x", place)
	return ""
}
