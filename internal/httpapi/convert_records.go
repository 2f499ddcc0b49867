package httpapi

import (
	"strconv"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/records"
)

func fromAPIFilter(startDate, endDate string, timezone, userMessage, botMessage, conversation *string,
	status *openapi.RecordStatus, feedback *openapi.FeedbackFilter, kind *openapi.RecordType,
) (records.Filter, error) {
	days, err := records.ParseDays(startDate, endDate, deref(timezone))
	return records.Filter{
		Days:         days,
		UserMessage:  deref(userMessage),
		BotMessage:   deref(botMessage),
		Conversation: deref(conversation),
		Status:       string(deref(status)),
		Feedback:     string(deref(feedback)),
		Type:         string(deref(kind)),
	}, err
}

// fromAPIScores gives a record the scores that a request has.
func fromAPIScores(given openapi.RecordUpdate) func(*db.Record) {
	return func(record *db.Record) {
		for _, score := range []struct {
			given nullable.Nullable[float64]
			to    **float64
		}{
			{given.FaithfulnessScore, &record.FaithfulnessScore},
			{given.AnswerRelevancyScore, &record.AnswerRelevancyScore},
			{given.ContextPrecisionScore, &record.ContextPrecisionScore},
			{given.AnswerCorrectnessScore, &record.AnswerCorrectnessScore},
			{given.AnswerSimilarityScore, &record.AnswerSimilarityScore},
			{given.ContextRecallScore, &record.ContextRecallScore},
		} {
			if value, err := score.given.Get(); err == nil {
				*score.to = &value
			} else if score.given.IsNull() {
				*score.to = nil
			}
		}
	}
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
