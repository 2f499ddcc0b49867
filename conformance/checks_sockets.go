package conformance

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

func socketChecks() []check {
	return []check{
		{name: "sockets/connected", holds: "A WebSocket opens, and its first frame says where it is.", ask: socketIsGreeted},
		{name: "sockets/messages", holds: "Each device gets each message once, in the order of seq; the one that sent it gets delivered in its place.", ask: devicesGetMessages},
		{name: "sockets/rest", holds: "What is sent otherwise comes to the sockets that watch.", ask: socketHearsOfREST},
		{name: "sockets/typing", holds: "Typing tells when the bot writes, and with stream=true what.", ask: typingIsTold},
		{name: "sockets/resume", holds: "After a break, after= brings what was missed, then what is new, without gap or duplicate.", ask: socketIsResumed},
		{name: "sockets/again", holds: "A client_message_id that is sent again is delivered again and stored once.", ask: sameIDIsStoredOnce},
		{name: "sockets/errors", holds: "A frame that is wrong is answered with an error, and the socket stays open.", ask: wrongFramesAreAnswered},
		{name: "sockets/large-frame", holds: "Frames of nearly 64 KiB are taken.", ask: largeFrameIsTaken},
		{name: "sockets/feedback", holds: "A socket is told of a message that is liked.", ask: socketHearsOfFeedback},
		{name: "sockets/subprotocol", holds: "Browsers' way, the subprotocols bearer and the key, opens a socket.", ask: subprotocolOpens},
		{name: "sockets/ticket", holds: "A ticket opens one socket, once.", ask: ticketOpensOnce},
		{name: "sockets/refused", holds: "What is refused is refused before the upgrade, as a problem document.", ask: socketsAreRefusedFirst},
		{name: "sockets/visitor", holds: "Without a key a socket is an anonymous visit, which is answered, stores nothing, and may be resumed.", ask: visitorsAreAnswered},
	}
}

func socketIsGreeted(t *trial) {
	id := t.user().quiet()
	socket, greeting := t.user().connect("?session_id=" + id)
	defer socket.close()
	t.must(greeting.str("session_id") == id && greeting.str("conversation_id") == id && greeting["anonymous"] == false && greeting.str("bot_id") != "", "the first frame is %v", greeting)
	t.must(greeting.obj("limits").num("frame_bytes") == 64<<10, "the first frame tells the limits %v", greeting["limits"])
}

// hears fails the check unless the next messages of a socket are these, in order, as messages or as delivered.
func (s *socket) hears(from int, wanted ...string) {
	for i, content := range wanted {
		frame := s.until(fmt.Sprintf("the message %d", from+i), func(frame object) bool {
			return frame.str("type") == "message" || frame.str("status") == "delivered"
		})
		s.t.must(frame.num("seq") == from+i, "in place of seq %d comes %v", from+i, frame)
		s.t.must(frame.str("type") != "message" || frame.str("content") == content, "the message %d is %q, not %q", from+i, frame.str("content"), content)
	}
}

func devicesGetMessages(t *trial) {
	t.scripted()
	user := t.user()
	id := user.start()
	one, _ := user.connect("?session_id=" + id)
	defer one.close()
	other, _ := user.connect("?session_id=" + id)
	defer other.close()
	one.say(askAnything, "first")
	t.must(one.delivered("first").num("seq") == 1, "the first message is not delivered as such")
	one.hears(2, "Noted.")
	other.hears(1, askAnything, "Noted.")
	other.say(askBrief, "second")
	t.must(other.delivered("second").num("seq") == 3, "the third message is not delivered as such")
	other.hears(4, joined(briefDeltas))
	one.hears(3, askBrief, joined(briefDeltas))
	suggested := one.until("suggestions", func(frame object) bool { return frame.str("type") == "suggestion" })
	t.must(len(suggested.list("suggestions")) == 1, "the suggestions are %v", suggested)
	messages, _ := user.history(id, "")
	t.must(len(messages) == 4, "stored are %v", contents(messages))
}

func socketHearsOfREST(t *trial) {
	user := t.user()
	id := user.quiet()
	socket, _ := user.connect("?session_id=" + id)
	defer socket.close()
	sent := user.say(id, "by REST")
	frame := socket.message()
	t.must(frame.str("message_id") == sent.str("message_id") && frame.str("timestamp") == sent.str("timestamp") && frame.num("seq") == 1 && frame.str("sender") == "user", "sent is %v, told %v", sent, frame)
	for i := range 5 {
		user.say(id, fmt.Sprint(i))
	}
	socket.hears(2, "0", "1", "2", "3", "4")
}

func typingIsTold(t *trial) {
	t.scripted()
	user := t.user()
	socket, _ := user.connect("?stream=true&session_id=" + user.start())
	defer socket.close()
	socket.say(askPaced, "typing")
	var told []bool
	var text strings.Builder
	reply := socket.until("the reply", func(frame object) bool {
		if frame.str("type") == "typing" {
			told = append(told, frame.is("is_typing"))
			text.WriteString(frame.str("delta"))
		}
		return frame.str("type") == "message"
	})
	t.must(text.String() == joined(pacedDeltas) && reply.str("content") == text.String(), "the deltas are %q, the message %q", text.String(), reply.str("content"))
	t.must(len(told) > 3 && told[0] && !told[len(told)-1], "typing is told as %v", told)
}

func socketIsResumed(t *trial) {
	user := t.user()
	id := user.quiet()
	socket, _ := user.connect("?session_id=" + id)
	user.say(id, "one")
	socket.hears(1, "one")
	socket.close()
	user.say(id, "two")
	user.say(id, "three")
	again, _ := user.connect("?after=1&session_id=" + id)
	defer again.close()
	user.say(id, "four")
	again.hears(2, "two", "three", "four")
	ahead, _ := user.connect("?after=100&session_id=" + id)
	defer ahead.close()
	t.must(ahead.next("an error").str("type") == "error", "a seq that there is not is no error")
}

func sameIDIsStoredOnce(t *trial) {
	user := t.user()
	id := user.quiet()
	socket, _ := user.connect("?session_id=" + id)
	defer socket.close()
	socket.say("once", "same")
	first := socket.delivered("same")
	socket.say("once", "same")
	again := socket.delivered("same")
	t.must(first.str("message_id") == again.str("message_id") && first.num("seq") == again.num("seq"), "first it is delivered as %v, again as %v", first, again)
	messages, _ := user.history(id, "")
	t.must(len(messages) == 1, "it is stored %d times", len(messages))
}

func wrongFramesAreAnswered(t *trial) {
	user := t.user()
	socket, _ := user.connect("?session_id=" + user.quiet())
	defer socket.close()
	for _, frame := range []any{"junk", "{", object{"type": "explode"}, object{"type": "message", "content": " "}, object{"type": "message", "content": "x", "session_id": uuid.NewString()}} {
		socket.send(frame)
		told := socket.next("an error")
		t.must(told.str("type") == "error" && told.str("error") != "" && told.str("detail") != "", "the frame %v is answered with %v", frame, told)
	}
	socket.say("still open", "after")
	socket.delivered("after")
}

func largeFrameIsTaken(t *trial) {
	user := t.user()
	socket, _ := user.connect("?session_id=" + user.quiet())
	defer socket.close()
	socket.send(object{"type": "message", "content": strings.Repeat("x", 32768), "client_message_id": "large", "metadata": object{"padding": strings.Repeat("y", 30000)}})
	socket.delivered("large")
}

func socketHearsOfFeedback(t *trial) {
	user := t.user()
	id := user.quiet()
	message := user.say(id, "x").str("message_id")
	socket, _ := user.connect("?session_id=" + id)
	defer socket.close()
	user.call(http.MethodPut, "/api/messages/"+message+"/feedback/", object{"feedback": "like"}).gives(http.StatusOK)
	frame := socket.until("the feedback", func(frame object) bool { return frame.str("status") == "feedback" })
	t.must(frame.str("message_id") == message && frame.str("feedback") == "like", "the feedback is told as %v", frame)
}

func subprotocolOpens(t *trial) {
	user := t.user()
	id := user.quiet()
	socket, greeting := t.nobody().connect("?session_id="+id, header("Sec-WebSocket-Protocol", "bearer, "+user.key))
	defer socket.close()
	t.must(greeting["anonymous"] == false && greeting.str("session_id") == id, "the key in the subprotocol is answered with %v", greeting)
	t.must(socket.conn.Subprotocol() == "bearer", "the subprotocol that was chosen is %q", socket.conn.Subprotocol())
}

func ticketOpensOnce(t *trial) {
	user := t.user()
	id := user.quiet()
	ticket := user.post("/api/ws-tickets/", object{"conversation": id}).gives(http.StatusCreated).str("ticket")
	socket, greeting := t.nobody().connect("?ticket=" + ticket)
	defer socket.close()
	t.must(greeting.str("session_id") == id, "the ticket opens %v", greeting)
	second, got := t.nobody().dial("?ticket=" + ticket)
	t.must(second == nil, "a ticket opens two sockets")
	got.refused(http.StatusUnauthorized, "unauthorized")
}

func socketsAreRefusedFirst(t *trial) {
	refused := func(c caller, query string, status int, code string) {
		socket, got := c.dial(query)
		t.must(socket == nil, "GET /ws%s opens a socket", query)
		got.refused(status, code)
	}
	refused(t.user(), "?session_id="+uuid.NewString(), http.StatusNotFound, "not_found")
	refused(t.user(), "?after=x", http.StatusBadRequest, "invalid_request")
	refused(caller{t, "pk_nobody.has-this-key-at-all"}, "", http.StatusUnauthorized, "unauthorized")
	t.user().get("/ws").refused(http.StatusBadRequest, "invalid_request") // no upgrade is asked for
}

func visitorsAreAnswered(t *trial) {
	socket, greeting := t.nobody().connect("")
	t.must(greeting["anonymous"] == true && !greeting.has("conversation_id") && greeting.str("expires_at") != "", "a visitor is greeted with %v", greeting)
	socket.say(askAnything, "visit")
	frame := socket.until("what became of the message", func(frame object) bool {
		return frame.str("status") == "delivered" || frame.str("type") == "error"
	})
	if frame.str("error") == "rate_limited" {
		t.skip("visitors from here have used up their rate limit")
	}
	t.must(frame.str("status") == "delivered" && frame.num("seq") == 1, "a visitor's message is answered with %v", frame)
	reply := socket.message()
	t.must(reply.str("sender") == "bot" && reply.num("seq") == 2 && !reply.has("conversation_id"), "a visitor's reply is %v", reply)
	socket.close()
	visit := greeting.str("session_id")
	again, _ := t.nobody().connect("?after=1&session_id=" + visit)
	defer again.close()
	t.must(again.message().str("content") == reply.str("content"), "a visit that is resumed has another reply")
	t.owner().get("/api/conversations/"+visit+"/").refused(http.StatusNotFound, "not_found")
}
