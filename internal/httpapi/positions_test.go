package httpapi_test

import (
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/httpapi"
)

// An event ID that the document permits is a position, and the server writes that position as the same ID.
func FuzzEventID(f *testing.F) {
	for _, seed := range []string{"1.0", "1.27", "999999999.999999999", "1.00", "01.0", "0.0", "1", "1.", ".1", "1.-1", "+1.1", "1.1.1", "1,1", " 1.1", "1.1\n", "１.１", "1_0.1", "1000000000.0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		isAllowed := schemaOf("EventID").VisitJSON(text) == nil
		again, err := httpapi.RereadEventID(text)
		if isAllowed && (err != nil || again != text) {
			t.Fatalf("%q was parsed as %q: %v", text, again, err)
		}
	})
}

// Times are parsed as in RFC 3339.
func TestTimesAreInstants(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-01-15T10:30:00Z":           "2026-01-15T10:30:00.000000Z",
		"2026-01-15T10:30:00.9999999Z":   "2026-01-15T10:30:00.999999Z",
		"2026-01-15T10:30:00.5+08:00":    "2026-01-15T02:30:00.500000Z",
		"2026-12-31T23:59:59-01:00":      "2027-01-01T00:59:59.000000Z",
		"2026-02-29T00:00:00Z":           "",
		"2026-01-15T24:00:00Z":           "",
		"2026-01-15T10:30:00":            "",
		"2026-01-15 10:30:00Z":           "",
		"2026-01-15T10:30:00.000000Z+1Z": "",
	} {
		if got, _, err := httpapi.RereadTime(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q was parsed as %q: %v", text, got, err)
		}
	}
}

// An invalid time is an error of the caller. A time in a response can be sent back and is equal to the microsecond.
func FuzzTime(f *testing.F) {
	for _, seed := range []string{"2026-01-15T10:30:00.000000Z", "2026-01-15T10:30:00+08:00", "2026-01-15T10:30:00.9999999Z", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2016-12-31T23:59:60Z", "2026-01-15T24:00:00Z", "2026-01-15t10:30:00z", "2026-01-15 10:30:00Z", "2026-01-15T10:30:00", "2026-1-5T1:3:0Z", "2026-01-15T10:30:00,5Z", "2026-01-15T10:30:00+24:00", "+2026-01-15T10:30:00Z", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		again, at, err := httpapi.RereadTime(text)
		if err != nil {
			if !apperr.Is(err, apperr.InvalidRequest) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if schemaOf("Timestamp").VisitJSON(text) != nil || at.UTC().Year() < 0 || at.UTC().Year() > 9999 {
			return // the time is out of range: there is no older or newer message
		}
		if twice, same, err := httpapi.RereadTime(again); err != nil || twice != again || !same.Equal(at.Truncate(time.Microsecond)) {
			t.Fatalf("%q becomes %q, and that %q: %v", text, again, twice, err)
		}
	})
}
