package httpapi

import (
	"encoding/json"
	"math"
	"strconv"

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
	line = appendString(append(line, `","condenseMessage":`...), row.CondenseMessage)
	line = appendString(append(line, `,"context":`...), row.Context)
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
	line = appendString(append(line, `","inputMessage":`...), row.InputMessage)
	line = appendString(append(line, `,"outputMessage":`...), row.OutputMessage)
	line = appendNumber(append(line, `,"replyTime":`...), row.ReplyTime)
	line = appendString(append(line, `,"status":`...), row.Status)
	line = appendString(append(line, `,"type":`...), row.Type)
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
	return appendString(line, *text)
}
