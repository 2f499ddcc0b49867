package main

import (
	"math"
	"testing"
)

func TestSlopeDistinguishesGrowthFromNoise(t *testing.T) {
	t.Parallel()
	steady, growing := &trend{scale: 1, limit: 20}, &trend{scale: 1, limit: 20}
	for i := range 80 {
		noise := 10 * math.Sin(float64(i)*1.7)
		steady.values = append(steady.values, 100+noise)
		growing.values = append(growing.values, 100+noise+0.5*float64(i))
	}
	if perHour, margin := steady.slope(); perHour-margin > steady.bound() || margin <= 0 {
		t.Errorf("steady values: got the slope %f ± %f", perHour, margin)
	}
	if perHour, margin := growing.slope(); math.Abs(perHour-180) > margin || perHour-margin <= growing.bound() {
		t.Errorf("values that grow by 180: got the slope %f ± %f", perHour, margin)
	}
}
