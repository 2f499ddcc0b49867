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

func TestPagesAreNewestFirstAndHaveAnEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// given two records of the same instant among five
	stored := make([]db.Record, 5)
	for i := range stored {
		stored[i].CreatedAt = noon.Add(time.Duration(i/2) * time.Second)
	}
	want := ids(w.add(stored...))
	slices.Reverse(want)

	for _, filter := range []records.Filter{january(t), {Days: january(t).Days, UserMessage: ""}} {
		if got := w.walk(filter, 2); !slices.Equal(got, want) {
			t.Errorf("the pages have %v, want %v", got, want)
		}
	}
	for _, page := range []int{2, 1_000_000} {
		if _, _, err := w.records.List(t.Context(), w.organization, w.bot, january(t), page, 5); !apperr.Is(err, apperr.NotFound) {
			t.Errorf("page %d: %v", page, err)
		}
	}
}

func TestTheFirstPageOfNothingIsEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(db.Record{CreatedAt: noon, InputMessage: "refund"})
	nothing := records.Filter{Days: days(t, "2025-02-01", "2025-02-01", "UTC")}
	noMatch := records.Filter{Days: january(t).Days, UserMessage: "invoice"}
	for _, filter := range []records.Filter{nothing, noMatch} {
		if found, total := w.list(filter, 1, 20); len(found) != 0 || total != 0 {
			t.Errorf("it has %d of %d records", len(found), total)
		}
		if _, _, err := w.records.List(t.Context(), w.organization, w.bot, filter, 2, 20); !apperr.Is(err, apperr.NotFound) {
			t.Errorf("page 2: %v", err)
		}
		if rows := w.export(filter, records.English).rows("Records"); len(rows) != 1 {
			t.Errorf("the export has %d rows", len(rows))
		}
	}
}

func TestAFilterMatchesItselfWhateverTheCase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, text := range []string{"50% off", "50 off", "a_b", "aXb", `C:\x`, "C:x", "我要退款", "我要換貨", "Éclair", "eclair", "it's", "ITS"} {
		w.add(db.Record{InputMessage: text, OutputMessage: "re: " + text, CreatedAt: noon.Add(time.Duration(i) * time.Second)})
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
			found, total := w.list(filter, 1, 100)
			var got []string
			for _, one := range found {
				got = append(got, one.InputMessage)
			}
			if !slices.Equal(got, want) || total != int64(len(want)) {
				t.Errorf("%q, %q: %d records, %q, want %q", filter.UserMessage, filter.BotMessage, total, got, want)
			}
		}
	}
}

func TestRecordsOfOthersAreNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(db.Record{CreatedAt: noon, InputMessage: "secret"})
	secret := records.Filter{Days: january(t).Days, UserMessage: "secret"}
	for name, ask := range map[string]struct{ organization, bot uuid.UUID }{
		"another chatbot":      {w.organization, w.newBot()},
		"another organization": {id(), w.bot},
	} {
		for _, filter := range []records.Filter{january(t), secret} {
			if _, total, err := w.records.List(t.Context(), ask.organization, ask.bot, filter, 1, 20); err != nil || total != 0 {
				t.Errorf("%s: the list has %d (%v)", name, total, err)
			}
		}
		statistics, err := w.records.Statistics(t.Context(), ask.organization, ask.bot, january(t).Days)
		if err != nil || statistics.Totals != (records.Figures{}) {
			t.Errorf("%s: the statistics have %+v (%v)", name, statistics.Totals, err)
		}
	}
}
