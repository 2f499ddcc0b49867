package main

import (
	"math"
	"testing"
)

// What grows by a thousandth of itself at each look is seen through the noise; the noise
// alone is not taken for growth.
func TestASlopeIsToldFromNoise(t *testing.T) {
	t.Parallel()
	steady, growing := &growth{scale: 1, most: 20}, &growth{scale: 1, most: 20}
	for i := range 80 {
		noise := 10 * math.Sin(float64(i)*1.7)
		steady.values = append(steady.values, 100+noise)
		growing.values = append(growing.values, 100+noise+0.5*float64(i))
	}
	if perHour, off := steady.slope(); perHour-off > steady.bound() || off <= 0 {
		t.Errorf("what does not grow grows by %f ± %f", perHour, off)
	}
	if perHour, off := growing.slope(); math.Abs(perHour-180) > off || perHour-off <= growing.bound() {
		t.Errorf("what grows by 180 grows by %f ± %f", perHour, off)
	}
}
