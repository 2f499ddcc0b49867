package records

import (
	"context"
	"encoding/hex"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"parley/gen/db"
)

// byteOrderMark tells Excel that a CSV file is UTF-8.
const byteOrderMark = "\uFEFF"

// WriteCSV writes the export as CSV (RFC 4180) in UTF-8 with a byte order mark, with
// the columns of the Excel file and headers in a language. Texts are whole, in quotes,
// and none is a formula to a spreadsheet: what would be one has an apostrophe before
// it. Numbers are plain, and times those of the days' zone, to the second.
func (e *Export) WriteCSV(ctx context.Context, w io.Writer, locale Locale) error {
	return e.WriteLines(ctx, w, headCSV(locale), func(lines []byte, record *db.Record) []byte {
		return appendCSV(lines, record, e.zone)
	})
}

func headCSV(locale Locale) []byte {
	head := []byte(byteOrderMark)
	for i, header := range wordsOf(locale).headers {
		if i > 0 {
			head = append(head, ',')
		}
		head = appendText(head, header)
	}
	return append(head, "\r\n"...)
}

// appendCSV appends a record's line, its cells in the order of words.headers.
func appendCSV(line []byte, record *db.Record, zone *time.Location) []byte {
	line = appendID(line, record.ID)
	for _, text := range [...]string{record.InputMessage, record.CondenseMessage, record.Type, record.Context, record.OutputMessage} {
		line = appendText(append(line, ','), text)
	}
	for _, number := range [...]*float64{
		record.FaithfulnessScore, record.AnswerRelevancyScore, record.AnswerCorrectnessScore, record.AnswerSimilarityScore,
		record.ContextPrecisionScore, record.ContextRecallScore, record.ReplyTime,
	} {
		line = append(line, ',')
		if number != nil {
			line = strconv.AppendFloat(line, *number, 'f', -1, 64)
		}
	}
	line = append(line, ',')
	line = record.CreatedAt.In(zone).AppendFormat(line, time.DateTime)
	return append(line, "\r\n"...)
}

func appendID(line []byte, id uuid.UUID) []byte {
	line = append(hex.AppendEncode(line, id[:4]), '-')
	line = append(hex.AppendEncode(line, id[4:6]), '-')
	line = append(hex.AppendEncode(line, id[6:8]), '-')
	line = append(hex.AppendEncode(line, id[8:10]), '-')
	return hex.AppendEncode(line, id[10:])
}

// appendText appends a text in quotes, those in it doubled.
func appendText(line []byte, text string) []byte {
	line = append(line, '"')
	if isFormula(text) {
		line = append(line, '\'')
	}
	for {
		i := strings.IndexByte(text, '"')
		if i < 0 {
			break
		}
		line = append(append(line, text[:i+1]...), '"')
		text = text[i+1:]
	}
	return append(append(line, text...), '"')
}

// isFormula tells whether some program might take a cell's text for a formula: by how
// it begins, what programs drop or do not show before that aside.
func isFormula(text string) bool {
	for _, r := range text {
		switch r {
		case '=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠':
			return true
		case '"', '\'', '`', '‘', '’', '“', '”':
			continue
		}
		if !unicode.IsSpace(r) && !unicode.In(r, unicode.Cc, unicode.Cf) {
			return false
		}
	}
	return false
}
