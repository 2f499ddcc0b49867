package httpapi

import (
	"strconv"
	"time"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/jsontext"
	"parley/internal/records"
)

// recordFilter has the query parameters that the list of records and its exports share.
type recordFilter struct {
	startDate, endDate                              string
	timezone, userMessage, botMessage, conversation *string
	status                                          *openapi.RecordStatus
	feedback                                        *openapi.FeedbackFilter
	kind                                            *openapi.RecordType
}

func fromAPIFilter(filter recordFilter) (records.Filter, error) {
	days, err := records.ParseDays(filter.startDate, filter.endDate, deref(filter.timezone))
	return records.Filter{
		Days:         days,
		UserMessage:  deref(filter.userMessage),
		BotMessage:   deref(filter.botMessage),
		Conversation: deref(filter.conversation),
		Status:       string(deref(filter.status)),
		Feedback:     string(deref(filter.feedback)),
		Type:         string(deref(filter.kind)),
	}, err
}

// fromAPIScores returns a function that sets the scores of a request; null removes a score.
func fromAPIScores(update openapi.RecordUpdate) func(*db.Record) {
	return func(record *db.Record) {
		for _, score := range []struct {
			field  nullable.Nullable[float64]
			column **float64
		}{
			{update.FaithfulnessScore, &record.FaithfulnessScore},
			{update.AnswerRelevancyScore, &record.AnswerRelevancyScore},
			{update.ContextPrecisionScore, &record.ContextPrecisionScore},
			{update.AnswerCorrectnessScore, &record.AnswerCorrectnessScore},
			{update.AnswerSimilarityScore, &record.AnswerSimilarityScore},
			{update.ContextRecallScore, &record.ContextRecallScore},
		} {
			if value, err := score.field.Get(); err == nil {
				*score.column = &value
			} else if score.field.IsNull() {
				*score.column = nil
			}
		}
	}
}

func toAPIRecord(row db.Record) openapi.ExchangeRecord {
	record := openapi.ExchangeRecord{
		ID:                            row.ID,
		Conversation:                  row.SessionID,
		Status:                        openapi.RecordStatus(row.Status),
		InputMessage:                  row.InputMessage,
		CondenseMessage:               row.CondenseMessage,
		OutputMessage:                 row.OutputMessage,
		Context:                       row.Context,
		Type:                          openapi.RecordType(row.Type),
		FaithfulnessScore:             orNull(row.FaithfulnessScore),
		DisplayFaithfulnessScore:      displayScore(row.FaithfulnessScore),
		AnswerRelevancyScore:          orNull(row.AnswerRelevancyScore),
		DisplayAnswerRelevancyScore:   displayScore(row.AnswerRelevancyScore),
		ContextPrecisionScore:         orNull(row.ContextPrecisionScore),
		DisplayContextPrecisionScore:  displayScore(row.ContextPrecisionScore),
		AnswerCorrectnessScore:        orNull(row.AnswerCorrectnessScore),
		DisplayAnswerCorrectnessScore: displayScore(row.AnswerCorrectnessScore),
		AnswerSimilarityScore:         orNull(row.AnswerSimilarityScore),
		DisplayAnswerSimilarityScore:  displayScore(row.AnswerSimilarityScore),
		ContextRecallScore:            orNull(row.ContextRecallScore),
		DisplayContextRecallScore:     displayScore(row.ContextRecallScore),
		ReplyTime:                     orNull(row.ReplyTime),
		Feedback:                      nullable.NewNullNullable[openapi.Feedback](),
		AskedAt:                       jsontext.FormatTime(row.AskedAt),
		CreatedAt:                     jsontext.FormatTime(row.CreatedAt),
		Error:                         orNull(row.Error),
		Model:                         orNull(row.Model),
		Usage:                         toAPIStoredUsage(row.PromptTokens, row.CompletionTokens, row.CachedTokens, row.ReasoningTokens),
	}
	if row.Feedback != nil {
		record.Feedback.Set(openapi.Feedback(*row.Feedback))
	}
	return record
}

// displayScore formats a score with two decimals; it returns the empty string if there is no score.
func displayScore(score *float64) string {
	if score == nil {
		return ""
	}
	return strconv.FormatFloat(*score, 'f', 2, 64)
}

func toAPIStatistics(days records.Days, statistics records.Statistics) openapi.Statistics {
	return openapi.Statistics{
		StartDate: days.StartDate(),
		EndDate:   days.EndDate(),
		Timezone:  days.Zone().String(),
		Totals:    toAPIFigures(statistics.Totals),
		Days: each(statistics.Days, func(day records.Day) openapi.StatisticsDay {
			return openapi.StatisticsDay{Date: day.Date, Figures: toAPIFigures(day.Figures)}
		}),
	}
}

func toAPIFigures(figures records.Figures) openapi.StatisticsFigures {
	return openapi.StatisticsFigures{
		Conversations:        figures.Conversations,
		Messages:             figures.Messages,
		Records:              figures.Records,
		Failures:             figures.Failures,
		Likes:                figures.Likes,
		Dislikes:             figures.Dislikes,
		PromptTokens:         figures.PromptTokens,
		CompletionTokens:     figures.CompletionTokens,
		CachedTokens:         figures.CachedTokens,
		ReasoningTokens:      figures.ReasoningTokens,
		MeanReplyTime:        orNull(figures.MeanReplyTime),
		P95ReplyTime:         orNull(figures.P95ReplyTime),
		MeanTimeToFirstToken: orNull(figures.MeanTimeToFirstToken),
	}
}

func toAPIStatelessUsage(row db.ListStatelessUsageRow) openapi.StatelessUsage {
	usage := row.StatelessUsage
	return openapi.StatelessUsage{
		Date:             usage.Day.Format(time.DateOnly),
		Chatbot:          openapi.ChatbotReference{ID: usage.BotID, Name: row.BotName},
		APIKey:           openapi.APIKeyRef{ID: usage.KeyID, Name: orNull(row.KeyName), User: orNull(row.UserName)},
		Completions:      usage.Completions,
		Failures:         usage.Failures,
		PromptTokens:     usage.PromptTokens,
		CompletionTokens: usage.CompletionTokens,
		CachedTokens:     usage.CachedTokens,
		ReasoningTokens:  usage.ReasoningTokens,
	}
}
