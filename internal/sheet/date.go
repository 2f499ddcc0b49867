package sheet

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// epoch is day 0 of serial numbers. It is one day early, because spreadsheet programs count a 29 February 1900, which
// did not exist.
var epoch = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)

const (
	leapDay   = 60        // 29 February 1900, which did not exist
	year10000 = 2_958_466 // the first day that cells cannot show
	offset4   = 1462      // days from epoch to the first day of workbooks that count from 1904
)

// timeOf returns the time of a serial number, to the millisecond.
func timeOf(serial float64) time.Time {
	days := math.Floor(serial)
	milliseconds := math.Round((serial - days) * 86_400_000)
	if days < leapDay {
		days++
	}
	at := epoch.AddDate(0, 0, int(days)).Add(time.Duration(milliseconds) * time.Millisecond)
	if ms := at.Nanosecond() / 1e6; ms <= 1 || ms >= 999 { // the float's noise
		at = at.Round(time.Second)
	}
	return at
}

// isoDate returns a date in an unambiguous order.
func isoDate(serial float64, hasTime bool) string {
	at := timeOf(serial)
	switch {
	case !hasTime:
		return at.Format(time.DateOnly)
	case at.Second() == 0:
		return at.Format("2006-01-02 15:04")
	default:
		return at.Format(time.DateTime)
	}
}

// showDate shows a number as a date or time.
func (s section) showDate(number float64, is1904 bool) Cell {
	if is1904 && (s.hasDate || number < 0) {
		number += offset4
	}
	switch {
	case number < 0 || number >= year10000:
		return Cell{Doubt: fmt.Sprintf("The cell has a format for dates, but %s is not a date.", general(number))}
	case s.hasDate && !is1904 && math.Floor(number) == leapDay:
		return Cell{Doubt: "The cell holds 29 February 1900, a day that did not exist."}
	}
	if s.isAmbiguous() {
		return Cell{Text: isoDate(number, s.hasTime)}
	}
	at := timeOf(number)
	if !s.hasFraction {
		at = at.Round(time.Second)
	}
	if s.hidesHours() && at.Hour() > 0 {
		return Cell{Text: at.Format(time.TimeOnly)}
	}
	var out strings.Builder
	for _, t := range s.tokens {
		out.WriteString(t.showDate(at, number, s.hasNoon))
	}
	return Cell{Text: strings.TrimSpace(out.String())}
}

// isAmbiguous reports whether readers may misread a date, or read it in another language or calendar than the author.
// This concerns dates that contain neither a leading year of four digits nor a month's name, and dates with names
// that depend on a locale.
func (s section) isAmbiguous() bool {
	if !s.hasDate {
		return false
	}
	var order string
	hasName := false
	for _, t := range s.tokens {
		switch {
		case t.kind != 'y' && t.kind != 'M' && t.kind != 'd' && t.kind != 'e':
			continue
		case t.kind == 'e', t.kind == 'd' && len(t.text) > 2, t.kind == 'y' && len(t.text) < 3:
			return true
		case t.kind == 'M' && len(t.text) > 2:
			hasName = true
		}
		order += string(t.kind)
	}
	if hasName {
		return len(order) != len("yMd") || !strings.ContainsRune(order, 'y') || s.isForeign
	}
	return order != "yMd"
}

// hidesHours reports whether a time shows minutes without hours, as in mm:ss.
func (s section) hidesHours() bool {
	for _, t := range s.tokens {
		if t.kind == 'h' || t.kind == 'E' {
			return false
		}
	}
	return s.hasTime && !s.hasDate
}

// showDate shows a part of a date.
func (t token) showDate(at time.Time, number float64, hasNoon bool) string {
	pad := func(n int) string {
		if len(t.text) > 1 {
			return fmt.Sprintf("%02d", n)
		}
		return fmt.Sprint(n)
	}
	switch t.kind {
	case 'y':
		return at.Format("2006")
	case 'M':
		switch len(t.text) {
		case 1, 2:
			return pad(int(at.Month()))
		case 3:
			return at.Format("Jan")
		}
		return at.Format("January")
	case 'd':
		return pad(at.Day())
	case 'h':
		if hasNoon {
			return pad((at.Hour()+11)%12 + 1)
		}
		return pad(at.Hour())
	case 'm':
		return pad(at.Minute())
	case 's':
		return pad(at.Second())
	case 'n':
		return at.Format("PM")
	case '.':
		return at.Format("." + strings.Repeat("0", len(t.text)-1))
	case 'E':
		return pad(int(math.Floor(number*elapsedPerDay[t.text[0]] + 1e-6)))
	}
	return t.text
}

var elapsedPerDay = map[byte]float64{'h': 24, 'm': 1440, 's': 86_400}
