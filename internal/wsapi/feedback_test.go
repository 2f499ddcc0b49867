package wsapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"parley/internal/auth"
)

// rate sets a message's feedback.
func (c caller) rate(message string, feedback any) {
	c.t.Helper()
	c.call(http.MethodPut, "/api/messages/"+message+"/feedback/", object{"feedback": feedback}).gives(http.StatusOK)
}

// Every socket that watches the conversation hears of feedback, the user's and the staff's, in the order in which it was
// given; sockets on other conversations hear nothing.
func TestAllWhoWatchHearOfFeedback(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, agent := o.as("alice", auth.Chat), o.as("agent", auth.Agent)
	id, other := alice.start(), alice.quiet()
	sender := alice.watch(id)
	sender.delivers(question)
	reply := sender.awaitReply()
	links := []*link{sender, alice.dial("stream=true&session_id=" + id), agent.watch(id), alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, reply.Seq))}
	elsewhere := alice.watch(other)
	for i, feedback := range []any{"like", "dislike", nil, "like"} {
		[]caller{alice, agent}[i%2].rate(reply.MessageID, feedback)
		want := []string{`"like"`, `"dislike"`, `null`, `"like"`}[i]
		for n, l := range links {
			got := l.awaitStatus("feedback")
			if got.MessageID != reply.MessageID || got.Seq != reply.Seq || string(got.Feedback) != want {
				t.Errorf("socket %d, %v: %+v", n, feedback, got)
			}
		}
	}
	alice.say(other, "Hi")
	if got := elsewhere.next(); got.Type != "message" || got.Content != "Hi" {
		t.Errorf("elsewhere comes %+v", got)
	}
	// The user's own message too.
	asked := o.stored(id)[0]
	alice.rate(asked.id, "dislike")
	for _, l := range links {
		if got := l.awaitStatus("feedback"); got.MessageID != asked.id || got.Seq != 1 || string(got.Feedback) != `"dislike"` {
			t.Errorf("%+v", got)
		}
	}
}

// A socket that was away hears of feedback with the message that it has missed, and not of what was taken back.
func TestASocketThatResumesGetsTheMessageWithItsFeedback(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.start()
	l := alice.watch(id)
	var replies []frame
	for range 3 {
		l.delivers(question)
		replies = append(replies, l.awaitReply())
	}
	for _, reply := range replies {
		if reply.Feedback != nil {
			t.Errorf("%+v", reply)
		}
	}
	alice.rate(replies[0].MessageID, "like")
	alice.rate(replies[1].MessageID, "dislike")
	alice.rate(replies[2].MessageID, "like")
	alice.rate(replies[2].MessageID, nil)
	again := alice.dial("after=1&session_id=" + id)
	for i, want := range []string{`"like"`, `"dislike"`, ""} {
		got := again.awaitReply()
		if got.MessageID != replies[i].MessageID || string(got.Feedback) != want {
			t.Errorf("reply %d comes as %+v", i, got)
		}
	}
	// And goes on live.
	alice.rate(replies[2].MessageID, "dislike")
	if got := again.awaitStatus("feedback"); got.MessageID != replies[2].MessageID || string(got.Feedback) != `"dislike"` {
		t.Errorf("%+v", got)
	}
}

// A socket that comes while feedback is given learns all of it: with the messages that it reads up, or afterwards.
func TestASocketThatComesWhileFeedbackIsGivenLearnsAllOfIt(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	messages := make([]string, 120)
	for i := range messages {
		messages[i] = alice.say(id, fmt.Sprint("message ", i))["message_id"].(string)
	}
	var links []*link
	for i, message := range messages {
		if i%15 == 0 {
			links = append(links, alice.dial(fmt.Sprintf("session_id=%s&after=0", id)))
		}
		alice.rate(message, "like")
	}
	for i, l := range links {
		knows, byMessage := map[string]bool{}, 0
		for len(knows) < len(messages) {
			got := l.await(func(f frame) bool { return string(f.Feedback) == `"like"` })
			if knows[got.MessageID] = true; got.isMessage() {
				byMessage++
			}
		}
		if byMessage < 15*i {
			t.Errorf("socket %d has got %d messages with feedback", i, byMessage)
		}
	}
}
