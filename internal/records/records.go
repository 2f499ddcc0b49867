// Package records is the finished exchanges of a chatbot: their list, their
// statistics, and their export as an Excel file.
//
// All three speak of the same rows: what the list counts is what the export writes
// and what the statistics total, for the same days of the same zone.
package records

import (
	"context"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/fault"
	"parley/internal/shortcuts"
	"parley/internal/store"
)

// Records reads the records of chatbots. It is safe for concurrent use. Whether a
// chatbot exists, and whether the caller may read of it, is the caller's affair; one
// of another organization has no records.
type Records struct {
	store     *store.Store
	shortcuts shortcuts.Set
}

// New returns the records kept in s, read by these shortcuts.
func New(s *store.Store, taken shortcuts.Set) *Records { return &Records{store: s, shortcuts: taken} }

// Filter says which of a chatbot's records are wanted: those of some days whose
// texts contain something, whatever the case. An empty text is contained in all.
type Filter struct {
	Days        Days
	UserMessage string // in the question
	BotMessage  string // in the answer
}

// List returns a page of records, newest first, and how many there are in all. Pages
// begin with 1; one beyond the end is NotFound, but for the first.
func (r *Records) List(ctx context.Context, organization, bot uuid.UUID, filter Filter, page, pageSize int) ([]db.Record, int64, error) {
	skipped := (page - 1) * pageSize
	if filter.UserMessage != "" || filter.BotMessage != "" {
		return r.search(ctx, organization, bot, filter, skipped, pageSize)
	}
	since, until := filter.Days.span()
	total, err := r.store.CountRecords(ctx, db.CountRecordsParams{OrganizationID: organization, BotID: bot, Since: since, Until: until})
	if err != nil {
		return nil, 0, err
	}
	if int64(skipped) >= total {
		return none(skipped)
	}
	found, err := r.store.ListRecords(ctx, db.ListRecordsParams{
		OrganizationID: organization,
		BotID:          bot,
		Since:          since,
		Until:          until,
		PageOffset:     int32(skipped),
		PageLimit:      int32(pageSize),
	})
	return found, total, err
}

// search counts while it looks: either takes reading the texts of all those days.
func (r *Records) search(ctx context.Context, organization, bot uuid.UUID, filter Filter, skipped, pageSize int) ([]db.Record, int64, error) {
	since, until := filter.Days.span()
	user, answer := patternOf(filter.UserMessage), patternOf(filter.BotMessage)
	rows, err := r.store.SearchRecords(ctx, db.SearchRecordsParams{
		OrganizationID: organization,
		BotID:          bot,
		Since:          since,
		Until:          until,
		UserLike:       user.like,
		UserIlike:      user.ilike,
		BotLike:        answer.like,
		BotIlike:       answer.ilike,
		PageOffset:     int32(skipped),
		PageLimit:      int32(pageSize),
	})
	if err != nil {
		return nil, 0, err
	}
	if len(rows) == 0 {
		return none(skipped)
	}
	found := make([]db.Record, len(rows))
	for i, row := range rows {
		found[i] = row.Record
	}
	return found, rows[0].Total, nil
}

// none is a page without rows: beyond the end, unless it is the first.
func none(skipped int) ([]db.Record, int64, error) {
	if skipped > 0 {
		return nil, 0, fault.New(fault.NotFound, "There is no such page.")
	}
	return nil, 0, nil
}

// pattern is a text to be contained, as SQL has it; both are empty for no text.
type pattern struct{ like, ilike string }

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// patternOf takes LIKE, which is twice as fast, where nothing in the text has a case.
func patternOf(text string) pattern {
	if text == "" {
		return pattern{}
	}
	contained := "%" + escapeLike.Replace(text) + "%"
	if strings.ContainsFunc(text, hasCase) {
		return pattern{ilike: contained}
	}
	return pattern{like: contained}
}

// hasCase tells whether a character stands in for another one when the case does
// not matter.
func hasCase(r rune) bool {
	return unicode.SimpleFold(r) != r || unicode.ToLower(r) != r || unicode.ToUpper(r) != r
}
