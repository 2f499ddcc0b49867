package records

import "context"

// AppendCSV is shown to its benchmark.
var AppendCSV = appendCSV

// Row is shown to its benchmark.
type Row = row

// Read reads what PostgreSQL has sent.
func (r *Row) Read(columns [][]byte) error { return r.read(columns) }

// NewTurns is shown to the test of how long exports rest. It returns what waits for a
// turn, which returns what ends it.
func NewTurns(asked func() int64) func(context.Context) (end func(), err error) {
	turns := newTurns(asked)
	return func(ctx context.Context) (func(), error) {
		turn, err := turns.begin(ctx)
		if err != nil {
			return nil, err
		}
		return turn.end, nil
	}
}
