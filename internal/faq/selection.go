package faq

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/bot"
)

// selectedEntries returns the ids of the FAQs that the selection allows; nil means all of them.
func (e *Engine) selectedEntries(ctx context.Context, owner db.Bot, selection bot.Selection) ([]uuid.UUID, error) {
	if selection.Labels.IsEmpty() {
		if selection.IsPartial {
			return append([]uuid.UUID{}, selection.Entries...), nil
		}
		return nil, nil
	}
	rows, err := e.store.ListFaqLabels(ctx, owner.OrganizationID, owner.ID)
	if err != nil {
		return nil, err
	}
	relation, allowed := selection.Labels.Folded(), make(map[uuid.UUID]bool, len(selection.Entries))
	for _, id := range selection.Entries {
		allowed[id] = true
	}
	selected := []uuid.UUID{}
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		labels := make([]string, len(row.Labels))
		for i, label := range row.Labels {
			labels[i] = bot.Fold(label)
		}
		if relation.Matches(labels) && (!selection.IsPartial || allowed[row.ID]) {
			selected = append(selected, row.ID)
		}
	}
	return selected, nil
}
