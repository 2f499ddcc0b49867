package chat

import (
	"context"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/reply"
	"parley/internal/store"
)

// Run returns a run of a conversation that the caller may read.
func (c *Chat) Run(ctx context.Context, caller auth.Principal, id string) (db.Run, error) {
	runID, err := store.ParseID(id, noRun)
	if err != nil {
		return db.Run{}, err
	}
	found, err := c.store.GetRun(ctx, caller.OrganizationID, runID)
	if err != nil {
		return db.Run{}, apperr.Rephrase(err, apperr.NotFound, noRun)
	}
	return found.Run, checkRead(caller, ownership{found.OwnerID, found.Run.SessionID, found.BotID, found.ContactID})
}

// Resume returns the reply of a run that the caller may read: as it is being written, or as it
// ended.
func (c *Chat) Resume(ctx context.Context, caller auth.Principal, id string) (*reply.Reply, error) {
	found, err := c.Run(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	return c.runs.Reply(ctx, found)
}

// Cancel cancels a run of a conversation that the caller may read, once for an idempotency key, and returns the run
// afterwards.
func (c *Chat) Cancel(ctx context.Context, caller auth.Principal, id string, key *store.IdempotencyKey) (db.Run, error) {
	found, err := c.Run(ctx, caller, id)
	if err != nil {
		return db.Run{}, err
	}
	if err := c.runs.Cancel(ctx, found, key); err != nil {
		return db.Run{}, err
	}
	return c.Run(ctx, caller, id)
}
