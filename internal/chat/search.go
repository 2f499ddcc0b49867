package chat

import (
	"context"
	"math"

	"parley/gen/db"
	"parley/internal/store"
)

// searchThresholds choose between the strategies of a keyword search. They affect its speed and never its result.
type searchThresholds struct {
	// With fewer conversations and messages than these, all of them are read.
	conversations, messages int32
	// matches is how many matching texts are read from the indexes first. If there are more, the
	// keyword is common, and a page of conversations is probably near.
	matches int32
	// nearby is how many conversations are walked for that page, before all matching texts are read.
	nearby int32
}

var defaultThresholds = searchThresholds{conversations: 500, messages: 5_000, matches: 2_000, nearby: 1_000}

// searchRows returns the rows of a page, and one more, in the direction of the page. If the trigram indexes are
// enabled and built, and the keyword has a trigram, the keyword is looked up in the indexes. Otherwise the
// conversations are read in order and their texts compared. Both strategies find the same rows: the indexes only
// reduce the number of texts to compare.
func (c *Chat) searchRows(ctx context.Context, q *db.Queries, page db.ListInboxConversationsBeforeParams, keyword *string, isBackward bool) ([]db.GetConversationRow, error) {
	searched := ""
	if keyword != nil {
		searched = store.SearchText(*keyword)
	}
	if searched == "" {
		return listRows(ctx, q, page, isBackward)
	}
	walk := page
	walk.Pattern = new(store.ContainsPattern(searched))
	walk.IgnoreCase = store.HasCase(searched)
	if !c.searchIndex {
		return listRows(ctx, q, walk, isBackward)
	}
	plan, err := q.PlanKeywordSearch(ctx, db.PlanKeywordSearchParams{
		Keyword:        searched,
		OrganizationID: page.OrganizationID,
		UserID:         page.UserID,
		IsStaff:        page.IsStaff,
		InboxID:        page.InboxID,

		ConversationThreshold: c.thresholds.conversations,
		MessageThreshold:      c.thresholds.messages,
	})
	if err != nil {
		return nil, err
	}
	if !plan.CanUseIndexes || plan.IsSmall {
		return listRows(ctx, q, walk, isBackward)
	}
	search := db.SearchSessionsParams{
		OrganizationID: page.OrganizationID,
		IndexedPattern: plan.Pattern,
		SpacedPattern:  plan.SpacedPattern,
		Pattern:        *walk.Pattern,
		IgnoreCase:     walk.IgnoreCase,
		MatchLimit:     c.thresholds.matches,
	}
	found, err := q.SearchSessions(ctx, search)
	if err != nil {
		return nil, err
	}
	if !found.IsComplete && !page.IsStaff {
		return listRows(ctx, q, walk, isBackward) // the user has fewer conversations than there are matches
	}
	if !found.IsComplete {
		walk.WalkLimit = &c.thresholds.nearby
		rows, err := listRows(ctx, q, walk, isBackward)
		if err != nil || len(rows) == int(page.PageLimit) {
			return rows, err
		}
		search.MatchLimit = math.MaxInt32
		if found, err = q.SearchSessions(ctx, search); err != nil {
			return nil, err
		}
	}
	page.Ids = found.Ids
	return listRows(ctx, q, page, isBackward)
}
