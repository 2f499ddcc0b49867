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
	"parley/internal/chattest"
	"parley/internal/contracttest"
	"parley/internal/dbtest"
	"parley/internal/httpapi"
	"parley/internal/ratelimit"
	"parley/internal/records"
	"parley/internal/secret"
	"parley/internal/store"
	"parley/internal/wsapi"
)

// settings override the defaults of a test server.
type settings struct {
	limits   map[string]int
	origins  []string
	visitTTL time.Duration
	database string // of another server; empty for a new one
	buffer   int    // size of the send buffers in bytes; 0 for the default
	sockets  wsapi.Limits
	// noVisitors turns anonymous visits off.
	noVisitors bool
}

// server is the whole service, assembled as in cmd/server.
type server struct {
	t        testing.TB
	url      string
	database string
	auth     *auth.Auth
	bots     *bot.Bots
	chat     *chattest.Domain
	store    *store.Store
	sockets  *wsapi.Server
	http     *http.Client  // it validates every response against the OpenAPI document
	sql      *pgxpool.Pool // for changes that the API cannot make
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
	log := slog.New(errorHandler{slog.DiscardHandler, t})
	limits := map[string]int{"messages": 0, "history": 0, "list": 0, "refusals": 0}
	maps.Copy(limits, wanted.limits)
	limiter := ratelimit.New(ratelimit.Limits{Messages: limits["messages"], History: limits["history"], List: limits["list"], Refusals: limits["refusals"]})
	keys := must(secret.Parse(secret.NewKey()))
	s.auth, s.bots = auth.New(s.store, auth.WithKeys(keys)), bottest.New(s.store, nil)
	s.chat = chattest.NewDomain(chattest.Config{Store: s.store, Bots: s.bots, Log: log, VisitTTL: wanted.visitTTL})
	visits := s.chat.Visits
	if wanted.noVisitors {
		visits = nil
	}
	s.sockets = wsapi.New(wsapi.Config{Chat: s.chat.Chat, Visits: visits, Limiter: limiter, Log: log, Origins: wanted.origins, Limits: wanted.sockets})
	handler := must(httpapi.New(httpapi.Config{
		Auth: s.auth, Bots: s.bots, Chat: s.chat.Chat, Runs: s.chat.Runs, Inboxes: s.chat.Inboxes, Records: records.New(s.store), Limiter: limiter, Connect: s.sockets.Connect, Log: log, Origins: wanted.origins,
		Ready: func(context.Context) error { return nil },
	}))
	s.chat.Start()
	t.Cleanup(func() { s.chat.Close(s.shutdownContext()) })
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
	t.Cleanup(func() { s.sockets.Close(s.shutdownContext()) })
	s.url = listening.URL
	return s
}

// fromAddress is the header that sets the client's IP address.
const fromAddress = "X-Test-Address"

// shutdownContext returns a context with a timeout that outlives the test.
func (s *server) shutdownContext() context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 20*time.Second)
	s.t.Cleanup(cancel)
	return ctx
}

// errorHandler is a log handler that fails the test when the server logs an error.
type errorHandler struct {
	slog.Handler
	t testing.TB
}

// Enabled reports whether the level is an error.
func (c errorHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

// Handle fails the test.
func (c errorHandler) Handle(_ context.Context, record slog.Record) error {
	said := record.Message
	record.Attrs(func(a slog.Attr) bool {
		said += " " + a.String()
		return true
	})
	c.t.Errorf("the server logged an error: %s", said)
	return nil
}

// WithAttrs returns the handler itself.
func (c errorHandler) WithAttrs([]slog.Attr) slog.Handler { return c }

func (c errorHandler) WithGroup(string) slog.Handler { return c }

// organization is an organization with a default bot that has FAQs.
type organization struct {
	*server
	id  uuid.UUID
	bot db.Bot
}

// A question to the default bot and its answer, which is long enough for many deltas and has suggestions.
const (
	question   = "How do I reset my password?"
	longAnswer = "Open the sign-in page and follow the wsClient tcp the form. We then send a letter to the address that you have given us. " +
		"It holds another wsClient, which is good for an hour. 打開信中的連結之後，請輸入新的密碼兩次，然後重新登入。Your other devices are signed out 🙂."
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

// caller calls the API with a key, or as a visitor without one.
type caller struct {
	organization
	key string
}

// as creates a key for a user of the organization, and the user if it does not exist.
func (o organization) as(user string, scopes ...auth.Scope) caller {
	o.t.Helper()
	return o.asUntil(user, nil, scopes...)
}

func (o organization) asUntil(user string, end *time.Time, scopes ...auth.Scope) caller {
	o.t.Helper()
	_, key, err := o.auth.CreateKey(o.t.Context(), o.id, auth.NewKey{Name: user, User: user, Scopes: scopes, ExpiresAt: end})
	if err != nil {
		o.t.Fatal(err)
	}
	return caller{organization: o, key: key}
}

func (o organization) visitor() caller { return caller{organization: o} }

// response is the response to a request.
type response struct {
	t       testing.TB
	request string
	status  int
	header  http.Header
	body    []byte
}

// try sends a request. It may be called by any goroutine.
func (c caller) try(method, path string, body any, headers ...string) (response, error) {
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(must(json.Marshal(body)))
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, content)
	if err != nil {
		return response{}, err
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Api-Key "+c.key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	got := response{t: c.t, request: method + " " + path, status: resp.StatusCode, header: resp.Header}
	got.body, err = io.ReadAll(resp.Body)
	return got, err
}

// tryPost is try for a POST request that must succeed.
func (c caller) tryPost(path string, body any) error {
	got, err := c.try("POST", path, body)
	if err == nil && got.status >= 300 {
		err = fmt.Errorf("%s: %d %s", got.request, got.status, got.body)
	}
	return err
}

func (c caller) call(method, path string, body any, headers ...string) response {
	c.t.Helper()
	got, err := c.try(method, path, body, headers...)
	if err != nil {
		c.t.Fatal(err)
	}
	return got
}

// expect fails the test unless the response has the status. It returns the JSON object.
func (a response) expect(status int) object {
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

// expectProblem fails the test unless the response is a problem with the status and code.
func (a response) expectProblem(status int, code string) object {
	a.t.Helper()
	problem := a.expect(status)
	if problem["error"] != code {
		a.t.Errorf("%s: want the error %s, got\n%s", a.request, code, a.body)
	}
	return problem
}

// startConversation starts a conversation with the default bot.
func (c caller) startConversation() string {
	c.t.Helper()
	return c.call("POST", "/api/conversations/start", object{}).expect(201)["conversation_id"].(string)
}

// startWithoutReplies starts a conversation that the bot does not reply to.
func (c caller) startWithoutReplies() string {
	c.t.Helper()
	id := c.startConversation()
	c.call("PATCH", "/api/conversations/"+id+"/", object{"autoReplyEnabled": false}).expect(200)
	return id
}

// postMessage sends a message with the REST API.
func (c caller) postMessage(conversation, content string) object {
	c.t.Helper()
	return c.call("POST", "/api/conversations/"+conversation+"/messages", object{"content": content}).expect(201)
}

// message is what REST, sockets and the database must agree on.
type message struct {
	seq     int64
	id      string
	sender  string
	content string
}

// storedMessages reads the messages of a conversation from the database, in order.
func (s *server) storedMessages(conversation string) []message {
	s.t.Helper()
	rows, err := s.sql.Query(s.t.Context(), "SELECT seq, id::text, sender, content FROM message_history WHERE session_id = $1 ORDER BY seq", conversation)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var all []message
	for rows.Next() {
		var m message
		if err := rows.Scan(&m.seq, &m.id, &m.sender, &m.content); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// countRows returns the number of rows of every table.
func (s *server) countRows() map[string]int {
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

// blockBots locks the table of FAQs, so that every bot waits before it answers, until release is called.
func (s *server) blockBots() (release func()) {
	s.t.Helper()
	tx := must(s.sql.Begin(s.t.Context()))
	must(tx.Exec(s.t.Context(), "LOCK TABLE faqs IN ACCESS EXCLUSIVE MODE"))
	release = func() { _ = tx.Rollback(context.WithoutCancel(s.t.Context())) } // a second rollback fails harmlessly
	s.t.Cleanup(release)
	return release
}

// address returns the URL of a socket.
func (s *server) address(query string) string {
	return "ws" + strings.TrimPrefix(s.url, "http") + "/ws?" + query
}
