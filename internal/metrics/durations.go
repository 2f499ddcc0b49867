package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Durations counts how long things took, by the values of a label. A nil Durations counts
// nothing. It is safe for concurrent use.
type Durations struct {
	byValue map[string]prometheus.Observer
}

// NewDurations adds durations to a registry, with all the values that the label can have.
func NewDurations(r *Registry, name, help, label string, values ...string) *Durations {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{label})
	r.registry.MustRegister(took)
	d := &Durations{byValue: make(map[string]prometheus.Observer, len(values))}
	for _, value := range values {
		d.byValue[value] = took.WithLabelValues(value)
	}
	return d
}

// Observe counts one; of a value that is none of the label's, nothing.
func (d *Durations) Observe(value string, took time.Duration) {
	if d == nil {
		return
	}
	if counted := d.byValue[value]; counted != nil {
		counted.Observe(took.Seconds())
	}
}
