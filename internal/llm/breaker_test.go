package llm_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
)

const (
	failedMessage      = "The model server failed."
	circuitOpenMessage = "several times in a row"
)

// mustFailAfter asks a question that must fail after this many requests.
func (f *fixture) mustFailAfter(t *testing.T, message string, requests int) {
	t.Helper()
	before := len(f.requests())
	mustFail(t, f.ask().err, apperr.UpstreamFailed, message)
	if n := len(f.requests()) - before; n != requests {
		t.Errorf("got %d requests, want %d", n, requests)
	}
}

func TestCircuitBreaker(t *testing.T) {
	t.Parallel()
	isDown := true
	withServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if isDown {
			failWith(500)(w, r, n)
			return
		}
		goodReply(w, r, n)
	}, func(t *testing.T, f *fixture) {
		// given three failed calls, the circuit is open and calls fail at once
		for range 3 {
			f.mustFailAfter(t, failedMessage, 3)
		}
		start := time.Now()
		f.mustFailAfter(t, circuitOpenMessage, 0)
		if time.Since(start) != 0 {
			t.Errorf("took %s, want 0s", time.Since(start))
		}

		// when it is half-open, one call is the probe and the others still fail immediately; a failed probe opens it
		// again
		time.Sleep(15 * time.Second)
		probe := make(chan error)
		go func() { probe <- f.ask().err }()
		synctest.Wait()
		f.mustFailAfter(t, circuitOpenMessage, 0)
		mustFail(t, <-probe, apperr.UpstreamFailed, failedMessage)
		f.mustFailAfter(t, circuitOpenMessage, 0)

		// another organization has its own circuit
		other := bot.Question{Bot: db.Bot{OrganizationID: uuid.Max}, Text: "Hello?"}
		mustFail(t, f.askQuestion(t.Context(), other).err, apperr.UpstreamFailed, failedMessage)

		// when the probe succeeds, the circuit is closed
		isDown = false
		time.Sleep(15 * time.Second)
		for range 2 {
			if got := f.ask(); got.err != nil || got.text() != "Good day" {
				t.Errorf("got %q, %v", got.text(), got.err)
			}
		}
	})
}

func TestClientErrorsDoNotOpenTheCircuit(t *testing.T) {
	t.Parallel()
	withServer(t, failWith(401), func(t *testing.T, f *fixture) {
		for range 5 {
			f.mustFailAfter(t, "API key", 1)
		}
	})
}
