package httpapi

import (
	"strconv"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/records"
)

func fromAPIFilter(startDate, endDate string, timezone, userMessage, botMessage *string) (records.Filter, error) {
	days, err := records.ParseDays(startDate, endDate, deref(timezone))
	return records.Filter{Days: days, UserMessage: deref(userMessage), BotMessage: deref(botMessage)}, err
}

func toAPIRecord(row db.Record) openapi.Record {
	record := openapi.Record{
		ID:                            row.ID,
		Conversation:                  row.SessionID,
		Status:                        openapi.RecordStatus(row.Status),
		InputMessage:                  row.InputMessage,
		CondenseMessage:               row.CondenseMessage,
		OutputMessage:                 row.OutputMessage,
		Context:                       row.Context,
		Type:                          openapi.RecordType(row.Type),
		FaithfulnessScore:             orNull(row.FaithfulnessScore),
		DisplayFaithfulnessScore:      display(row.FaithfulnessScore),
		AnswerRelevancyScore:          orNull(row.AnswerRelevancyScore),
		DisplayAnswerRelevancyScore:   display(row.AnswerRelevancyScore),
		ContextPrecisionScore:         orNull(row.ContextPrecisionScore),
		DisplayContextPrecisionScore:  display(row.ContextPrecisionScore),
		AnswerCorrectnessScore:        orNull(row.AnswerCorrectnessScore),
		DisplayAnswerCorrectnessScore: display(row.AnswerCorrectnessScore),
		AnswerSimilarityScore:         orNull(row.AnswerSimilarityScore),
		DisplayAnswerSimilarityScore:  display(row.AnswerSimilarityScore),
		ContextRecallScore:            orNull(row.ContextRecallScore),
		DisplayContextRecallScore:     display(row.ContextRecallScore),
		ReplyTime:                     orNull(row.ReplyTime),
		Feedback:                      nullable.NewNullNullable[openapi.Feedback](),
		AskedAt:                       stamp(row.AskedAt),
		CreatedAt:                     stamp(row.CreatedAt),
		Error:                         orNull(row.Error),
	}
	if row.Feedback != nil {
		record.Feedback.Set(openapi.Feedback(*row.Feedback))
	}
	return record
}

// display shows a score with two decimals, and none as nothing.
func display(score *float64) string {
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
		MeanReplyTime:        orNull(figures.MeanReplyTime),
		P95ReplyTime:         orNull(figures.P95ReplyTime),
		MeanTimeToFirstToken: orNull(figures.MeanTimeToFirstToken),
	}
}
