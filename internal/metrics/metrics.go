// Package metrics says in Prometheus's form what the process does. It counts the
// requests itself; all else is kept by who does it, and read when somebody asks. No
// other package knows Prometheus's library.
package metrics

import (
	"maps"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry holds the metrics of one process. It is safe for concurrent use.
type Registry struct {
	registry *prometheus.Registry
}

// Labels tell metrics of one name apart. Their values come from us, never from callers:
// each makes a series that stays.
type Labels = map[string]string

// New returns a registry with what is known of any Go process: its memory, its
// collector of garbage, its goroutines, its processor time and its files.
func New() *Registry {
	r := &Registry{registry: prometheus.NewRegistry()}
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler answers with all metrics as they are.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{Registry: r.registry})
}

// Gauge adds a number that goes up and down. Read is called by each who asks: it must
// be quick and safe for concurrent use. It panics when the name has these labels already.
func (r *Registry) Gauge(name, help string, labels Labels, read func() float64) {
	r.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: maps.Clone(labels)}, read))
}

// Counter adds a number that only grows, as Gauge does.
func (r *Registry) Counter(name, help string, labels Labels, read func() float64) {
	r.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: maps.Clone(labels)}, read))
}
