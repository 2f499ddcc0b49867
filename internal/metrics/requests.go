package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// buckets are upper bounds in seconds, from a lookup in memory to a completion that waits for its
// model.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}

// Requests counts the requests of an API by operation. It is safe for concurrent use. A nil
// Requests counts nothing.
type Requests struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	replayed prometheus.Counter
	unknown  *Operation // requests that match no operation
}

// NewRequests adds the metrics of requests to a registry.
func NewRequests(r *Registry) *Requests {
	q := &Requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_requests_total",
			Help: "Answered requests by operation, method and status. Requests that match no operation have the operation unknown.",
		}, []string{"operation", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "parley_request_seconds",
			Help:    "Time until the whole answer was written, in seconds. A stream lasts as long as its reply.",
			Buckets: buckets,
		}, []string{"operation", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "parley_requests_in_flight",
			Help: "Requests in progress, without open WebSockets.",
		}),
	}
	q.replayed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "parley_requests_replayed_total",
		Help: "Requests that were answered with the stored response of an earlier request with the same Idempotency-Key.",
	})
	r.registry.MustRegister(q.total, q.duration, q.inFlight, q.replayed)
	q.unknown = q.Operation("unknown", "any")
	return q
}

// Operation counts the requests of one operation. Its series are looked up once, so counting a
// request allocates nothing.
type Operation struct {
	requests     *Requests
	name, method string
	duration     prometheus.Observer
	byStatus     [statuses]atomic.Pointer[prometheus.Counter]
}

// Statuses from 100 to 599 are counted as they are, all others as 599.
const (
	firstStatus = 100
	statuses    = 500
)

// Operation returns the counters of an operation.
func (q *Requests) Operation(name, method string) *Operation {
	if q == nil {
		return nil
	}
	return &Operation{requests: q, name: name, method: method, duration: q.duration.WithLabelValues(name, method)}
}

// Begin counts a request in progress. Done must follow.
func (q *Requests) Begin() {
	if q != nil {
		q.inFlight.Inc()
	}
}

// Replayed counts a request that repeats an earlier one.
func (q *Requests) Replayed() {
	if q != nil {
		q.replayed.Inc()
	}
}

// Done counts a finished request. A nil operation counts as unknown.
func (q *Requests) Done(op *Operation, status int, duration time.Duration) {
	if q == nil {
		return
	}
	if op == nil {
		op = q.unknown
	}
	q.inFlight.Dec()
	op.duration.Observe(duration.Seconds())
	op.counter(status).Inc()
}

// counter returns the counter of a status. Concurrent first lookups store the same counter.
func (o *Operation) counter(status int) prometheus.Counter {
	i := status - firstStatus
	if i < 0 || i >= statuses {
		i = statuses - 1
	}
	if cached := o.byStatus[i].Load(); cached != nil {
		return *cached
	}
	counter := o.requests.total.WithLabelValues(o.name, o.method, strconv.Itoa(i+firstStatus))
	o.byStatus[i].Store(&counter)
	return counter
}
