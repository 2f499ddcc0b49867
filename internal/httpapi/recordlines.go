package httpapi

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"parley/gen/db"
)

// appendRecord appends a record as a line of JSON, byte for byte what encoding/json
// makes of toAPIRecord: an export has too many of them for the maps and the reflection
// that this takes.
func appendRecord(line []byte, row *db.Record) []byte {
	line = appendNumber(append(line, `{"answerCorrectnessScore":`...), row.AnswerCorrectnessScore)
	line = appendNumber(append(line, `,"answerRelevancyScore":`...), row.AnswerRelevancyScore)
	line = appendNumber(append(line, `,"answerSimilarityScore":`...), row.AnswerSimilarityScore)
	line = appendStamp(append(line, `,"askedAt":"`...), row.AskedAt)
	line = appendJSONText(append(line, `","condenseMessage":`...), row.CondenseMessage)
	line = appendJSONText(append(line, `,"context":`...), row.Context)
	line = appendNumber(append(line, `,"contextPrecisionScore":`...), row.ContextPrecisionScore)
	line = appendNumber(append(line, `,"contextRecallScore":`...), row.ContextRecallScore)
	line = appendUUID(append(line, `,"conversation":"`...), row.SessionID)
	line = appendStamp(append(line, `","createdAt":"`...), row.CreatedAt)
	line = appendDisplay(append(line, `","displayAnswerCorrectnessScore":"`...), row.AnswerCorrectnessScore)
	line = appendDisplay(append(line, `","displayAnswerRelevancyScore":"`...), row.AnswerRelevancyScore)
	line = appendDisplay(append(line, `","displayAnswerSimilarityScore":"`...), row.AnswerSimilarityScore)
	line = appendDisplay(append(line, `","displayContextPrecisionScore":"`...), row.ContextPrecisionScore)
	line = appendDisplay(append(line, `","displayContextRecallScore":"`...), row.ContextRecallScore)
	line = appendDisplay(append(line, `","displayFaithfulnessScore":"`...), row.FaithfulnessScore)
	line = appendTextOrNull(append(line, `","error":`...), row.Error)
	line = appendNumber(append(line, `,"faithfulnessScore":`...), row.FaithfulnessScore)
	line = appendTextOrNull(append(line, `,"feedback":`...), row.Feedback)
	line = appendUUID(append(line, `,"id":"`...), row.ID)
	line = appendJSONText(append(line, `","inputMessage":`...), row.InputMessage)
	line = appendJSONText(append(line, `,"outputMessage":`...), row.OutputMessage)
	line = appendNumber(append(line, `,"replyTime":`...), row.ReplyTime)
	line = appendJSONText(append(line, `,"status":`...), row.Status)
	line = appendJSONText(append(line, `,"type":`...), row.Type)
	return append(line, "}\n"...)
}

// appendNumber appends a number or null. The few that are written with an exponent are
// left to encoding/json.
func appendNumber(line []byte, number *float64) []byte {
	if number == nil {
		return append(line, "null"...)
	}
	if size := math.Abs(*number); size != 0 && (size < 1e-6 || size >= 1e21) {
		encoded, _ := json.Marshal(*number) // fails for what PostgreSQL alone calls a number
		return append(line, encoded...)
	}
	return strconv.AppendFloat(line, *number, 'f', -1, 64)
}

func appendDisplay(line []byte, score *float64) []byte {
	if score == nil {
		return line
	}
	return strconv.AppendFloat(line, *score, 'f', 2, 64)
}

func appendTextOrNull(line []byte, text *string) []byte {
	if text == nil {
		return append(line, "null"...)
	}
	return appendJSONText(line, *text)
}

// appendJSONText appends a text as encoding/json writes it. What is seldom in a text is
// left to encoding/json altogether.
func appendJSONText(line []byte, text string) []byte {
	if !utf8.ValidString(text) {
		encoded, _ := json.Marshal(text) // a text never fails
		return append(line, encoded...)
	}
	begin, from := len(line), 0
	line = append(line, '"')
	for i := range len(text) {
		var escaped string
		switch c := text[i]; {
		case c == '"':
			escaped = `\"`
		case c == '\\':
			escaped = `\\`
		case c == '\n':
			escaped = `\n`
		case c == '\r':
			escaped = `\r`
		case c == '\t':
			escaped = `\t`
		case c == '<':
			escaped = `\u003c`
		case c == '>':
			escaped = `\u003e`
		case c == '&':
			escaped = `\u0026`
		case c < ' ', c == 0xE2 && i+2 < len(text) && text[i+1] == 0x80 && text[i+2]&^1 == 0xA8: // U+2028 and U+2029
			encoded, _ := json.Marshal(text)
			return append(line[:begin], encoded...)
		default:
			continue
		}
		line = append(append(line, text[from:i]...), escaped...)
		from = i + 1
	}
	return append(append(line, text[from:]...), '"')
}
