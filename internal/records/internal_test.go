package records

import (
	"context"

	"github.com/google/uuid"
)

// AppendCSV is exported for its benchmark.
var AppendCSV = appendCSV

// RowDecoder is exported for its benchmark.
type RowDecoder = rowDecoder

// Decode decodes a row.
func (r *RowDecoder) Decode(columns [][]byte) error { return r.decode(columns) }

// NewThrottle returns a function that begins a block and returns the function that ends it.
func NewThrottle(queryCount func() int64) func(context.Context) (end func(), err error) {
	throttle := newThrottle(queryCount)
	return func(ctx context.Context) (func(), error) {
		block, err := throttle.begin(ctx, uuid.Nil)
		if err != nil {
			return nil, err
		}
		return block.end, nil
	}
}
