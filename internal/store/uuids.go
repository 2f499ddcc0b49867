package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
)

// registerUUIDs has a connection send and read uuid.UUID as the 16 bytes that it is. By
// itself pgx goes through its text, with some twenty allocations for each: for the ids
// of one message that took longer than everything else that is done to send it.
func registerUUIDs(types *pgtype.Map) {
	pgxuuid.Register(types)
	types.TryWrapEncodePlanFuncs = append([]pgtype.TryWrapEncodePlanFunc{wrapUUIDPointer}, types.TryWrapEncodePlanFuncs...)
}

// wrapUUIDPointer does for *uuid.UUID what the library does for uuid.UUID; pgx itself
// takes care of nil.
func wrapUUIDPointer(value any) (plan pgtype.WrappedEncodePlanNextSetter, next any, ok bool) {
	if id, ok := value.(*uuid.UUID); ok {
		return &uuidPointerPlan{}, pgxuuid.UUID(*id), true
	}
	return nil, nil, false
}

type uuidPointerPlan struct{ next pgtype.EncodePlan }

// SetNext implements pgtype.WrappedEncodePlanNextSetter.
func (p *uuidPointerPlan) SetNext(next pgtype.EncodePlan) { p.next = next }

// Encode implements pgtype.EncodePlan.
func (p *uuidPointerPlan) Encode(value any, buf []byte) ([]byte, error) {
	return p.next.Encode(pgxuuid.UUID(*value.(*uuid.UUID)), buf)
}
