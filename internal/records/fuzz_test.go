package records_test

import (
	"strings"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/records"
)

// Accepted days equal the given ones, and they span the days of the time zone's calendar. Refused days have one
// violation for each invalid parameter.
func FuzzDays(f *testing.F) {
	for _, seed := range [][3]string{
		{"2026-01-01", "2026-01-31", "UTC"},
		{"2026-03-29", "2026-03-29", "Europe/Berlin"},
		{"2011-12-30", "2011-12-30", "Pacific/Apia"},
		{"0001-01-01", "9999-12-31", "Asia/Taipei"},
		{"2026-02-30", "2026-1-1", "Mars/Olympus"},
		{"2026-01-02", "2026-01-01", "Local"},
		{"", "", ""},
		{"+2026-01-01", "2026-01-01T00:00:00Z", "../UTC"},
		{"0000-01-01", "10000-01-01", "posixrules"},
		{"1844-12-31", "1844-12-31", "Asia/Manila"},
		{"2018-11-04", "2018-11-04", "America/Sao_Paulo"},
		{"1969-12-31", "1970-01-01", "Etc/GMT+12"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, startDate, endDate, timezone string) {
		first, firstErr := time.Parse(time.DateOnly, startDate)
		last, lastErr := time.Parse(time.DateOnly, endDate)
		areValid := firstErr == nil && lastErr == nil && first.Year() >= 1 && last.Year() >= 1 && !last.Before(first)
		days, err := records.ParseDays(startDate, endDate, timezone)
		if err != nil {
			appErr, ok := err.(*apperr.Error) //nolint:errorlint // it is returned unwrapped
			if !ok || appErr.Kind != apperr.InvalidRequest || len(appErr.Violations) == 0 {
				t.Fatalf("%q %q %q: %#v", startDate, endDate, timezone, err)
			}
			for _, violation := range appErr.Violations {
				if areValid && violation.Parameter != "timezone" {
					t.Fatalf("%q to %q is refused: %v", startDate, endDate, err)
				}
			}
			return
		}
		if !areValid || days.StartDate() != startDate || days.EndDate() != endDate || days.Zone().String() != timezone || strings.HasPrefix(timezone, "/") {
			t.Fatalf("%q to %q in %q was parsed as %s to %s in %s", startDate, endDate, timezone, days.StartDate(), days.EndDate(), days.Zone())
		}
		since, until := days.Span()
		shows := func(at time.Time) time.Time { // the date in the time zone
			year, month, day := at.In(days.Zone()).Date()
			return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
		}
		switch {
		case until.Before(since):
			t.Fatalf("%q to %q in %q ends at %v, before its start at %v", startDate, endDate, timezone, until, since)
		case shows(since).Before(first) || !shows(since.Add(-1)).Before(first):
			t.Fatalf("%q in %q starts at %v", startDate, timezone, since)
		case !shows(until).After(last) || shows(until.Add(-1)).After(last):
			t.Fatalf("%q in %q ends at %v", endDate, timezone, until)
		}
	})
}
