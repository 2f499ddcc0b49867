package chat

import (
	"context"
	"math"
	"strings"
	"unicode"

	"parley/gen/db"
)

// searchBounds are where a search turns from one way to the next. They decide how long it
// takes, never what it finds.
type searchBounds struct {
	// With fewer conversations and messages than these, all are read.
	shortConversations, shortMessages int32
	// matches is how many texts with a keyword are read at first. Where that is not all of
	// them, the keyword is common, and a page of conversations probably near.
	matches int32
	// nearby is how many conversations are read to find that page, before all texts with
	// the keyword are.
	nearby int32
}

var usualSearch = searchBounds{shortConversations: 500, shortMessages: 5_000, matches: 2_000, nearby: 1_000}

// inboxRows returns the rows of a page and the one after it, in the direction of the
// walk. Those with a keyword are found in the indexes, where the shortcut is taken and
// the keyword and the database allow it; else conversation by conversation. Both give the
// same: the indexes only say where to look.
func (c *Chat) inboxRows(ctx context.Context, q *db.Queries, wanted db.ListInboxConversationsBeforeParams, keyword *string, isBack bool) ([]db.GetConversationRow, error) {
	if keyword == nil {
		return listInboxRows(ctx, q, wanted, isBack)
	}
	walked := wanted
	walked.Pattern = new(containing(*keyword))
	walked.IgnoreCase = strings.ContainsFunc(*keyword, isCased)
	if !c.shortcuts.Search {
		return listInboxRows(ctx, q, walked, isBack)
	}
	plan, err := q.PlanKeywordSearch(ctx, db.PlanKeywordSearchParams{
		Keyword:        *keyword,
		OrganizationID: wanted.OrganizationID,
		UserID:         wanted.UserID,
		IsStaff:        wanted.IsStaff,
		InboxID:        wanted.InboxID,

		ConversationThreshold: c.search.shortConversations,
		MessageThreshold:      c.search.shortMessages,
	})
	if err != nil {
		return nil, err
	}
	if !plan.CanUseIndexes || plan.IsSmall {
		return listInboxRows(ctx, q, walked, isBack)
	}
	matching := db.SearchSessionsParams{
		OrganizationID: wanted.OrganizationID,
		IndexedPattern: plan.Pattern,
		SpacedPattern:  plan.SpacedPattern,
		Pattern:        *walked.Pattern,
		IgnoreCase:     walked.IgnoreCase,
		MatchLimit:     c.search.matches,
	}
	found, err := q.SearchSessions(ctx, matching)
	if err != nil {
		return nil, err
	}
	if !found.IsComplete && !wanted.IsStaff {
		return listInboxRows(ctx, q, walked, isBack) // what is one's own is less than all that has the keyword
	}
	if !found.IsComplete {
		walked.WalkLimit = &c.search.nearby
		rows, err := listInboxRows(ctx, q, walked, isBack)
		if err != nil || len(rows) == int(wanted.PageLimit) {
			return rows, err
		}
		matching.MatchLimit = math.MaxInt32
		if found, err = q.SearchSessions(ctx, matching); err != nil {
			return nil, err
		}
	}
	wanted.Ids = found.Ids
	return listInboxRows(ctx, q, wanted, isBack)
}

var escapePattern = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// containing is the pattern of LIKE for texts that contain this one.
func containing(text string) string { return "%" + escapePattern.Replace(text) + "%" }

// isCased tells whether a letter has another case: text without any, as Chinese is,
// is compared as it stands, which is faster. Some letters, as İ, have one only by a rule
// that is not simple.
func isCased(r rune) bool {
	return unicode.SimpleFold(r) != r || unicode.ToLower(r) != r || unicode.ToUpper(r) != r
}
