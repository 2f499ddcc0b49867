package wsapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/store"
)

// upgrade is the headers of a WebSocket handshake.
var upgrade = []string{
	"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==",
}

// tryUpgrade sends a WebSocket handshake that is expected to be refused.
func (c caller) tryUpgrade(query string, headers ...string) response {
	c.t.Helper()
	return c.call("GET", "/ws?"+query, nil, append(append([]string{}, upgrade...), headers...)...)
}

func TestConnectedFrameDescribesSocket(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	other := must(o.bots.Create(t.Context(), o.id, bot.NewBot{Name: "Other", Slug: "other", Greeting: "Salut"}))
	alice, until := o.as("alice", auth.Chat), o.asUntil("bob", &end, auth.Agent)
	started := alice.startConversation()
	for name, test := range map[string]struct {
		caller         caller
		query          string
		session        string
		bot, greeting  string
		anonymous      bool
		expires        string
		isConversation bool
	}{
		"a new conversation":          {alice, "", "", o.bot.ID.String(), greeting, false, "null", true},
		"another bot":                 {alice, "bot_id=other", "", other.ID.String(), "Salut", false, "null", true},
		"a bot by ID":                 {alice, "bot_id=" + other.ID.String(), "", other.ID.String(), "Salut", false, "null", true},
		"an existing conversation":    {alice, "session_id=" + started, started, o.bot.ID.String(), greeting, false, "null", true},
		"another user's conversation": {until, "session_id=" + started, started, o.bot.ID.String(), greeting, false, end.Format(`"2006-01-02T15:04:05.000000Z"`), true},
		"a visit":                     {o.visitor(), "", "", o.bot.ID.String(), greeting, true, "", false},
		"a visit to a bot by slug":    {o.visitor(), "bot_id=parley", "", o.bot.ID.String(), greeting, true, "", false},
	} {
		connected := test.caller.dial(test.query).connected
		if connected.BotID != test.bot || connected.Greeting != test.greeting || connected.Anonymous == nil || *connected.Anonymous != test.anonymous {
			t.Errorf("%s: %+v", name, connected)
		}
		if test.session != "" && connected.SessionID != test.session || (connected.ConversationID != "") != test.isConversation ||
			test.isConversation && connected.ConversationID != connected.SessionID {
			t.Errorf("%s: session %s, conversation %s", name, connected.SessionID, connected.ConversationID)
		}
		if test.expires != "" && string(connected.ExpiresAt) != test.expires {
			t.Errorf("%s: expires_at is %s, want %s", name, connected.ExpiresAt, test.expires)
		}
		if test.anonymous {
			var expires time.Time
			if err := json.Unmarshal(connected.ExpiresAt, &expires); err != nil || time.Until(expires) > 30*time.Minute || time.Until(expires) < 29*time.Minute {
				t.Errorf("%s: expires_at is %s, want 30 minutes from now", name, connected.ExpiresAt)
			}
		}
	}
}

func TestVisitorsAreRefusedWhereVisitsAreOff(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{noVisitors: true}).organization()
	o.visitor().tryUpgrade("").expectProblem(401, "unauthorized")
	o.visitor().tryUpgrade("session_id="+store.NewID().String()).expectProblem(401, "unauthorized")
	alice := o.as("alice", auth.Chat).dial("")
	alice.deliver("Hello")
	if visits := o.chat.Visits.Count(); visits != 0 {
		t.Errorf("%d visits began", visits)
	}
}

func TestKeyIsReadFromHeaderOrSubprotocol(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	for name, test := range map[string]struct {
		header       string
		subprotocols []string
		negotiated   string
	}{
		"Api-Key":            {"Api-Key " + alice.key, nil, ""},
		"Bearer":             {"bearer " + alice.key, nil, ""},
		"subprotocols":       {"", []string{"bearer", alice.key}, "bearer"},
		"another's protocol": {"Bearer " + alice.key, []string{"chat"}, ""},
	} {
		options := &websocket.DialOptions{HTTPHeader: http.Header{}, Subprotocols: test.subprotocols}
		if test.header != "" {
			options.HTTPHeader.Set("Authorization", test.header)
		}
		ws, err := alice.dialWith("", options)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if *ws.connected.Anonymous || ws.conn.Subprotocol() != test.negotiated {
			t.Errorf("%s: anonymous %v, subprotocol %q", name, *ws.connected.Anonymous, ws.conn.Subprotocol())
		}
	}
	if connected := o.visitor().dial("").connected; !*connected.Anonymous {
		t.Errorf("without a key: %+v", connected)
	}
}

func TestInvalidRequestsAreRefusedBeforeUpgrade(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	o, other := s.organization(), s.organization()
	alice, bob, reader := o.as("alice", auth.Chat), o.as("bob", auth.Chat), o.as("reader", auth.RecordsRead)
	must(o.bots.Create(t.Context(), o.id, bot.NewBot{Name: "Other", Slug: "other"}))
	mine, foreign := alice.startConversation(), other.as("eve", auth.Chat).startConversation()
	visit := o.visitor().dial("").connected.SessionID
	nothing := uuid.Must(uuid.NewV7()).String()
	wrong := alice
	wrong.key += "x"
	before := s.countRows()
	for name, test := range map[string]struct {
		caller  caller
		query   string
		status  int
		code    string
		headers []string
	}{
		"a wrong key":                             {wrong, "", 401, "unauthorized", nil},
		"a wrong key as a subprotocol":            {o.visitor(), "", 401, "unauthorized", []string{"Sec-WebSocket-Protocol", "bearer, " + wrong.key}},
		"no key as a subprotocol":                 {o.visitor(), "", 401, "unauthorized", []string{"Sec-WebSocket-Protocol", "bearer"}},
		"a key without the scope":                 {reader, "", 403, "forbidden", nil},
		"a foreign origin":                        {alice, "", 403, "forbidden", []string{"Origin", "https://evil.example"}},
		"an opaque origin":                        {alice, "", 403, "forbidden", []string{"Origin", "null"}},
		"a visitor from a foreign origin":         {o.visitor(), "", 403, "forbidden", []string{"Origin", "https://evil.example"}},
		"an unknown session":                      {alice, "session_id=" + nothing, 404, "not_found", nil},
		"an invalid session ID":                   {alice, "session_id=x", 404, "not_found", nil},
		"a session of another organization":       {alice, "session_id=" + foreign, 404, "not_found", nil},
		"a visit, with a key":                     {alice, "session_id=" + visit, 404, "not_found", nil},
		"a colleague's session":                   {bob, "session_id=" + mine, 403, "forbidden", nil},
		"an unknown bot":                          {alice, "bot_id=nobody", 404, "not_found", nil},
		"another bot for a visitor":               {o.visitor(), "bot_id=other", 403, "forbidden", nil},
		"an unknown bot for a visitor":            {o.visitor(), "bot_id=nobody", 403, "forbidden", nil},
		"an unknown visit":                        {o.visitor(), "session_id=" + nothing, 404, "not_found", nil},
		"a conversation for a visitor":            {o.visitor(), "session_id=" + mine, 404, "not_found", nil},
		"an invalid visit ID":                     {o.visitor(), "session_id=x", 404, "not_found", nil},
		"after is not a number":                   {alice, "after=x", 400, "invalid_request", nil},
		"after is negative":                       {alice, "after=-1", 400, "invalid_request", nil},
		"after is out of range":                   {alice, "after=99999999999999999999", 400, "invalid_request", nil},
		"stream is not a boolean":                 {alice, "stream=perhaps", 400, "invalid_request", nil},
		"a session with a NUL":                    {alice, "session_id=%00", 400, "invalid_request", nil},
		"an unsupported WebSocket version":        {alice, "", 400, "invalid_request", []string{"Sec-WebSocket-Version", "8"}},
		"a Sec-WebSocket-Key too short":           {alice, "", 400, "invalid_request", []string{"Sec-WebSocket-Key", "short"}},
		"a handshake without Connection: Upgrade": {alice, "", 400, "invalid_request", []string{"Connection", "close"}},
		"an upgrade to another protocol":          {alice, "", 400, "invalid_request", []string{"Upgrade", "h2c"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.caller.tryUpgrade(test.query, test.headers...).expectProblem(test.status, test.code)
		})
	}
	if after := s.countRows(); !maps.Equal(after, before) {
		t.Errorf("refused requests changed the row counts to %v from %v", after, before)
	}
}

func TestRequestsWithoutUpgradeAreRefused(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	alice.call("GET", "/ws", nil).expectProblem(400, "invalid_request")
	o.visitor().call("GET", "/ws", nil).expectProblem(400, "invalid_request")
	if got := alice.call("POST", "/ws", nil); got.header.Get("Allow") != "GET, HEAD" {
		got.expectProblem(405, "method_not_allowed")
		t.Errorf("Allow is %q", got.header.Get("Allow"))
	}
}

func TestOwnAndAllowedOriginsMayConnect(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{origins: []string{"https://shop.example", "capacitor://localhost", "null", "https://*.shops.example"}}).organization()
	everywhere := serve(t, settings{origins: []string{"*"}}).organization()
	for origin, from := range map[string]organization{
		o.url:                      o,
		"https://shop.example":     o,
		"HTTPS://SHOP.EXAMPLE":     o,
		"capacitor://localhost":    o,
		"null":                     o,
		"https://a.shops.example":  o,
		"https://anywhere.example": everywhere,
	} {
		options := &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}}
		if _, err := from.visitor().dialWith("", options); err != nil {
			t.Errorf("%s: %v", origin, err)
		}
	}
	o.visitor().tryUpgrade("", "Origin", "https://shop.example.evil").expectProblem(403, "forbidden")
	o.visitor().tryUpgrade("", "Origin", "http://shop.example").expectProblem(403, "forbidden")
}

// A conversation that a socket creates is not listed before its first message. Another socket can join it before.
func TestImplicitConversationIsListedAfterFirstMessage(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	ws := alice.dial("")
	id := ws.connected.ConversationID
	listed := func() (plain, slashed bool) {
		a, b := alice.call("GET", "/api/conversations", nil), alice.call("GET", "/api/conversations/", nil)
		a.expect(200)
		b.expect(200)
		return strings.Contains(string(a.body), id), strings.Contains(string(b.body), id)
	}
	if plain, slashed := listed(); plain || slashed {
		t.Errorf("listed before the first message: %v %v", plain, slashed)
	}
	if joined := alice.dial("session_id=" + id); joined.connected.ConversationID != id {
		t.Errorf("another socket watches %q", joined.connected.ConversationID)
	}
	ws.sendMessage(" ")
	ws.expectError("invalid_message")
	if plain, slashed := listed(); plain || slashed {
		t.Errorf("listed after a refused message: %v %v", plain, slashed)
	}
	if got := ws.deliver("Hi"); got.Seq != 1 {
		t.Errorf("the first message: %+v", got)
	}
	if plain, slashed := listed(); !plain || !slashed {
		t.Errorf("not listed after the first message: %v %v", plain, slashed)
	}
	if got := ws.awaitReply(); got.Seq != 2 {
		t.Errorf("the reply: %+v", got)
	}
	if got := ws.deliver("Hi again"); got.Seq != 3 {
		t.Errorf("the next message: %+v", got)
	}
	if got := alice.call("GET", "/api/conversations/"+id+"/", nil).expect(200); got["id"] != id {
		t.Errorf("%v", got)
	}
}

// A socket is closed when the key that opened it expires.
func TestSocketClosesWhenKeyExpires(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	end := time.Now().Add(2 * time.Second)
	ws := o.asUntil("alice", &end, auth.Chat).dial("")
	code, frames := ws.readUntilClosed()
	if code != websocket.StatusNormalClosure || len(frames) != 2 || !frames[0].isStatus("expiring") || !frames[1].isStatus("expired") || time.Now().Before(end) {
		t.Errorf("closed with %d after %+v", code, frames)
	}
}
