package wsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/auth"
	"parley/internal/bot"
)

// ticket makes a ticket with the caller's key.
func (c caller) ticket(body object) string {
	c.t.Helper()
	return c.call("POST", "/api/ws-tickets/", body).gives(201)["ticket"].(string)
}

// token makes a client token with the caller's key.
func (c caller) token(body object) object {
	c.t.Helper()
	return c.call("POST", "/api/client-tokens/", body).gives(201)
}

// page connects as a browser does that has a token.
func (o organization) page(token, query string) (*link, error) {
	return o.visitor().dialWith(query, &websocket.DialOptions{Subprotocols: []string{"bearer", token}})
}

// A ticket opens one socket, for whoever has it, as the caller who made it.
func TestATicketOpensOneSocketAsItsMaker(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	alice, portal, page := o.as("alice", auth.Chat), o.until("portal", &end, auth.Agent), o.visitor()
	id := alice.quiet()
	made := portal.call("POST", "/api/ws-tickets/", object{}).gives(201)
	if left := time.Until(must(time.Parse(time.RFC3339, made["expiresAt"].(string)))); left > time.Minute || left < 50*time.Second {
		t.Errorf("it can be used for %v", left)
	}
	l := page.dial("ticket=" + made["ticket"].(string) + "&session_id=" + id)
	if *l.hi.Anonymous || l.hi.ConversationID != id || string(l.hi.ExpiresAt) != end.Format(`"2006-01-02T15:04:05.000000Z"`) {
		t.Errorf("%+v", l.hi)
	}
	l.delivers("I am of the staff")
	if said := o.stored(id); said[0].sender != "agent" {
		t.Errorf("%v", said)
	}
	page.connect("ticket="+made["ticket"].(string)).refused(401, "unauthorized")
	page.connect("ticket=wst_unknown").refused(401, "unauthorized")

	// Of many who come with it at once one gets in.
	again := portal.ticket(object{})
	var opened atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := page.tryDial("ticket=" + again); err == nil {
				opened.Add(1)
			}
		})
	}
	all.Wait()
	if opened.Load() != 1 {
		t.Errorf("%d got in", opened.Load())
	}

	// It ends with its key, and opens nothing else.
	late := portal.ticket(object{})
	o.revoke(portal)
	page.connect("ticket="+late).refused(401, "unauthorized")
	page.call("GET", "/api/me/?ticket="+alice.ticket(object{}), nil).refused(401, "unauthorized")
	// Beside a key it is not looked at.
	unused := alice.ticket(object{})
	alice.dial("ticket=" + unused)
	page.dial("ticket=" + unused)
}

// A ticket that is bound opens a socket on what it is for.
func TestABoundTicketOpensASocketOnWhatItIsFor(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	other := must(o.bots.Create(t.Context(), o.id, bot.NewBot{Name: "Other", Slug: "other"}))
	for _, scope := range []auth.Scope{auth.Chat, auth.Agent} {
		alice, page := o.as("alice", scope), o.visitor()
		mine, another := alice.quiet(), alice.quiet()
		watched := func() string { return "ticket=" + alice.ticket(object{"conversation": mine}) }
		if hi := page.dial(watched()).hi; hi.ConversationID != mine {
			t.Errorf("%+v", hi)
		}
		page.dial(watched() + "&session_id=" + mine).delivers("Hello")
		page.connect(watched()+"&session_id="+another).refused(403, "forbidden")
		talks := func() string { return "ticket=" + alice.ticket(object{"chatbot": "other"}) }
		l := page.dial(talks())
		if l.hi.BotID != other.ID.String() {
			t.Errorf("%+v", l.hi)
		}
		page.dial(talks() + "&session_id=" + l.hi.SessionID)
		page.dial(talks() + "&bot_id=other")
		page.connect(talks()+"&bot_id=parley").refused(403, "forbidden")
		page.connect(talks()+"&session_id="+mine).refused(403, "forbidden")
	}
}

// A page converses with a client token as its subprotocol, within what the token is for.
func TestAPageConversesWithAClientToken(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	o, neighbour := s.organization(), s.organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	mine, another, colleagues := alice.quiet(), alice.quiet(), bob.quiet()
	foreign := neighbour.as("eve", auth.Chat).quiet()

	one := alice.token(object{"conversation": mine})["token"].(string)
	for _, query := range []string{"", "session_id=" + mine} {
		l := must(o.page(one, query))
		if l.hi.ConversationID != mine || l.conn.Subprotocol() != "bearer" {
			t.Errorf("%+v, %q", l.hi, l.conn.Subprotocol())
		}
		l.delivers("Hello")
	}
	for session, status := range map[string]int{another: 403, colleagues: 403, foreign: 404, "x": 404} {
		code := map[int]string{403: "forbidden", 404: "not_found"}[status]
		o.visitor().connect("session_id="+session, "Sec-WebSocket-Protocol", "bearer, "+one).refused(status, code)
	}

	visitor := alice.token(object{"chatbot": "parley"})
	begun := must(o.page(visitor["token"].(string), ""))
	begun.delivers(question)
	begun.awaitReply()
	shown := alice.call("GET", "/api/conversations/"+begun.hi.ConversationID+"/", nil).gives(200)
	if shown["contact"].(object)["id"] != visitor["contact"] {
		t.Errorf("%v is not with %v", shown["contact"], visitor["contact"])
	}
	second := alice.token(object{"chatbot": "parley"})["token"].(string)
	o.visitor().connect("session_id="+begun.hi.ConversationID, "Sec-WebSocket-Protocol", "bearer, "+second).refused(403, "forbidden")
}

// A socket is told a while before its token ends, and ends with it.
func TestASocketEndsWithItsToken(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	made := alice.token(object{"conversation": alice.quiet(), "expiresIn": 2})
	l := must(o.page(made["token"].(string), ""))
	code, frames := l.ends()
	if code != websocket.StatusNormalClosure || len(frames) != 2 || !frames[0].isStatus("expiring") || !frames[1].isStatus("expired") {
		t.Fatalf("closed with %d after %+v", code, frames)
	}
	want := string(must(json.Marshal(made["expiresAt"])))
	if string(frames[0].ExpiresAt) != want || string(l.hi.ExpiresAt) != want || time.Now().Before(must(time.Parse(`"`+time.RFC3339+`"`, want))) {
		t.Errorf("%s, %+v at %v", want, frames[0], time.Now())
	}
}

// A visit that is nearly over tells so, and goes on when something is said.
func TestAVisitTellsThatItEnds(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{visitTTL: 6 * time.Second}).organization()
	l := o.visitor().dial("")
	first := l.awaitStatus("expiring")
	l.delivers("Still here")
	second := l.awaitStatus("expiring")
	l.awaitStatus("expired")
	var ends [2]time.Time
	for i, warned := range []frame{first, second} {
		if err := json.Unmarshal(warned.ExpiresAt, &ends[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !ends[1].After(ends[0]) || time.Now().Before(ends[1]) {
		t.Errorf("first %v, then %v, ended at %v", ends[0], ends[1], time.Now())
	}
}

// A key that is revoked ends the sockets that it, its tokens and its tickets have opened, within seconds, and no others.
func TestARevokedKeyEndsItsSockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, spare := o.as("alice", auth.Chat), o.as("alice", auth.Chat)
	id := alice.quiet()
	links := []*link{
		alice.watch(id), alice.dial(""),
		must(o.page(alice.token(object{"conversation": id})["token"].(string), "")),
		o.visitor().dial("ticket=" + alice.ticket(object{"conversation": id})),
	}
	stays := spare.watch(id)
	o.revoke(alice)
	began := time.Now()
	for i, l := range links {
		code, frames := l.ends()
		if code != websocket.StatusNormalClosure || len(frames) != 1 || !frames[0].isStatus("expired") || time.Since(began) > 10*time.Second {
			t.Errorf("socket %d: closed with %d after %v and %+v", i, code, time.Since(began), frames)
		}
	}
	stays.delivers("I am still here")
}

// revoke revokes a caller's key, as an administrator does.
func (o organization) revoke(c caller) {
	o.t.Helper()
	prefix, _, _ := strings.Cut(c.key, ".")
	admin := o.as("admin", auth.Admin)
	for _, key := range admin.call("GET", "/api/api-keys/", nil).gives(200)["results"].([]any) {
		if key.(object)["prefix"] == prefix {
			if got := admin.call("DELETE", fmt.Sprintf("/api/api-keys/%s/", key.(object)["id"]), nil); got.status != http.StatusNoContent {
				o.t.Fatalf("%d %s", got.status, got.body)
			}
		}
	}
}

// A conversation that is deleted ends its sockets within seconds, whoever has deleted it.
func TestADeletedConversationEndsItsSockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, portal := o.as("alice", auth.Chat), o.as("portal", auth.Agent)
	first, second, third := alice.quiet(), alice.quiet(), alice.quiet()
	links := []*link{alice.watch(first), portal.watch(first), alice.watch(second)}
	stays := alice.watch(third)
	if got := alice.call("DELETE", "/api/conversations/"+first+"/", nil); got.status != http.StatusNoContent {
		t.Fatalf("%d %s", got.status, got.body)
	}
	must(o.sql.Exec(t.Context(), "DELETE FROM sessions WHERE id = $1", second)) // as another process does
	began := time.Now()
	for i, l := range links {
		code, frames := l.ends()
		if code != websocket.StatusNormalClosure || len(frames) != 1 || frames[0].Error != "not_found" || time.Since(began) > 10*time.Second {
			t.Errorf("socket %d: closed with %d after %v and %+v", i, code, time.Since(began), frames)
		}
	}
	stays.delivers("I am still here")
}
