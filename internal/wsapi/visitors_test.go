package wsapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/internal/auth"
	"parley/internal/wsapi"
)

// The conversation of a visitor is not stored.
func TestVisitStoresNothingInDatabase(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Admin)
	before := o.countRows()
	ws := o.visitor().dial("stream=true")
	for i, content := range []string{question, "Hm", question} {
		sent := ws.deliver(content, "client_message_id", fmt.Sprint(i), "metadata", object{"page": "/"})
		if sent.Seq != int64(2*i+1) || sent.MessageID == "" || sent.ConversationID != "" {
			t.Errorf("%+v", sent)
		}
		all := ws.readUntil(frame.isReply)
		reply, joined := all[len(all)-1], ""
		for _, f := range all {
			joined += f.Delta
		}
		want := longAnswer
		if content != question {
			want = shrug
		}
		if reply.Content != want || joined != want || reply.Seq != int64(2*i+2) || reply.ConversationID != "" || reply.MessageID == "" {
			t.Errorf("deltas %q, %+v", joined, reply)
		}
		if content == question {
			ws.await(func(f frame) bool { return f.Type == "suggestion" && len(f.Suggestions) > 0 })
		}
	}
	if after := o.countRows(); !maps.Equal(before, after) {
		t.Errorf("rows before %v\nafter %v", before, after)
	}
	id := ws.connected.SessionID
	for path, status := range map[string]int{
		"/api/conversations/" + id + "/history": 404, "/api/conversations/" + id + "/": 404, "/api/messages/?conversation=" + id: 404,
	} {
		alice.call("GET", path, nil).expectProblem(status, "not_found")
		o.visitor().call("GET", path, nil).expectProblem(401, "unauthorized")
	}
	alice.call("POST", "/api/conversations/"+id+"/messages", object{"content": "Hi"}).expectProblem(404, "not_found")
	o.visitor().call("POST", "/api/conversations/"+id+"/messages", object{"content": "Hi"}).expectProblem(401, "unauthorized")
}

// A visitor can neither read nor write a stored conversation.
func TestVisitorCannotReadConversations(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	alice.postMessage(id, "A secret")
	o.visitor().call("GET", "/api/conversations/"+id+"/history", nil).expectProblem(401, "unauthorized")
	o.visitor().tryUpgrade("after=0&session_id="+id).expectProblem(404, "not_found")
	ws := o.visitor().dial("")
	ws.sendMessage("Let me in", "session_id", id)
	ws.expectError("invalid_request")
}

// Visits belong to the oldest organization.
func TestVisitorsGetDefaultBotOfFirstOrganization(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	first, second := s.organization(), s.organization()
	if connected := second.visitor().dial("").connected; connected.BotID != first.bot.ID.String() {
		t.Errorf("%+v", connected)
	}
	second.visitor().tryUpgrade("bot_id="+second.bot.ID.String()).expectProblem(403, "forbidden")
}

func TestVisitIsResumedBySessionAndSeq(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	visitor := o.visitor()
	first := visitor.dial("")
	id := first.connected.SessionID
	want := first.deliver("Hello", "client_message_id", "c-1")
	reply := first.awaitReply()
	if got := first.deliver("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID || got.Seq != 1 {
		t.Errorf("sent again: %+v", got)
	}
	first.conn.CloseNow()

	again := visitor.dial("after=0&session_id=" + id)
	if again.connected.SessionID != id || !*again.connected.Anonymous {
		t.Errorf("%+v", again.connected)
	}
	if got := again.next(); got.Type != "message" || got.MessageID != want.MessageID || got.Content != "Hello" || got.Sender != "user" {
		t.Errorf("the question: %+v", got)
	}
	if got := again.next(); got.MessageID != reply.MessageID || got.Content != reply.Content || got.Timestamp != reply.Timestamp {
		t.Errorf("the reply: %+v, want %+v", got, reply)
	}
	if got := again.deliver("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID || got.Seq != 1 {
		t.Errorf("sent again after the reconnect: %+v", got)
	}
	again.sendMessage("Other", "client_message_id", "c-1")
	if got := again.expectError("unprocessable"); got.ClientMessageID != "c-1" {
		t.Errorf("another message under the id: %+v", got)
	}
	live := visitor.dial("session_id=" + id)
	ahead := visitor.dial("after=3&session_id=" + id)
	ahead.expectError("invalid_request")
	third := again.deliver("More")
	for _, ws := range []*wsClient{live, ahead} {
		if got := ws.await(frame.isMessage); got.MessageID != third.MessageID || got.Seq != 3 {
			t.Errorf("%+v", got)
		}
	}
}

// The last 100 messages of a visit can be replayed. Replies follow the order of the questions.
func TestVisitKeepsLast100Messages(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	ws := o.visitor().dial("")
	watcher := o.visitor().dial("session_id=" + ws.connected.SessionID)
	contents := map[string]string{}
	var all []message
	const rounds, each = 8, 8 // below the limit of the reply queue
	for round := range rounds {
		for i := range each {
			id := fmt.Sprint(round*each + i)
			contents[id] = "Question " + id
			ws.sendMessage(contents[id], "client_message_id", id)
		}
		some, err := ws.readMessages(int64(2*each*(round+1)), func(id string) string { return contents[id] })
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	seen, err := watcher.readMessages(int64(len(all)), nil)
	if err != nil || !slices.Equal(seen, all) || len(all) != 2*rounds*each {
		t.Errorf("%v\nreceived %v\nwant %v", err, seen, all)
	}
	asked, answered := 0, 0
	for i, m := range all {
		if m.seq != int64(i+1) {
			t.Fatalf("seq %d at index %d", m.seq, i)
		}
		if m.sender == "user" {
			if want := fmt.Sprintf("Question %d", asked); m.content != want {
				t.Errorf("%s, want %s", m.content, want)
			}
			asked++
		} else if answered++; answered > asked {
			t.Errorf("response %d before question %d", answered, asked)
		}
	}
	resumed, err := o.visitor().dial("after=0&session_id="+ws.connected.SessionID).readMessages(int64(len(all)), nil)
	if err != nil || !slices.Equal(resumed, all[len(all)-100:]) {
		t.Errorf("%v, %d messages from %d", err, len(resumed), resumed[0].seq)
	}
}

// A visit expires after its TTL without messages, and all its sockets are closed with the status expired.
func TestIdleVisitExpires(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{visitTTL: 3 * time.Second}).organization()
	ws := o.visitor().dial("")
	ws.deliver("Hello")
	ws.awaitReply()
	idle := time.Now()
	other := o.visitor().dial("session_id=" + ws.connected.SessionID)
	for _, socket := range []*wsClient{ws, other} {
		code, frames := socket.readUntilClosed()
		if code != websocket.StatusNormalClosure || len(frames) == 0 || !frames[len(frames)-1].isStatus("expired") {
			t.Errorf("closed with %d after %+v", code, frames)
		}
	}
	if after := time.Since(idle); after < 2*time.Second || after > 15*time.Second {
		t.Errorf("the visit expired after %v", after)
	}
	o.visitor().tryUpgrade("session_id="+ws.connected.SessionID).expectProblem(404, "not_found")
	if got := o.visitor().dial("").connected.SessionID; got == ws.connected.SessionID {
		t.Error("an expired visit was resumed")
	}
}

// All deltas come before the message, each once, in whatever order its event and the last delta arrive.
func TestDeltasJoinToMessage(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	for _, c := range []caller{o.visitor(), o.as("alice", auth.Chat)} {
		ws := c.dial("stream=true")
		for range 40 {
			ws.sendMessage(question)
			joined, run := "", ""
			reply := ws.await(func(f frame) bool {
				joined += f.Delta
				if f.Delta != "" {
					run = f.RunID
				}
				return f.isReply()
			})
			if joined != reply.Content || joined != longAnswer || run != reply.RunID {
				t.Fatalf("the deltas of run %s join to %q, the message of run %s is %q", run, joined, reply.RunID, reply.Content)
			}
		}
	}
}

func TestVisitorsCannotAttachFiles(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	ws := o.visitor().dial("")
	ws.sendMessage("Look", "attachments", []object{{"file": "https://files.example.com/x.png"}})
	ws.expectError("forbidden")
	if got := ws.deliver("Look"); got.Seq != 1 {
		t.Errorf("%+v", got)
	}
}

// The sockets of visitors from one IP address are limited. Closing one makes room for another.
func TestVisitorSocketLimit(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{Visitors: 50}}).organization()
	var sockets []*wsClient
	for range 50 {
		sockets = append(sockets, o.visitor().dial(""))
	}
	problem := o.visitor().tryUpgrade("").expectProblem(429, "rate_limited")
	if problem["retry_after"] == nil {
		t.Errorf("%v", problem)
	}
	o.as("alice", auth.Chat).dial("") // not a visitor
	if _, err := o.visitor().dialWith("", &websocket.DialOptions{HTTPHeader: http.Header{fromAddress: {"192.0.2.1"}}}); err != nil {
		t.Errorf("from another address: %v", err)
	}
	sockets[7].conn.CloseNow()
	eventually(t, "another visitor can connect", func() bool {
		_, err := o.visitor().tryDial("")
		return err == nil
	})
}

// Refused sockets of visitors do not count towards the limit.
func TestRefusedVisitorDoesNotCountTowardsLimit(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{Visitors: 50}}).organization()
	for range 60 {
		o.visitor().tryUpgrade("session_id="+uuid.NewString()).expectProblem(404, "not_found")
	}
	o.visitor().dial("")
}

// The longest message of a visitor reaches all sockets of the visit.
func TestLongMessageOfVisitorIsDelivered(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	ws := o.visitor().dial("")
	other := o.visitor().dial("session_id=" + ws.connected.SessionID)
	long := strings.Repeat("字", 4000)
	ws.deliver(long)
	if got := other.await(frame.isMessage); got.Content != long {
		t.Errorf("%d bytes", len(got.Content))
	}
	if ws.awaitReply().Content != shrug {
		t.Error("unexpected reply")
	}
}
