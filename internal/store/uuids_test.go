package store_test

import (
	"testing"

	"github.com/google/uuid"

	"parley/internal/dbtest"
	"parley/internal/store"
)

func TestUUIDsRoundTrip(t *testing.T) {
	t.Parallel()
	raw := store.Raw(dbtest.Open(t))
	id, none := uuid.New(), (*uuid.UUID)(nil)
	var value uuid.UUID
	var pointer, missing *uuid.UUID
	var list []uuid.UUID
	var asText string
	row := raw.QueryRow(t.Context(), "SELECT $1::uuid, $2::uuid, $3::uuid, $4::uuid[], $2::uuid::text", id, &id, none, []uuid.UUID{id, uuid.Nil})
	if err := row.Scan(&value, &pointer, &missing, &list, &asText); err != nil {
		t.Fatal(err)
	}
	if value != id || *pointer != id || missing != nil || len(list) != 2 || list[0] != id || list[1] != uuid.Nil || asText != id.String() {
		t.Errorf("got %v, %v, %v, %v and %q for %v", value, pointer, missing, list, asText, id)
	}
}
