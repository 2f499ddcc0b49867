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

// A visitor's conversation is nowhere but in the frames.
func TestAVisitLeavesNothingInTheDatabase(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Admin)
	before := o.rows()
	l := o.visitor().dial("stream=true")
	for i, content := range []string{question, "Hm", question} {
		sent := l.delivers(content, "client_message_id", fmt.Sprint(i), "metadata", object{"page": "/"})
		if sent.Seq != int64(2*i+1) || sent.MessageID == "" || sent.ConversationID != "" {
			t.Errorf("%+v", sent)
		}
		all := l.until(frame.isReply)
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
			l.await(func(f frame) bool { return f.Type == "suggestion" && len(f.Suggestions) > 0 })
		}
	}
	if after := o.rows(); !maps.Equal(before, after) {
		t.Errorf("rows before %v\nafter %v", before, after)
	}
	id := l.hi.SessionID
	for path, status := range map[string]int{
		"/api/conversations/" + id + "/history": 404, "/api/conversations/" + id + "/": 404, "/api/messages/?conversation=" + id: 404,
	} {
		alice.call("GET", path, nil).refused(status, "not_found")
		o.visitor().call("GET", path, nil).refused(401, "unauthorized")
	}
	alice.call("POST", "/api/conversations/"+id+"/messages", object{"content": "Hi"}).refused(404, "not_found")
	o.visitor().call("POST", "/api/conversations/"+id+"/messages", object{"content": "Hi"}).refused(401, "unauthorized")
}

// Nobody without a key can read what is stored.
func TestAVisitorReadsNobodysConversation(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	alice.say(id, "A secret")
	o.visitor().call("GET", "/api/conversations/"+id+"/history", nil).refused(401, "unauthorized")
	o.visitor().connect("after=0&session_id="+id).refused(404, "not_found")
	l := o.visitor().dial("")
	l.say("Let me in", "session_id", id)
	l.refuses("invalid_request")
}

// A visit is served by the organization that was there first, whoever else there is.
func TestVisitorsMeetTheFirstOrganizationsDefaultBot(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	first, second := s.organization(), s.organization()
	if hi := second.visitor().dial("").hi; hi.BotID != first.bot.ID.String() {
		t.Errorf("%+v", hi)
	}
	second.visitor().connect("bot_id="+second.bot.ID.String()).refused(403, "forbidden")
}

func TestAVisitIsResumedByItsSessionAndSeq(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	visitor := o.visitor()
	first := visitor.dial("")
	id := first.hi.SessionID
	want := first.delivers("Hello", "client_message_id", "c-1")
	reply := first.awaitReply()
	if got := first.delivers("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID || got.Seq != 1 {
		t.Errorf("sent again: %+v", got)
	}
	first.conn.CloseNow()

	again := visitor.dial("after=0&session_id=" + id)
	if again.hi.SessionID != id || !*again.hi.Anonymous {
		t.Errorf("%+v", again.hi)
	}
	if got := again.next(); got.Type != "message" || got.MessageID != want.MessageID || got.Content != "Hello" || got.Sender != "user" {
		t.Errorf("the question: %+v", got)
	}
	if got := again.next(); got.MessageID != reply.MessageID || got.Content != reply.Content || got.Timestamp != reply.Timestamp {
		t.Errorf("the reply: %+v, want %+v", got, reply)
	}
	if got := again.delivers("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID || got.Seq != 1 {
		t.Errorf("sent again after the reconnect: %+v", got)
	}
	live := visitor.dial("session_id=" + id)
	ahead := visitor.dial("after=3&session_id=" + id)
	ahead.refuses("invalid_request")
	third := again.delivers("More")
	for _, l := range []*link{live, ahead} {
		if got := l.await(frame.isMessage); got.MessageID != third.MessageID || got.Seq != 3 {
			t.Errorf("%+v", got)
		}
	}
}

// The last 100 messages of a visit can be read again; answers come in the order of the
// questions, each once.
func TestTheLastHundredMessagesOfAVisitAreKept(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	l := o.visitor().dial("")
	watcher := o.visitor().dial("session_id=" + l.hi.SessionID)
	contents := map[string]string{}
	var all []line
	const rounds, each = 8, 8 // fewer than may wait
	for round := range rounds {
		for i := range each {
			id := fmt.Sprint(round*each + i)
			contents[id] = "Question " + id
			l.say(contents[id], "client_message_id", id)
		}
		some, err := l.lines(int64(2*each*(round+1)), func(id string) string { return contents[id] })
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	seen, err := watcher.lines(int64(len(all)), nil)
	if err != nil || !slices.Equal(seen, all) || len(all) != 2*rounds*each {
		t.Errorf("%v\nseen %v\nhad %v", err, seen, all)
	}
	asked, answered := 0, 0
	for i, one := range all {
		if one.seq != int64(i+1) {
			t.Fatalf("the seq %d at %d", one.seq, i)
		}
		if one.sender == "user" {
			if want := fmt.Sprintf("Question %d", asked); one.content != want {
				t.Errorf("%s, want %s", one.content, want)
			}
			asked++
		} else if answered++; answered > asked {
			t.Errorf("answer %d before question %d", answered, asked)
		}
	}
	resumed, err := o.visitor().dial("after=0&session_id="+l.hi.SessionID).lines(int64(len(all)), nil)
	if err != nil || !slices.Equal(resumed, all[len(all)-100:]) {
		t.Errorf("%v, %d messages from %d", err, len(resumed), resumed[0].seq)
	}
}

// A visit ends when nothing was said for its time, and every socket on it is told.
func TestAnIdleVisitExpires(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{visitTTL: 3 * time.Second}).organization()
	l := o.visitor().dial("")
	l.delivers("Hello")
	l.awaitReply()
	idle := time.Now()
	other := o.visitor().dial("session_id=" + l.hi.SessionID)
	for _, one := range []*link{l, other} {
		code, frames := one.ends()
		if code != websocket.StatusNormalClosure || len(frames) == 0 || !frames[len(frames)-1].isStatus("expired") {
			t.Errorf("closed with %d after %+v", code, frames)
		}
	}
	if after := time.Since(idle); after < 2*time.Second || after > 15*time.Second {
		t.Errorf("it expired after %v", after)
	}
	o.visitor().connect("session_id="+l.hi.SessionID).refused(404, "not_found")
	if got := o.visitor().dial("").hi.SessionID; got == l.hi.SessionID {
		t.Error("an ended visit begins anew")
	}
}

// However the message and the last of its growth come to the socket, all deltas come
// first, each once.
func TestTheDeltasJoinedAreTheMessageEachTime(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	for _, c := range []caller{o.visitor(), o.as("alice", auth.Chat)} {
		l := c.dial("stream=true")
		for range 40 {
			l.say(question)
			joined, run := "", ""
			reply := l.await(func(f frame) bool {
				joined += f.Delta
				if f.Delta != "" {
					run = f.RunID
				}
				return f.isReply()
			})
			if joined != reply.Content || joined != longAnswer || run != reply.RunID {
				t.Fatalf("the deltas of %s are %q, the message of %s is %q", run, joined, reply.RunID, reply.Content)
			}
		}
	}
}

func TestVisitorsAttachNothing(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	l := o.visitor().dial("")
	l.say("Look", "attachments", []object{{"file": "https://files.example.com/x.png"}})
	l.refuses("forbidden")
	if got := l.delivers("Look"); got.Seq != 1 {
		t.Errorf("%+v", got)
	}
}

// An address has so many visitors at once; who leaves makes room.
func TestAnAddressHasSoManyVisitors(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{Visitors: 50}}).organization()
	var links []*link
	for range 50 {
		links = append(links, o.visitor().dial(""))
	}
	problem := o.visitor().connect("").refused(429, "rate_limited")
	if problem["retry_after"] == nil {
		t.Errorf("%v", problem)
	}
	o.as("alice", auth.Chat).dial("") // is no visitor
	if _, err := o.visitor().dialWith("", &websocket.DialOptions{HTTPHeader: http.Header{fromAddress: {"192.0.2.1"}}}); err != nil {
		t.Errorf("from another address: %v", err)
	}
	links[7].conn.CloseNow()
	eventually(t, "there is room for another visitor", func() bool {
		_, err := o.visitor().tryDial("")
		return err == nil
	})
}

// What is no visit takes no visitor's place.
func TestARefusedVisitorTakesNoPlace(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{Visitors: 50}}).organization()
	for range 60 {
		o.visitor().connect("session_id="+uuid.NewString()).refused(404, "not_found")
	}
	o.visitor().dial("")
}

// A visitor's content may be as long as anybody's.
func TestAVisitorsLongMessageIsKept(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	l := o.visitor().dial("")
	other := o.visitor().dial("session_id=" + l.hi.SessionID)
	long := strings.Repeat("字", 20000)
	l.delivers(long)
	if got := other.await(frame.isMessage); got.Content != long {
		t.Errorf("%d bytes", len(got.Content))
	}
	if l.awaitReply().Content != shrug {
		t.Error("it is answered otherwise")
	}
}
