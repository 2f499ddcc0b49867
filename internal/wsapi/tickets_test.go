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

// createTicket creates a ticket with the caller's key.
func (c caller) createTicket(body object) string {
	c.t.Helper()
	return c.call("POST", "/api/ws-tickets/", body).expect(201)["ticket"].(string)
}

// createToken creates a client token with the caller's key.
func (c caller) createToken(body object) object {
	c.t.Helper()
	return c.call("POST", "/api/client-tokens/", body).expect(201)
}

// dialWithToken connects as a browser does: the client token is a subprotocol.
func (o organization) dialWithToken(token, query string) (*wsClient, error) {
	return o.visitor().dialWith(query, &websocket.DialOptions{Subprotocols: []string{"bearer", token}})
}

// A ticket opens one socket, which acts as the caller that created the ticket.
func TestTicketOpensOneSocketAsItsCreator(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	alice, portal, page := o.as("alice", auth.Chat), o.asUntil("portal", &end, auth.Agent), o.visitor()
	id := alice.startWithoutReplies()
	made := portal.call("POST", "/api/ws-tickets/", object{}).expect(201)
	if left := time.Until(must(time.Parse(time.RFC3339, made["expiresAt"].(string)))); left > time.Minute || left < 50*time.Second {
		t.Errorf("the ticket is valid for %v, want a minute", left)
	}
	ws := page.dial("ticket=" + made["ticket"].(string) + "&session_id=" + id)
	if *ws.connected.Anonymous || ws.connected.ConversationID != id || string(ws.connected.ExpiresAt) != end.Format(`"2006-01-02T15:04:05.000000Z"`) {
		t.Errorf("%+v", ws.connected)
	}
	ws.deliver("I am of the staff")
	if said := o.storedMessages(id); said[0].sender != "agent" {
		t.Errorf("%v", said)
	}
	page.tryUpgrade("ticket="+made["ticket"].(string)).expectProblem(401, "unauthorized")
	page.tryUpgrade("ticket=wst_unknown").expectProblem(401, "unauthorized")

	// Of concurrent attempts to use a ticket, one succeeds.
	again := portal.createTicket(object{})
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
		t.Errorf("%d sockets were opened, want 1", opened.Load())
	}

	// A ticket ends with its key, and is valid for sockets only.
	late := portal.createTicket(object{})
	o.revoke(portal)
	page.tryUpgrade("ticket="+late).expectProblem(401, "unauthorized")
	page.call("GET", "/api/me/?ticket="+alice.createTicket(object{}), nil).expectProblem(401, "unauthorized")
	// A ticket is ignored, and stays valid, if the request has a key.
	unused := alice.createTicket(object{})
	alice.dial("ticket=" + unused)
	page.dial("ticket=" + unused)
}

// A ticket that is bound to a conversation or a chatbot opens sockets for nothing else.
func TestBoundTicketIsLimitedToItsResource(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	other := must(o.bots.Create(t.Context(), o.id, bot.NewBot{Name: "Other", Slug: "other"}))
	for _, scope := range []auth.Scope{auth.Chat, auth.Agent} {
		alice, page := o.as("alice", scope), o.visitor()
		mine, another := alice.startWithoutReplies(), alice.startWithoutReplies()
		watched := func() string { return "ticket=" + alice.createTicket(object{"conversation": mine}) }
		if connected := page.dial(watched()).connected; connected.ConversationID != mine {
			t.Errorf("%+v", connected)
		}
		page.dial(watched() + "&session_id=" + mine).deliver("Hello")
		page.tryUpgrade(watched()+"&session_id="+another).expectProblem(403, "forbidden")
		talks := func() string { return "ticket=" + alice.createTicket(object{"chatbot": "other"}) }
		ws := page.dial(talks())
		if ws.connected.BotID != other.ID.String() {
			t.Errorf("%+v", ws.connected)
		}
		page.dial(talks() + "&session_id=" + ws.connected.SessionID)
		page.dial(talks() + "&bot_id=other")
		page.tryUpgrade(talks()+"&bot_id=parley").expectProblem(403, "forbidden")
		page.tryUpgrade(talks()+"&session_id="+mine).expectProblem(403, "forbidden")
	}
}

// A client token opens sockets for the conversation or chatbot that it is bound to, and for nothing else.
func TestClientTokenIsLimitedToItsResource(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	o, other := s.organization(), s.organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	mine, another, colleagues := alice.startWithoutReplies(), alice.startWithoutReplies(), bob.startWithoutReplies()
	foreign := other.as("eve", auth.Chat).startWithoutReplies()

	token := alice.createToken(object{"conversation": mine})["token"].(string)
	for _, query := range []string{"", "session_id=" + mine} {
		ws := must(o.dialWithToken(token, query))
		if ws.connected.ConversationID != mine || ws.conn.Subprotocol() != "bearer" {
			t.Errorf("%+v, %q", ws.connected, ws.conn.Subprotocol())
		}
		ws.deliver("Hello")
	}
	for session, status := range map[string]int{another: 403, colleagues: 403, foreign: 404, "x": 404} {
		code := map[int]string{403: "forbidden", 404: "not_found"}[status]
		o.visitor().tryUpgrade("session_id="+session, "Sec-WebSocket-Protocol", "bearer, "+token).expectProblem(status, code)
	}

	visitor := alice.createToken(object{"chatbot": "parley"})
	begun := must(o.dialWithToken(visitor["token"].(string), ""))
	begun.deliver(question)
	begun.awaitReply()
	shown := alice.call("GET", "/api/conversations/"+begun.connected.ConversationID+"/", nil).expect(200)
	if shown["contact"].(object)["id"] != visitor["contact"] {
		t.Errorf("the contact is %v, want %v", shown["contact"], visitor["contact"])
	}
	second := alice.createToken(object{"chatbot": "parley"})["token"].(string)
	o.visitor().tryUpgrade("session_id="+begun.connected.ConversationID, "Sec-WebSocket-Protocol", "bearer, "+second).expectProblem(403, "forbidden")
}

// A socket is warned before its token expires, and is closed when it does.
func TestSocketClosesWhenTokenExpires(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	made := alice.createToken(object{"conversation": alice.startWithoutReplies(), "expiresIn": 2})
	ws := must(o.dialWithToken(made["token"].(string), ""))
	code, frames := ws.readUntilClosed()
	if code != websocket.StatusNormalClosure || len(frames) != 2 || !frames[0].isStatus("expiring") || !frames[1].isStatus("expired") {
		t.Fatalf("closed with %d after %+v", code, frames)
	}
	want := string(must(json.Marshal(made["expiresAt"])))
	if string(frames[0].ExpiresAt) != want || string(ws.connected.ExpiresAt) != want || time.Now().Before(must(time.Parse(`"`+time.RFC3339+`"`, want))) {
		t.Errorf("%s, %+v at %v", want, frames[0], time.Now())
	}
}

// A visit warns before it expires. A message extends it.
func TestVisitWarnsBeforeItExpires(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{visitTTL: 6 * time.Second}).organization()
	ws := o.visitor().dial("")
	first := ws.awaitStatus("expiring")
	ws.deliver("Still here")
	second := ws.awaitStatus("expiring")
	ws.awaitStatus("expired")
	var ends [2]time.Time
	for i, warned := range []frame{first, second} {
		if err := json.Unmarshal(warned.ExpiresAt, &ends[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !ends[1].After(ends[0]) || time.Now().Before(ends[1]) {
		t.Errorf("the warnings say %v and %v, and the visit expired at %v", ends[0], ends[1], time.Now())
	}
}

// Revoking a key closes the sockets that were opened with it, its tokens or its tickets, within seconds.
// Other sockets stay open.
func TestRevokedKeyClosesItsSockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, spare := o.as("alice", auth.Chat), o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	sockets := []*wsClient{
		alice.watch(id), alice.dial(""),
		must(o.dialWithToken(alice.createToken(object{"conversation": id})["token"].(string), "")),
		o.visitor().dial("ticket=" + alice.createTicket(object{"conversation": id})),
	}
	stays := spare.watch(id)
	o.revoke(alice)
	began := time.Now()
	for i, ws := range sockets {
		code, frames := ws.readUntilClosed()
		if code != websocket.StatusNormalClosure || len(frames) != 1 || !frames[0].isStatus("expired") || time.Since(began) > 10*time.Second {
			t.Errorf("socket %d: closed with %d after %v and %+v", i, code, time.Since(began), frames)
		}
	}
	stays.deliver("I am still here")
}

// revoke revokes a caller's key through the API.
func (o organization) revoke(c caller) {
	o.t.Helper()
	prefix, _, _ := strings.Cut(c.key, ".")
	admin := o.as("admin", auth.Admin)
	for _, key := range admin.call("GET", "/api/api-keys/", nil).expect(200)["results"].([]any) {
		if key.(object)["prefix"] == prefix {
			if got := admin.call("DELETE", fmt.Sprintf("/api/api-keys/%s/", key.(object)["id"]), nil); got.status != http.StatusNoContent {
				o.t.Fatalf("%d %s", got.status, got.body)
			}
		}
	}
}

// Deleting a conversation closes its sockets within seconds, also if another instance deleted it.
func TestDeletedConversationClosesItsSockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, portal := o.as("alice", auth.Chat), o.as("portal", auth.Agent)
	first, second, third := alice.startWithoutReplies(), alice.startWithoutReplies(), alice.startWithoutReplies()
	sockets := []*wsClient{alice.watch(first), portal.watch(first), alice.watch(second)}
	stays := alice.watch(third)
	if got := alice.call("DELETE", "/api/conversations/"+first+"/", nil); got.status != http.StatusNoContent {
		t.Fatalf("%d %s", got.status, got.body)
	}
	must(o.sql.Exec(t.Context(), "DELETE FROM sessions WHERE id = $1", second)) // as another instance does
	began := time.Now()
	for i, ws := range sockets {
		code, frames := ws.readUntilClosed()
		if code != websocket.StatusNormalClosure || len(frames) != 1 || frames[0].Error != "not_found" || time.Since(began) > 10*time.Second {
			t.Errorf("socket %d: closed with %d after %v and %+v", i, code, time.Since(began), frames)
		}
	}
	stays.deliver("I am still here")
}
