package run

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/bot"
	"parley/internal/feed"
)

// usageInterval is how often counted usage is stored. A crash loses at most the usage of one interval.
const usageInterval = time.Second

// usageKey identifies a row of stateless usage.
type usageKey struct {
	organization, bot, key uuid.UUID
	day                    time.Time
}

// usageCounts are numbers to add to a row.
type usageCounts struct{ completions, failures, prompt, completion, cached, reasoning int64 }

func (c *usageCounts) add(other usageCounts) {
	c.completions += other.completions
	c.failures += other.failures
	c.prompt += other.prompt
	c.completion += other.completion
	c.cached += other.cached
	c.reasoning += other.reasoning
}

// statelessUsage counts stateless completions until they are stored. Many completions share a row, and separate
// updates of it would wait for each other.
type statelessUsage struct {
	mu      sync.Mutex
	pending map[usageKey]usageCounts
}

// count counts a completion that has ended.
func (u *statelessUsage) count(question bot.Question, key uuid.UUID, answer bot.Answer, hasFailed bool) {
	counts := usageCounts{
		completions: 1,
		prompt:      toInt64(answer.PromptTokens),
		completion:  toInt64(answer.CompletionTokens),
		cached:      toInt64(answer.CachedTokens),
		reasoning:   toInt64(answer.ReasoningTokens),
	}
	if hasFailed {
		counts.failures = 1
	}
	day := time.Now().UTC().Truncate(24 * time.Hour)
	u.add(usageKey{question.Bot.OrganizationID, question.Bot.ID, key, day}, counts)
}

func (u *statelessUsage) add(key usageKey, counts usageCounts) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pending == nil {
		u.pending = make(map[usageKey]usageCounts)
	}
	sum := u.pending[key]
	sum.add(counts)
	u.pending[key] = sum
}

func (u *statelessUsage) take() map[usageKey]usageCounts {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.pending
	u.pending = nil
	return taken
}

// storeUsageLoop stores the usage until the dispatcher stops.
func (d *Dispatcher) storeUsageLoop() {
	ticker := time.NewTicker(usageInterval)
	defer ticker.Stop()
	for {
		select {
		case <-d.answering.Done():
			return
		case <-ticker.C:
			d.storeUsage(d.answering)
		}
	}
}

// storeUsage stores what has been counted. If that fails, it is kept for the next time.
func (d *Dispatcher) storeUsage(ctx context.Context) {
	taken := d.usage.take()
	if len(taken) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, feed.QueryTimeout)
	defer cancel()
	var rows db.AddStatelessUsageParams
	for key, counts := range taken {
		rows.OrganizationIds = append(rows.OrganizationIds, key.organization)
		rows.Days = append(rows.Days, key.day)
		rows.BotIds = append(rows.BotIds, key.bot)
		rows.KeyIds = append(rows.KeyIds, key.key)
		rows.Completions = append(rows.Completions, counts.completions)
		rows.Failures = append(rows.Failures, counts.failures)
		rows.PromptTokens = append(rows.PromptTokens, counts.prompt)
		rows.CompletionTokens = append(rows.CompletionTokens, counts.completion)
		rows.CachedTokens = append(rows.CachedTokens, counts.cached)
		rows.ReasoningTokens = append(rows.ReasoningTokens, counts.reasoning)
	}
	if err := d.store.AddStatelessUsage(ctx, rows); err != nil {
		d.log.Error("store stateless usage", "rows", len(taken), "err", err)
		for key, counts := range taken {
			d.usage.add(key, counts)
		}
	}
}

func toInt64(n *int) int64 {
	if n == nil {
		return 0
	}
	return int64(*n)
}
