package records_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/records"
)

func TestParseDaysValidatesDates(t *testing.T) {
	t.Parallel()
	valid := []string{"2025-01-31", "2024-02-29", "0001-01-01", "9999-12-31"}
	for _, day := range valid {
		got, err := records.ParseDays(day, day, "Asia/Taipei")
		if err != nil || got.StartDate() != day || got.EndDate() != day {
			t.Errorf("%s: %s to %s (%v)", day, got.StartDate(), got.EndDate(), err)
		}
	}
	invalid := []string{
		"", "2025-02-29", "2025-02-30", "2025-13-01", "2025-00-10", "2025-01-00", "2025-1-1", "25-01-01", "0000-01-01", "10000-01-01", "-001-01-01",
		" 2025-01-01", "2025-01-01 ", "2025-01-01T00:00:00Z", "2025/01/01", "20250101", "２０２５-01-01", "today", "+2025-01-01",
	}
	for _, day := range invalid {
		expectViolations(t, day, "2025-01-01", "UTC", "startDate")
		expectViolations(t, "2025-01-01", day, "UTC", "endDate")
	}
}

func TestParseDaysRefusesAnEndBeforeTheStart(t *testing.T) {
	t.Parallel()
	expectViolations(t, "2025-01-02", "2025-01-01", "UTC", "endDate")
	expectViolations(t, "2025-01-01", "2024-12-31", "UTC", "endDate")
}

func TestParseDaysValidatesTimeZones(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"UTC", "Asia/Taipei", "Etc/GMT-8", "America/Argentina/Buenos_Aires", "EST5EDT", "Europe/Berlin"} {
		got, err := records.ParseDays("2025-01-01", "2025-01-01", zone)
		if err != nil || got.Zone().String() != zone {
			t.Errorf("%s: %v (%v)", zone, got.Zone(), err)
		}
	}
	for _, zone := range []string{
		"", "Local", "localtime", "posixrules", "Mars/Olympus", "+08:00", "GMT+25:00", "Asia", "Asia/", "/Asia/Taipei", "Asia//Taipei",
		"../zoneinfo/UTC", "Asia/../UTC", "/etc/localtime", `..\UTC`, `Asia\Taipei`, "right/UTC", "posix/UTC", "Asia/Taipei\n", "亞洲/台北", ".", "..",
	} {
		expectViolations(t, "2025-01-01", "2025-01-01", zone, "timezone")
	}
}

func TestParseDaysReportsAllViolations(t *testing.T) {
	t.Parallel()
	expectViolations(t, "x", "y", "z", "startDate", "endDate", "timezone")
	expectViolations(t, "2025-01-02", "2025-01-01", "z", "endDate", "timezone")
}

func expectViolations(t *testing.T, start, end, zone string, want ...string) {
	t.Helper()
	_, err := records.ParseDays(start, end, zone)
	appErr, ok := errors.AsType[*apperr.Error](err)
	if !ok || appErr.Kind != apperr.InvalidRequest {
		t.Errorf("%q to %q in %q: %v", start, end, zone, err)
		return
	}
	var got []string
	for _, violation := range appErr.Violations {
		got = append(got, violation.Parameter)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q to %q in %q: violations of %v, want %v", start, end, zone, got, want)
	}
}

func TestDayBoundariesAroundClockChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, day, start, end string }{
		{"UTC", "2025-01-01", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"},
		{"Asia/Taipei", "2025-01-01", "2024-12-31T16:00:00Z", "2025-01-01T16:00:00Z"},
		{"Europe/Berlin", "2025-03-30", "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z"},
		{"Europe/Berlin", "2025-10-26", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"},
		{"Asia/Beirut", "2022-03-27", "2022-03-26T22:00:00Z", "2022-03-27T21:00:00Z"},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"},
		{"America/Havana", "2025-11-02", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"}, // the first of two midnights
		{"Australia/Lord_Howe", "2025-04-06", "2025-04-05T13:00:00Z", "2025-04-06T13:30:00Z"},
		{"Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"Asia/Manila", "1844-12-30", "1844-12-30T15:56:08Z", "1844-12-31T15:56:08Z"},
	} {
		t.Run(c.zone+" "+c.day, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			start, end := instant(t, c.start), instant(t, c.end)
			within := f.add(
				db.Record{CreatedAt: end.Add(-time.Microsecond)},
				db.Record{CreatedAt: start},
			)
			f.add(
				db.Record{CreatedAt: start.Add(-time.Microsecond)},
				db.Record{CreatedAt: end},
			)
			got := f.walk(records.Filter{Days: days(t, c.day, c.day, c.zone)}, 10)
			if !slices.Equal(got, ids(within)) {
				t.Errorf("the day has %v, want %v", got, ids(within))
			}
		})
	}
}

func TestSkippedDayIsEmpty(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(
		db.Record{CreatedAt: instant(t, "2011-12-30T09:59:59Z")},
		db.Record{CreatedAt: instant(t, "2011-12-30T10:00:00Z")},
	)
	skipped := days(t, "2011-12-30", "2011-12-30", "Pacific/Apia")
	if found, total := f.list(records.Filter{Days: skipped}, 1, 10); len(found) != 0 || total != 0 {
		t.Errorf("the skipped day has %d of %d records", len(found), total)
	}
	statistics, err := f.records.Statistics(t.Context(), f.organization, f.bot, days(t, "2011-12-29", "2011-12-31", "Pacific/Apia"))
	if err != nil {
		t.Fatal(err)
	}
	var counts []int64
	for _, day := range statistics.Days {
		counts = append(counts, day.Records)
	}
	if !slices.Equal(counts, []int64{1, 0, 1}) {
		t.Errorf("the days have %v records, want 1, 0 and 1", counts)
	}
}

func TestWholeCalendarIsAValidRange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: instant(t, "2025-01-01T00:00:00Z")})
	for _, zone := range []string{"UTC", "Asia/Taipei", "America/Los_Angeles", "Pacific/Apia"} {
		all := records.Filter{Days: days(t, "0001-01-01", "9999-12-31", zone)}
		if got := f.walk(all, 10); len(got) != 1 {
			t.Errorf("%s: the list has %d records, want 1", zone, len(got))
		}
		if got := f.export(all, records.English).rows("Records"); len(got) != 2 {
			t.Errorf("%s: the export has %d rows, want 2", zone, len(got))
		}
	}
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
