package records

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/store"
)

// maxStatisticsDays is a leap year.
const maxStatisticsDays = 366

// Figures summarize the activity of a chatbot in a time range. A conversation counts at its start,
// a message when it was sent, a record when it was finished. Times are in seconds, and nil without
// a measurement.
type Figures struct {
	Conversations        int64
	Messages             int64
	Records              int64
	Failures             int64
	Likes                int64
	Dislikes             int64
	PromptTokens         int64
	CompletionTokens     int64
	CachedTokens         int64 // part of PromptTokens
	ReasoningTokens      int64 // part of CompletionTokens
	MeanReplyTime        *float64
	P95ReplyTime         *float64
	MeanTimeToFirstToken *float64
}

// Day has the figures of one day.
type Day struct {
	Date string // YYYY-MM-DD
	Figures
}

// Statistics have the figures of a range of days, in total and by day.
type Statistics struct {
	Totals Figures
	Days   []Day
}

// Statistics returns the figures of a chatbot for at most 366 days. A day without activity, or one
// that the time zone skipped, has zeros.
func (r *Records) Statistics(ctx context.Context, organization, bot uuid.UUID, days Days) (Statistics, error) {
	if days.count() > maxStatisticsDays {
		return Statistics{}, apperr.Parameter("endDate", "must be at most "+strconv.Itoa(maxStatisticsDays-1)+" days after startDate")
	}
	starts := days.starts()
	since, until := days.Span()
	var sums []db.AggregateRecordsByDayRow
	var conversations []db.CountConversationsByDayRow
	var messages []db.CountMessagesByDayRow
	err := r.store.Report(ctx, organization, func(s *store.Store) (err error) {
		sums, err = s.AggregateRecordsByDay(ctx, db.AggregateRecordsByDayParams{
			Days: starts, OrganizationID: organization, BotID: bot, Since: since, Until: until,
		})
		if err != nil {
			return err
		}
		conversations, err = s.CountConversationsByDay(ctx, db.CountConversationsByDayParams{
			Days: starts, OrganizationID: organization, BotID: bot, Since: since, Until: until,
		})
		if err != nil {
			return err
		}
		messages, err = s.CountMessagesByDay(ctx, db.CountMessagesByDayParams{
			Days: starts, OrganizationID: organization, BotID: bot, Since: since, Until: until,
		})
		return err
	})
	if err != nil {
		return Statistics{}, err
	}

	result := Statistics{Days: make([]Day, len(starts))}
	for i := range result.Days {
		result.Days[i].Date = days.first.AddDate(0, 0, i).Format(time.DateOnly)
	}
	for _, sum := range sums {
		if sum.Day == 0 {
			result.Totals = figuresOf(sum)
		} else {
			result.Days[sum.Day-1].Figures = figuresOf(sum)
		}
	}
	for _, count := range conversations {
		result.Days[count.Day-1].Conversations = count.Conversations
		result.Totals.Conversations += count.Conversations
	}
	for _, count := range messages {
		result.Days[count.Day-1].Messages = count.Messages
		result.Totals.Messages += count.Messages
	}
	return result, nil
}

func figuresOf(sum db.AggregateRecordsByDayRow) Figures {
	figures := Figures{
		Records:          sum.Records,
		Failures:         sum.Failures,
		Likes:            sum.Likes,
		Dislikes:         sum.Dislikes,
		PromptTokens:     sum.PromptTokens,
		CompletionTokens: sum.CompletionTokens,
		CachedTokens:     sum.CachedTokens,
		ReasoningTokens:  sum.ReasoningTokens,
	}
	if sum.Replies > 0 {
		figures.MeanReplyTime, figures.P95ReplyTime = &sum.MeanReplyTime, &sum.P95ReplyTime
	}
	if sum.FirstTokens > 0 {
		figures.MeanTimeToFirstToken = &sum.MeanFirstTokenTime
	}
	return figures
}
