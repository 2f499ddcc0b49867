package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
)

// registerUUIDs makes a connection encode and decode uuid.UUID as 16 bytes. By default pgx converts
// through text, with some twenty allocations per value, which took longer than the rest of sending
// a message.
func registerUUIDs(types *pgtype.Map) {
	pgxuuid.Register(types)
	types.TryWrapEncodePlanFuncs = append([]pgtype.TryWrapEncodePlanFunc{wrapUUIDPointer}, types.TryWrapEncodePlanFuncs...)
}

// wrapUUIDPointer does for *uuid.UUID what the library does for uuid.UUID. pgx handles nil itself.
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
