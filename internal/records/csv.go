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

// byteOrderMark makes Excel read a CSV file as UTF-8.
const byteOrderMark = "\uFEFF"

// WriteCSV writes the export as CSV (RFC 4180) in UTF-8 with a byte order mark, with the columns of
// the Excel file and headers in the locale's language. Texts are complete and quoted. A text that a
// spreadsheet would read as a formula is preceded by an apostrophe. Times are in the time zone of
// the filter's days, truncated to seconds.
func (e *Export) WriteCSV(ctx context.Context, w io.Writer, locale Locale) error {
	return e.WriteLines(ctx, w, csvHeader(locale), func(lines []byte, record *db.Record) []byte {
		return appendCSV(lines, record, e.zone)
	})
}

func csvHeader(locale Locale) []byte {
	line := []byte(byteOrderMark)
	for i, header := range labelsOf(locale).headers {
		if i > 0 {
			line = append(line, ',')
		}
		line = appendText(line, header)
	}
	return append(line, "\r\n"...)
}

// appendCSV appends a record's line, with the cells in the order of labels.headers.
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
	line = append(line, ',')
	if record.Model != nil {
		line = appendText(line, *record.Model)
	}
	for _, count := range [...]*int32{record.PromptTokens, record.CompletionTokens, record.CachedTokens, record.ReasoningTokens} {
		line = append(line, ',')
		if count != nil {
			line = strconv.AppendInt(line, int64(*count), 10)
		}
	}
	return append(line, "\r\n"...)
}

func appendID(line []byte, id uuid.UUID) []byte {
	line = append(hex.AppendEncode(line, id[:4]), '-')
	line = append(hex.AppendEncode(line, id[4:6]), '-')
	line = append(hex.AppendEncode(line, id[6:8]), '-')
	line = append(hex.AppendEncode(line, id[8:10]), '-')
	return hex.AppendEncode(line, id[10:])
}

// appendText appends a quoted text, in which quotes are doubled.
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

// isFormula reports whether some program might read a text as a formula: whether it starts with one
// of the characters that start a formula, ignoring the characters that programs drop or hide.
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
