package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// buckets are seconds: from a lookup in memory to a completion that waits for its model.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}

// Requests counts the requests of an API, by its operations. A nil Requests counts
// nothing. It is safe for concurrent use.
type Requests struct {
	answered *prometheus.CounterVec
	took     *prometheus.HistogramVec
	inFlight prometheus.Gauge
	replayed prometheus.Counter
	others   *Operation
}

// NewRequests adds the requests to a registry.
func NewRequests(r *Registry) *Requests {
	q := &Requests{
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_requests_total",
			Help: "Requests that were answered, by operation, method and status; what is no operation is the operation unknown.",
		}, []string{"operation", "method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "parley_request_seconds",
			Help:    "How long requests took until all of the answer was written; that of a stream is as long as its reply.",
			Buckets: buckets,
		}, []string{"operation", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "parley_requests_in_flight",
			Help: "Requests that are being answered; open sockets are none.",
		}),
	}
	q.replayed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "parley_requests_replayed_total",
		Help: "Requests that were answered with what an earlier one under the same Idempotency-Key was.",
	})
	r.registry.MustRegister(q.answered, q.took, q.inFlight, q.replayed)
	q.others = q.Operation("unknown", "any")
	return q
}

// Operation is one operation of the API, found once so that counting looks up nothing.
type Operation struct {
	requests     *Requests
	name, method string
	took         prometheus.Observer
	byStatus     [statuses]atomic.Pointer[prometheus.Counter]
}

// Statuses are those from 100 to 599; whatever else is counted as 599.
const (
	firstStatus = 100
	statuses    = 500
)

// Operation returns the counts of an operation.
func (q *Requests) Operation(name, method string) *Operation {
	if q == nil {
		return nil
	}
	return &Operation{requests: q, name: name, method: method, took: q.took.WithLabelValues(name, method)}
}

// Begin notes that a request is being answered; Done must follow.
func (q *Requests) Begin() {
	if q != nil {
		q.inFlight.Inc()
	}
}

// Replayed counts a request that repeats another one.
func (q *Requests) Replayed() {
	if q != nil {
		q.replayed.Inc()
	}
}

// Done counts a request that is over; of is nil where it reached no operation.
func (q *Requests) Done(of *Operation, status int, took time.Duration) {
	if q == nil {
		return
	}
	if of == nil {
		of = q.others
	}
	q.inFlight.Dec()
	of.took.Observe(took.Seconds())
	of.counter(status).Inc()
}

// counter finds the counter of a status. Two that look for a new one find the same.
func (o *Operation) counter(status int) prometheus.Counter {
	at := status - firstStatus
	if at < 0 || at >= statuses {
		at = statuses - 1
	}
	if known := o.byStatus[at].Load(); known != nil {
		return *known
	}
	found := o.requests.answered.WithLabelValues(o.name, o.method, strconv.Itoa(at+firstStatus))
	o.byStatus[at].Store(&found)
	return found
}
