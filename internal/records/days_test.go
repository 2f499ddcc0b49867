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

func TestDaysAreOfTheCalendar(t *testing.T) {
	t.Parallel()
	good := []string{"2025-01-31", "2024-02-29", "0001-01-01", "9999-12-31"}
	for _, day := range good {
		got, err := records.ParseDays(day, day, "Asia/Taipei")
		if err != nil || got.StartDate() != day || got.EndDate() != day {
			t.Errorf("%s: %s to %s (%v)", day, got.StartDate(), got.EndDate(), err)
		}
	}
	bad := []string{
		"", "2025-02-29", "2025-02-30", "2025-13-01", "2025-00-10", "2025-01-00", "2025-1-1", "25-01-01", "0000-01-01", "10000-01-01", "-001-01-01",
		" 2025-01-01", "2025-01-01 ", "2025-01-01T00:00:00Z", "2025/01/01", "20250101", "２０２５-01-01", "today", "+2025-01-01",
	}
	for _, day := range bad {
		expectItems(t, day, "2025-01-01", "UTC", "startDate")
		expectItems(t, "2025-01-01", day, "UTC", "endDate")
	}
}

func TestTheEndIsNotBeforeTheStart(t *testing.T) {
	t.Parallel()
	expectItems(t, "2025-01-02", "2025-01-01", "UTC", "endDate")
	expectItems(t, "2025-01-01", "2024-12-31", "UTC", "endDate")
}

func TestAZoneIsOneOfTheWorld(t *testing.T) {
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
		expectItems(t, "2025-01-01", "2025-01-01", zone, "timezone")
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	t.Parallel()
	expectItems(t, "x", "y", "z", "startDate", "endDate", "timezone")
	expectItems(t, "2025-01-02", "2025-01-01", "z", "endDate", "timezone")
}

func expectItems(t *testing.T, start, end, zone string, want ...string) {
	t.Helper()
	_, err := records.ParseDays(start, end, zone)
	told, ok := errors.AsType[*apperr.Error](err)
	if !ok || told.Kind != apperr.InvalidRequest {
		t.Errorf("%q to %q in %q: %v", start, end, zone, err)
		return
	}
	var got []string
	for _, item := range told.Violations {
		got = append(got, item.Parameter)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q to %q in %q: mistakes in %v, want %v", start, end, zone, got, want)
	}
}

// What calendars do on strange days, by their instants.
func TestADayBeginsAtItsFirstInstant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, day, begins, ends string }{
		{"UTC", "2025-01-01", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"},
		{"Asia/Taipei", "2025-01-01", "2024-12-31T16:00:00Z", "2025-01-01T16:00:00Z"},
		{"Europe/Berlin", "2025-03-30", "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z"},
		{"Europe/Berlin", "2025-10-26", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"},
		{"Asia/Beirut", "2022-03-27", "2022-03-26T22:00:00Z", "2022-03-27T21:00:00Z"},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"},
		{"America/Havana", "2025-11-02", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"}, // the first of its midnights
		{"Australia/Lord_Howe", "2025-04-06", "2025-04-05T13:00:00Z", "2025-04-06T13:30:00Z"},
		{"Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"Asia/Manila", "1844-12-30", "1844-12-30T15:56:08Z", "1844-12-31T15:56:08Z"},
	} {
		t.Run(c.zone+" "+c.day, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			begins, ends := instant(t, c.begins), instant(t, c.ends)
			within := w.add(
				db.Record{CreatedAt: ends.Add(-time.Microsecond)},
				db.Record{CreatedAt: begins},
			)
			w.add(
				db.Record{CreatedAt: begins.Add(-time.Microsecond)},
				db.Record{CreatedAt: ends},
			)
			got := w.walk(records.Filter{Days: days(t, c.day, c.day, c.zone)}, 10)
			if !slices.Equal(got, ids(within)) {
				t.Errorf("it has %v, want %v", got, ids(within))
			}
		})
	}
}

func TestADayThatAZoneLeftOutHasNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(
		db.Record{CreatedAt: instant(t, "2011-12-30T09:59:59Z")},
		db.Record{CreatedAt: instant(t, "2011-12-30T10:00:00Z")},
	)
	missing := days(t, "2011-12-30", "2011-12-30", "Pacific/Apia")
	if found, total := w.list(records.Filter{Days: missing}, 1, 10); len(found) != 0 || total != 0 {
		t.Errorf("it has %d of %d records", len(found), total)
	}
	statistics, err := w.records.Statistics(t.Context(), w.organization, w.bot, days(t, "2011-12-29", "2011-12-31", "Pacific/Apia"))
	if err != nil {
		t.Fatal(err)
	}
	var counts []int64
	for _, day := range statistics.Days {
		counts = append(counts, day.Records)
	}
	if !slices.Equal(counts, []int64{1, 0, 1}) {
		t.Errorf("the days have %v records", counts)
	}
}

func TestTheWholeCalendarIsARange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(db.Record{CreatedAt: instant(t, "2025-01-01T00:00:00Z")})
	for _, zone := range []string{"UTC", "Asia/Taipei", "America/Los_Angeles", "Pacific/Apia"} {
		all := records.Filter{Days: days(t, "0001-01-01", "9999-12-31", zone)}
		if got := w.walk(all, 10); len(got) != 1 {
			t.Errorf("%s: it has %d records", zone, len(got))
		}
		if got := w.export(all, records.English).rows("Records"); len(got) != 2 {
			t.Errorf("%s: the export has %d rows", zone, len(got))
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
