package httpapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// A request that cannot become a socket is refused before the upgrade, with a problem document. The package wsapi
// tests sockets themselves.
func TestSocketsAreRefusedBeforeTheUpgrade(t *testing.T) {
	t.Parallel()
	s := serveWith(t, settings{origins: []string{"https://shop.example"}})
	o, others := s.organization(), s.organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	id := bob.startConversation()
	other := text(o.as("manager", auth.Manage).post("/api/chatbots/", object{"name": "Another"}), "id")
	for name, c := range map[string]struct {
		who    *caller
		query  string
		change option
		status int
		code   string
	}{
		"no upgrade":              {&alice, "", withHeader("Upgrade", ""), 400, "invalid_request"},
		"another protocol":        {&alice, "", withHeader("Upgrade", "h2c"), 400, "invalid_request"},
		"an old version":          {&alice, "", withHeader("Sec-WebSocket-Version", "8"), 400, "invalid_request"},
		"a short key":             {&alice, "", withHeader("Sec-WebSocket-Key", "c2hvcnQ="), 400, "invalid_request"},
		"a bad key":               {nil, "", withHeader("Authorization", "Bearer nonsense"), 401, "unauthorized"},
		"a bad subprotocol":       {nil, "", withHeader("Sec-WebSocket-Protocol", "bearer, nonsense"), 401, "unauthorized"},
		"without scope":           {new(o.as("manager", auth.Manage)), "", nil, 403, "forbidden"},
		"a foreign page":          {&alice, "", withHeader("Origin", "https://evil.example"), 403, "forbidden"},
		"a colleague's":           {&alice, "?session_id=" + id, nil, 403, "forbidden"},
		"another organization":    {new(others.as("eve", auth.Admin)), "?session_id=" + id, nil, 404, "not_found"},
		"no such conversation":    {&alice, "?session_id=x", nil, 404, "not_found"},
		"no such bot":             {&alice, "?bot_id=nobody", nil, 404, "not_found"},
		"a visitor's bot":         {nil, "?bot_id=" + other, nil, 403, "forbidden"},
		"a visitor's session":     {nil, "?session_id=" + id, nil, 404, "not_found"},
		"a visitor, no upgrade":   {nil, "", withHeader("Upgrade", ""), 400, "invalid_request"},
		"negative after":          {&alice, "?after=-1", nil, 400, "invalid_request"},
		"stream is not a boolean": {&alice, "?stream=maybe", nil, 400, "invalid_request"},
	} {
		options := []option{upgrade}
		if c.who != nil {
			options = append(options, withHeader("Authorization", "Bearer "+c.who.key))
		}
		if c.change != nil {
			options = append(options, c.change)
		}
		if err := s.call(http.MethodGet, "/ws"+c.query, nil, options...).checkProblem(c.status, c.code, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Valid handshakes are accepted.
	for name, options := range map[string][]option{
		"a visitor":        nil,
		"alice":            {withHeader("Authorization", "Api-Key "+alice.key)},
		"in a subprotocol": {withHeader("Sec-WebSocket-Protocol", "bearer, "+alice.key)},
		"an allowed page":  {withHeader("Origin", "https://shop.example")},
		"an own page":      {withHeader("Origin", s.url)},
		"in other case":    {withHeader("Upgrade", "WebSocket")},
	} {
		got := s.call(http.MethodGet, "/ws", nil, append([]option{upgrade}, options...)...)
		if got.status != http.StatusSwitchingProtocols || strings.Contains(got.header.Get("Sec-WebSocket-Protocol"), alice.key) {
			t.Errorf("%s: %d %v %s", name, got.status, got.header, got.body)
		}
	}
}

// The number of visitors per address is limited. When the limit is reached, connections are refused until a visitor
// disconnects.
func TestVisitorsAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	var open []io.Closer
	for range 50 {
		request := must(s.request(http.MethodGet, "/ws", nil, upgrade))
		// Closing with a handshake would remove the visitor too early.
		response, err := s.http.Do(request)
		if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", response, err)
		}
		open = append(open, response.Body)
		defer response.Body.Close()
	}
	got := s.call(http.MethodGet, "/ws", nil, upgrade)
	if problem := got.wantProblem(429, "rate_limited", ""); number(problem, "retry_after") < 1 {
		t.Errorf("%v", problem)
	}
	// A caller with a key is not counted as a visitor.
	if got := o.as("alice", auth.Chat).call(http.MethodGet, "/ws", nil, upgrade); got.status != http.StatusSwitchingProtocols {
		t.Errorf("with a key: %d", got.status)
	}
	open[0].Close()
	eventually(t, "another visitor can connect", func() bool {
		return s.call(http.MethodGet, "/ws", nil, upgrade).status == http.StatusSwitchingProtocols
	})
}
