package records_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/records"
)

var noon = time.Date(2025, 1, 15, 12, 0, 0, 0, time.UTC)

func january(t testing.TB) records.Filter {
	t.Helper()
	return records.Filter{Days: days(t, "2025-01-01", "2025-01-31", "UTC")}
}

func TestListPagesAreOrderedNewestFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// given five records, some of the same instant
	stored := make([]db.Record, 5)
	for i := range stored {
		stored[i].CreatedAt = noon.Add(time.Duration(i/2) * time.Second)
	}
	want := ids(f.add(stored...))
	slices.Reverse(want)

	for _, filter := range []records.Filter{january(t), {Days: january(t).Days, UserMessage: ""}} {
		if got := f.walk(filter, 2); !slices.Equal(got, want) {
			t.Errorf("the pages have %v, want %v", got, want)
		}
	}
	for _, page := range []int{2, 1_000_000} {
		if _, _, err := f.records.List(t.Context(), f.organization, f.bot, january(t), page, 5); !apperr.Is(err, apperr.NotFound) {
			t.Errorf("page %d: error %v, want not found", page, err)
		}
	}
}

func TestFirstPageWithoutRecordsIsEmpty(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: noon, InputMessage: "refund"})
	nothing := records.Filter{Days: days(t, "2025-02-01", "2025-02-01", "UTC")}
	noMatch := records.Filter{Days: january(t).Days, UserMessage: "invoice"}
	for _, filter := range []records.Filter{nothing, noMatch} {
		if found, total := f.list(filter, 1, 20); len(found) != 0 || total != 0 {
			t.Errorf("the first page has %d of %d records", len(found), total)
		}
		if _, _, err := f.records.List(t.Context(), f.organization, f.bot, filter, 2, 20); !apperr.Is(err, apperr.NotFound) {
			t.Errorf("page 2: error %v, want not found", err)
		}
		if rows := f.export(filter, records.English).rows("Records"); len(rows) != 1 {
			t.Errorf("the export has %d rows, want only the header", len(rows))
		}
	}
}

func TestTextFiltersMatchLiterallyIgnoringCase(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, text := range []string{"50% off", "50 off", "a_b", "aXb", `C:\x`, "C:x", "我要退款", "我要換貨", "Éclair", "eclair", "it's", "ITS"} {
		f.add(db.Record{InputMessage: text, OutputMessage: "re: " + text, CreatedAt: noon.Add(time.Duration(i) * time.Second)})
	}
	for text, want := range map[string][]string{
		"%":      {"50% off"},
		"50%":    {"50% off"},
		"0% OFF": {"50% off"},
		"50_off": nil,
		"_":      {"a_b"},
		"A_B":    {"a_b"},
		`\`:      {`C:\x`},
		`:\X`:    {`C:\x`},
		`\%`:     nil,
		"退款":     {"我要退款"},
		"要":      {"我要換貨", "我要退款"},
		"éCLAIR": {"Éclair"},
		"'":      {"it's"},
		"ts":     {"ITS"},
		"' OR '": nil,
	} {
		for _, filter := range []records.Filter{
			{Days: january(t).Days, UserMessage: text},
			{Days: january(t).Days, BotMessage: text},
			{Days: january(t).Days, UserMessage: text, BotMessage: text},
		} {
			found, total := f.list(filter, 1, 100)
			var got []string
			for _, record := range found {
				got = append(got, record.InputMessage)
			}
			if !slices.Equal(got, want) || total != int64(len(want)) {
				t.Errorf("%q, %q: %d records, %q, want %q", filter.UserMessage, filter.BotMessage, total, got, want)
			}
		}
	}
}

func TestRecordsAreIsolatedByChatbotAndOrganization(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: noon, InputMessage: "secret"})
	secret := records.Filter{Days: january(t).Days, UserMessage: "secret"}
	for name, scope := range map[string]struct{ organization, bot uuid.UUID }{
		"another chatbot":      {f.organization, f.newBot()},
		"another organization": {id(), f.bot},
	} {
		for _, filter := range []records.Filter{january(t), secret} {
			if _, total, err := f.records.List(t.Context(), scope.organization, scope.bot, filter, 1, 20); err != nil || total != 0 {
				t.Errorf("%s: the list has %d records (%v), want none", name, total, err)
			}
		}
		statistics, err := f.records.Statistics(t.Context(), scope.organization, scope.bot, january(t).Days)
		if err != nil || statistics.Totals != (records.Figures{}) {
			t.Errorf("%s: the statistics are %+v (%v), want zeros", name, statistics.Totals, err)
		}
	}
}
