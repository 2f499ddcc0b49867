package chat

import (
	"context"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
)

const (
	// foldInterval is how often the changes of counters are folded.
	foldInterval = 10 * time.Second
	// foldBatch is how many changes are folded at a time.
	foldBatch = 10_000
)

// fold makes one row of those that count the same, so that a total stays a sum over few.
// Totals are exact before and after; any number of processes may fold at once.
func (c *Chat) fold(ctx context.Context) error {
	for _, fold := range []func(context.Context, int32) (int64, error){c.store.CompactConversationCounts, c.store.CompactUnreadCounts} {
		for taken := int64(foldBatch); taken >= foldBatch; {
			var err error
			if taken, err = fold(ctx, foldBatch); err != nil {
				return err
			}
		}
	}
	return nil
}

// total is how many conversations of a user qualify.
func (c *Chat) total(ctx context.Context, organization, user uuid.UUID, bot *uuid.UUID, status *string) (int64, error) {
	of := db.CountConversationsParams{OrganizationID: organization, UserID: user, BotID: bot, Status: status}
	if c.shortcuts.Counts {
		return c.store.SumConversationCounts(ctx, db.SumConversationCountsParams(of))
	}
	return c.store.CountConversations(ctx, of)
}
