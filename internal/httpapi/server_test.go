package httpapi_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	api "parley/gen/client"
	"parley/gen/db"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chattest"
	"parley/internal/clientaddr"
	"parley/internal/contracttest"
	"parley/internal/dbtest"
	"parley/internal/faq"
	"parley/internal/httpapi"
	"parley/internal/inbox"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/records"
	sealing "parley/internal/secret"
	"parley/internal/store"
	"parley/internal/wsapi"
)

// server is the whole service with its own database, assembled as in cmd/server.
type server struct {
	t     testing.TB
	url   string
	auth  *auth.Auth
	bots  *bot.Bots
	chat  *chattest.Domain
	store *store.Store
	sql   *pgxpool.Pool // for data that no operation reads or writes
	http  *http.Client
	ready atomic.Pointer[error]
	names atomic.Int64
	// contract validates each response against the document.
	contract *contracttest.Transport
}

// expectFailures is called by tests that cause internal errors. The harness then accepts 500.
func (s *server) expectFailures() { s.contract.ExpectFailures() }

// settings are the options of a test server. Zero values are defaults.
type settings struct {
	origins []string
	// limits are requests per minute by class. Other classes are practically unlimited.
	limits map[string]int
	// connections is the maximum number of database connections.
	connections int
	// replies is the maximum number of concurrent replies; zero: unlimited.
	replies int
	// replyTimeout is the time that completions wait for their reply.
	replyTimeout time.Duration
	// database is the URL of the database, and key encrypts the secrets in it. If they are empty, the server has a
	// new database and a new key.
	database, key string
	// link connects the server with other instances.
	link *realtime.Redis
	// log receives the log.
	log io.Writer
	// ceilings are the maximum limits of keys, and of all client tokens of a user.
	ceilings ratelimit.Limits
	// bots are options of the chatbots.
	bots []bot.Option
	// proxies are the trusted proxies.
	proxies clientaddr.Proxies
}

// unlimited is a limit that no test reaches.
const unlimited = 1_000_000

// logChecker receives the log of the server and fails the test on errors and panics.
type logChecker struct{ t *testing.T }

// Write checks a line of the log.
func (a *logChecker) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("level=ERROR")) || bytes.Contains(line, []byte("panic")) {
		a.t.Errorf("the log contains an error: %s", line)
	}
	return len(line), nil
}

func serve(t testing.TB) *server {
	t.Helper()
	return serveWith(t, settings{})
}

func serveWith(t testing.TB, wanted settings) *server {
	t.Helper()
	address := wanted.database
	if address == "" {
		address = dbtest.URL(t)
	}
	opened, err := store.Open(t.Context(), fmt.Sprintf("%s&pool_max_conns=%d", address, max(1, wanted.connections)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	sql, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sql.Close)
	keys, err := sealing.Parse(cmp.Or(wanted.key, sealing.NewKey()))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if wanted.log != nil {
		log = slog.New(slog.NewTextHandler(wanted.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s := &server{t: t, auth: auth.New(opened, auth.WithKeys(keys)), bots: bottest.New(opened, keys, wanted.bots...), store: opened, sql: sql}
	s.chat = chattest.NewDomain(chattest.Config{Store: opened, Bots: s.bots, Log: log, MaxReplies: wanted.replies})
	limits := map[string]int{"messages": unlimited, "history": unlimited, "list": unlimited, "reads": unlimited, "writes": unlimited, "reports": unlimited, "refusals": 0}
	maps.Copy(limits, wanted.limits)
	limiter := ratelimit.New(ratelimit.Limits{
		Messages: limits["messages"], History: limits["history"], List: limits["list"],
		Reads: limits["reads"], Writes: limits["writes"], Reports: limits["reports"], Refusals: limits["refusals"],
	})
	limiter.Ceilings = wanted.ceilings
	sockets := wsapi.New(wsapi.Config{Chat: s.chat.Chat, Visits: s.chat.Visits, Limiter: limiter, Log: log, Origins: wanted.origins, Limits: wsapi.Limits{Visitors: 50}})
	handler, err := httpapi.New(httpapi.Config{
		Auth: s.auth, Bots: s.bots, FAQs: faq.New(opened, s.bots), Chat: s.chat.Chat, Runs: s.chat.Runs, Inboxes: s.chat.Inboxes, Records: records.New(opened), Audit: audit.New(opened), Limiter: limiter, Connect: sockets.Connect, Log: log, Origins: wanted.origins, Proxies: wanted.proxies, ReplyTimeout: wanted.replyTimeout, Link: wanted.link,
		Ready: func(context.Context) error {
			if err := s.ready.Load(); err != nil {
				return *err
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.chat.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		sockets.Close(ctx)
		s.chat.Close(ctx)
	})
	listening := httptest.NewServer(handler)
	t.Cleanup(listening.Close)
	s.url = listening.URL
	transport := listening.Client().Transport.(*http.Transport)
	transport.MaxIdleConnsPerHost = 64
	s.contract = contracttest.New(t, transport)
	s.http = &http.Client{
		Transport: s.contract,
		Timeout:   60 * time.Second,
		// A redirect would lose the body of a POST: no redirect is expected.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

// organization is an organization with a default bot that has FAQs, and a web chat.
type organization struct {
	*server
	id      uuid.UUID
	name    string
	bot     db.Bot
	webChat db.WebChat
}

// The default bot's FAQs have one long answer, which is streamed in many deltas, and a few others.
const (
	question   = "How do I reset my password?"
	longAnswer = "Open the sign-in page and follow the link below the form. We then send a letter to the address that you have given us. " +
		"It holds another link, which is good for an hour. 打開信中的連結之後，請輸入新的密碼兩次，然後重新登入。Your other devices are signed out 🙂."
	noAnswer = "I do not know that one."
)

func (s *server) organization() organization {
	s.t.Helper()
	ctx := s.t.Context()
	name := fmt.Sprintf("Organization %d", s.names.Add(1))
	made, err := s.store.CreateOrganization(ctx, uuid.Must(uuid.NewV7()), name)
	if err != nil {
		s.t.Fatal(err)
	}
	o := organization{server: s, id: made.ID, name: name}
	o.bot, err = s.bots.Create(ctx, o.id, bot.NewBot{Name: "Parley", Slug: "parley", Greeting: "Hello!", UnanswerableReply: noAnswer, IsDefault: true})
	if err != nil {
		s.t.Fatal(err)
	}
	for asked, answer := range map[string]string{
		question:                           longAnswer,
		"Where is the invoice?":            "Invoices are in the billing menu.",
		"請問如何申請退款？":                        "請到訂單頁面按下退款按鈕。",
		"Which payment methods are there?": "Cards and bank transfer.",
	} {
		bottest.AddFAQ(s.t, s.store, o.bot, asked, answer)
	}
	o.webChat, err = s.chat.Inboxes.CreateWebChat(ctx, o.id, inbox.WebChat{Name: new("Website")}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// caller is a user with an API key.
type caller struct {
	organization
	user string
	key  string
}

// as creates a key for a user of the organization. It creates the user if necessary.
func (o organization) as(user string, scopes ...auth.Scope) caller {
	o.t.Helper()
	_, key, err := o.auth.CreateKey(o.t.Context(), o.id, auth.NewKey{Name: user + "'s key", User: user, Scopes: scopes})
	if err != nil {
		o.t.Fatal(err)
	}
	return caller{organization: o, user: user, key: key}
}

// client returns the generated client with the caller's key.
func (c caller) client() *api.ClientWithResponses {
	return must(api.NewClientWithResponses(c.url, api.WithHTTPClient(c.http),
		api.WithRequestEditorFn(func(_ context.Context, request *http.Request) error {
			request.Header.Set("Authorization", "Api-Key "+c.key)
			return nil
		})))
}

// eventually waits until a condition holds, and fails the test after a timeout.
func eventually(t testing.TB, what string, isSo func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !isSo() {
		select {
		case <-deadline.C:
			t.Fatalf("timed out waiting until %s", what)
		case <-look.C:
		}
	}
}

// query reads one value with SQL.
func query[T any](s *server, statement string, args ...any) T {
	s.t.Helper()
	var value T
	if err := s.sql.QueryRow(s.t.Context(), statement, args...).Scan(&value); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
	return value
}

// exec changes data that no operation changes.
func (s *server) exec(statement string, args ...any) {
	s.t.Helper()
	if _, err := s.sql.Exec(s.t.Context(), statement, args...); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// blockReplies blocks the replies of all bots until release is called or the test ends. It locks the table of FAQs, so
// that no transaction can read them.
func (s *server) blockReplies() (release func()) {
	s.t.Helper()
	tx, err := s.sql.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := tx.Exec(s.t.Context(), "LOCK TABLE faqs IN ACCESS EXCLUSIVE MODE"); err != nil {
		s.t.Fatal(err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(s.t.Context())) } // may be called twice
	s.t.Cleanup(release)
	return release
}
