package wsapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/contracttest"
	"parley/internal/dbtest"
	"parley/internal/httpapi"
	"parley/internal/ratelimit"
	"parley/internal/records"
	"parley/internal/secret"
	"parley/internal/shortcuts"
	"parley/internal/store"
	"parley/internal/wsapi"
)

// settings are what a test wants of its server other than usual.
type settings struct {
	limits   map[string]int
	origins  []string
	visitTTL time.Duration
	database string // another server's
	buffer   int    // bytes that wait for a client
	sockets  wsapi.Limits
}

// server is the whole service, as cmd/server puts it together.
type server struct {
	t        testing.TB
	url      string
	database string
	auth     *auth.Auth
	bots     *bot.Bots
	chat     *chat.Chat
	store    *store.Store
	sockets  *wsapi.Sockets
	http     *http.Client  // holds each answer against the document
	sql      *pgxpool.Pool // for what no operation shows or does
}

func serve(t testing.TB, wanted settings) *server {
	t.Helper()
	if wanted.database == "" {
		wanted.database = dbtest.URL(t)
	}
	if wanted.visitTTL == 0 {
		wanted.visitTTL = 30 * time.Minute
	}
	s := &server{t: t, database: wanted.database, http: &http.Client{Transport: contracttest.New(t, http.DefaultTransport)}}
	s.store = must(store.Open(t.Context(), s.database))
	t.Cleanup(s.store.Close)
	s.sql = must(pgxpool.New(t.Context(), s.database))
	t.Cleanup(s.sql.Close)
	log := slog.New(complaining{slog.DiscardHandler, t})
	limits := map[string]int{"messages": 0, "history": 0, "list": 0, "refusals": 0}
	maps.Copy(limits, wanted.limits)
	limiter := ratelimit.New(ratelimit.Limits{Messages: limits["messages"], History: limits["history"], List: limits["list"], Refusals: limits["refusals"]})
	keys := must(secret.Parse(secret.NewKey()))
	taken := shortcuts.All()
	s.auth, s.bots = auth.New(s.store, auth.WithKeys(keys)), bottest.New(s.store, nil)
	s.chat = chat.New(chat.Config{Store: s.store, Bots: s.bots, Log: log, VisitTTL: wanted.visitTTL, Shortcuts: taken})
	s.sockets = wsapi.New(wsapi.Config{Chat: s.chat, Limiter: limiter, Log: log, Origins: wanted.origins, Limits: wanted.sockets})
	handler := must(httpapi.New(httpapi.Config{
		Auth: s.auth, Bots: s.bots, Chat: s.chat, Records: records.New(s.store), Shortcuts: taken, Limiter: limiter, Connect: s.sockets.Connect, Log: log, Origins: wanted.origins,
		Ready: func(context.Context) error { return nil },
	}))
	s.chat.Start()
	t.Cleanup(func() { s.chat.Close(s.grace()) })
	listening := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from := r.Header.Get(fromAddress); from != "" {
			r.RemoteAddr = from + ":1"
		}
		handler.ServeHTTP(w, r)
	}))
	listening.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if wanted.buffer > 0 {
			must(0, conn.(*net.TCPConn).SetWriteBuffer(wanted.buffer))
		}
		return ctx
	}
	listening.Start()
	t.Cleanup(listening.Close)
	t.Cleanup(func() { s.sockets.Close(s.grace()) })
	s.url = listening.URL
	return s
}

// fromAddress is the header by which a test comes from another address.
const fromAddress = "X-Test-Address"

// grace is the time that something may take to end, after the test itself too.
func (s *server) grace() context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 20*time.Second)
	s.t.Cleanup(cancel)
	return ctx
}

// complaining fails the test when the server logs an error: what only the log tells
// would be seen by nobody.
type complaining struct {
	slog.Handler
	t testing.TB
}

// Enabled takes errors only.
func (c complaining) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

// Handle fails the test.
func (c complaining) Handle(_ context.Context, record slog.Record) error {
	said := record.Message
	record.Attrs(func(a slog.Attr) bool {
		said += " " + a.String()
		return true
	})
	c.t.Errorf("the server's log: %s", said)
	return nil
}

// WithAttrs and WithGroup keep complaining.
func (c complaining) WithAttrs([]slog.Attr) slog.Handler { return c }

func (c complaining) WithGroup(string) slog.Handler { return c }

// organization is one with a default bot that knows something.
type organization struct {
	*server
	id  uuid.UUID
	bot db.Bot
}

// What the default bot is asked and answers: a long answer, so that it comes in many
// pieces, with suggestions.
const (
	question   = "How do I reset my password?"
	longAnswer = "Open the sign-in page and follow the link below the form. We then send a letter to the address that you have given us. " +
		"It holds another link, which is good for an hour. 打開信中的連結之後，請輸入新的密碼兩次，然後重新登入。Your other devices are signed out 🙂."
	greeting = "Hello!"
	shrug    = "I do not know that one."
)

func (s *server) organization() organization {
	s.t.Helper()
	ctx := s.t.Context()
	o := organization{server: s, id: uuid.Must(uuid.NewV7())}
	must(s.store.CreateOrganization(ctx, o.id, "Organization "+o.id.String()))
	o.bot = must(s.bots.Create(ctx, o.id, bot.NewBot{Name: "Parley", Slug: "parley", Greeting: greeting, UnanswerableReply: shrug, IsDefault: true}))
	for asked, answer := range map[string]string{
		question:                                 longAnswer,
		"How do I change my password?":           "In the settings.",
		"How do I change my address?":            "In the profile.",
		"Where is the page to reset a password?": "Below the form.",
	} {
		bottest.AddFAQ(s.t, s.store, o.bot, asked, answer)
	}
	return o
}

// caller is somebody with a key; without one it is a visitor.
type caller struct {
	organization
	key string
}

// as makes a key for a user of the organization, who is made when new.
func (o organization) as(user string, scopes ...auth.Scope) caller {
	o.t.Helper()
	return o.until(user, nil, scopes...)
}

func (o organization) until(user string, end *time.Time, scopes ...auth.Scope) caller {
	o.t.Helper()
	_, key, err := o.auth.CreateKey(o.t.Context(), o.id, auth.NewKey{Name: user, User: user, Scopes: scopes, ExpiresAt: end})
	if err != nil {
		o.t.Fatal(err)
	}
	return caller{organization: o, key: key}
}

func (o organization) visitor() caller { return caller{organization: o} }

// answer is what a request came to.
type answer struct {
	t       testing.TB
	request string
	status  int
	header  http.Header
	body    []byte
}

// try sends a request; it may be called by any goroutine.
func (c caller) try(method, path string, body any, headers ...string) (answer, error) {
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(must(json.Marshal(body)))
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, content)
	if err != nil {
		return answer{}, err
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Api-Key "+c.key)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	got := answer{t: c.t, request: method + " " + path, status: response.StatusCode, header: response.Header}
	got.body, err = io.ReadAll(response.Body)
	return got, err
}

func (c caller) call(method, path string, body any, headers ...string) answer {
	c.t.Helper()
	got, err := c.try(method, path, body, headers...)
	if err != nil {
		c.t.Fatal(err)
	}
	return got
}

// gives fails the test unless the answer has that status, and returns its JSON object.
func (a answer) gives(status int) object {
	a.t.Helper()
	var value object
	if a.status != status {
		a.t.Fatalf("%s: %d, want %d\n%s", a.request, a.status, status, a.body)
	}
	if err := json.Unmarshal(a.body, &value); err != nil {
		a.t.Fatalf("%s: %v\n%s", a.request, err, a.body)
	}
	return value
}

// refused fails the test unless the answer is that problem.
func (a answer) refused(status int, code string) object {
	a.t.Helper()
	problem := a.gives(status)
	if problem["error"] != code {
		a.t.Errorf("%s: want the problem %s, got\n%s", a.request, code, a.body)
	}
	return problem
}

// start begins a conversation with the default bot.
func (c caller) start() string {
	c.t.Helper()
	return c.call("POST", "/api/conversations/start", object{}).gives(201)["conversation_id"].(string)
}

// quiet begins a conversation whose messages the bot leaves unanswered.
func (c caller) quiet() string {
	c.t.Helper()
	id := c.start()
	c.call("PATCH", "/api/conversations/"+id+"/", object{"autoReplyEnabled": false}).gives(200)
	return id
}

// say sends a message by REST.
func (c caller) say(conversation, content string) object {
	c.t.Helper()
	return c.call("POST", "/api/conversations/"+conversation+"/messages", object{"content": content}).gives(201)
}

// line is a message as all ways must show it.
type line struct {
	seq     int64
	id      string
	sender  string
	content string
}

// stored reads a conversation's messages from the database, in order.
func (s *server) stored(conversation string) []line {
	s.t.Helper()
	rows, err := s.sql.Query(s.t.Context(), "SELECT seq, id::text, sender, content FROM message_history WHERE session_id = $1 ORDER BY seq", conversation)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var all []line
	for rows.Next() {
		var one line
		if err := rows.Scan(&one.seq, &one.id, &one.sender, &one.content); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// rows counts what every table holds.
func (s *server) rows() map[string]int {
	s.t.Helper()
	var tables []string
	err := s.sql.QueryRow(s.t.Context(), `SELECT array_agg(format('%I.%I', table_schema, table_name)) FROM information_schema.tables
		WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`).Scan(&tables)
	if err != nil || len(tables) < 10 {
		s.t.Fatal(tables, err)
	}
	counts := map[string]int{}
	for _, table := range tables {
		var count int
		if err := s.sql.QueryRow(s.t.Context(), fmt.Sprintf("SELECT count(*) FROM %s", table)).Scan(&count); err != nil {
			s.t.Fatal(err)
		}
		counts[table] = count
	}
	return counts
}

// holdBots makes every bot wait before it answers, until the returned function is
// called: nobody can read FAQs while another transaction has their table for itself.
func (s *server) holdBots() (release func()) {
	s.t.Helper()
	tx := must(s.sql.Begin(s.t.Context()))
	must(tx.Exec(s.t.Context(), "LOCK TABLE faqs IN ACCESS EXCLUSIVE MODE"))
	release = func() { _ = tx.Rollback(context.WithoutCancel(s.t.Context())) } // again is no matter
	s.t.Cleanup(release)
	return release
}

// address is where a socket connects to.
func (s *server) address(query string) string {
	return "ws" + strings.TrimPrefix(s.url, "http") + "/ws?" + query
}
