// Package bot manages chatbots and lets engines answer their questions.
//
// An engine implements Engine and is registered by name with New. The scripted engine is part of
// this package; package faq answers from FAQs and package llm from language models.
package bot

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/metrics"
	"parley/internal/secret"
	"parley/internal/store"
)

// NotFoundMessage is the error sentence for an unknown chatbot.
const NotFoundMessage = "There is no such chatbot."

// Bots manages the chatbots of all organizations and answers questions with their engines. It is
// safe for concurrent use.
type Bots struct {
	store   *store.Store
	engines Engines
	keys    *secret.Keys
	// configured is the model that the operator has configured; nil if there is none.
	configured *NewModel
	// firstTokens measures how long replies take to begin, by engine. It may be nil.
	firstTokens *metrics.Durations
}

// Option configures Bots.
type Option func(*Bots)

// WithKeys sets the keys that seal API keys of model servers. Without keys, chatbots cannot have
// API keys.
func WithKeys(keys *secret.Keys) Option { return func(b *Bots) { b.keys = keys } }

// WithFirstTokens records how long replies take to begin, by engine.
func WithFirstTokens(d *metrics.Durations) Option { return func(b *Bots) { b.firstTokens = d } }

// WithModel sets the model that the operator has configured, with its server and API key. Chatbots
// can name it.
func WithModel(name, baseURL, apiKey string) Option {
	return func(b *Bots) {
		b.configured = &NewModel{Model: Model{Name: name, BaseURL: baseURL}, APIKey: apiKey}
	}
}

// New returns the chatbots stored in s, which are answered by these engines.
func New(s *store.Store, engines Engines, options ...Option) *Bots {
	b := &Bots{store: s, engines: engines}
	for _, set := range options {
		set(b)
	}
	return b
}

// Within returns Bots whose reads and writes are part of the transaction of q. Its engines are not
// part of it.
func (b *Bots) Within(q *db.Queries) *Bots {
	within := *b
	within.store = b.store.Within(q)
	return &within
}

// NewBot describes a chatbot to create. An empty Slug is derived from the name, and an empty Engine
// is EngineFAQ, or EngineOpenAI if the Model is the operator's. EngineScripted requires a Script and EngineOpenAI a Model; the other engines ignore
// them.
type NewBot struct {
	ID                uuid.UUID // uuid.Nil: generated
	Name              string
	Slug              string
	Description       string
	Engine            string
	Script            *Script
	Model             *NewModel
	Instructions      string
	Greeting          string
	UnanswerableReply string
	IsDefault         bool
	IdempotencyKey    *store.IdempotencyKey // may be nil
}

// Change describes changes to a chatbot. A nil field is left unchanged. RemovesScript removes the
// script if Script is nil; RemovesModel does the same for the model.
type Change struct {
	Name              *string
	Slug              *string
	Description       *string
	Engine            *string
	Script            *Script
	RemovesScript     bool
	Model             *NewModel
	RemovesModel      bool
	Instructions      *string
	Greeting          *string
	UnanswerableReply *string
	IsDefault         *bool
}

// Create creates a chatbot with its API inbox and the web chat of that, once per idempotency key. It returns a Conflict if
// the given slug is in use. A new default chatbot replaces the previous one.
func (b *Bots) Create(ctx context.Context, org uuid.UUID, n NewBot) (db.Bot, error) {
	if n.Slug != "" {
		if err := checkSlug(n.Slug); err != nil {
			return db.Bot{}, err
		}
	}
	script, err := n.Script.toColumn()
	if err != nil {
		return db.Bot{}, err
	}
	isConfigured, err := b.completeModel(n.Model)
	if err != nil {
		return db.Bot{}, err
	}
	if isConfigured {
		n.Engine = orElse(n.Engine, EngineOpenAI)
	}
	id := store.IDOrNew(n.ID)
	model, modelKey, err := n.Model.toColumns(db.Bot{OrganizationID: org, ID: id}, b.keys)
	if err != nil {
		return db.Bot{}, err
	}
	row := db.InsertBotParams{
		OrganizationID:    org,
		ID:                id,
		Name:              n.Name,
		Description:       n.Description,
		Engine:            orElse(n.Engine, EngineFAQ),
		Script:            script,
		Model:             model,
		ModelKey:          modelKey,
		Instructions:      n.Instructions,
		Greeting:          n.Greeting,
		UnanswerableReply: orElse(n.UnanswerableReply, defaultReply),
		IsDefault:         n.IsDefault,
	}
	if err := b.checkEngine(db.Bot{Engine: row.Engine, Script: row.Script, Model: row.Model}); err != nil {
		return db.Bot{}, err
	}
	return store.Idempotent(ctx, b.store, n.IdempotencyKey, func(q *db.Queries) (db.Bot, error) {
		if n.IsDefault {
			if err := q.ClearDefaultBot(ctx, org); err != nil {
				return db.Bot{}, err
			}
		}
		created, err := insertBot(ctx, q, row, n.Slug)
		if err != nil {
			return db.Bot{}, err
		}
		return created, createAPIInbox(ctx, q, created)
	})
}

// createAPIInbox creates the inbox of a chatbot's API conversations. Its web chat, which has the
// same ID, makes it one of the channels that conversations can be created in.
func createAPIInbox(ctx context.Context, q *db.Queries, chatbot db.Bot) error {
	created, err := q.CreateInbox(ctx, db.CreateInboxParams{
		OrganizationID: chatbot.OrganizationID, ID: store.NewID(), BotID: chatbot.ID, Name: chatbot.Name, ChannelType: "api",
	})
	if err != nil {
		return err
	}
	_, err = q.CreateWebChat(ctx, db.CreateWebChatParams{
		OrganizationID: chatbot.OrganizationID, ID: created.ID, BotID: chatbot.ID, InboxID: created.ID,
		Name: chatbot.Name, AccessType: "api", AllowedOrigins: []string{},
	})
	return err
}

// maxSlugAttempts bounds how often a generated slug that is in use is replaced by another one.
const maxSlugAttempts = 11

// insertBot inserts a chatbot with the given slug, or with a generated one if it is empty.
func insertBot(ctx context.Context, q *db.Queries, row db.InsertBotParams, givenSlug string) (db.Bot, error) {
	if givenSlug != "" {
		row.Slug = givenSlug
		created, err := q.InsertBot(ctx, row)
		if apperr.Is(err, apperr.NotFound) {
			return db.Bot{}, apperr.Wrap(apperr.Conflict, "Another chatbot has this slug.", err)
		}
		return created, err
	}
	for attempt := 1; ; attempt++ {
		var err error
		if row.Slug, err = generateSlug(row.Name, attempt > 1); err != nil {
			return db.Bot{}, err
		}
		created, err := q.InsertBot(ctx, row)
		if !apperr.Is(err, apperr.NotFound) || attempt == maxSlugAttempts {
			return created, err
		}
	}
}

// Get returns the chatbot with this id or slug.
func (b *Bots) Get(ctx context.Context, org uuid.UUID, ref string) (db.Bot, error) {
	if id, err := store.ParseID(ref, NotFoundMessage); err == nil {
		return b.GetByID(ctx, org, id)
	}
	// PostgreSQL would reject some malformed references, for example those with a NUL.
	if !isSlug(ref) {
		return db.Bot{}, apperr.New(apperr.NotFound, NotFoundMessage)
	}
	found, err := b.store.GetBotBySlug(ctx, org, ref)
	return found, apperr.Rephrase(err, apperr.NotFound, NotFoundMessage)
}

// GetByID returns the chatbot with this id.
func (b *Bots) GetByID(ctx context.Context, org, id uuid.UUID) (db.Bot, error) {
	found, err := b.store.GetBot(ctx, org, id)
	return found, apperr.Rephrase(err, apperr.NotFound, NotFoundMessage)
}

// Default returns the chatbot that answers requests without a chatbot.
func (b *Bots) Default(ctx context.Context, org uuid.UUID) (db.Bot, error) {
	found, err := b.store.GetDefaultBot(ctx, org)
	return found, apperr.Rephrase(err, apperr.NotFound, "There is no default chatbot.")
}

// List returns a page of the organization's chatbots, newest first, and their total number. See
// PageOffset for the pages.
func (b *Bots) List(ctx context.Context, org uuid.UUID, page, pageSize int) ([]db.Bot, int64, error) {
	total, err := b.store.CountBots(ctx, org)
	if err != nil {
		return nil, 0, err
	}
	offset, err := PageOffset(page, pageSize, total)
	if err != nil {
		return nil, 0, err
	}
	found, err := b.store.ListBots(ctx, org, offset, int32(pageSize))
	return found, total, err
}

// PageOffset returns the number of rows before a page. Pages begin with 1. A page beyond the last
// row is NotFound, except for the first page.
func PageOffset(page, pageSize int, total int64) (int32, error) {
	if page < 1 || pageSize < 1 {
		return 0, apperr.New(apperr.InvalidRequest, "The page and the page size must be at least 1.")
	}
	// Dividing cannot overflow; multiplying could.
	if page > 1 && int64(page-1) > (total-1)/int64(pageSize) {
		return 0, apperr.New(apperr.NotFound, "There is no such page.")
	}
	return int32((page - 1) * pageSize), nil
}

// ListSlugs returns the slugs and creation times of the organization's newest chatbots, newest
// first.
func (b *Bots) ListSlugs(ctx context.Context, org uuid.UUID, limit int) ([]db.ListBotSlugsRow, error) {
	return b.store.ListBotSlugs(ctx, org, int32(limit))
}

// Update changes a chatbot. It returns a Conflict if the slug is in use, and if the default chatbot
// would no longer be the default: another chatbot has to become the default instead. It returns an
// InvalidRequest if the engine would lose the script or model that it requires.
func (b *Bots) Update(ctx context.Context, org uuid.UUID, ref string, c Change) (db.Bot, error) {
	if c.Slug != nil {
		if err := checkSlug(*c.Slug); err != nil {
			return db.Bot{}, err
		}
	}
	if c.UnanswerableReply != nil {
		reply := orElse(*c.UnanswerableReply, defaultReply)
		c.UnanswerableReply = &reply
	}
	script, err := c.Script.toColumn()
	if err != nil {
		return db.Bot{}, err
	}
	isConfigured, err := b.completeModel(c.Model)
	if err != nil {
		return db.Bot{}, err
	}
	if isConfigured && c.Engine == nil {
		c.Engine = new(EngineOpenAI)
	}
	target, err := b.Get(ctx, org, ref)
	if err != nil {
		return db.Bot{}, err
	}
	setsScript, setsModel := script != nil || c.RemovesScript, c.Model != nil || c.RemovesModel
	var changed db.Bot
	err = b.store.InTx(ctx, func(q *db.Queries) error {
		// INVARIANT: every writer locks the default chatbot's row before its target's, otherwise
		// concurrent changes deadlock.
		if c.IsDefault != nil && *c.IsDefault {
			if err := q.ClearDefaultBot(ctx, org); err != nil {
				return err
			}
		}
		locked, err := q.LockBot(ctx, org, target.ID)
		if err != nil {
			return err
		}
		if c.IsDefault != nil && !*c.IsDefault && locked.IsDefault {
			return apperr.New(apperr.Conflict, "This is the default chatbot: make another one the default instead.")
		}
		model, modelKey, err := c.Model.toColumns(locked, b.keys)
		if err != nil {
			return err
		}
		changed, err = q.UpdateBot(ctx, db.UpdateBotParams{
			OrganizationID: org, ID: target.ID,
			Name: c.Name, Slug: c.Slug, Description: c.Description, Engine: c.Engine, Instructions: c.Instructions,
			Greeting: c.Greeting, UnanswerableReply: c.UnanswerableReply, IsDefault: c.IsDefault,
			SetsScript: setsScript, Script: script, SetsModel: setsModel, Model: model, ModelKey: modelKey,
		})
		if err != nil {
			return err
		}
		return b.checkEngine(changed)
	})
	return changed, apperr.Rephrase(err, apperr.NotFound, NotFoundMessage)
}

// Delete deletes a chatbot with its FAQs, inboxes and conversations. Deleting the default chatbot
// is a Conflict.
func (b *Bots) Delete(ctx context.Context, org uuid.UUID, ref string) error {
	target, err := b.Get(ctx, org, ref)
	if err != nil {
		return err
	}
	return b.store.InTx(ctx, func(q *db.Queries) error {
		deleted, err := q.DeleteBot(ctx, org, target.ID)
		if err != nil {
			return err
		}
		if deleted == 1 {
			return audit.Record(ctx, q, org, audit.ChatbotDeleted, audit.Details{"slug": target.Slug, "name": target.Name}, target.ID)
		}
		// Either it is the default chatbot, or a concurrent request has deleted it.
		if _, err := b.Within(q).GetByID(ctx, org, target.ID); err != nil {
			return err
		}
		return apperr.New(apperr.Conflict, "The default chatbot cannot be deleted: make another one the default first.")
	})
}
