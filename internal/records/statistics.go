package records

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
)

// maxStatisticsDays is a leap year.
const maxStatisticsDays = 366

// Figures are what a chatbot did in some time. A conversation counts when it began,
// a message when it was sent, a record when it was finished. Times are in seconds,
// nil where nothing was measured.
type Figures struct {
	Conversations        int64
	Messages             int64
	Records              int64
	Failures             int64
	Likes                int64
	Dislikes             int64
	PromptTokens         int64
	CompletionTokens     int64
	MeanReplyTime        *float64
	P95ReplyTime         *float64
	MeanTimeToFirstToken *float64
}

// Day is the figures of one day.
type Day struct {
	Date string // YYYY-MM-DD
	Figures
}

// Statistics are the figures of some days, together and one by one.
type Statistics struct {
	Totals Figures
	Days   []Day
}

// Statistics adds up what a chatbot did on at most 366 days. A day on which nothing
// happened, or which a zone left out, is all zeros.
func (r *Records) Statistics(ctx context.Context, organization, bot uuid.UUID, days Days) (Statistics, error) {
	if days.count() > maxStatisticsDays {
		return Statistics{}, apperr.Parameter("endDate", "must be at most "+strconv.Itoa(maxStatisticsDays-1)+" days after startDate")
	}
	starts := days.starts()
	since, until := days.Span()
	sums, err := r.store.AggregateRecordsByDay(ctx, db.AggregateRecordsByDayParams{
		Days: starts, OrganizationID: organization, BotID: bot, Since: since, Until: until,
	})
	if err != nil {
		return Statistics{}, err
	}
	conversations, err := r.store.CountConversationsByDay(ctx, db.CountConversationsByDayParams{
		Days: starts, OrganizationID: organization, BotID: bot, Since: since, Until: until,
	})
	if err != nil {
		return Statistics{}, err
	}
	messages, err := r.store.CountMessagesByDay(ctx, db.CountMessagesByDayParams{
		Days: starts, OrganizationID: organization, BotID: bot, Since: since, Until: until,
	})
	if err != nil {
		return Statistics{}, err
	}

	made := Statistics{Days: make([]Day, len(starts))}
	for i := range made.Days {
		made.Days[i].Date = days.first.AddDate(0, 0, i).Format(time.DateOnly)
	}
	for _, sum := range sums {
		if sum.Day == 0 {
			made.Totals = figuresOf(sum)
		} else {
			made.Days[sum.Day-1].Figures = figuresOf(sum)
		}
	}
	for _, count := range conversations {
		made.Days[count.Day-1].Conversations = count.Conversations
		made.Totals.Conversations += count.Conversations
	}
	for _, count := range messages {
		made.Days[count.Day-1].Messages = count.Messages
		made.Totals.Messages += count.Messages
	}
	return made, nil
}

func figuresOf(sum db.AggregateRecordsByDayRow) Figures {
	figures := Figures{
		Records:          sum.Records,
		Failures:         sum.Failures,
		Likes:            sum.Likes,
		Dislikes:         sum.Dislikes,
		PromptTokens:     sum.PromptTokens,
		CompletionTokens: sum.CompletionTokens,
	}
	if sum.Replies > 0 {
		figures.MeanReplyTime, figures.P95ReplyTime = &sum.MeanReplyTime, &sum.P95ReplyTime
	}
	if sum.FirstTokens > 0 {
		figures.MeanTimeToFirstToken = &sum.MeanFirstTokenTime
	}
	return figures
}
