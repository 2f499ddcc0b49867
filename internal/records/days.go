package records

import (
	"path"
	"strings"
	"time"
	// The time zone database, for machines without one.
	_ "time/tzdata"

	"parley/internal/apperr"
	"parley/internal/audit"
)

// Days is an inclusive range of calendar days in a time zone. The zero value is not a valid range.
type Days struct {
	first, last time.Time // midnight in UTC, where no midnight is skipped
	zone        *time.Location
}

// ParseDays parses two days in the form YYYY-MM-DD, of the years 1 to 9999, and the IANA name of a
// time zone. Its error has a violation for each invalid parameter: startDate, endDate or timezone.
func ParseDays(startDate, endDate, timezone string) (Days, error) {
	invalid := &apperr.Error{Kind: apperr.InvalidRequest}
	refuse := func(parameter, detail string) {
		violation := apperr.Parameter(parameter, detail)
		if invalid.Message == "" {
			invalid.Message = violation.Message
		}
		invalid.Violations = append(invalid.Violations, violation.Violations...)
	}
	first, isFirst := parseDay(startDate)
	if !isFirst {
		refuse("startDate", "must be a calendar date in the form YYYY-MM-DD")
	}
	last, isLast := parseDay(endDate)
	if !isLast {
		refuse("endDate", "must be a calendar date in the form YYYY-MM-DD")
	}
	if isFirst && isLast && last.Before(first) {
		refuse("endDate", "must not be before startDate")
	}
	zone, ok := loadZone(timezone)
	if !ok {
		refuse("timezone", "must be an IANA time zone name such as Asia/Taipei")
	}
	if len(invalid.Violations) > 0 {
		return Days{}, invalid
	}
	return Days{first: first, last: last, zone: zone}, nil
}

func parseDay(text string) (time.Time, bool) {
	day, err := time.Parse(time.DateOnly, text)
	return day, err == nil && day.Year() >= 1
}

// loadZone loads an IANA time zone. It rejects the other names that a machine may have: Local and
// localtime are the machine's own zone, posixrules is a default, and the zones below right count
// leap seconds.
func loadZone(name string) (*time.Location, bool) {
	directory, _, _ := strings.Cut(name, "/")
	switch directory {
	case "", "Local", "localtime", "posixrules", "posix", "right":
		return nil, false
	}
	// LoadLocation itself rejects all other path tricks.
	if path.Clean(name) != name {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}

// Zone returns the time zone.
func (d Days) Zone() *time.Location { return d.zone }

// StartDate returns the first day in the form YYYY-MM-DD.
func (d Days) StartDate() string { return d.first.Format(time.DateOnly) }

// EndDate returns the last day in the form YYYY-MM-DD.
func (d Days) EndDate() string { return d.last.Format(time.DateOnly) }

// auditDetails returns the days for the audit trail.
func (d Days) auditDetails() audit.Details {
	return audit.Details{"startDate": d.StartDate(), "endDate": d.EndDate(), "timezone": d.zone.String()}
}

// count returns the number of days.
func (d Days) count() int { return int(d.last.Unix()-d.first.Unix())/(24*60*60) + 1 }

// Span returns the half-open time range [since, until) of the days.
func (d Days) Span() (since, until time.Time) {
	return startOf(d.first, d.zone), startOf(d.last.AddDate(0, 0, 1), d.zone)
}

// starts returns the start of each day, in order. A day that the zone skipped starts when the next
// day does.
func (d Days) starts() []time.Time {
	all := make([]time.Time, d.count())
	for i := range all {
		all[i] = startOf(d.first.AddDate(0, 0, i), d.zone)
	}
	return all
}

// startOf returns the first instant at which a zone's calendar shows the given day or a later one.
// That is midnight, the first of two midnights, or, where the clocks skip midnight, the instant at
// which they do. Days therefore never overlap.
func startOf(midnight time.Time, zone *time.Location) time.Time {
	// No zone has ever been 24 hours ahead of UTC.
	at := midnight.Add(-24 * time.Hour).In(zone)
	for {
		_, offset := at.Zone()
		local := midnight.Add(-time.Duration(offset) * time.Second)
		if !local.After(at) { // the clocks skipped midnight
			return at.UTC()
		}
		_, end := at.ZoneBounds()
		if end.IsZero() || local.Before(end) {
			return local.UTC()
		}
		at = end
	}
}
