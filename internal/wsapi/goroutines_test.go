package wsapi_test

import (
	"strings"
	"testing"

	"parley/internal/auth"
)

// An idle socket costs one goroutine, its reader: the writer and the handler of the request have returned.
func TestIdleSocketIsOneGoroutine(t *testing.T) {
	// Not parallel, because goroutines of other tests' sockets would be counted.
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	const count = 20
	sockets := make([]*wsClient, count)
	for i := range sockets {
		sockets[i] = alice.dial("stream=true")
		sockets[i].deliver(question)
	}
	for _, ws := range sockets {
		ws.await(func(f frame) bool { return f.Type == "suggestion" })
	}
	eventually(t, "only the readers are running", func() bool {
		return socketGoroutines(o.server) == count && len(stacksWith("wsapi.(*socket)")) == count
	})
	for _, stack := range stacksWith("wsapi.(*socket)") {
		if strings.Contains(stack, "net/http.(*conn).serve(") {
			t.Errorf("the handler of the request is still running:\n%s", stack)
		}
	}
	if tickers := stacksWith("wsapi.(*Server).checkTimeouts("); len(tickers) != 1 {
		t.Errorf("%d tickers are running, want 1", len(tickers))
	}
}
