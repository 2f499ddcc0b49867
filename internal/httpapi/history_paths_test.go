package httpapi_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi"
	"parley/internal/ratelimit"
	"parley/internal/records"
	"parley/internal/shortcuts"
)

// taking is the service on the same database with other shortcuts.
func (s *server) taking(taken shortcuts.Set) http.Handler {
	s.t.Helper()
	log := slog.New(slog.DiscardHandler)
	handler, err := httpapi.New(httpapi.Config{
		Auth: s.auth, Bots: s.bots, Log: log, Records: records.New(s.store), Shortcuts: taken,
		Chat:    chat.New(chat.Config{Store: s.store, Bots: s.bots, Log: log, VisitTTL: time.Minute, Shortcuts: taken}),
		Limiter: ratelimit.New(ratelimit.Limits{}),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return handler
}

// answerOf is the status, the media type and the body of a GET, in which the request's id is the same for all.
func (c caller) answerOf(handler http.Handler, path string) string {
	c.t.Helper()
	request, err := c.request(http.MethodGet, path, nil, with("Authorization", "Api-Key "+c.key), with("X-Request-Id", "same"))
	if err != nil {
		c.t.Fatal(err)
	}
	got := httptest.NewRecorder()
	handler.ServeHTTP(got, request)
	return fmt.Sprint(got.Code, " ", got.Header().Get("Content-Type"), "\n", got.Body)
}

// The history that is written straight from the rows is, byte for byte, the one that the generated types make, whatever is
// stored and whoever asks.
func TestBothWaysToTheHistoryAnswerTheSame(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, bob, staff := o.as("alice", auth.Chat), o.as("bob", auth.Chat), o.as("staff", auth.Agent)
	id, empty := alice.start(), alice.start()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	i := 0
	for texts := range slices.Chunk(awkward(), 6) {
		text := strings.ReplaceAll(strings.ToValidUTF8(strings.Join(texts, "|"), "?"), "\x00", "0")
		i++
		message := object{"content": text}
		switch i % 5 {
		case 1:
			message["metadata"] = object{text: []any{text, 1e9, nil, object{"<&>": true}}}
		case 2:
			message["attachments"] = []any{
				object{"type": "image", "filename": "a <b> & " + text, "file": "https://files.example.com/" + url.PathEscape(text)},
				object{"file": "https://files.example.com/b.png?c=d&e=f"},
			}
		case 3:
			staff.post("/api/conversations/"+id+"/messages", message)
			continue
		}
		alice.post("/api/conversations/"+id+"/messages", message)
	}
	// JSON as no operation writes it, but the database keeps it.
	alice.exec(`UPDATE message_history SET metadata = E' { "a" :\t[ 1 , 2.50 , "< \\u2028 \u2028 \\" \\\\" ] ,\r\n"b":{ } }\n' WHERE seq % 7 = 1`)
	alice.exec(`UPDATE message_history SET metadata = 'null', created_at = date_trunc('second', created_at) WHERE seq % 7 = 2`)
	alice.exec(`UPDATE message_history SET attachments = '[]', metadata = '[1, "&"]' WHERE seq % 11 = 3`)

	plain, short := o.taking(shortcuts.Set{}), o.taking(shortcuts.Set{History: true})
	at := url.QueryEscape(text(objects(alice.get("/api/conversations/"+id+"/history?limit=1&before_seq=30"), "messages")[0], "timestamp"))
	var paths []string
	for seq := 0; seq <= 200; seq += 40 {
		paths = append(paths, fmt.Sprintf("%s/history?limit=40&after_seq=%d", id, seq), fmt.Sprintf("%s/history?limit=39&before_seq=%d", id, seq))
	}
	for _, query := range []string{"", "?limit=1", "?after=" + at, "?before=" + at, "?after=" + at + "&before_seq=40", "?limit=1000", "?before=yesterday"} {
		paths = append(paths, id+"/history"+query, strings.ToUpper(id)+"/history"+query, empty+"/history"+query)
	}
	paths = append(paths, "00000000-0000-7000-8000-000000000000/history", "nothing/history", "00000000-0000-7000-8000-000000000000/history?before="+at)
	neighbour := o.server.organization().as("alice", auth.Chat, auth.Agent)
	seen := map[string]bool{}
	for _, who := range []caller{alice, bob, staff, neighbour} {
		for _, path := range paths {
			path = "/api/conversations/" + path
			want, got := who.answerOf(plain, path), who.answerOf(short, path)
			if got != want {
				t.Errorf("%s, %s:\n got %s\nwant %s", who.user, path, got, want)
			}
			seen[want[:3]] = true
		}
	}
	if len(seen) != 4 || !seen["200"] || !seen["400"] || !seen["403"] || !seen["404"] {
		t.Errorf("the answers compared were %v", seen)
	}
}
