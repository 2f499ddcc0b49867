package records

import (
	"path"
	"strings"
	"time"
	// The zones of the world, for machines that do not have them.
	_ "time/tzdata"

	"parley/internal/apperr"
	"parley/internal/audit"
)

// Days are the calendar days from a first to a last one, both included, in a time
// zone. The zero value is no range.
type Days struct {
	first, last time.Time // each day's midnight in UTC, which every day has
	zone        *time.Location
}

// ParseDays reads two days, as YYYY-MM-DD in the years 1 to 9999, and the IANA name
// of a zone. Each mistake is an item of the fault, by the name of its parameter:
// startDate, endDate or timezone.
func ParseDays(startDate, endDate, timezone string) (Days, error) {
	found := &apperr.Error{Kind: apperr.InvalidRequest}
	refuse := func(parameter, detail string) {
		one := apperr.Parameter(parameter, detail)
		if found.Message == "" {
			found.Message = one.Message
		}
		found.Violations = append(found.Violations, one.Violations...)
	}
	first, isFirst := parseDay(startDate)
	if !isFirst {
		refuse("startDate", "must be a day of the calendar, as YYYY-MM-DD")
	}
	last, isLast := parseDay(endDate)
	if !isLast {
		refuse("endDate", "must be a day of the calendar, as YYYY-MM-DD")
	}
	if isFirst && isLast && last.Before(first) {
		refuse("endDate", "must not be before startDate")
	}
	zone, ok := loadZone(timezone)
	if !ok {
		refuse("timezone", "must be the name of a time zone, such as Asia/Taipei")
	}
	if len(found.Violations) > 0 {
		return Days{}, found
	}
	return Days{first: first, last: last, zone: zone}, nil
}

func parseDay(text string) (time.Time, bool) {
	day, err := time.Parse(time.DateOnly, text)
	return day, err == nil && day.Year() >= 1
}

// loadZone finds a zone of the IANA's by its name. The others that a machine may
// have are not zones of the world: Local and localtime are the machine's own,
// posixrules a default, and those below right count leap seconds.
func loadZone(name string) (*time.Location, bool) {
	directory, _, _ := strings.Cut(name, "/")
	switch directory {
	case "", "Local", "localtime", "posixrules", "posix", "right":
		return nil, false
	}
	// What is left of the tricks with paths LoadLocation refuses itself.
	if path.Clean(name) != name {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}

// Zone is the zone whose days they are.
func (d Days) Zone() *time.Location { return d.zone }

// StartDate is the first day, as YYYY-MM-DD.
func (d Days) StartDate() string { return d.first.Format(time.DateOnly) }

// EndDate is the last day, as YYYY-MM-DD.
func (d Days) EndDate() string { return d.last.Format(time.DateOnly) }

// details are the days as the audit trail tells them.
func (d Days) details() audit.Details {
	return audit.Details{"startDate": d.StartDate(), "endDate": d.EndDate(), "timezone": d.zone.String()}
}

// count is how many days they are.
func (d Days) count() int { return int(d.last.Unix()-d.first.Unix())/(24*60*60) + 1 }

// Span is from the first instant of the first day up to, and without, the first
// instant after the last.
func (d Days) Span() (since, until time.Time) {
	return begin(d.first, d.zone), begin(d.last.AddDate(0, 0, 1), d.zone)
}

// starts are the first instants of the days, in their order. A day that a zone left
// out begins when the next one does.
func (d Days) starts() []time.Time {
	all := make([]time.Time, d.count())
	for i := range all {
		all[i] = begin(d.first.AddDate(0, 0, i), d.zone)
	}
	return all
}

// begin is the first instant at which the calendars of a zone show a day or a later
// one: midnight, the first of two midnights, or where the clocks skip midnight the
// instant at which they do. So days never overlap, whatever a zone did to its clocks.
func begin(midnight time.Time, zone *time.Location) time.Time {
	// No zone has ever been a day ahead of UTC.
	at := midnight.Add(-24 * time.Hour).In(zone)
	for {
		_, offset := at.Zone()
		local := midnight.Add(-time.Duration(offset) * time.Second)
		if !local.After(at) { // the clocks were put forward over midnight
			return at.UTC()
		}
		_, end := at.ZoneBounds()
		if end.IsZero() || local.Before(end) {
			return local.UTC()
		}
		at = end
	}
}
