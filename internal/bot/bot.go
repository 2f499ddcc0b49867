// Package bot is chatbots, what they know, and how they answer.
package bot

import (
	"context"
	"regexp"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/metrics"
	"parley/internal/secret"
	"parley/internal/store"
	"parley/internal/trace"
)

// defaultReply is what a bot says when it knows no answer and was not told what to say then.
const defaultReply = "Sorry, I have no answer to that."

const (
	noBot     = "There is no such chatbot."
	slugTaken = "Another chatbot has this slug."
)

// Bots keeps an organization's chatbots and their FAQs, and has their engines answer. It is safe for concurrent use.
type Bots struct {
	store   *store.Store
	keys    *secret.Keys
	servers *modelServers
	engines map[string]Responder
	// firstTokens tells how long replies took to begin, by engine; nil: nobody asks.
	firstTokens *metrics.Durations
	// unpacking holds those whose files are being read.
	unpacking chan struct{}
}

// Option is what bots may have besides a store.
type Option func(*Bots)

// WithKeys lets chatbots have secrets, sealed under these keys.
func WithKeys(keys *secret.Keys) Option { return func(b *Bots) { b.keys = keys } }

// WithTraces has what is asked of model servers followed; nil: nothing is.
func WithTraces(traces *trace.Tracer) Option { return func(b *Bots) { b.servers.traces = traces } }

// WithFirstTokens has the time counted until replies begin, by engine.
func WithFirstTokens(d *metrics.Durations) Option { return func(b *Bots) { b.firstTokens = d } }

// New returns the bots kept in s.
func New(s *store.Store, options ...Option) *Bots {
	b := &Bots{store: s, servers: newModelServers(), unpacking: make(chan struct{}, maxUnpacking)}
	for _, set := range options {
		set(b)
	}
	b.engines = b.engineByName()
	return b
}

// Within returns the bots as the transaction of q has them; what is asked of them is part of it.
func (b *Bots) Within(q *db.Queries) *Bots {
	within := *b
	within.store = b.store.Within(q)
	within.engines = within.engineByName()
	return &within
}

// NewBot is a chatbot to be made. An empty Slug is made of the name, an empty Engine is EngineFAQ, and without a reply
// to unanswerable questions there is one in English. EngineScripted needs a Script and EngineOpenAI a Model;
// any bot may have them.
type NewBot struct {
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
	IdempotencyKey    *store.IdempotencyKey // the request's Idempotency-Key; nil: none
}

// BotChange is what becomes of a chatbot; nil leaves a field as it is. RemovesScript takes the script away, where Script
// is nil, and RemovesModel the model.
type BotChange struct {
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

// Create makes a chatbot and its inbox for the API, once for a key. A given slug that is taken is a Conflict. As the
// default it takes the place of the one before.
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
	id, err := uuid.NewV7()
	if err != nil {
		return db.Bot{}, err
	}
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
	if err := checkEngine(row.Engine, row.Script, row.Model); err != nil {
		return db.Bot{}, err
	}
	return store.Idempotent(ctx, b.store, n.IdempotencyKey, func(q *db.Queries) (db.Bot, error) {
		if n.IsDefault {
			if err := q.ClearDefaultBot(ctx, org); err != nil {
				return db.Bot{}, err
			}
		}
		made, err := insertBot(ctx, q, row, n.Slug)
		if err != nil {
			return db.Bot{}, err
		}
		inbox, err := uuid.NewV7()
		if err != nil {
			return db.Bot{}, err
		}
		_, err = q.CreateInbox(ctx, db.CreateInboxParams{
			OrganizationID: org, ID: inbox, BotID: made.ID, Name: made.Name, ChannelType: "api",
		})
		return made, err
	})
}

// insertBot finds a slug of its own for a bot that was given none.
func insertBot(ctx context.Context, q *db.Queries, row db.InsertBotParams, given string) (db.Bot, error) {
	if given != "" {
		row.Slug = given
		made, err := q.InsertBot(ctx, row)
		if apperr.Is(err, apperr.NotFound) {
			return db.Bot{}, apperr.Wrap(apperr.Conflict, slugTaken, err)
		}
		return made, err
	}
	for i := 0; ; i++ {
		var err error
		if row.Slug, err = slugOf(row.Name, i > 0); err != nil {
			return db.Bot{}, err
		}
		made, err := q.InsertBot(ctx, row)
		// Chance does not hit a slug that is taken many times in a row.
		if !apperr.Is(err, apperr.NotFound) || i == 10 {
			return made, err
		}
	}
}

// Get returns the chatbot with this id or slug.
func (b *Bots) Get(ctx context.Context, org uuid.UUID, ref string) (db.Bot, error) {
	if id, ok := parseID(ref); ok {
		return b.GetByID(ctx, org, id)
	}
	// What cannot be a slug is not looked up: PostgreSQL would refuse some of it.
	if !slugPattern.MatchString(ref) {
		return db.Bot{}, apperr.New(apperr.NotFound, noBot)
	}
	found, err := b.store.GetBotBySlug(ctx, org, ref)
	return found, apperr.Rephrase(err, apperr.NotFound, noBot)
}

// GetByID returns the chatbot with this id.
func (b *Bots) GetByID(ctx context.Context, org, id uuid.UUID) (db.Bot, error) {
	found, err := b.store.GetBot(ctx, org, id)
	return found, apperr.Rephrase(err, apperr.NotFound, noBot)
}

// Default returns the chatbot that answers when none is named.
func (b *Bots) Default(ctx context.Context, org uuid.UUID) (db.Bot, error) {
	found, err := b.store.GetDefaultBot(ctx, org)
	return found, apperr.Rephrase(err, apperr.NotFound, "There is no default chatbot.")
}

// List returns a page of the organization's chatbots, newest first, and how many there are. Pages begin with 1; one
// beyond the end is NotFound, but for the first.
func (b *Bots) List(ctx context.Context, org uuid.UUID, page, pageSize int) ([]db.Bot, int64, error) {
	total, err := b.store.CountBots(ctx, org)
	if err != nil {
		return nil, 0, err
	}
	skipped, err := skip(page, pageSize, total)
	if err != nil {
		return nil, 0, err
	}
	found, err := b.store.ListBots(ctx, org, skipped, int32(pageSize))
	return found, total, err
}

// ListSlugs returns the slugs of the organization's newest chatbots, and when they were made, newest first.
func (b *Bots) ListSlugs(ctx context.Context, org uuid.UUID, limit int) ([]db.ListBotSlugsRow, error) {
	return b.store.ListBotSlugs(ctx, org, int32(limit))
}

// Update changes a chatbot. A slug that is taken is a Conflict, and so is to make the default bot no longer the default:
// that is done by making another one the default. What would leave an engine without its script or
// model is invalid.
func (b *Bots) Update(ctx context.Context, org uuid.UUID, ref string, c BotChange) (db.Bot, error) {
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
	target, err := b.Get(ctx, org, ref)
	if err != nil {
		return db.Bot{}, err
	}
	setsScript, setsModel := script != nil || c.RemovesScript, c.Model != nil || c.RemovesModel
	var changed db.Bot
	err = b.store.InTx(ctx, func(q *db.Queries) error {
		// The default's row is locked before the target's by every writer, or two changes at once would wait for each other.
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
		return checkEngine(changed.Engine, changed.Script, changed.Model)
	})
	return changed, apperr.Rephrase(err, apperr.NotFound, noBot)
}

// Delete deletes a chatbot with its FAQs, inboxes and conversations. The default one is a Conflict.
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
		// It is the default, or somebody else was faster.
		if _, err := b.Within(q).GetByID(ctx, org, target.ID); err != nil {
			return err
		}
		return apperr.New(apperr.Conflict, "The default chatbot cannot be deleted: make another one the default first.")
	})
}

var slugPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkSlug(slug string) error {
	if _, ok := parseID(slug); ok {
		return apperr.Field(apperr.InvalidRequest, "/slug", "must not have the form of an id")
	}
	if !slugPattern.MatchString(slug) {
		return apperr.Field(apperr.InvalidRequest, "/slug", "must be lower-case letters, digits and hyphens")
	}
	return nil
}

// parseID reads an id in its usual form only; the others that the library knows could be slugs.
func parseID(text string) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	return id, err == nil
}

// skip turns a page into the number of rows before it.
func skip(page, pageSize int, total int64) (int32, error) {
	if page < 1 || pageSize < 1 {
		return 0, apperr.New(apperr.InvalidRequest, "Pages begin with 1 and hold at least 1.")
	}
	// Dividing cannot overflow, where multiplying could.
	if page > 1 && int64(page-1) > (total-1)/int64(pageSize) {
		return 0, apperr.New(apperr.NotFound, "There is no such page.")
	}
	return int32((page - 1) * pageSize), nil
}
