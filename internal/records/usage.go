package records

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
)

// StatelessUsage returns a page of an organization's stateless completions by day, chatbot and API
// key, newest day first, and the number of all rows. Its days are UTC, whatever the zone of days.
func (r *Records) StatelessUsage(ctx context.Context, organization uuid.UUID, days Days, limit, offset int) ([]db.ListStatelessUsageRow, int64, error) {
	total, err := r.store.CountStatelessUsage(ctx, organization, days.first, days.last)
	if err != nil {
		return nil, 0, err
	}
	rows, err := r.store.ListStatelessUsage(ctx, db.ListStatelessUsageParams{
		OrganizationID: organization, FirstDay: days.first, LastDay: days.last, PageLimit: int32(limit), PageOffset: int32(offset),
	})
	return rows, total, err
}
