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
	kept *[]example
	// at is the example that is being normalized.
	at string
}

// example are the recorded examples, as JSON.
type example struct {
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
	server := serveWith(t, settings{limits: map[string]int{"messages": 60, "history": 100, "list": 30, "reads": 6000, "writes": 1200, "reports": 60}})
	made := must(server.store.CreateOrganization(t.Context(), uuid.Must(uuid.NewV7()), "Acme"))
	acme := organization{server: server, id: made.ID, name: made.Name}
	acme.bot = must(server.bots.Create(t.Context(), made.ID, bot.NewBot{
		Name: "Parley", Slug: "parley", Description: "Answers questions about Parley.", Greeting: "Hello!", UnanswerableReply: "Sorry, I do not know that.", IsDefault: true,
	}))
	acme.webChat = must(server.chat.Inboxes.CreateWebChat(t.Context(), made.ID, inbox.WebChat{Name: new("Website")}, nil))
	s := &tour{caller: acme.as("admin", auth.Admin), began: time.Now().UTC(), ids: map[string]string{}, kept: new([]example)}
	s.nameID(theBot, acme.bot.ID.String())
	s.nameID(theOrganization, made.ID.String())
	s.nameID(theWebChat, acme.webChat.ID.String())
	s.nameID(theInbox, acme.webChat.InboxID.String())
	s.nameID(theUser, text(s.get("/api/me/")["user"].(object), "id"))
	return s
}

// nameID maps an ID of the tour to one of the IDs above.
func (s *tour) nameID(as int, id string) { s.ids[id] = fmt.Sprintf(exampleID, as) }

// record sends a request and records its body and its response as examples, such as startConversationRequest and
// startConversation201.
func (s *tour) record(operation, method, path string, body any, status int, options ...option) object {
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
		s.recordExample(operation+"Request", body)
	}
	if got.isJSON() {
		s.recordExample(fmt.Sprintf("%s%d", operation, status), got.body)
	}
	return got
}

func (a answer) isJSON() bool {
	return strings.HasPrefix(a.header.Get("Content-Type"), "application/json")
}

// recordProblem sends a request that must fail, and records the problem as an example with its own name.
func (s *tour) recordProblem(name, method, path string, body any, status int, options ...option) {
	s.t.Helper()
	got := s.call(method, path, body, append([]option{withHeader("X-Request-Id", fmt.Sprintf(exampleID, theRequest))}, options...)...)
	if got.status != status {
		s.t.Fatalf("%s: %d, want %d\n%s", name, got.status, status, got.body)
	}
	s.recordExample(name, got.body)
}

// recordRateLimit repeats a request until it exceeds its rate limit.
func (s *tour) recordRateLimit(name, method, path string, body any) {
	s.t.Helper()
	eventually(s.t, name, func() bool { return s.call(method, path, body).status == http.StatusTooManyRequests })
	s.recordProblem(name, method, path, body, http.StatusTooManyRequests)
}

// recordExample records an example. Bytes are JSON, a string is text.
func (s *tour) recordExample(name string, value any) {
	body, isJSON := value.([]byte)
	if !isJSON {
		body = must(json.Marshal(value))
	}
	*s.kept = append(*s.kept, example{name, body})
}

func (s *tour) knowledge() {
	const faqs = "/api/chatbots/parley/faqs/"
	faq := s.record("createFaq", "POST", faqs, object{"question": question, "answer": "Use the link on the sign-in page. <b>It is good for an hour.</b>", "labels": []string{"account"}}, 201)
	s.nameID(theFAQ, text(faq, "id"))
	table := "question,answer\nHow do I change my password?,Under Settings.\nWhere are the invoices?,\n"
	form, kind := upload("file", "faqs.csv", []byte(table))
	s.recordExample("importFaqsRequest", object{"file": table})
	s.record("importFaqs", "POST", faqs+"import/", form, 200, kind)
	s.record("listFaqs", "GET", faqs+"?pageSize=1", nil, 200)
	s.record("getFaq", "GET", faqs+text(faq, "id")+"/", nil, 200)
	s.record("updateFaq", "PATCH", faqs+text(faq, "id")+"/", object{"labels": []string{"account", "password"}}, 200)
	added := s.record("addFaq", "POST", "/api/faqs/", object{"chatbot": "parley", "question": "Where are the invoices?", "answer": "Under Billing."}, 201)
	s.record("deleteFaqs", "POST", faqs+"batch-delete/", object{"ids": []string{text(added, "id")}}, 204)
}

func (s *tour) conversations() {
	alex := s.record("createContact", "POST", "/api/contacts/", object{"name": "Alex", "email": "alex@example.com", "sourceId": "line-4711", "queryMetadata": object{"tier": "gold"}}, 201)
	s.nameID(theContact, text(alex, "id"))

	began := s.record("startConversation", "POST", "/api/conversations/start", object{"bot_id": "parley", "initial_message": question}, 201)
	conversation := text(began, "conversation_id")
	s.nameID(theConversation, conversation)
	s.nameID(theQuestion, text(began, "message_id"))
	s.nameID(theRun, text(began, "run_id"))
	s.nameID(theReply, text(s.awaitRun(text(began, "run_id")), "messageId"))
	s.record("getRun", "GET", "/api/runs/"+text(began, "run_id")+"/", nil, 200)

	sent := s.record("sendMessage", "POST", "/api/conversations/"+conversation+"/messages", object{"content": "Thank you!", "metadata": object{"source": "newsletter"}}, 201)
	s.awaitRun(text(sent, "run_id"))
	s.record("getHistory", "GET", "/api/conversations/"+conversation+"/history?limit=2&after_seq=0", nil, 200)
	s.record("listConversations", "GET", "/api/conversations?limit=1", nil, 200)
	s.record("listInboxConversations", "GET", "/api/conversations/?pageSize=1", nil, 200)
	s.record("updateConversation", "PATCH", "/api/conversations/"+conversation+"/", object{"title": "Password reset"}, 200)
	s.record("createConversation", "POST", "/api/conversations/", object{"webChat": s.webChat.ID.String(), "contact": text(alex, "id")}, 201)

	s.record("setMessageFeedback", "PUT", "/api/messages/"+s.realID(theReply)+"/feedback/", object{"feedback": "like"}, 200)
	message := s.record("createMessage", "POST", "/api/messages/", object{
		"conversation": conversation, "content": "It looks like this.",
		"attachments": []object{{"type": "image", "filename": "screen.png", "file": "https://files.example.com/screen.png"}},
	}, 201)
	s.nameID(theAttachment, text(objects(message, "attachments")[0], "id"))
	s.awaitRun(text(message, "runId"))
	s.record("listMessages", "GET", "/api/messages/?conversation="+conversation+"&pageSize=1", nil, 200)
	s.record("getMessage", "GET", "/api/messages/"+s.realID(theQuestion)+"/", nil, 200)
	s.record("getConversation", "GET", "/api/conversations/"+conversation+"/", nil, 200)
	s.record("createOutgoingMessage", "POST", "/api/messages/outgoing/", object{"conversation": conversation, "content": "A colleague will call you."}, 201)
	s.record("listContactConversations", "GET", "/api/contacts/"+text(alex, "id")+"/conversations/?pageSize=1", nil, 200)
	s.record("getLatestConversation", "GET", "/api/contacts/"+text(alex, "id")+"/conversations/latest/", nil, 200)
	s.record("broadcastMessage", "POST", "/api/contacts/broadcast-message/", object{"message": "We are closed on Monday.", "contact_ids": []string{text(alex, "id"), "unknown"}}, 200)
	other := text(s.call("POST", "/api/conversations/start", object{}).wantStatus(201), "conversation_id")
	s.record("batchConversations", "POST", "/api/conversations/batch", object{"operations": []object{
		{"action": "mark_read", "conversation_id": conversation}, {"action": "archive", "conversation_id": other}, {"action": "delete", "conversation_id": "gone"},
	}}, 200)
}

func (s *tour) streams() {
	s.record("createCompletion", "POST", completions, object{"conversation": s.realID(theConversation), "message": object{"content": question}, "isStreaming": false}, 200)
	stream := s.streamInEvents("createCompletionStream", completions, object{"message": object{"content": question}, "isStreaming": true}, 3)
	s.recordEvents("createCompletion", stream)
	s.recordExample("createCompletionTranscript", string(stream.body))
	run := stream.header.Get("X-Run-Id")
	s.recordEvents("streamRun", s.ask("streamRun", "GET", "/api/runs/"+run+"/events/?after=1.20", nil, 200))

	s.call("POST", "/api/chatbots/", object{"name": "Slow", "engine": "scripted", "script": object{"rules": []object{{"deltas": []string{"Late."}, "delayMs": 60000}}}}).wantStatus(201)
	slow := s.call("POST", "/api/conversations/start", object{"bot_id": "slow", "initial_message": "Hello"}).wantStatus(201)
	eventually(s.t, "the reply starts", func() bool { return s.get("/api/runs/" + text(slow, "run_id") + "/")["state"] == "running" })
	s.record("cancelRun", "POST", "/api/runs/"+text(slow, "run_id")+"/cancel/", nil, 200)
}

// streamInEvents repeats a request until its stream has that many events. Deltas that are written before the stream
// is read arrive as one event.
func (s *tour) streamInEvents(operation, path string, body object, events int) answer {
	s.t.Helper()
	var stream answer
	eventually(s.t, operation+" is streamed in the wanted number of events", func() bool {
		stream = s.call("POST", path, body).stream()
		return bytes.Count(stream.body, []byte("data: ")) == events
	})
	s.recordExample(operation+"Request", body)
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

// recordEvents records the first and the last event of a stream.
func (s *tour) recordEvents(operation string, stream answer) {
	events := stream.events()
	s.recordExample(operation+"Event", events[0].data)
	s.recordExample(operation+"LastEvent", events[len(events)-1].data)
}

func (s *tour) records() {
	const records = "/api/chatbots/parley/records/"
	record := s.record("getRecord", "GET", records+s.realID(theRun)+"/", nil, 200)
	day := text(record, "createdAt")[:len(time.DateOnly)]
	days := "startDate=" + day + "&endDate=" + day
	s.record("listRecords", "GET", records+"?pageSize=1&conversation="+s.realID(theConversation)+"&type=New&"+days, nil, 200)
	s.record("updateRecord", "PATCH", records+s.realID(theRun)+"/", object{"faithfulnessScore": 0.9, "answerRelevancyScore": 0.85}, 200)
	s.record("getStatistics", "GET", "/api/chatbots/parley/statistics/?"+days, nil, 200)
	first := "export/?conversation=" + s.realID(theConversation) + "&type=New&" + days
	s.recordExample("exportRecordsAsTextCsv", string(s.ask("exportRecordsAsText", "GET", records+first, nil, 200).body))
	s.recordExample("exportRecordsAsTextJsonl", s.ask("exportRecordsAsText", "GET", records+first+"&format=jsonl", nil, 200).body)
}

func (s *tour) settings() {
	support := s.record("createChatbot", "POST", "/api/chatbots/", object{"name": "Support", "greeting": "How can I help?"}, 201)
	s.record("listChatbots", "GET", "/api/chatbots/?pageSize=1", nil, 200)
	s.record("getChatbot", "GET", "/api/chatbots/parley/", nil, 200)
	s.record("updateChatbot", "PATCH", "/api/chatbots/"+text(support, "id")+"/", object{
		"engine": "scripted", "script": object{"rules": []object{{"match": "refund", "deltas": []string{"Refunds take ", "three days."}, "delayMs": 50}}},
	}, 200)
	shop := s.record("createWebChat", "POST", "/api/web-chats/", object{"name": "Shop", "chatbot": "support", "allowedOrigins": []string{"https://shop.example.com"}}, 201)
	s.record("listWebChats", "GET", "/api/web-chats/?pageSize=1", nil, 200)
	s.record("getWebChat", "GET", "/api/web-chats/"+s.webChat.ID.String()+"/", nil, 200)
	s.record("updateWebChat", "PATCH", "/api/web-chats/"+text(shop, "id")+"/", object{"chatbot": "parley"}, 200)
	s.record("listInboxes", "GET", "/api/inboxes/?pageSize=1", nil, 200)
	s.record("getInbox", "GET", "/api/inboxes/"+s.realID(theInbox)+"/", nil, 200)
	s.record("listContacts", "GET", "/api/contacts/?query=alex", nil, 200)
	s.record("getContact", "GET", "/api/contacts/"+s.realID(theContact)+"/", nil, 200)
	s.record("updateContact", "PATCH", "/api/contacts/"+s.realID(theContact)+"/", object{"phoneNumber": "+886 2 1234 5678"}, 200)
	s.nameID(theKey, text(s.record("createApiKey", "POST", "/api/api-keys/", object{"name": "Portal", "user": "portal", "scopes": []string{"agent"}}, 201), "id"))
	s.record("listApiKeys", "GET", "/api/api-keys/?pageSize=1", nil, 200)
	s.record("listAuditEvents", "GET", "/api/audit-events/?pageSize=1", nil, 200)
	s.record("updateApiKey", "PATCH", "/api/api-keys/"+s.realID(theKey)+"/", object{"rateLimits": object{"messages": 600}}, 200)
	s.record("getMe", "GET", "/api/me/", nil, 200)
}

func (s *tour) browsers() {
	s.record("createClientToken", "POST", "/api/client-tokens/", object{"chatbot": "parley", "contact": s.realID(theContact), "origin": "https://www.example.com"}, 201)
	s.record("createWsTicket", "POST", "/api/ws-tickets/", object{"conversation": s.realID(theConversation)}, 201)
}

func (s *tour) openai() {
	asked := object{"model": "parley", "messages": []object{{"role": "user", "content": question}}}
	s.record("createChatCompletion", "POST", "/v1/chat/completions", asked, 200)
	usage := "/api/stateless-usage/" + withDays("")
	eventually(s.t, "the completion is counted", func() bool { return number(s.get(usage), "count") == 1 })
	s.record("listStatelessUsage", "GET", usage, nil, 200)
	streamed := s.streamInEvents("createChatCompletionStream", "/v1/chat/completions", asStream(asked), 5)
	chunks, _ := streamed.chunks()
	s.recordExample("createChatCompletionFirstChunk", chunks[0])
	s.recordExample("createChatCompletionChunk", chunks[1])
	s.recordExample("createChatCompletionLastChunk", chunks[len(chunks)-1])
	s.recordExample("createChatCompletionTranscript", string(streamed.body))
	asked = object{"model": "parley", "input": question}
	s.record("createResponse", "POST", "/v1/responses", asked, 200)
	events := s.streamInEvents("createResponseStream", "/v1/responses", asStream(asked), 10).typedEvents()
	s.recordExample("createResponseFirstEvent", events[0])
	s.record("listModels", "GET", "/v1/models", nil, 200)
	s.record("getModel", "GET", "/v1/models/parley", nil, 200)
}

func (s *tour) service() {
	s.record("getProblem", "GET", "/problems/not_found", nil, 200)
	s.record("getHealth", "GET", "/healthz", nil, 200)
	s.record("getReadiness", "GET", "/readyz", nil, 200)
}

func (s *tour) refusals() {
	conversation := "/api/conversations/" + s.realID(theConversation)
	bob := &tour{caller: s.as("bob", auth.Chat), ids: s.ids, began: s.began, kept: s.kept}
	s.recordProblem("invalidMessage", "POST", conversation+"/messages", object{"content": " "}, 400)
	s.recordProblem("invalidRequest", "GET", conversation+"/history?limit=0&after=yesterday", nil, 400)
	s.recordProblem("unauthorized", "GET", conversation+"/", nil, 401, withHeader("Authorization", "Bearer pk_4f9a1c22d0.wrong"))
	bob.recordProblem("forbidden", "GET", "/api/chatbots/", nil, 403)
	s.recordProblem("notFound", "GET", "/api/conversations/"+uuid.NewString()+"/", nil, 404)
	s.recordProblem("methodNotAllowed", "POST", conversation+"/", object{}, 405)
	s.recordProblem("conflict", "DELETE", "/api/chatbots/parley/", nil, 409)
	s.expectFailures()
	s.call("POST", "/api/chatbots/", object{"name": "Broken", "engine": "scripted", "script": object{"rules": []object{{"deltas": []string{"Never."}, "failAfter": 0}}}}).wantStatus(201)
	s.recordProblem("upstreamFailed", "POST", "/api/chatbots/broken/completions/", object{"message": object{"content": question}}, 502)
	once := withHeader("Idempotency-Key", exampleIdempotencyKey)
	s.call("POST", "/api/ws-tickets/", object{}, once).wantStatus(201)
	s.recordProblem("repeatConflict", "POST", "/api/ws-tickets/", object{}, 409, once)
	s.call("POST", conversation+"/messages", object{"content": "Hello"}, once).wantStatus(201)
	s.recordProblem("unprocessable", "POST", conversation+"/messages", object{"content": "Good morning"}, 422, once)
	s.recordProblem("tooLarge", "POST", conversation+"/messages", object{"content": strings.Repeat("x", 100001)}, 413)
	s.recordProblem("unsupportedMediaType", "POST", conversation+"/messages", "Hello", 415, withHeader("Content-Type", "text/plain"))
	bob.recordRateLimit("rateLimited", "GET", "/api/conversations", nil)

	const chats = "/v1/chat/completions"
	s.recordProblem("openaiInvalidRequest", "POST", chats, object{"model": "parley", "messages": []object{}}, 400)
	s.recordProblem("openaiUnauthorized", "GET", "/v1/models", nil, 401, withHeader("Authorization", "Bearer pk_4f9a1c22d0.wrong"))
	s.recordProblem("openaiModelNotFound", "GET", "/v1/models/gpt-4o-mini", nil, 404)
	s.recordProblem("openaiMethodNotAllowed", "GET", chats, nil, 405)
	bob.recordRateLimit("openaiRateLimited", "POST", chats, object{})
}

// socket records the dialogue in the description of connect. It repeats the dialogue until no frame arrived too late.
func (s *tour) socket() {
	s.t.Helper()
	var said string
	eventually(s.t, "the dialogue is streamed in the wanted frames", func() bool {
		said = s.dialogue()
		return strings.Count(said, `"delta"`) == 2 && strings.Index(said, `"delivered"`) < strings.Index(said, `"is_typing"`)
	})
	s.recordExample("connectTranscript", said)
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

// realID returns the ID that the tour has in place of one of the document's.
func (s *tour) realID(place int) string {
	for id, as := range s.ids {
		if as == fmt.Sprintf(exampleID, place) {
			return id
		}
	}
	s.t.Fatalf("no ID is mapped to %04x", place)
	return ""
}
