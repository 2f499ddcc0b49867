package wsapi_test

import (
	"strings"
	"testing"

	"parley/internal/auth"
)

// A silent socket is one goroutine, however much was said on it: its writer is gone, nothing of the request that opened it
// stays, and pings have none of their own.
func TestASilentSocketIsOneGoroutine(t *testing.T) {
	// Not parallel: the goroutines of other servers' sockets would be counted.
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	const count = 20
	links := make([]*link, count)
	for i := range links {
		links[i] = alice.dial("stream=true")
		links[i].delivers(question)
	}
	for _, l := range links {
		l.await(func(f frame) bool { return f.Type == "suggestion" })
	}
	eventually(t, "only the readers are left", func() bool {
		return goroutines(o.server) == count && len(stacksWith("wsapi.(*socket)")) == count
	})
	for _, stack := range stacksWith("wsapi.(*socket)") {
		if strings.Contains(stack, "net/http.(*conn).serve(") {
			t.Errorf("the request is still served:\n%s", stack)
		}
	}
	if clocks := stacksWith("wsapi.(*Sockets).runClock("); len(clocks) != 1 {
		t.Errorf("%d clocks", len(clocks))
	}
}
