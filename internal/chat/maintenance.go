package chat

import (
	"context"
	"time"
)

const (
	// compactInterval is how often the counters are compacted.
	compactInterval = 10 * time.Second
	// expireInterval is how often expired rows are deleted.
	expireInterval = time.Hour
	// maintenanceBatch bounds the rows of one statement.
	maintenanceBatch = 10_000
)

// Start begins the background maintenance.
func (c *Chat) Start() { c.work.Go(c.maintain) }

// Close ends the background maintenance.
func (c *Chat) Close() {
	c.stop()
	c.work.Wait()
}

// maintain compacts counters and deletes expired rows. Any number of instances may do so at once.
func (c *Chat) maintain() {
	ctx := c.maintaining
	ticker := time.NewTicker(compactInterval)
	defer ticker.Stop()
	for expired := (time.Time{}); ; {
		if time.Since(expired) > expireInterval {
			expired = time.Now()
			if err := c.deleteExpired(ctx); err != nil && ctx.Err() == nil {
				c.log.Error("delete expired rows", "err", err)
			}
		}
		if err := c.compactCounts(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("merge conversation counters", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// deleteExpired deletes idempotency keys, and conversations that sockets opened and never got a
// message, after a day.
func (c *Chat) deleteExpired(ctx context.Context) error {
	for deleted := int64(maintenanceBatch); deleted == maintenanceBatch; {
		var err error
		if deleted, err = c.store.DeleteExpiredIdempotencyKeys(ctx, maintenanceBatch); err != nil {
			return err
		}
	}
	return c.store.DeleteEmptyConversations(ctx)
}

// compactCounts merges counter rows with the same key, so that a total stays a sum over few rows.
// Totals are exact before, during, and after.
func (c *Chat) compactCounts(ctx context.Context) error {
	for _, compact := range []func(context.Context, int32) (int64, error){c.store.CompactConversationCounts, c.store.CompactUnreadCounts} {
		for taken := int64(maintenanceBatch); taken >= maintenanceBatch; {
			var err error
			if taken, err = compact(ctx, maintenanceBatch); err != nil {
				return err
			}
		}
	}
	return nil
}
