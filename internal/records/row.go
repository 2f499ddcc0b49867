package records

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
)

// rowDecoder decodes rows in PostgreSQL's binary format into one reused record. Scanning each of an
// export's rows by column, into new memory, would cost several times as much.
type rowDecoder struct {
	record  db.Record
	numbers [7]float64
	counts  [4]int32
	texts   []byte
}

// errNotBinary does not occur with PostgreSQL's extended protocol.
var errNotBinary = errors.New("the record is not in PostgreSQL's binary format")

// decode decodes a row of ListRecordsBefore. The record's numbers are valid until the next call.
func (r *rowDecoder) decode(columns [][]byte) error {
	if len(columns) != 24 || len(columns[0]) != 16 || len(columns[1]) != 8 || len(columns[2]) != 8 || len(columns[3]) != 16 {
		return errNotBinary
	}
	to := &r.record
	to.ID, to.SessionID = uuid.UUID(columns[0]), uuid.UUID(columns[3])
	to.CreatedAt, to.AskedAt = decodeTime(columns[1]), decodeTime(columns[2])
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
	for i, number := range [...]**int32{&to.PromptTokens, &to.CompletionTokens, &to.CachedTokens, &to.ReasoningTokens} {
		switch column := columns[20+i]; len(column) {
		case 0:
			*number = nil
		case 4:
			r.counts[i] = int32(binary.BigEndian.Uint32(column))
			*number = &r.counts[i]
		default:
			return errNotBinary
		}
	}
	// All texts share one string, so that there is one allocation.
	r.texts = r.texts[:0]
	for _, column := range [...]int{4, 5, 6, 7, 8, 9, 17, 18, 19} {
		r.texts = append(r.texts, columns[column]...)
	}
	texts := string(r.texts)
	next := func(column int) (text string) {
		text, texts = texts[:len(columns[column])], texts[len(columns[column]):]
		return text
	}
	to.Status, to.Type = next(4), next(5)
	to.InputMessage, to.CondenseMessage, to.Context, to.OutputMessage = next(6), next(7), next(8), next(9)
	to.Feedback, to.Error, to.Model = nil, nil, nil
	if columns[17] != nil {
		to.Feedback = new(next(17))
	}
	if columns[18] != nil {
		to.Error = new(next(18))
	}
	if columns[19] != nil {
		to.Model = new(next(19))
	}
	return nil
}

// decodeTime decodes a timestamptz: microseconds since 2000.
func decodeTime(column []byte) time.Time {
	const microsOf2000 = 946_684_800_000_000
	return time.UnixMicro(int64(binary.BigEndian.Uint64(column)) + microsOf2000)
}
