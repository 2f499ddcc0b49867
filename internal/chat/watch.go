package chat

import (
	"context"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/feed"
	"parley/internal/store"
)

// Watch watches a conversation that the caller may read.
func (c *Chat) Watch(ctx context.Context, caller auth.Principal, conversation string) (*feed.Watch, error) {
	id, err := store.ParseID(conversation, noConversation)
	if err != nil {
		return nil, err
	}
	// Subscribe first: a message committed in between is then delivered twice, rather than missed.
	subscription := c.feed.Subscribe(id)
	session, err := c.session(ctx, caller, conversation)
	if err != nil {
		subscription.Close()
		return nil, err
	}
	owner, err := c.bots.GetByID(ctx, session.OrganizationID, session.BotID)
	if err != nil {
		subscription.Close()
		return nil, err
	}
	watch := c.feed.WatchConversation(subscription, caller.OrganizationID, caller.KeyID, session.LastSeq)
	watch.Bot, watch.ExpiresAt = owner, caller.ExpiresAt
	return watch, nil
}

// WatchNew creates a conversation with a bot, by default the organization's default bot, and
// watches it. The conversation is listed once it has a message, and deleted after a day without
// one.
func (c *Chat) WatchNew(ctx context.Context, caller auth.Principal, botRef *string) (*feed.Watch, error) {
	owner, err := botFor(ctx, c.bots, caller, botRef)
	if err != nil {
		return nil, err
	}
	id := store.NewID()
	err = c.store.InTx(ctx, func(q *db.Queries) error { return createConversation(ctx, q, caller, id, owner.ID, true) })
	if err != nil {
		return nil, err
	}
	watch := c.feed.WatchConversation(c.feed.Subscribe(id), caller.OrganizationID, caller.KeyID, 0)
	watch.Bot, watch.ExpiresAt = owner, caller.ExpiresAt
	return watch, nil
}
