package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// row is a comparison of the product with its limiting factor.
type row struct {
	number string // as in BENCHMARKS.md and -rows
	lines  []line
	// needsRecords is set if the row needs chatbots with records, which are slow to seed.
	needsRecords bool
	// skipWarmUp leaves the row out of the round that warms up, because it starts its own servers
	// or takes so long that the beginning does not matter.
	skipWarmUp bool
	// maxRounds limits the number of rounds; 0: no limit. A row with one round is measured after
	// all others.
	maxRounds int
	prepare   func(ctx context.Context) error
	// measure measures once and returns a measurement for each line.
	measure func(ctx context.Context, seconds int) ([]measurement, error)
}

// line is a line of the table.
type line struct {
	what      string
	must, aim limit
	format    func(sample) string // formats the absolute figures
	unit      string              // of the ratio, if the line has a figure instead of a ratio
}

// limit is an upper or lower bound for a ratio. A line without limits is only informative.
type limit interface {
	fmt.Stringer
	holds(ratio float64) bool
}

type (
	atLeast float64
	atMost  float64
)

func (l atLeast) holds(ratio float64) bool { return ratio >= float64(l) }
func (l atMost) holds(ratio float64) bool  { return ratio <= float64(l) }

// String returns the limit as the table shows it.
func (l atLeast) String() string { return "≥ " + figure(float64(l)) }

// String returns the limit as the table shows it.
func (l atMost) String() string {
	if l == 0 {
		return "0"
	}
	return "≤ " + figure(float64(l))
}

// measurement is the result of one round for a line. A ratio of NaN means that it was not measured.
type measurement struct {
	ratio           float64
	ours, reference sample
}

// sample is one side of a measurement.
type sample struct {
	rate             float64 // operations per second
	p50, p99         time.Duration
	server, postgres float64 // CPU µs per operation
	bytes            float64
	requests         int
	note             string
}

// isZero reports whether nothing was measured.
func (s sample) isZero() bool { return s == sample{} }

func rate(s sample) string      { return fmt.Sprintf("%.0f/s", s.rate) }
func p50(s sample) string       { return formatDuration(s.p50) }
func p99(s sample) string       { return formatDuration(s.p99) }
func megabytes(s sample) string { return fmt.Sprintf("%.1f MB", s.bytes/1e6) }
func note(s sample) string      { return s.note }

// rateOf formats the rate with the name of the operations.
func rateOf(what string) func(sample) string {
	return func(s sample) string { return fmt.Sprintf("%.0f %s/s", s.rate, what) }
}

// formatDuration rounds a duration to three digits.
func formatDuration(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// figure formats a number with three digits, or with all digits before the point.
func figure(f float64) string {
	switch {
	case f != 0 && math.Abs(f) < 0.1:
		return strconv.FormatFloat(f, 'g', 2, 64)
	case math.Abs(f) >= 100:
		return fmt.Sprintf("%.0f", f)
	case math.Abs(f) >= 10:
		return trimZeros(fmt.Sprintf("%.1f", f))
	}
	return trimZeros(fmt.Sprintf("%.2f", f))
}

func trimZeros(text string) string {
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		return text[:len(text)-1]
	}
	return text
}

// series is the measurements of a line in all rounds.
type series []measurement

func (s series) medianRatio() float64 {
	ratios := make([]float64, len(s))
	for i, m := range s {
		ratios[i] = m.ratio
	}
	return median(ratios)
}

// medianSample returns the median sample of one side, so that its figures belong to the same round.
func (s series) medianSample(side func(measurement) sample) sample {
	sorted := slices.SortedFunc(slices.Values(s), func(a, b measurement) int {
		return compareSamples(side(a), side(b))
	})
	return side(sorted[len(sorted)/2])
}

// compareSamples orders samples from worst to best.
func compareSamples(a, b sample) int {
	for _, order := range []float64{a.rate - b.rate, float64(b.p50 - a.p50), float64(b.p99 - a.p99), b.bytes - a.bytes, b.server - a.server} {
		if order != 0 {
			return int(math.Copysign(1, order))
		}
	}
	return 0
}

func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
