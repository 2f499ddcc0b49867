package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Durations is a histogram of durations with one label. It is safe for concurrent use. A nil
// Durations records nothing.
type Durations struct {
	byLabel map[string]prometheus.Observer
}

// NewDurations adds a histogram to a registry, with all values that its label can have.
func NewDurations(r *Registry, name, help, label string, values ...string) *Durations {
	histogram := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{label})
	r.registry.MustRegister(histogram)
	d := &Durations{byLabel: make(map[string]prometheus.Observer, len(values))}
	for _, value := range values {
		d.byLabel[value] = histogram.WithLabelValues(value)
	}
	return d
}

// Observe records a duration. It ignores values that the label cannot have.
func (d *Durations) Observe(value string, duration time.Duration) {
	if d == nil {
		return
	}
	if observer := d.byLabel[value]; observer != nil {
		observer.Observe(duration.Seconds())
	}
}
