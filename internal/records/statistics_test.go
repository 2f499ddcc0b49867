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

func TestStatisticsAddUpEachDayAndAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// given what happened on two days in Taipei, and beside them
	first, second := instant(t, "2025-01-14T16:00:00Z"), instant(t, "2025-01-15T16:00:00Z")
	after := instant(t, "2025-01-16T16:00:00Z")
	one := w.newSession(w.bot, first)
	two := w.newSession(w.bot, after.Add(-time.Microsecond))
	w.newSession(w.bot, after)
	w.newSession(w.bot, first.Add(-time.Microsecond))
	other := w.newSession(w.newBot(), first)
	w.say(one, first, first.Add(time.Hour), second)
	w.say(two, after.Add(-time.Microsecond), after)
	w.say(other, first)
	w.say(w.session, first.Add(-time.Microsecond), second.Add(time.Hour)) // of an earlier day's conversation
	for i := range 20 {
		w.add(db.Record{
			CreatedAt: first.Add(time.Duration(i) * time.Minute), ReplyTime: new(float64(i + 1)), FirstTokenTime: new(0.5),
			PromptTokens: new(int32(math.MaxInt32)), CompletionTokens: new(int32(10)), Feedback: new("like"),
		})
	}
	w.add(
		db.Record{CreatedAt: second, Status: "failed", Type: "Follow", Feedback: new("dislike")},
		db.Record{CreatedAt: second.Add(time.Minute), Status: "cancelled", Type: "Follow", ReplyTime: new(100.0)},
		db.Record{CreatedAt: after, ReplyTime: new(1000.0)},
	)

	got, err := w.records.Statistics(t.Context(), w.organization, w.bot, days(t, "2025-01-15", "2025-01-17", "Asia/Taipei"))
	if err != nil {
		t.Fatal(err)
	}

	if len(got.Days) != 3 || got.Days[0].Date != "2025-01-15" || got.Days[2].Date != "2025-01-17" {
		t.Fatalf("the days are %+v", got.Days)
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
	// The percentile of all is none of the days' percentiles: 21 replies below 1000, so it is the 20.9th of 22.
	expectFigures(t, "all days", got.Totals, records.Figures{
		Conversations: 3, Messages: 6, Records: 23, Failures: 1, Likes: 20, Dislikes: 1, PromptTokens: 20 * math.MaxInt32, CompletionTokens: 200,
		MeanReplyTime: new(1310.0 / 22), P95ReplyTime: new(20 + 0.95*80), MeanTimeToFirstToken: new(0.5),
	})
}

// say stores messages of a conversation at those times.
func (w *world) say(session uuid.UUID, times ...time.Time) {
	w.t.Helper()
	for i, at := range times {
		w.exec(`INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		        VALUES ($1, $2, $3, $4, 'user', 'Hello', $5)`, w.organization, id(), session, i+1, at)
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
			t.Errorf("%s: the %s is %s, want %s", what, name, show(times[0]), show(times[1]))
		}
	}
	got.MeanReplyTime, got.P95ReplyTime, got.MeanTimeToFirstToken = want.MeanReplyTime, want.P95ReplyTime, want.MeanTimeToFirstToken
	if got != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

func TestStatisticsOfNothingAreZerosForEachDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got, err := w.records.Statistics(t.Context(), w.organization, w.bot, days(t, "2024-01-01", "2024-12-31", "Europe/Berlin"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Totals != (records.Figures{}) || len(got.Days) != 366 {
		t.Errorf("%+v and %d days", got.Totals, len(got.Days))
	}
	for i, day := range got.Days {
		want := time.Date(2024, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		if day.Date != want || day.Figures != (records.Figures{}) {
			t.Errorf("day %d is %+v, not %s", i, day, want)
		}
	}
}

func TestStatisticsAreOfAYearAtTheMost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, end := range []string{"2025-01-01", "9999-12-31"} {
		_, err := w.records.Statistics(t.Context(), w.organization, w.bot, days(t, "2024-01-01", end, "UTC"))
		if !apperr.Is(err, apperr.InvalidRequest) {
			t.Errorf("up to %s: %v", end, err)
		}
	}
}

func show(number *float64) any {
	if number == nil {
		return "none"
	}
	return *number
}
