package recordfile

import (
	"encoding/json"
	"math"
	"strconv"

	"parley/gen/db"
	"parley/internal/jsontext"
)

// AppendLine appends a record as a line of JSON, byte for byte as encoding/json writes the result
// of listRecords. In exports, the reflection of encoding/json would cost more than the rest.
func AppendLine(line []byte, row *db.Record) []byte {
	line = appendNumber(append(line, `{"answerCorrectnessScore":`...), row.AnswerCorrectnessScore)
	line = appendNumber(append(line, `,"answerRelevancyScore":`...), row.AnswerRelevancyScore)
	line = appendNumber(append(line, `,"answerSimilarityScore":`...), row.AnswerSimilarityScore)
	line = jsontext.AppendTime(append(line, `,"askedAt":"`...), row.AskedAt)
	line = jsontext.AppendString(append(line, `","condenseMessage":`...), row.CondenseMessage)
	line = jsontext.AppendString(append(line, `,"context":`...), row.Context)
	line = appendNumber(append(line, `,"contextPrecisionScore":`...), row.ContextPrecisionScore)
	line = appendNumber(append(line, `,"contextRecallScore":`...), row.ContextRecallScore)
	line = jsontext.AppendUUID(append(line, `,"conversation":"`...), row.SessionID)
	line = jsontext.AppendTime(append(line, `","createdAt":"`...), row.CreatedAt)
	line = appendDisplayScore(append(line, `","displayAnswerCorrectnessScore":"`...), row.AnswerCorrectnessScore)
	line = appendDisplayScore(append(line, `","displayAnswerRelevancyScore":"`...), row.AnswerRelevancyScore)
	line = appendDisplayScore(append(line, `","displayAnswerSimilarityScore":"`...), row.AnswerSimilarityScore)
	line = appendDisplayScore(append(line, `","displayContextPrecisionScore":"`...), row.ContextPrecisionScore)
	line = appendDisplayScore(append(line, `","displayContextRecallScore":"`...), row.ContextRecallScore)
	line = appendDisplayScore(append(line, `","displayFaithfulnessScore":"`...), row.FaithfulnessScore)
	line = appendStringOrNull(append(line, `","error":`...), row.Error)
	line = appendNumber(append(line, `,"faithfulnessScore":`...), row.FaithfulnessScore)
	line = appendStringOrNull(append(line, `,"feedback":`...), row.Feedback)
	line = jsontext.AppendUUID(append(line, `,"id":"`...), row.ID)
	line = jsontext.AppendString(append(line, `","inputMessage":`...), row.InputMessage)
	line = appendStringOrNull(append(line, `,"model":`...), row.Model)
	line = jsontext.AppendString(append(line, `,"outputMessage":`...), row.OutputMessage)
	line = appendNumber(append(line, `,"replyTime":`...), row.ReplyTime)
	line = jsontext.AppendString(append(line, `,"status":`...), row.Status)
	line = jsontext.AppendString(append(line, `,"type":`...), row.Type)
	line = appendUsage(append(line, `,"usage":`...), row)
	return append(line, "}\n"...)
}

func appendUsage(line []byte, row *db.Record) []byte {
	if row.PromptTokens == nil || row.CompletionTokens == nil {
		return append(line, "null"...)
	}
	line = append(line, '{')
	if row.CachedTokens != nil {
		line = append(strconv.AppendInt(append(line, `"cachedTokens":`...), int64(*row.CachedTokens), 10), ',')
	}
	line = strconv.AppendInt(append(line, `"completionTokens":`...), int64(*row.CompletionTokens), 10)
	line = strconv.AppendInt(append(line, `,"promptTokens":`...), int64(*row.PromptTokens), 10)
	if row.ReasoningTokens != nil {
		line = strconv.AppendInt(append(line, `,"reasoningTokens":`...), int64(*row.ReasoningTokens), 10)
	}
	total := int64(*row.PromptTokens) + int64(*row.CompletionTokens)
	return append(strconv.AppendInt(append(line, `,"totalTokens":`...), total, 10), '}')
}

// appendNumber appends a number or null. encoding/json formats those that need an exponent.
func appendNumber(line []byte, number *float64) []byte {
	if number == nil {
		return append(line, "null"...)
	}
	if size := math.Abs(*number); size != 0 && (size < 1e-6 || size >= 1e21) {
		encoded, _ := json.Marshal(*number) // fails for NaN and infinity, which are never stored
		return append(line, encoded...)
	}
	return strconv.AppendFloat(line, *number, 'f', -1, 64)
}

func appendDisplayScore(line []byte, score *float64) []byte {
	if score == nil {
		return line
	}
	return strconv.AppendFloat(line, *score, 'f', 2, 64)
}

func appendStringOrNull(line []byte, text *string) []byte {
	if text == nil {
		return append(line, "null"...)
	}
	return jsontext.AppendString(line, *text)
}
