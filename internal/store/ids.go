package store

import (
	"github.com/google/uuid"

	"parley/internal/apperr"
)

// NewID returns an ID for a new row. IDs grow with time, so that an index is appended to.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// IDOrNew returns an ID that was given for a new row, or a new ID instead of uuid.Nil.
func IDOrNew(given uuid.UUID) uuid.UUID {
	if given == uuid.Nil {
		return NewID()
	}
	return given
}

// ParseID parses an ID in its canonical form of 36 characters. For anything else, including other forms that
// uuid.Parse accepts, it returns a NotFound error with the message notFound.
func ParseID(text, notFound string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return uuid.Nil, apperr.New(apperr.NotFound, notFound)
	}
	return id, nil
}

// ParseIDs parses IDs as ParseID does, and returns each once.
func ParseIDs(texts []string, notFound string) ([]uuid.UUID, error) {
	ids := make([]uuid.UUID, 0, len(texts))
	known := make(map[uuid.UUID]bool, len(texts))
	for _, text := range texts {
		id, err := ParseID(text, notFound)
		if err != nil {
			return nil, err
		}
		if !known[id] {
			known[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}
