package chattest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/dbtest"
	"parley/internal/reply"
	"parley/internal/store"
)

// Cluster is a database with an organization and its default bot, on which any number of instances
// run.
type Cluster struct {
	t      *testing.T
	SQL    *pgxpool.Pool
	URL    string // of the database
	Caller auth.Principal
}

// Question is answered by the default bot with Answer.
const (
	Question = "How do I reset my password?"
	Answer   = "Open the sign-in page and follow the link below the form, then choose a new password."
)

// NewCluster returns a Cluster without instances.
func NewCluster(t *testing.T) *Cluster {
	t.Helper()
	c := &Cluster{t: t, URL: dbtest.URL(t)}
	s := c.OpenStore()
	sql, err := pgxpool.New(t.Context(), c.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sql.Close)
	c.SQL = sql
	organization, err := s.CreateOrganization(t.Context(), store.NewID(), "Acme")
	if err != nil {
		t.Fatal(err)
	}
	bots := bottest.New(s, nil)
	created, err := bots.Create(t.Context(), organization.ID, bot.NewBot{Name: "Parley", Slug: "parley", IsDefault: true})
	if err != nil {
		t.Fatal(err)
	}
	bottest.AddFAQ(t, s, created, Question, Answer)
	a := auth.New(s)
	_, key, err := a.CreateKey(t.Context(), organization.ID, auth.NewKey{Name: "Key", User: "alice", Scopes: []auth.Scope{auth.Chat}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Caller, err = a.Authenticate(t.Context(), "Bearer "+key); err != nil {
		t.Fatal(err)
	}
	return c
}

// OpenStore opens another store on the database.
func (c *Cluster) OpenStore() *store.Store {
	c.t.Helper()
	s, err := store.Open(c.t.Context(), c.URL)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(s.Close)
	return s
}

// Instance starts an instance.
func (c *Cluster) Instance() *Domain {
	c.t.Helper()
	return c.InstanceWith(Config{})
}

// InstanceWith starts an instance with a configuration.
func (c *Cluster) InstanceWith(config Config) *Domain {
	c.t.Helper()
	config.Store = c.OpenStore()
	config.Bots = bottest.New(config.Store, nil)
	d := NewDomain(config)
	d.Start()
	c.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 10*time.Second)
		defer cancel()
		d.Close(ctx)
	})
	return d
}

// BlockBots blocks the replies of all bots until release is called or the test ends.
func (c *Cluster) BlockBots() (release func()) {
	c.t.Helper()
	return c.Lock("LOCK TABLE faqs IN ACCESS EXCLUSIVE MODE")
}

// Lock executes a statement and holds its locks until release is called or the test ends.
func (c *Cluster) Lock(statement string, args ...any) (release func()) {
	c.t.Helper()
	tx, err := c.SQL.Begin(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := tx.Exec(c.t.Context(), statement, args...); err != nil {
		c.t.Fatal(err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(c.t.Context())) } // may be called twice
	c.t.Cleanup(release)
	return release
}

// Ask asks Question in a new conversation.
func (c *Cluster) Ask(d *Domain) chat.Sent {
	c.t.Helper()
	sent, err := d.Begin(c.t.Context(), c.Caller, nil, &chat.NewMessage{Content: Question}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return sent
}

// AskMany asks a question in each of n new conversations concurrently.
func (c *Cluster) AskMany(d *Domain, caller auth.Principal, n int) []chat.Sent {
	c.t.Helper()
	sents, errs := make([]chat.Sent, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { sents[i], errs[i] = d.Begin(c.t.Context(), caller, nil, &chat.NewMessage{Content: "Hi"}, nil) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return sents
}

// Send sends a message of the caller.
func (c *Cluster) Send(d *Domain, conversation, content string) chat.Sent {
	c.t.Helper()
	sent, err := d.Send(c.t.Context(), c.Caller, conversation, chat.NewMessage{Content: content})
	if err != nil {
		c.t.Fatal(err)
	}
	return sent
}

// SlowBotUser returns a user of another organization. Its default bot writes three deltas, each after a delay.
func (c *Cluster) SlowBotUser(name string, delay time.Duration) auth.Principal {
	c.t.Helper()
	s := c.OpenStore()
	created, err := s.CreateOrganization(c.t.Context(), store.NewID(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	script := bot.Script{Rules: []bot.ScriptRule{{Deltas: []string{"Ah ", "well ", "then."}, DelayMS: int(delay.Milliseconds())}}}
	_, err = bottest.New(s, nil).Create(c.t.Context(), created.ID, bot.NewBot{Name: "Slow", IsDefault: true, Engine: bot.EngineScripted, Script: &script})
	if err != nil {
		c.t.Fatal(err)
	}
	user, err := s.UpsertUser(c.t.Context(), created.ID, store.NewID(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	return auth.Principal{OrganizationID: created.ID, UserID: user.ID, UserName: name, Scopes: []auth.Scope{auth.Chat}}
}

// Script makes the default bot follow a script.
func (c *Cluster) Script(rules ...bot.ScriptRule) {
	c.t.Helper()
	bots := bottest.New(c.OpenStore(), nil)
	change := bot.Change{Engine: new(bot.EngineScripted), Script: &bot.Script{Rules: rules}}
	if _, err := bots.Update(c.t.Context(), c.Caller.OrganizationID, "parley", change); err != nil {
		c.t.Fatal(err)
	}
}

// RunState reads a run from the database.
func (c *Cluster) RunState(id uuid.UUID) (state string, attempt int) {
	c.t.Helper()
	if err := c.SQL.QueryRow(c.t.Context(), "SELECT state, attempt FROM runs WHERE id = $1", id).Scan(&state, &attempt); err != nil {
		c.t.Fatal(err)
	}
	return state, attempt
}

// Count executes a statement that returns a number.
func (c *Cluster) Count(statement string, args ...any) (n int) {
	c.t.Helper()
	if err := c.SQL.QueryRow(c.t.Context(), statement, args...).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", statement, err)
	}
	return n
}

// CountAnswers returns how many messages have the content Answer.
func (c *Cluster) CountAnswers() int {
	c.t.Helper()
	return c.Count("SELECT count(*) FROM message_history WHERE sender = 'bot' AND content = $1", Answer)
}

// AwaitCompleted waits until the given number of runs are completed and no conversation has a queue. It returns the
// time that this took.
func (c *Cluster) AwaitCompleted(runs int) time.Duration {
	c.t.Helper()
	began := time.Now()
	Eventually(c.t, fmt.Sprintf("%d runs are completed", runs), func() bool {
		return c.Count("SELECT count(*) FROM runs WHERE state = 'completed'") == runs
	})
	if waiting := c.Count("SELECT count(*) FROM sessions WHERE active_run IS NOT NULL OR queued_runs <> 0"); waiting > 0 {
		c.t.Errorf("%d conversations still have active or queued runs", waiting)
	}
	return time.Since(began)
}

// MaxConcurrent returns the largest number of concurrent runs, in total and in one organization.
func (c *Cluster) MaxConcurrent() (total, ofOrganization int) {
	c.t.Helper()
	const concurrent = "SELECT coalesce(max((SELECT count(*) FROM runs b WHERE b.started_at <= a.started_at AND b.finished_at > a.started_at"
	return c.Count(concurrent + ")), 0) FROM runs a"), c.Count(concurrent + " AND b.organization_id = a.organization_id)), 0) FROM runs a")
}

// WantAnswer follows a reply to its end and fails the test unless it is Answer.
func (c *Cluster) WantAnswer(r *reply.Reply) {
	c.t.Helper()
	c.Follow(r).WantText(Answer)
}
