package records

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
)

// row makes a record of what PostgreSQL sends, and another one of what it sends next: an
// export has too many for each to be scanned column by column into memory of its own.
type row struct {
	record  db.Record
	numbers [7]float64
	texts   []byte
}

// errNotBinary is for what no connection does that speaks PostgreSQL's extended protocol.
var errNotBinary = errors.New("a record is not in PostgreSQL's binary form")

// read reads a row of ListRecordsBefore. The record's numbers are good until the next one
// is read.
func (r *row) read(columns [][]byte) error {
	if len(columns) != 19 || len(columns[0]) != 16 || len(columns[1]) != 8 || len(columns[2]) != 8 || len(columns[3]) != 16 {
		return errNotBinary
	}
	to := &r.record
	to.ID, to.SessionID = uuid.UUID(columns[0]), uuid.UUID(columns[3])
	to.CreatedAt, to.AskedAt = instant(columns[1]), instant(columns[2])
	for i, number := range [...]**float64{
		&to.FaithfulnessScore, &to.AnswerRelevancyScore, &to.ContextPrecisionScore, &to.AnswerCorrectnessScore,
		&to.AnswerSimilarityScore, &to.ContextRecallScore, &to.ReplyTime,
	} {
		switch column := columns[10+i]; len(column) {
		case 0:
			*number = nil
		case 8:
			r.numbers[i] = math.Float64frombits(binary.BigEndian.Uint64(column))
			*number = &r.numbers[i]
		default:
			return errNotBinary
		}
	}
	// All texts are parts of one, which is made at once.
	r.texts = r.texts[:0]
	for _, column := range [...]int{4, 5, 6, 7, 8, 9, 17, 18} {
		r.texts = append(r.texts, columns[column]...)
	}
	texts := string(r.texts)
	next := func(column int) (text string) {
		text, texts = texts[:len(columns[column])], texts[len(columns[column]):]
		return text
	}
	to.Status, to.Type = next(4), next(5)
	to.InputMessage, to.CondenseMessage, to.Context, to.OutputMessage = next(6), next(7), next(8), next(9)
	to.Feedback, to.Error = nil, nil
	if columns[17] != nil {
		to.Feedback = new(next(17))
	}
	if columns[18] != nil {
		to.Error = new(next(18))
	}
	return nil
}

// instant reads a timestamptz: microseconds since 2000.
func instant(column []byte) time.Time {
	const microsOf2000 = 946_684_800_000_000
	return time.UnixMicro(int64(binary.BigEndian.Uint64(column)) + microsOf2000)
}
