package records_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/records"
)

// clockChanges are days on which a time zone changes its clock.
var clockChanges = []struct{ zone, day string }{
	{"UTC", "2024-02-29"},
	{"Asia/Taipei", "2025-01-31"},
	{"Europe/Berlin", "2025-03-30"},       // 23 hours
	{"Europe/Berlin", "2025-10-26"},       // 25 hours
	{"America/New_York", "2025-11-02"},    // 25 hours
	{"Asia/Beirut", "2022-03-27"},         // no midnight
	{"Asia/Beirut", "2022-10-30"},         // the previous hour occurs twice
	{"America/Sao_Paulo", "2018-11-04"},   // no midnight
	{"America/Sao_Paulo", "2018-02-18"},   // the previous hour occurs twice
	{"America/Havana", "2025-11-02"},      // two midnights
	{"Australia/Lord_Howe", "2025-04-06"}, // half an hour longer
	{"Pacific/Apia", "2011-12-30"},        // the day is skipped
	{"Asia/Kathmandu", "1986-01-01"},      // a quarter of an hour shorter
	{"Pacific/Kiritimati", "1994-12-31"},  // the day is skipped
	{"America/Caracas", "2016-05-01"},     // half an hour shorter
	{"Antarctica/Troll", "2025-03-30"},    // two hours shorter
}

// For every filter, the list, the exports and the statistics agree with a naive selection in Go, which uses the time
// zone's calendar for each record.
func TestListExportAndStatisticsAgree(t *testing.T) {
	t.Parallel()
	for _, c := range clockChanges {
		t.Run(strings.ReplaceAll(c.zone, "/", "-")+" "+c.day, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			day, err := time.Parse(time.DateOnly, c.day)
			if err != nil {
				t.Fatal(err)
			}
			f := newFixture(t)
			sessions := []uuid.UUID{f.session, f.newSession(f.bot, day), f.newSession(f.bot, day)}
			stored := f.add(randomRecords(random, day, zone, sessions)...)
			f.add(db.Record{BotID: f.newBot(), CreatedAt: day}) // of another chatbot
			for n := range 16 {
				// In the first rounds, no hours are counted yet.
				if n == 4 {
					if err := f.records.UpdateCounts(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				// In later rounds, some records of counted hours were deleted.
				if n == 8 || n == 12 {
					stored = f.deleteSome(random, stored)
				}
				from, to := random.IntN(7)-3, random.IntN(7)-3
				start, end := day.AddDate(0, 0, min(from, to)), day.AddDate(0, 0, max(from, to))
				filter := records.Filter{Days: days(t, start.Format(time.DateOnly), end.Format(time.DateOnly), c.zone)}
				if random.IntN(3) == 0 {
					filter.UserMessage = needles[random.IntN(len(needles))]
				}
				if random.IntN(3) == 0 {
					filter.BotMessage = needles[random.IntN(len(needles))]
				}
				if random.IntN(4) == 0 {
					filter.Conversation = sessions[random.IntN(len(sessions))].String()
				}
				if random.IntN(4) == 0 {
					filter.Status = statuses[random.IntN(len(statuses))]
				}
				if random.IntN(4) == 0 {
					filter.Feedback = []string{"like", "dislike", "none"}[random.IntN(3)]
				}
				if random.IntN(4) == 0 {
					filter.Type = kinds[random.IntN(len(kinds))]
				}
				f.expectAgreement(stored, filter, zone)
			}
		})
	}
}

// expectAgreement compares the list, the exports and the statistics with a naive selection from the
// stored records.
func (f *fixture) expectAgreement(stored []db.Record, filter records.Filter, zone *time.Location) {
	f.t.Helper()
	start, end := filter.Days.StartDate(), filter.Days.EndDate()
	what := fmt.Sprintf("%s to %s in %s, %+v", start, end, zone, filter)
	perDay := map[string]int64{}
	var want []db.Record
	for _, record := range stored {
		date := record.CreatedAt.In(zone).Format(time.DateOnly)
		if start <= date && date <= end && matches(record, filter) {
			want = append(want, record)
			perDay[date]++
		}
	}
	slices.SortFunc(want, func(a, b db.Record) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), slices.Compare(b.ID[:], a.ID[:]))
	})

	if got := f.walk(filter, 1+len(want)/3); !slices.Equal(got, ids(want)) {
		f.t.Errorf("%s: the pages have %d records, want %d\n got %v\nwant %v", what, len(got), len(want), got, ids(want))
	}
	if got := column(f.export(filter, records.English).rows("Records"), 0); !slices.Equal(got, texts(ids(want))) {
		f.t.Errorf("%s: the export has %d records, want %d", what, len(got), len(want))
	}
	if got := column(parseCSV(f.t, f.exportCSV(filter, records.English)), 0); !slices.Equal(got, texts(ids(want))) {
		f.t.Errorf("%s: the CSV export has %d records, want %d", what, len(got), len(want))
	}
	if filter != (records.Filter{Days: filter.Days}) {
		return
	}
	statistics, err := f.records.Statistics(f.t.Context(), f.organization, f.bot, filter.Days)
	if err != nil {
		f.t.Fatal(err)
	}
	if statistics.Totals.Records != int64(len(want)) {
		f.t.Errorf("%s: the statistics total %d records, want %d", what, statistics.Totals.Records, len(want))
	}
	for _, day := range statistics.Days {
		if day.Records != perDay[day.Date] {
			f.t.Errorf("%s: %s has %d records, want %d", what, day.Date, day.Records, perDay[day.Date])
		}
	}
}

// walk reads all pages of the list and checks their sizes.
func (f *fixture) walk(filter records.Filter, size int) []uuid.UUID {
	f.t.Helper()
	var walked []uuid.UUID
	for page := 1; ; page++ {
		found, total, err := f.records.List(f.t.Context(), f.organization, f.bot, filter, page, size)
		if page > 1 && apperr.Is(err, apperr.NotFound) {
			return walked
		}
		if err != nil {
			f.t.Fatal(err)
		}
		walked = append(walked, ids(found)...)
		if page == 1 && total == 0 {
			return walked
		}
		if len(found) == 0 || len(found) > size || int64(len(walked)) > total || len(found) < size && int64(len(walked)) != total {
			f.t.Errorf("page %d has %d of %d records", page, len(found), total)
			return walked
		}
	}
}

func matches(record db.Record, filter records.Filter) bool {
	feedback := "none"
	if record.Feedback != nil {
		feedback = *record.Feedback
	}
	return contains(record.InputMessage, filter.UserMessage) && contains(record.OutputMessage, filter.BotMessage) &&
		(filter.Conversation == "" || filter.Conversation == record.SessionID.String()) &&
		(filter.Status == "" || filter.Status == record.Status) &&
		(filter.Feedback == "" || filter.Feedback == feedback) &&
		(filter.Type == "" || filter.Type == record.Type)
}

// deleteSome deletes random records and returns the remaining ones.
func (f *fixture) deleteSome(random *rand.Rand, stored []db.Record) []db.Record {
	f.t.Helper()
	var remaining []db.Record
	var deleted []uuid.UUID
	for _, record := range stored {
		if random.IntN(10) == 0 {
			deleted = append(deleted, record.ID)
		} else {
			remaining = append(remaining, record)
		}
	}
	f.exec("DELETE FROM records WHERE id = ANY ($1)", deleted)
	return remaining
}

func contains(text, part string) bool {
	return strings.Contains(strings.ToLower(norm.NFC.String(text)), strings.ToLower(norm.NFC.String(strings.TrimSpace(part))))
}

func ids(all []db.Record) []uuid.UUID {
	found := make([]uuid.UUID, 0, len(all))
	for _, record := range all {
		found = append(found, record.ID)
	}
	return found
}

func texts(all []uuid.UUID) []string {
	var found []string
	for _, id := range all {
		found = append(found, id.String())
	}
	return found
}

// needles are keywords, and haystacks the texts of records. The special characters of LIKE must match only
// themselves.
var (
	needles   = []string{"%", "_", `\`, `\%`, "100%", "a_b", "axb", "'", `"`, "退款", "款", "refund", "REFUND", "éCLAIR", "ПРИВЕТ", " ", "%%", "$1", "ß", "e\u0301clair", "ガイト\u3099", " 款\u3000", "환불", "\u1112\u116a\u11ab"}
	haystacks = []string{
		"100% sure", "100 percent", "a_b", "axb", "A_B", `C:\temp`, `50\%`, "it's", `"quoted"`, "如何申請退款？", "付款", "Refund, please", "REFUND",
		"Éclair", "привет", "", "line\nbreak", "$1", "straße", "%%", "E\u0301clair", "カ\u3099イド", "환불", "\u1112\u116a\u11ab\u1107\u116e\u11af",
	}
)

var (
	statuses = []string{"completed", "failed", "cancelled"}
	kinds    = []string{"New", "Follow"}
)

// randomRecords returns records at, and around, the boundaries of days and the clock changes.
func randomRecords(random *rand.Rand, day time.Time, zone *time.Location, sessions []uuid.UUID) []db.Record {
	var edges []time.Time
	for n := -4; n <= 4; n++ {
		date := day.AddDate(0, 0, n)
		edges = append(edges, time.Date(date.Year(), date.Month(), date.Day(), 0, 0, 0, 0, zone))
	}
	for at := day.AddDate(0, 0, -4).In(zone); ; {
		_, end := at.ZoneBounds()
		if end.IsZero() || end.After(day.AddDate(0, 0, 5)) {
			break
		}
		edges = append(edges, end)
		at = end
	}
	all := make([]db.Record, 200)
	for i := range all {
		edge := edges[random.IntN(len(edges))]
		offsets := []time.Duration{
			0, -time.Microsecond, time.Microsecond, time.Duration(random.Int64N(int64(2*time.Hour))) - time.Hour,
			time.Duration(random.Int64N(int64(24 * time.Hour))),
		}
		all[i] = db.Record{
			CreatedAt:     edge.Add(offsets[random.IntN(len(offsets))]).Truncate(time.Microsecond).UTC(),
			InputMessage:  haystacks[random.IntN(len(haystacks))] + haystacks[random.IntN(len(haystacks))],
			OutputMessage: haystacks[random.IntN(len(haystacks))],
			SessionID:     sessions[random.IntN(len(sessions))],
			Status:        statuses[random.IntN(len(statuses))],
			Type:          kinds[random.IntN(len(kinds))],
			Feedback:      []*string{nil, new("like"), new("dislike")}[random.IntN(3)],
		}
	}
	return all
}
