package conformance

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

func socketChecks() []check {
	return []check{
		named("sockets/connected", "A WebSocket opens, and its first frame names the conversation and the limits.", checkConnected),
		scripted("sockets/messages", "Each device gets each message once, in order of seq; the sender gets delivered instead.", checkDevices),
		named("sockets/rest", "Messages sent by REST reach the conversation's sockets.", checkMessagesByREST),
		scripted("sockets/typing", "Typing frames report that the bot writes, and with stream=true the text.", checkTyping),
		named("sockets/resume", "A socket with after= gets the missed messages, then new ones, without gaps or duplicates.", checkSocketResume),
		named("sockets/idempotent", "A repeated client_message_id is acknowledged again and stored once.", checkRepeatedMessage),
		named("sockets/errors", "An invalid frame gets an error, and the socket stays open.", checkInvalidFrames),
		named("sockets/large-frame", "Frames of nearly 64 KiB are accepted.", checkLargeFrame),
		named("sockets/feedback", "Sockets receive feedback on messages.", checkSocketFeedback),
		named("sockets/subprotocol", "The subprotocols bearer and the key, which browsers can send, authenticate a socket.", checkSubprotocol),
		named("sockets/ticket", "A ticket opens exactly one socket.", checkTicket),
		named("sockets/error-before-upgrade", "Errors before the upgrade are problem documents.", checkErrorsBeforeUpgrade),
		named("sockets/visitor", "A socket without a key is an anonymous visit: it gets replies, can be resumed and is not stored as a conversation.", checkVisitor),
	}
}

func checkConnected(t *checker) {
	id := t.user.startWithoutBot()
	_, connected := t.user.connect("?session_id=" + id)
	t.require(connected.str("session_id") == id && connected.str("conversation_id") == id && connected["anonymous"] == false && connected.str("bot_id") != "", "the first frame is %v", connected)
	t.require(connected.obj("limits").num("frame_bytes") == 512<<10, "the first frame has the limits %v", connected["limits"])
}

func checkDevices(t *checker) {
	id := t.user.start()
	first, _ := t.user.connect("?session_id=" + id)
	second, _ := t.user.connect("?session_id=" + id)
	first.send(askAnything, "first")
	t.require(first.expectDelivered("first").num("seq") == 1, "the first message does not have seq 1")
	first.expectMessages(2, plainText)
	second.expectMessages(1, askAnything, plainText)
	second.send(askBrief, "second")
	t.require(second.expectDelivered("second").num("seq") == 3, "the third message does not have seq 3")
	second.expectMessages(4, briefText)
	first.expectMessages(3, askBrief, briefText)
	suggestions := first.until("suggestions", func(frame object) bool { return frame.str("type") == "suggestion" })
	t.require(len(suggestions.list("suggestions")) == 1, "got %v, want one suggestion", suggestions)
	messages := t.user.messages(id)
	t.require(len(messages) == 4, "the history has %q", contents(messages))
}

func checkMessagesByREST(t *checker) {
	id := t.user.startWithoutBot()
	socket, _ := t.user.connect("?session_id=" + id)
	sent := t.user.send(id, "by REST")
	frame := socket.nextMessage()
	t.require(frame.str("message_id") == sent.str("message_id") && frame.str("timestamp") == sent.str("timestamp") && frame.num("seq") == 1 && frame.str("sender") == "user", "the message %v is received as %v", sent, frame)
	for i := range 5 {
		t.user.send(id, fmt.Sprint(i))
	}
	socket.expectMessages(2, "0", "1", "2", "3", "4")
}

func checkTyping(t *checker) {
	socket, _ := t.user.connect("?stream=true&session_id=" + t.user.start())
	socket.send(askPaced, "typing")
	var typing []bool
	var text strings.Builder
	reply := socket.until("the reply", func(frame object) bool {
		if frame.str("type") == "typing" {
			typing = append(typing, frame.bool("is_typing"))
			text.WriteString(frame.str("delta"))
		}
		return frame.str("type") == "message"
	})
	t.require(text.String() == pacedText && reply.str("content") == text.String(), "the deltas are %q, the message %q", text.String(), reply.str("content"))
	t.require(len(typing) > 3 && typing[0] && !typing[len(typing)-1], "is_typing is %v in sequence", typing)
}

func checkSocketResume(t *checker) {
	id := t.user.startWithoutBot()
	socket, _ := t.user.connect("?session_id=" + id)
	t.user.send(id, "one")
	socket.expectMessages(1, "one")
	socket.close()
	t.user.send(id, "two")
	t.user.send(id, "three")
	again, _ := t.user.connect("?after=1&session_id=" + id)
	t.user.send(id, "four")
	again.expectMessages(2, "two", "three", "four")
	ahead, _ := t.user.connect("?after=100&session_id=" + id)
	t.require(ahead.next("an error").str("type") == "error", "after= with an unknown seq is not an error")
}

func checkRepeatedMessage(t *checker) {
	id := t.user.startWithoutBot()
	socket, _ := t.user.connect("?session_id=" + id)
	socket.send("once", "same")
	first := socket.expectDelivered("same")
	socket.send("once", "same")
	again := socket.expectDelivered("same")
	t.require(first.str("message_id") == again.str("message_id") && first.num("seq") == again.num("seq"), "the message is acknowledged with %v, then with %v", first, again)
	messages := t.user.messages(id)
	t.require(len(messages) == 1, "the message is stored %d times", len(messages))
}

func checkInvalidFrames(t *checker) {
	socket, _ := t.user.connect("?session_id=" + t.user.startWithoutBot())
	for _, frame := range []any{"junk", "{", object{"type": "explode"}, object{"type": "message", "content": " "}, object{"type": "message", "content": "x", "session_id": uuid.NewString()}} {
		socket.sendFrame(frame)
		got := socket.next("an error")
		t.require(got.str("type") == "error" && got.str("error") != "" && got.str("detail") != "", "the frame %v gets %v, want an error", frame, got)
	}
	socket.send("still open", "after")
	socket.expectDelivered("after")
}

func checkLargeFrame(t *checker) {
	socket, _ := t.user.connect("?session_id=" + t.user.startWithoutBot())
	socket.sendMessage(object{"content": strings.Repeat("x", 100000), "metadata": object{"padding": strings.Repeat("y", 30000)}}, "large")
	socket.expectDelivered("large")
}

func checkSocketFeedback(t *checker) {
	id := t.user.startWithoutBot()
	message := t.user.send(id, "x").str("message_id")
	socket, _ := t.user.connect("?session_id=" + id)
	t.user.call(http.MethodPut, "/api/messages/"+message+"/feedback/", object{"feedback": "like"}).json(http.StatusOK)
	frame := socket.until("the feedback", func(frame object) bool { return frame.str("status") == "feedback" })
	t.require(frame.str("message_id") == message && frame.str("feedback") == "like", "the feedback frame is %v", frame)
}

func checkSubprotocol(t *checker) {
	id := t.user.startWithoutBot()
	socket, connected := t.anonymous().connect("?session_id="+id, header("Sec-WebSocket-Protocol", "bearer, "+t.user.key))
	t.require(connected["anonymous"] == false && connected.str("session_id") == id, "the first frame for a key in the subprotocol is %v", connected)
	t.require(socket.conn.Subprotocol() == "bearer", "the selected subprotocol is %q, want bearer", socket.conn.Subprotocol())
}

func checkTicket(t *checker) {
	id := t.user.startWithoutBot()
	ticket := t.user.create("/api/ws-tickets/", object{"conversation": id}).str("ticket")
	_, connected := t.anonymous().connect("?ticket=" + ticket)
	t.require(connected.str("session_id") == id, "the first frame for a ticket is %v", connected)
	second, got := t.anonymous().dial("?ticket=" + ticket)
	t.require(second == nil, "the ticket opens a second socket")
	got.expectProblem("unauthorized")
}

func checkErrorsBeforeUpgrade(t *checker) {
	expectError := func(c client, query, code string) {
		socket, got := c.dial(query)
		t.require(socket == nil, "GET /ws%s opens a socket", query)
		got.expectProblem(code)
	}
	expectError(t.user, "?session_id="+uuid.NewString(), "not_found")
	expectError(t.user, "?after=x", "invalid_request")
	expectError(client{t, "pk_nobody.has-this-key-at-all"}, "", "unauthorized")
	t.user.get("/ws").expectProblem("invalid_request") // without Upgrade
}

func checkVisitor(t *checker) {
	if probe, refusal := t.anonymous().dial(""); probe == nil && refusal.status == http.StatusUnauthorized {
		refusal.expectProblem("unauthorized")
		t.skipf("the deployment does not serve anonymous visitors")
	} else if probe != nil {
		probe.close()
	}
	socket, connected := t.anonymous().connect("")
	t.require(connected["anonymous"] == true && !connected.has("conversation_id") && connected.str("expires_at") != "", "the first frame for a visitor is %v", connected)
	socket.send(askAnything, "visit")
	frame := socket.acknowledgement()
	if frame.str("error") == "rate_limited" {
		t.skipf("the rate limit of visitors from this address is exhausted")
	}
	t.require(frame.str("status") == "delivered" && frame.num("seq") == 1, "a visitor's message gets %v, want delivered", frame)
	reply := socket.nextMessage()
	t.require(reply.str("sender") == "bot" && reply.num("seq") == 2 && !reply.has("conversation_id"), "the reply to a visitor is %v", reply)
	socket.close()
	visit := connected.str("session_id")
	again, _ := t.anonymous().connect("?after=1&session_id=" + visit)
	t.require(again.nextMessage().str("content") == reply.str("content"), "the resumed visit has another reply")
	t.owner().get("/api/conversations/" + visit + "/").expectProblem("not_found")
}
