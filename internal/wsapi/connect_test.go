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
)

// upgrade are the headers that ask for a WebSocket.
var upgrade = []string{
	"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==",
}

// connect asks for a socket as plain HTTP does, for what is refused.
func (c caller) connect(query string, headers ...string) answer {
	c.t.Helper()
	return c.call("GET", "/ws?"+query, nil, append(append([]string{}, upgrade...), headers...)...)
}

func TestTheFirstFrameTellsWhatTheSocketIs(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	other := must(o.bots.Create(t.Context(), o.id, bot.NewBot{Name: "Other", Slug: "other", Greeting: "Salut"}))
	alice, until := o.as("alice", auth.Chat), o.until("bob", &end, auth.Agent)
	started := alice.start()
	for name, test := range map[string]struct {
		caller         caller
		query          string
		session        string
		bot, greeting  string
		anonymous      bool
		expires        string
		isConversation bool
	}{
		"a new one":         {alice, "", "", o.bot.ID.String(), greeting, false, "null", true},
		"another bot":       {alice, "bot_id=other", "", other.ID.String(), "Salut", false, "null", true},
		"by the bot's id":   {alice, "bot_id=" + other.ID.String(), "", other.ID.String(), "Salut", false, "null", true},
		"one that exists":   {alice, "session_id=" + started, started, o.bot.ID.String(), greeting, false, "null", true},
		"a colleague's":     {until, "session_id=" + started, started, o.bot.ID.String(), greeting, false, end.Format(`"2006-01-02T15:04:05.000000Z"`), true},
		"a visit":           {o.visitor(), "", "", o.bot.ID.String(), greeting, true, "", false},
		"a visit by a slug": {o.visitor(), "bot_id=parley", "", o.bot.ID.String(), greeting, true, "", false},
	} {
		hi := test.caller.dial(test.query).hi
		if hi.BotID != test.bot || hi.Greeting != test.greeting || hi.Anonymous == nil || *hi.Anonymous != test.anonymous {
			t.Errorf("%s: %+v", name, hi)
		}
		if test.session != "" && hi.SessionID != test.session || (hi.ConversationID != "") != test.isConversation ||
			test.isConversation && hi.ConversationID != hi.SessionID {
			t.Errorf("%s: session %s, conversation %s", name, hi.SessionID, hi.ConversationID)
		}
		if test.expires != "" && string(hi.ExpiresAt) != test.expires {
			t.Errorf("%s: it expires at %s, want %s", name, hi.ExpiresAt, test.expires)
		}
		if test.anonymous {
			var expires time.Time
			if err := json.Unmarshal(hi.ExpiresAt, &expires); err != nil || time.Until(expires) > 30*time.Minute || time.Until(expires) < 29*time.Minute {
				t.Errorf("%s: it expires at %s", name, hi.ExpiresAt)
			}
		}
	}
}

func TestAKeyComesInTheHeaderOrAsASubprotocol(t *testing.T) {
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
		l, err := alice.dialWith("", options)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if *l.hi.Anonymous || l.conn.Subprotocol() != test.negotiated {
			t.Errorf("%s: anonymous %v, subprotocol %q", name, *l.hi.Anonymous, l.conn.Subprotocol())
		}
	}
	if hi := o.visitor().dial("").hi; !*hi.Anonymous {
		t.Errorf("with nothing: %+v", hi)
	}
}

func TestWhatIsRefusedIsRefusedBeforeTheUpgrade(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	o, neighbour := s.organization(), s.organization()
	alice, bob, reader := o.as("alice", auth.Chat), o.as("bob", auth.Chat), o.as("reader", auth.RecordsRead)
	must(o.bots.Create(t.Context(), o.id, bot.NewBot{Name: "Other", Slug: "other"}))
	mine, foreign := alice.start(), neighbour.as("eve", auth.Chat).start()
	visit := o.visitor().dial("").hi.SessionID
	nothing := uuid.Must(uuid.NewV7()).String()
	wrong := alice
	wrong.key += "x"
	before := s.rows()
	for name, test := range map[string]struct {
		caller  caller
		query   string
		status  int
		code    string
		headers []string
	}{
		"a wrong key":                       {wrong, "", 401, "unauthorized", nil},
		"a wrong key as a subprotocol":      {o.visitor(), "", 401, "unauthorized", []string{"Sec-WebSocket-Protocol", "bearer, " + wrong.key}},
		"no key as a subprotocol":           {o.visitor(), "", 401, "unauthorized", []string{"Sec-WebSocket-Protocol", "bearer"}},
		"a key without the scope":           {reader, "", 403, "forbidden", nil},
		"a foreign origin":                  {alice, "", 403, "forbidden", []string{"Origin", "https://evil.example"}},
		"a page of no origin":               {alice, "", 403, "forbidden", []string{"Origin", "null"}},
		"a foreign origin that visits":      {o.visitor(), "", 403, "forbidden", []string{"Origin", "https://evil.example"}},
		"an unknown session":                {alice, "session_id=" + nothing, 404, "not_found", nil},
		"a session that is no id":           {alice, "session_id=x", 404, "not_found", nil},
		"a neighbour's session":             {alice, "session_id=" + foreign, 404, "not_found", nil},
		"a visit, with a key":               {alice, "session_id=" + visit, 404, "not_found", nil},
		"a colleague's session":             {bob, "session_id=" + mine, 403, "forbidden", nil},
		"an unknown bot":                    {alice, "bot_id=nobody", 404, "not_found", nil},
		"another bot for a visitor":         {o.visitor(), "bot_id=other", 403, "forbidden", nil},
		"an unknown bot for a visitor":      {o.visitor(), "bot_id=nobody", 403, "forbidden", nil},
		"an unknown visit":                  {o.visitor(), "session_id=" + nothing, 404, "not_found", nil},
		"a conversation for a visitor":      {o.visitor(), "session_id=" + mine, 404, "not_found", nil},
		"a visit that is no id":             {o.visitor(), "session_id=x", 404, "not_found", nil},
		"after is no number":                {alice, "after=x", 400, "invalid_request", nil},
		"after is negative":                 {alice, "after=-1", 400, "invalid_request", nil},
		"after is beyond all numbers":       {alice, "after=99999999999999999999", 400, "invalid_request", nil},
		"stream is no boolean":              {alice, "stream=perhaps", 400, "invalid_request", nil},
		"a session with a NUL":              {alice, "session_id=%00", 400, "invalid_request", nil},
		"another version of the handshake":  {alice, "", 400, "invalid_request", []string{"Sec-WebSocket-Version", "8"}},
		"a handshake with a key too short":  {alice, "", 400, "invalid_request", []string{"Sec-WebSocket-Key", "short"}},
		"a handshake that upgrades nothing": {alice, "", 400, "invalid_request", []string{"Connection", "close"}},
		"an upgrade to something else":      {alice, "", 400, "invalid_request", []string{"Upgrade", "h2c"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.caller.connect(test.query, test.headers...).refused(test.status, test.code)
		})
	}
	if after := s.rows(); !maps.Equal(after, before) {
		t.Errorf("what was refused has left %v, before it was %v", after, before)
	}
	alice.call("GET", "/ws", nil).refused(400, "invalid_request")
	o.visitor().call("GET", "/ws", nil).refused(400, "invalid_request")
	if got := alice.call("POST", "/ws", nil); got.header.Get("Allow") != "GET" {
		got.refused(405, "method_not_allowed")
		t.Errorf("Allow is %q", got.header.Get("Allow"))
	}
}

func TestPagesOfTheServersOwnAndOfAllowedOriginsMayConnect(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{origins: []string{"https://shop.example"}}).organization()
	everywhere := serve(t, settings{origins: []string{"*"}}).organization()
	for origin, from := range map[string]organization{
		o.url:                      o,
		"https://shop.example":     o,
		"HTTPS://SHOP.EXAMPLE":     o,
		"https://anywhere.example": everywhere,
	} {
		options := &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}}
		if _, err := from.visitor().dialWith("", options); err != nil {
			t.Errorf("%s: %v", origin, err)
		}
	}
	o.visitor().connect("", "Origin", "https://shop.example.evil").refused(403, "forbidden")
	o.visitor().connect("", "Origin", "http://shop.example").refused(403, "forbidden")
}

// A conversation that connecting implies is in no list before its first message; another device joins it all the same.
func TestAnImpliedConversationIsListedFromItsFirstMessageOn(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	l := alice.dial("")
	id := l.hi.ConversationID
	listed := func() (plain, slashed bool) {
		a, b := alice.call("GET", "/api/conversations", nil), alice.call("GET", "/api/conversations/", nil)
		a.gives(200)
		b.gives(200)
		return strings.Contains(string(a.body), id), strings.Contains(string(b.body), id)
	}
	if plain, slashed := listed(); plain || slashed {
		t.Errorf("listed before the first message: %v %v", plain, slashed)
	}
	if joined := alice.dial("session_id=" + id); joined.hi.ConversationID != id {
		t.Errorf("another device is in %q", joined.hi.ConversationID)
	}
	l.say(" ")
	l.refuses("invalid_message")
	if plain, slashed := listed(); plain || slashed {
		t.Errorf("listed after a refused message: %v %v", plain, slashed)
	}
	if got := l.delivers("Hi"); got.Seq != 1 {
		t.Errorf("the first message: %+v", got)
	}
	if plain, slashed := listed(); !plain || !slashed {
		t.Errorf("not listed after the first message: %v %v", plain, slashed)
	}
	if got := l.awaitReply(); got.Seq != 2 {
		t.Errorf("the reply: %+v", got)
	}
	if got := l.delivers("Hi again"); got.Seq != 3 {
		t.Errorf("the next message: %+v", got)
	}
	if got := alice.call("GET", "/api/conversations/"+id+"/", nil).gives(200); got["id"] != id {
		t.Errorf("%v", got)
	}
}

// A socket lives no longer than the key that opened it.
func TestASocketEndsWithItsKey(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	end := time.Now().Add(2 * time.Second)
	l := o.until("alice", &end, auth.Chat).dial("")
	code, frames := l.ends()
	if code != websocket.StatusNormalClosure || len(frames) != 2 || !frames[0].isStatus("expiring") || !frames[1].isStatus("expired") || time.Now().Before(end) {
		t.Errorf("closed with %d after %+v", code, frames)
	}
}
