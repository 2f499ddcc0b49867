package main

import (
	"math"
	"time"
)

// trend is a value that must not grow, sampled at regular intervals.
type trend struct {
	what       string
	unit       string
	scale      float64 // converts a value to the unit
	limit      float64 // of the slope per hour, in the unit; a fraction of the mean if isRelative
	isRelative bool
	values     []float64
}

// slope returns the growth of the values per hour, fitted by least squares, and its margin of error: two standard
// errors, corrected for autocorrelation. Consecutive similar samples carry less information than independent ones,
// which reduces the effective sample size.
func (t *trend) slope() (perHour, margin float64) {
	n := float64(len(t.values))
	meanX, meanY := (n-1)/2, mean(t.values)
	var xx, xy float64
	for i, y := range t.values {
		x := float64(i) - meanX
		xx, xy = xx+x*x, xy+x*(y-meanY)
	}
	b := xy / xx
	var squares, products, previous float64
	for i, y := range t.values {
		residual := y - meanY - b*(float64(i)-meanX)
		squares += residual * residual
		if i > 0 {
			products += residual * previous
		}
		previous = residual
	}
	autocorrelation := 0.0
	if squares > 0 {
		autocorrelation = min(max(products/squares, 0), 0.95)
	}
	effective := max(n*(1-autocorrelation)/(1+autocorrelation), 4)
	scale := t.scale * float64(time.Hour/sampleInterval)
	return b * scale, 2 * math.Sqrt(squares/(effective-2)/xx*n/effective) * scale
}

// bound returns the largest allowed slope per hour.
func (t *trend) bound() float64 {
	if t.isRelative {
		return t.limit * mean(t.values) * t.scale
	}
	return t.limit
}

func mean(values []float64) float64 {
	var sum float64
	for _, value := range values {
		sum += value
	}
	return sum / float64(len(values))
}
