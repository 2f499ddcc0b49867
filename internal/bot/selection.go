package bot

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"parley/gen/db"
)

// Selection restricts what of its knowledge a chatbot may use for a question. The zero Selection restricts nothing.
type Selection struct {
	// IsPartial says that Entries are all that may be used.
	IsPartial bool
	Entries   []uuid.UUID
	// Labels is what the labels of an entry must fulfil.
	Labels Relation
}

// Relation is a condition on the labels of an entry: all of its parts hold, or with IsAny one of them. Without parts it
// always holds. Labels are compared without case and width.
type Relation struct {
	IsAny  bool
	Labels []string
	Nested []Relation
}

func (r Relation) isEmpty() bool { return len(r.Labels) == 0 && len(r.Nested) == 0 }

// folded is the relation with its labels as they are compared.
func (r Relation) folded() Relation {
	same := Relation{IsAny: r.IsAny}
	for _, label := range r.Labels {
		same.Labels = append(same.Labels, fold(label))
	}
	for _, nested := range r.Nested {
		same.Nested = append(same.Nested, nested.folded())
	}
	return same
}

// holds tells whether folded labels fulfil the folded relation.
func (r Relation) holds(labels []string) bool {
	if r.isEmpty() {
		return true
	}
	// With any one part is enough, else one that fails.
	has := func(label string) bool { return slices.Contains(labels, label) == r.IsAny }
	fulfils := func(nested Relation) bool { return nested.holds(labels) == r.IsAny }
	decided := slices.ContainsFunc(r.Labels, has) || slices.ContainsFunc(r.Nested, fulfils)
	return decided == r.IsAny
}

// allowed lists the entries that may be used; nil stands for all.
func (e faqEngine) allowed(ctx context.Context, owner db.Bot, selection Selection) ([]uuid.UUID, error) {
	if selection.Labels.isEmpty() {
		if selection.IsPartial {
			return append([]uuid.UUID{}, selection.Entries...), nil
		}
		return nil, nil
	}
	labelled, err := e.store.ListFaqLabels(ctx, owner.OrganizationID, owner.ID)
	if err != nil {
		return nil, err
	}
	wanted, entries := selection.Labels.folded(), make(map[uuid.UUID]bool, len(selection.Entries))
	for _, entry := range selection.Entries {
		entries[entry] = true
	}
	found := []uuid.UUID{}
	for _, one := range labelled {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		labels := make([]string, len(one.Labels))
		for i, label := range one.Labels {
			labels[i] = fold(label)
		}
		if wanted.holds(labels) && (!selection.IsPartial || entries[one.ID]) {
			found = append(found, one.ID)
		}
	}
	return found, nil
}
