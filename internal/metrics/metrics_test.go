package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/internal/metrics"
)

// scrape returns the lines that a registry serves.
func scrape(t *testing.T, r *metrics.Registry) []string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return strings.Split(w.Body.String(), "\n")
}

// checkLines fails the test if one of the lines is not served.
func checkLines(t *testing.T, r *metrics.Registry, wanted ...string) {
	t.Helper()
	found := make(map[string]bool)
	for _, line := range scrape(t, r) {
		found[line] = true
	}
	for _, line := range wanted {
		if !found[line] {
			t.Errorf("missing line %s", line)
		}
	}
}

func TestRequestsAreCountedByOperationAndStatus(t *testing.T) {
	t.Parallel()
	r := metrics.New()
	requests := metrics.NewRequests(r)
	send, list := requests.Operation("sendMessage", "POST"), requests.Operation("listMessages", "GET")
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 100 {
				requests.Begin()
				requests.Done(send, 201, 2*time.Millisecond)
				requests.Begin()
				requests.Done(send, 404, 20*time.Millisecond)
			}
		})
	}
	workers.Wait()
	requests.Begin()
	requests.Done(list, 200, 3*time.Minute)
	requests.Begin()
	checkLines(t, r,
		`parley_requests_total{code="201",method="POST",operation="sendMessage"} 800`,
		`parley_requests_total{code="404",method="POST",operation="sendMessage"} 800`,
		`parley_requests_total{code="200",method="GET",operation="listMessages"} 1`,
		`parley_request_seconds_bucket{method="POST",operation="sendMessage",le="0.0025"} 800`,
		`parley_request_seconds_bucket{method="POST",operation="sendMessage",le="0.025"} 1600`,
		`parley_request_seconds_count{method="GET",operation="listMessages"} 1`,
		`parley_requests_in_flight 1`,
	)
}

func TestUnknownOperationsShareASeries(t *testing.T) {
	t.Parallel()
	r := metrics.New()
	requests := metrics.NewRequests(r)
	for _, status := range []int{404, 0, 99, 600, 1 << 30, -1} {
		requests.Begin()
		requests.Done(nil, status, time.Millisecond)
	}
	checkLines(t, r,
		`parley_requests_total{code="404",method="any",operation="unknown"} 1`,
		`parley_requests_total{code="599",method="any",operation="unknown"} 5`,
		`parley_requests_in_flight 0`,
	)
}

func TestNilRequestsCountNothing(t *testing.T) {
	t.Parallel()
	var requests *metrics.Requests
	requests.Begin()
	requests.Done(requests.Operation("sendMessage", "POST"), 201, time.Second)
}

func TestNumbersAreReadAtEachScrape(t *testing.T) {
	t.Parallel()
	r := metrics.New()
	n := 1.0
	r.Gauge("open", "Open doors.", metrics.Labels{"side": "left"}, func() float64 { return n })
	r.Gauge("open", "Open doors.", metrics.Labels{"side": "right"}, func() float64 { return -n })
	r.Counter("opened_total", "Doors that were opened.", nil, func() float64 { return 2 * n })
	checkLines(t, r, `open{side="left"} 1`, `open{side="right"} -1`, `opened_total 2`, `# TYPE opened_total counter`)
	n = 4
	checkLines(t, r, `open{side="left"} 4`, `open{side="right"} -4`, `opened_total 8`)
	text := strings.Join(scrape(t, r), "\n")
	for _, name := range []string{"go_goroutines ", "process_cpu_seconds_total "} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("missing metric %s", name)
		}
	}
}
