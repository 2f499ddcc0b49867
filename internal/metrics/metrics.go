// Package metrics exposes the metrics of the process in Prometheus's format. It counts requests
// itself. Other packages keep their own numbers, which are read at each scrape. No other package
// imports the Prometheus library.
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

// Labels distinguish the metrics of one name. Their values must come from a fixed set, never
// from callers: each creates a time series that is kept forever.
type Labels = map[string]string

// New returns a registry with the metrics of any Go process: memory, garbage collection,
// goroutines, processor time and open files.
func New() *Registry {
	r := &Registry{registry: prometheus.NewRegistry()}
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler serves the current values of all metrics.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{Registry: r.registry})
}

// Gauge adds a number that goes up and down. Every scrape calls read, which must be fast and safe
// for concurrent use. Gauge panics if the name already has these labels.
func (r *Registry) Gauge(name, help string, labels Labels, read func() float64) {
	r.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: maps.Clone(labels)}, read))
}

// Counter adds a number that only grows. It is otherwise like Gauge.
func (r *Registry) Counter(name, help string, labels Labels, read func() float64) {
	r.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: maps.Clone(labels)}, read))
}
