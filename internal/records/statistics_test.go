package records_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/records"
)

func TestStatisticsByDayAndInTotal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// given activity on three days in Taipei, and just outside of them
	first, second := instant(t, "2025-01-14T16:00:00Z"), instant(t, "2025-01-15T16:00:00Z")
	after := instant(t, "2025-01-16T16:00:00Z")
	firstSession := f.newSession(f.bot, first)
	secondSession := f.newSession(f.bot, after.Add(-time.Microsecond))
	f.newSession(f.bot, after)
	f.newSession(f.bot, first.Add(-time.Microsecond))
	other := f.newSession(f.newBot(), first)
	f.say(firstSession, first, first.Add(time.Hour), second)
	f.say(secondSession, after.Add(-time.Microsecond), after)
	f.say(other, first)
	f.say(f.session, first.Add(-time.Microsecond), second.Add(time.Hour)) // of an earlier day's conversation
	for i := range 20 {
		f.add(db.Record{
			CreatedAt: first.Add(time.Duration(i) * time.Minute), ReplyTime: new(float64(i + 1)), FirstTokenTime: new(0.5),
			PromptTokens: new(int32(math.MaxInt32)), CompletionTokens: new(int32(10)), Feedback: new("like"),
		})
	}
	f.add(
		db.Record{CreatedAt: second, Status: "failed", Type: "Follow", Feedback: new("dislike")},
		db.Record{CreatedAt: second.Add(time.Minute), Status: "cancelled", Type: "Follow", ReplyTime: new(100.0)},
		db.Record{CreatedAt: after, ReplyTime: new(1000.0)},
	)

	got, err := f.records.Statistics(t.Context(), f.organization, f.bot, days(t, "2025-01-15", "2025-01-17", "Asia/Taipei"))
	if err != nil {
		t.Fatal(err)
	}

	if len(got.Days) != 3 || got.Days[0].Date != "2025-01-15" || got.Days[2].Date != "2025-01-17" {
		t.Fatalf("unexpected days %+v", got.Days)
	}
	expectFigures(t, "the first day", got.Days[0].Figures, records.Figures{
		Conversations: 1, Messages: 2, Records: 20, Likes: 20, PromptTokens: 20 * math.MaxInt32, CompletionTokens: 200,
		MeanReplyTime: new(10.5), P95ReplyTime: new(19.05), MeanTimeToFirstToken: new(0.5),
	})
	expectFigures(t, "the second day", got.Days[1].Figures, records.Figures{
		Conversations: 1, Messages: 3, Records: 2, Failures: 1, Dislikes: 1, MeanReplyTime: new(100.0), P95ReplyTime: new(100.0),
	})
	expectFigures(t, "the third day", got.Days[2].Figures, records.Figures{
		Conversations: 1, Messages: 1, Records: 1, MeanReplyTime: new(1000.0), P95ReplyTime: new(1000.0),
	})
	// The total percentile is computed from all replies, not from the percentiles of the days: 21 of 22 replies are
	// below 1000, and the 95th percentile is at position 20.95.
	expectFigures(t, "all days", got.Totals, records.Figures{
		Conversations: 3, Messages: 6, Records: 23, Failures: 1, Likes: 20, Dislikes: 1, PromptTokens: 20 * math.MaxInt32, CompletionTokens: 200,
		MeanReplyTime: new(1310.0 / 22), P95ReplyTime: new(20 + 0.95*80), MeanTimeToFirstToken: new(0.5),
	})
}

// say stores messages of a conversation at the given times.
func (f *fixture) say(session uuid.UUID, times ...time.Time) {
	f.t.Helper()
	for i, at := range times {
		f.exec(`INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		        VALUES ($1, $2, $3, $4, 'user', 'Hello', $5)`, f.organization, id(), session, i+1, at)
	}
}

func expectFigures(t *testing.T, what string, got, want records.Figures) {
	t.Helper()
	for name, times := range map[string][2]*float64{
		"mean reply time":          {got.MeanReplyTime, want.MeanReplyTime},
		"p95 reply time":           {got.P95ReplyTime, want.P95ReplyTime},
		"mean time to first token": {got.MeanTimeToFirstToken, want.MeanTimeToFirstToken},
	} {
		if (times[0] == nil) != (times[1] == nil) || times[0] != nil && math.Abs(*times[0]-*times[1]) > 1e-9 {
			t.Errorf("%s: the %s is %s, want %s", what, name, format(times[0]), format(times[1]))
		}
	}
	got.MeanReplyTime, got.P95ReplyTime, got.MeanTimeToFirstToken = want.MeanReplyTime, want.P95ReplyTime, want.MeanTimeToFirstToken
	if got != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

func TestStatisticsWithoutActivityAreZero(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got, err := f.records.Statistics(t.Context(), f.organization, f.bot, days(t, "2024-01-01", "2024-12-31", "Europe/Berlin"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Totals != (records.Figures{}) || len(got.Days) != 366 {
		t.Errorf("totals %+v and %d days, want zeros and 366 days", got.Totals, len(got.Days))
	}
	for i, day := range got.Days {
		want := time.Date(2024, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		if day.Date != want || day.Figures != (records.Figures{}) {
			t.Errorf("day %d is %+v, want zeros of %s", i, day, want)
		}
	}
}

func TestStatisticsAreLimitedToAYear(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, end := range []string{"2025-01-01", "9999-12-31"} {
		_, err := f.records.Statistics(t.Context(), f.organization, f.bot, days(t, "2024-01-01", end, "UTC"))
		if !apperr.Is(err, apperr.InvalidRequest) {
			t.Errorf("up to %s: error %v, want invalid request", end, err)
		}
	}
}

func format(number *float64) any {
	if number == nil {
		return "none"
	}
	return *number
}
