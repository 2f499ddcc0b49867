package wsapi_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/internal/auth"
)

// Only the socket that sent a message receives the delivered status. All other sockets, including the
// sender's other ones, receive the message.
func TestSenderReceivesDeliveredAndOthersReceiveMessage(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, agent := o.as("alice", auth.Chat), o.as("agent", auth.Agent)
	sender := alice.dial("")
	first := sender.deliver("Hello", "client_message_id", "c-1", "session_id", strings.ToUpper(sender.connected.SessionID))
	if first.ClientMessageID != "c-1" || first.Seq != 1 || first.MessageID == "" {
		t.Errorf("%+v", first)
	}
	sender.awaitReply()
	device, staff := alice.watch(sender.connected.SessionID), agent.watch(sender.connected.SessionID)
	metadata := object{"page": "/pricing", "deep": object{"Key": []any{1.5, nil, true}}}
	attachments := []object{{"file": "https://files.example.com/a/b.png", "type": "image"}}
	second := sender.deliver("Look", "client_message_id", "c-2", "metadata", metadata, "attachments", attachments)
	third := sender.deliver("No id")
	if third.ClientMessageID != "" || third.Seq <= second.Seq {
		t.Errorf("%+v", third)
	}
	for _, other := range []*wsClient{device, staff} {
		got := other.await(func(f frame) bool { return f.isMessage() })
		if got.Type != "message" || got.MessageID != second.MessageID || got.Seq != second.Seq || got.Sender != "user" || got.Content != "Look" ||
			got.ConversationID != sender.connected.SessionID || got.RunID == "" || !reflect.DeepEqual(got.Metadata, metadata) {
			t.Errorf("%+v", got)
		}
		if len(got.Attachments) != 1 || got.Attachments[0]["filename"] != "b.png" || got.Attachments[0]["type"] != "image" {
			t.Errorf("the attachments: %v", got.Attachments)
		}
	}
	staff.deliver("How can I help?")
	got := device.await(func(f frame) bool { return f.Sender == "agent" })
	if got.Content != "How can I help?" || got.RunID != "" || got.Metadata == nil {
		t.Errorf("%+v", got)
	}
	sender.await(func(f frame) bool { return f.Sender == "agent" && f.MessageID == got.MessageID })
}

// The bot's message follows the end of typing and precedes its suggestions. With ?stream=true the joined
// deltas equal the message.
func TestReplyIsStreamedThenFollowedBySuggestions(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	plain := alice.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": question}}).expect(200)
	want := plain["suggestions"].([]any)
	if len(want) == 0 || plain["content"] != longAnswer {
		t.Fatalf("the completion has no suggestions: %v", plain)
	}
	id := alice.startConversation()
	growing, calm := alice.dial("stream=true&session_id="+id), alice.watch(id)
	growing.deliver(question)
	for _, ws := range []*wsClient{growing, calm} {
		all := ws.readUntil(func(f frame) bool { return f.Type == "suggestion" })
		joined, deltas, isTyping := "", 0, false
		var reply, last frame
		for _, f := range all {
			switch {
			case f.Type == "typing" && f.IsTyping:
				isTyping = true
				joined += f.Delta
				if f.Delta != "" {
					deltas++
				}
				if (f.RunID != "") != (ws == growing) {
					t.Errorf("%+v", f)
				}
				last = f
			case f.Type == "typing":
				if !isTyping || f.Delta != "" || reply.MessageID != "" {
					t.Errorf("unexpected end of typing: %+v", f)
				}
				isTyping = false
			case f.isReply():
				reply = f
				if isTyping {
					t.Error("the message came before the end of typing")
				}
			}
		}
		if reply.Content != longAnswer || reply.Seq != 2 || len(reply.Citations) == 0 || reply.RunID == "" {
			t.Errorf("the reply: %+v", reply)
		}
		if ws == growing && (joined != reply.Content || deltas < 5 || last.RunID != reply.RunID) {
			t.Errorf("%d deltas join to %q", deltas, joined)
		}
		if ws == calm && deltas > 0 {
			t.Error("received deltas without stream=true")
		}
		suggested := all[len(all)-1].Suggestions
		if all[len(all)-2].MessageID != reply.MessageID || len(suggested) != len(want) || !reflect.DeepEqual(any(suggested[0]), want[0]) {
			t.Errorf("suggestions: %v, want %v", suggested, want)
		}
	}
	// A replay repeats the suggestions after their message.
	again := alice.dial("after=1&session_id=" + id)
	if first, second := again.next(), again.next(); !first.isReply() || second.Type != "suggestion" || !reflect.DeepEqual(any(second.Suggestions[0]), want[0]) {
		t.Errorf("replayed: %+v %+v", first, second)
	}
}

// When another attempt rescues a run, sockets that stream the reply receive a reset with the whole text so far.
func TestRescuedReplyIsReset(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	rule := object{"deltas": []string{"Ah ", "oh"}, "silentAfter": 2}
	o.as("manager", auth.Manage).call("POST", "/api/chatbots/", object{"name": "Slow", "slug": "slow", "engine": "scripted", "script": object{"rules": []object{rule}}}).expect(201)
	alice := o.as("alice", auth.Chat)
	ws := alice.dial("stream=true&bot_id=slow")
	ws.sendMessage("Speak")
	text := ""
	run := ws.await(func(f frame) bool { text += f.Delta; return text == "Ah oh" }).RunID
	eventually(t, "the run is rescued", func() bool {
		must(o.sql.Exec(t.Context(), "UPDATE runs SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1 AND attempt = 1", run))
		return alice.call("GET", "/api/runs/"+run+"/", nil).expect(200)["attempt"] == 2.0
	})
	text = ws.await(func(f frame) bool { return f.Reset }).Delta
	for text != "Ah oh" {
		text += ws.next().Delta
	}
	alice.call("POST", "/api/runs/"+run+"/cancel/", nil).expect(200)
	if reply := ws.awaitReply(); reply.Content != text {
		t.Errorf("%+v", reply)
	}
}

// An invalid frame is answered with an error that has the client_message_id, and the socket stays open.
func TestInvalidFrameIsReportedAndSocketStaysOpen(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	user, visitor := alice.watch(id), o.visitor().dial("")
	for _, test := range invalidFrames() {
		for _, ws := range []*wsClient{user, visitor} {
			ws.sendRaw(test.frame)
			got := ws.next()
			code := test.code
			if ws == visitor && strings.Contains(test.name, "attachment of") && got.Error == "forbidden" || ws == visitor && test.name == "an unknown attachment" {
				code = "forbidden" // visitors cannot attach files
			}
			if got.Type != "error" || got.Error != code || got.Detail == "" || got.ClientMessageID == "" && strings.Contains(test.name, "an id too long") {
				t.Errorf("%s: want %s, got %+v", test.name, code, got)
			}
		}
	}
	for _, ws := range []*wsClient{user, visitor} {
		if err := ws.conn.Write(t.Context(), websocket.MessageBinary, []byte(frameOf("Hi"))); err != nil {
			t.Fatal(err)
		}
		ws.expectError("invalid_request")
		ws.sendMessage(" ", "client_message_id", "c-9")
		if got := ws.expectError("invalid_message"); got.ClientMessageID != "c-9" {
			t.Errorf("%+v", got)
		}
		if got := ws.deliver("Still here"); got.Seq != 1 {
			t.Errorf("%+v", got)
		}
	}
	if stored := o.storedMessages(id); len(stored) != 1 {
		t.Errorf("stored: %v", stored)
	}
}

// In a frame, null counts as absent and unknown fields are ignored, as in the REST API.
func TestNullInFrameCountsAsAbsent(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	id := o.as("alice", auth.Chat).startWithoutReplies()
	sender, other := o.as("alice", auth.Chat).watch(id), o.as("alice", auth.Chat).watch(id)
	sender.sendRaw(`{"type":"message","content":"Hi","session_id":null,"attachments":null,"metadata":null,"client_message_id":null,"Content":7,"zzz":[{}]}`)
	sender.awaitStatus("delivered")
	if got := other.next(); got.Content != "Hi" || len(got.Attachments) != 0 || len(got.Metadata) != 0 {
		t.Errorf("%+v", got)
	}
	sender.sendRaw(`{"type":"message","content":"Look","attachments":[{"id":null,"type":null,"filename":null,"file":"https://files.example.com/a.png"}],"metadata":{"n":null}}`)
	sender.awaitStatus("delivered")
	if got := other.next(); len(got.Attachments) != 1 || got.Attachments[0]["filename"] != "a.png" || !reflect.DeepEqual(got.Metadata, object{"n": nil}) {
		t.Errorf("%+v", got)
	}
	for _, frame := range []string{`{"type":"message","content":null}`, `{"type":null,"content":"Hi"}`} {
		sender.sendRaw(frame)
		if got := sender.next(); got.Type != "error" {
			t.Errorf("%s: %+v", frame, got)
		}
	}
	sender.sendRaw(`{"type":"message","content":"Hi","zzz":[` + strings.Repeat("0,", 60_000/2-100) + `0]}`)
	sender.awaitStatus("delivered")
}

// invalidFrame is a frame and the code of the error that answers it.
type invalidFrame struct{ name, frame, code string }

func invalidFrames() []invalidFrame {
	tooMany := make([]object, 51)
	for i := range tooMany {
		tooMany[i] = object{"file": "https://files.example.com/x"}
	}
	long := strings.Repeat("x", 256)
	return []invalidFrame{
		{"an empty frame", "", "invalid_request"},
		{"invalid JSON", "{", "invalid_request"},
		{"a string", `"message"`, "invalid_request"},
		{"null", `null`, "invalid_request"},
		{"a list", `[]`, "invalid_request"},
		{"two objects", frameOf("a") + frameOf("b"), "invalid_request"},
		{"no type", `{"content":"Hi"}`, "invalid_request"},
		{"another type", `{"type":"typing","content":"Hi"}`, "invalid_request"},
		{"another session", frameOf("Hi", "session_id", uuid.NewString()), "invalid_request"},
		{"content is a number", `{"type":"message","content":5}`, "invalid_message"},
		{"a number out of range", `{"type":"message","content":"x","metadata":{"a":1e99999}}`, "invalid_request"},
		{"metadata too deep", `{"type":"message","content":"x","metadata":` + strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101) + "}", "invalid_request"},
		{"no content", `{"type":"message"}`, "invalid_message"},
		{"blank", frameOf(" \t\n"), "invalid_message"},
		{"a NUL", `{"type":"message","content":"a\u0000b"}`, "invalid_message"},
		{"a NUL in a key", `{"type":"message","content":"a","metadata":{"\u0000":1}}`, "invalid_message"},
		{"a NUL in client_message_id", `{"type":"message","content":"a","client_message_id":"\u0000"}`, "invalid_message"},
		{"too long", frameOf(strings.Repeat("x", 100001)), "too_large"},
		{"metadata is a list", frameOf("Hi", "metadata", []int{1}), "invalid_message"},
		{"an empty id", frameOf("Hi", "client_message_id", ""), "invalid_message"},
		{"an id too long", frameOf("Hi", "client_message_id", long), "invalid_message"},
		{"an empty attachment of", frameOf("Hi", "attachments", []object{{}}), "invalid_message"},
		{"an attachment of a file URL", frameOf("Hi", "attachments", []object{{"file": "file:///etc/passwd"}}), "invalid_message"},
		{"an unknown attachment", frameOf("Hi", "attachments", []object{{"id": uuid.NewString()}}), "invalid_message"},
		{"an attachment of an unknown type", frameOf("Hi", "attachments", []object{{"file": "https://a.example/x", "type": "x"}}), "invalid_message"},
		{"a filename too long", frameOf("Hi", "attachments", []object{{"file": "https://a.example/x", "filename": long}}), "invalid_message"},
		{"a file too long", frameOf("Hi", "attachments", []object{{"file": "https://a.example/" + strings.Repeat("x", 2048)}}), "invalid_message"},
		{"too many attachments", frameOf("Hi", "attachments", tooMany), "invalid_message"},
	}
}

// Characters that PostgreSQL cannot store become U+FFFD everywhere in a frame. Everything else is unchanged.
func TestUnstorableTextBecomesReplacementCharacters(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	id := o.as("alice", auth.Chat).startWithoutReplies()
	sender, other := o.as("alice", auth.Chat).watch(id), o.as("alice", auth.Chat).watch(id)
	longest := strings.Repeat("字", 20000) + strings.Repeat("x", 1200) // almost 64 KiB
	for _, test := range []struct{ raw, want string }{
		{`"\ud83d\ude42 字 \u00e9 <&> "`, "🙂 字 é <&> "},
		{`"a\ud800b"`, "a\uFFFDb"},
		{"\"a\xff\xfeb\"", "a\uFFFDb"}, // one for each sequence, as in the REST API
		{`"\\u0000 '; DROP TABLE sessions; --"`, `\u0000 '; DROP TABLE sessions; --`},
		{`"` + longest + `"`, longest},
		{`"` + strings.Repeat("x", 100000) + `"`, strings.Repeat("x", 100000)},
	} {
		sender.sendRaw(`{"type":"message","content":` + test.raw + `}`)
		if got := sender.next(); !got.isStatus("delivered") {
			t.Errorf("%.40s: %+v", test.raw, got)
		}
		if got := other.next(); got.Content != test.want {
			t.Errorf("%.40s: %.60q", test.raw, got.Content)
		}
	}
	sender.sendRaw("{\"type\":\"message\",\"content\":\"x\",\"metadata\":{\"a\":\"\\ud800\",\"b\xff\":12345678901234567890}}")
	sender.awaitStatus("delivered")
	if got := other.next().Metadata; got["a"] != "\uFFFD" || got["b\uFFFD"] == nil {
		t.Errorf("metadata: %v", got)
	}
	stored, seen := o.storedMessages(id), other.connected.Seq
	if len(stored) != 7 || stored[4].content != longest {
		t.Errorf("%d stored, %d", len(stored), seen)
	}
}

// A frame that is too large is answered with an error that has its client_message_id, wherever it is in the frame, and the
// socket stays open. Only a frame that is far too large closes it.
func TestLargeFrameIsAnsweredWithAnError(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	for _, c := range []struct {
		caller
		most int
	}{{o.as("alice", auth.Chat), 512 << 10}, {o.visitor(), 32 << 10}} {
		ws := c.dial("")
		padded := func(size int, before, after string) string {
			return `{"type":"message",` + before + `"content":"Hi","metadata":{"a":"` + strings.Repeat("x", size-len(before)-len(after)-53) + `"}` + after + `}`
		}
		ws.sendRaw(padded(c.most, "", `,"client_message_id":"fits"`))
		if got := ws.awaitStatus("delivered"); got.ClientMessageID != "fits" {
			t.Errorf("a frame of %d bytes: %+v", c.most, got)
		}
		for _, raw := range []string{
			padded(c.most+100, "", `,"client_message_id":"too \"large\""`),
			padded(c.most+100, `"client_message_id" : "too \"large\"",`, ""),
			padded(4<<20, `"client_message_id":"too \"large\"",`, ""),
			frameOf(strings.Repeat("字", 200_000), "client_message_id", `too "large"`),
		} {
			ws.sendRaw(raw)
			if got := ws.expectError("too_large"); got.ClientMessageID != `too "large"` {
				t.Errorf("a frame of %d bytes: %+v", len(raw), got)
			}
		}
		ws.sendRaw(padded(c.most+100, "", ""))
		if got := ws.expectError("too_large"); got.ClientMessageID != "" {
			t.Errorf("a frame without an id: %+v", got)
		}
		ws.deliver("Still open", "client_message_id", "open")
		if err := ws.write(padded(5<<20, "", "")); err == nil {
			if code, _ := ws.readUntilClosed(); code != websocket.StatusMessageTooBig {
				t.Errorf("closed with %d", code)
			}
		}
	}
}

// A message of 100,000 characters is delivered whole, and one of an anonymous visitor has at most 4,000.
func TestMessageLengthIsLimited(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	id := o.as("alice", auth.Chat).startWithoutReplies()
	sender, other := o.as("alice", auth.Chat).watch(id), o.as("alice", auth.Chat).watch(id)
	for _, character := range []string{"x", "字", "🙂"} {
		longest := strings.Repeat(character, 100_000)
		sender.deliver(longest)
		if got := other.next(); got.Content != longest {
			t.Errorf("received %d bytes, want %d", len(got.Content), len(longest))
		}
		sender.sendMessage(longest+character, "client_message_id", "c")
		if got := sender.expectError("too_large"); got.ClientMessageID != "c" {
			t.Errorf("one more: %+v", got)
		}
	}
	visitor := o.visitor().dial("")
	visitor.deliver(strings.Repeat("字", 4_000))
	visitor.sendMessage(strings.Repeat("字", 4_001), "client_message_id", "c")
	if got := visitor.expectError("too_large"); got.ClientMessageID != "c" {
		t.Errorf("of a visitor: %+v", got)
	}
}
