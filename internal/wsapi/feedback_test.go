package wsapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"parley/internal/auth"
)

// setFeedback sets the feedback of a message.
func (c caller) setFeedback(message string, feedback any) {
	c.t.Helper()
	c.call(http.MethodPut, "/api/messages/"+message+"/feedback/", object{"feedback": feedback}).expect(http.StatusOK)
}

// Every socket that watches a conversation receives changes of feedback in order, those of users and of agents.
// Sockets on other conversations receive nothing.
func TestFeedbackReachesAllWatchersInOrder(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, agent := o.as("alice", auth.Chat), o.as("agent", auth.Agent)
	id, other := alice.startConversation(), alice.startWithoutReplies()
	sender := alice.watch(id)
	sender.deliver(question)
	reply := sender.awaitReply()
	sockets := []*wsClient{sender, alice.dial("stream=true&session_id=" + id), agent.watch(id), alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, reply.Seq))}
	elsewhere := alice.watch(other)
	for i, feedback := range []any{"like", "dislike", nil, "like"} {
		[]caller{alice, agent}[i%2].setFeedback(reply.MessageID, feedback)
		want := []string{`"like"`, `"dislike"`, `null`, `"like"`}[i]
		for n, ws := range sockets {
			got := ws.awaitStatus("feedback")
			if got.MessageID != reply.MessageID || got.Seq != reply.Seq || string(got.Feedback) != want {
				t.Errorf("socket %d, %v: %+v", n, feedback, got)
			}
		}
	}
	alice.postMessage(other, "Hi")
	if got := elsewhere.next(); got.Type != "message" || got.Content != "Hi" {
		t.Errorf("the socket on another conversation received %+v", got)
	}
	// The feedback of a user's message is reported too.
	asked := o.storedMessages(id)[0]
	alice.setFeedback(asked.id, "dislike")
	for _, ws := range sockets {
		if got := ws.awaitStatus("feedback"); got.MessageID != asked.id || got.Seq != 1 || string(got.Feedback) != `"dislike"` {
			t.Errorf("%+v", got)
		}
	}
}

// A resumed socket receives the current feedback with each missed message.
func TestResumedSocketReceivesFeedbackWithMessage(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	ws := alice.watch(id)
	var replies []frame
	for range 3 {
		ws.deliver(question)
		replies = append(replies, ws.awaitReply())
	}
	for _, reply := range replies {
		if reply.Feedback != nil {
			t.Errorf("%+v", reply)
		}
	}
	alice.setFeedback(replies[0].MessageID, "like")
	alice.setFeedback(replies[1].MessageID, "dislike")
	alice.setFeedback(replies[2].MessageID, "like")
	alice.setFeedback(replies[2].MessageID, nil)
	again := alice.dial("after=1&session_id=" + id)
	for i, want := range []string{`"like"`, `"dislike"`, ""} {
		got := again.awaitReply()
		if got.MessageID != replies[i].MessageID || string(got.Feedback) != want {
			t.Errorf("reply %d: %+v", i, got)
		}
	}
	// Later changes are reported as they happen.
	alice.setFeedback(replies[2].MessageID, "dislike")
	if got := again.awaitStatus("feedback"); got.MessageID != replies[2].MessageID || string(got.Feedback) != `"dislike"` {
		t.Errorf("%+v", got)
	}
}

// A socket that is opened while feedback is given receives all of it, with the missed messages or afterwards.
func TestSocketOpenedDuringFeedbackReceivesAllOfIt(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	messages := make([]string, 120)
	for i := range messages {
		messages[i] = alice.postMessage(id, fmt.Sprint("message ", i))["message_id"].(string)
	}
	var sockets []*wsClient
	for i, message := range messages {
		if i%15 == 0 {
			sockets = append(sockets, alice.dial(fmt.Sprintf("session_id=%s&after=0", id)))
		}
		alice.setFeedback(message, "like")
	}
	for i, ws := range sockets {
		knows, byMessage := map[string]bool{}, 0
		for len(knows) < len(messages) {
			got := ws.await(func(f frame) bool { return string(f.Feedback) == `"like"` })
			if knows[got.MessageID] = true; got.isMessage() {
				byMessage++
			}
		}
		if byMessage < 15*i {
			t.Errorf("socket %d received %d messages with feedback", i, byMessage)
		}
	}
}
