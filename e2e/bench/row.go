package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// row is a thing to measure: what it costs the server, beside what limits it.
type row struct {
	number string // that of BENCHMARKS.md, by which -rows chooses it
	lines  []line // what is told of it
	// ofRecords tells that it needs chatbots with records, which take long to put in.
	ofRecords bool
	// isWarm tells that it starts its own servers, or works so long that the beginning
	// does not matter: it is left out of the round that warms up.
	isWarm bool
	// most is how many rounds are enough; 0: as many as there are. A row of one round is
	// measured after all others.
	most    int
	prepare func(ctx context.Context) error
	// measure measures once, and finds something for each of the lines.
	measure func(ctx context.Context, seconds int) ([]finding, error)
}

// line is a line of the table.
type line struct {
	what      string
	must, aim limit
	shows     func(sample) string // the absolute figures
	unit      string              // of the ratio, where it is none
}

// limit is what a ratio must reach, or may not exceed; nil, it is only told.
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

// String is the limit as the table has it.
func (l atLeast) String() string { return "≥ " + figure(float64(l)) }

// String is the limit as the table has it.
func (l atMost) String() string {
	if l == 0 {
		return "0"
	}
	return "≤ " + figure(float64(l))
}

// finding is what one round has found for a line; NaN, it was not measured.
type finding struct {
	ratio         float64
	ours, against sample
}

// sample is one thing measured once.
type sample struct {
	rate             float64 // operations a second
	p50, p99         time.Duration
	server, postgres float64 // CPU µs an operation
	bytes            float64
	requests         int
	note             string
}

// isNothing tells whether nothing was measured.
func (s sample) isNothing() bool { return s == sample{} }

func rate(s sample) string  { return fmt.Sprintf("%.0f/s", s.rate) }
func p50(s sample) string   { return figured(s.p50) }
func p99(s sample) string   { return figured(s.p99) }
func mega(s sample) string  { return fmt.Sprintf("%.1f MB", s.bytes/1e6) }
func noted(s sample) string { return s.note }

// perSecond is rate with a name for the operations.
func perSecond(what string) func(sample) string {
	return func(s sample) string { return fmt.Sprintf("%.0f %s/s", s.rate, what) }
}

// figured keeps three digits of a time.
func figured(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// figure keeps three digits, or all before the point.
func figure(f float64) string {
	switch {
	case f != 0 && math.Abs(f) < 0.1:
		return strconv.FormatFloat(f, 'g', 2, 64)
	case math.Abs(f) >= 100:
		return fmt.Sprintf("%.0f", f)
	case math.Abs(f) >= 10:
		return trimmed(fmt.Sprintf("%.1f", f))
	}
	return trimmed(fmt.Sprintf("%.2f", f))
}

func trimmed(text string) string {
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		return text[:len(text)-1]
	}
	return text
}

// series is what all rounds have found for a line.
type series []finding

func (s series) median(of func(finding) float64) float64 {
	figures := make([]float64, len(s))
	for i, one := range s {
		figures[i] = of(one)
	}
	return median(figures)
}

// middle is the sample whose figure is the median: its neighbours are of one run.
func (s series) middle(of func(finding) sample) sample {
	sorted := slices.SortedFunc(slices.Values(s), func(a, b finding) int {
		return compareSamples(of(a), of(b))
	})
	return of(sorted[len(sorted)/2])
}

// compareSamples orders samples by how good they are.
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
