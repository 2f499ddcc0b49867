package wsapi_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/auth"
	"parley/internal/wsapi"
)

// dialFrom opens a socket from another IP address.
func (c caller) dialFrom(address string) (*wsClient, error) {
	header := http.Header{fromAddress: {address}}
	if c.key != "" {
		header.Set("Authorization", "Api-Key "+c.key)
	}
	return c.dialWith("", &websocket.DialOptions{HTTPHeader: header})
}

// The open sockets of a user are limited across keys and IP addresses. Closing one makes room for another.
func TestUserSocketLimit(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{PerUser: 3}}).organization()
	alice, other, bob := o.as("alice", auth.Chat), o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	first := alice.dial("")
	other.dial("")
	if _, err := alice.dialFrom("192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []caller{alice, other} {
		problem := c.tryUpgrade("").expectProblem(429, "rate_limited")
		if problem["retry_after"] == nil || !strings.Contains(problem["detail"].(string), "your limit of 3 open sockets") {
			t.Errorf("%v", problem)
		}
	}
	bob.dial("").deliver("Hi")
	o.visitor().dial("")
	first.deliver("I am still here")
	first.conn.CloseNow()
	eventually(t, "another socket can be opened", func() bool {
		_, err := alice.tryDial("")
		return err == nil
	})
	alice.tryUpgrade("").expectProblem(429, "rate_limited")
}

// The open sockets of an IP address are limited. Refused sockets do not count.
func TestAddressSocketLimit(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{PerAddress: 3, PerUser: 2}}).organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	for range 5 {
		alice.tryUpgrade("session_id=x").expectProblem(404, "not_found")
		alice.tryUpgrade("", "Sec-WebSocket-Key", "short").expectProblem(400, "invalid_request")
	}
	alice.dial("")
	alice.dial("")
	for range 5 {
		alice.tryUpgrade("").expectProblem(429, "rate_limited")
	}
	o.visitor().dial("")
	for _, c := range []caller{bob, o.visitor()} {
		got := c.tryUpgrade("")
		problem := got.expectProblem(429, "rate_limited")
		if got.header.Get("Retry-After") == "" || !strings.Contains(problem["detail"].(string), "Your IP address has reached its limit of 3 open sockets") {
			t.Errorf("%v", problem)
		}
	}
	if _, err := bob.dialFrom("192.0.2.1"); err != nil {
		t.Error(err)
	}
}

// Concurrent attempts never exceed the limit.
func TestSocketLimitHoldsUnderConcurrency(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{PerUser: 7}}).organization()
	alice := o.as("alice", auth.Chat)
	var all sync.WaitGroup
	let := make(chan *wsClient, 30)
	for range 30 {
		all.Go(func() {
			if ws, err := alice.tryDial(""); err == nil {
				let <- ws
			}
		})
	}
	all.Wait()
	if len(let) != 7 {
		t.Errorf("%d sockets were opened, want 7", len(let))
	}
}

// The connected frame reports the limits that a client must respect.
func TestConnectedFrameReportsLimits(t *testing.T) {
	t.Parallel()
	usual := serve(t, settings{}).organization()
	strict := serve(t, settings{sockets: wsapi.Limits{
		PingInterval: 7 * time.Second, PongTimeout: 1500 * time.Millisecond, WriteTimeout: 3 * time.Second, IdleTimeout: time.Hour,
	}}).organization()
	for _, test := range []struct {
		of   organization
		want map[string]int
	}{
		{usual, map[string]int{"frame_bytes": 512 << 10, "ping_seconds": 25, "pong_seconds": 20, "write_seconds": 10}},
		{strict, map[string]int{"frame_bytes": 512 << 10, "ping_seconds": 7, "pong_seconds": 2, "write_seconds": 3, "idle_seconds": 3600}},
	} {
		for _, c := range []caller{test.of.as("alice", auth.Chat), test.of.visitor()} {
			got := c.dial("").connected.Limits
			if len(got) != len(test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
			for name, value := range test.want {
				if name == "frame_bytes" && c.key == "" {
					value = 32 << 10
				}
				if got[name] != value {
					t.Errorf("%s is %d, want %d", name, got[name], value)
				}
			}
		}
	}
}

// A socket without frames in either direction is closed with the status idle and can be resumed. Pings and pongs do
// not count.
func TestIdleSocketIsClosed(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{IdleTimeout: 2 * time.Second, PingInterval: 20 * time.Millisecond}}).organization()
	alice := o.as("alice", auth.Chat)
	began := time.Now()
	id := alice.startWithoutReplies()
	spoken := alice.watch(id)
	listening := alice.watch(id)
	silent := o.visitor().dial("")
	var all sync.WaitGroup
	all.Go(func() {
		if code, frames := silent.readUntilClosed(); code != websocket.StatusNormalClosure || len(frames) != 1 || !frames[0].isStatus("idle") || time.Since(began) < 2*time.Second {
			t.Errorf("closed with %d after %v and %+v", code, time.Since(began), frames)
		}
	})
	all.Go(func() { // received frames count too
		code, frames := listening.readUntilClosed()
		if code != websocket.StatusNormalClosure || !frames[len(frames)-1].isStatus("idle") || time.Since(began) < 3*time.Second {
			t.Errorf("the receiving socket was closed with %d after %v", code, time.Since(began))
		}
	})
	for time.Since(began) < 3*time.Second {
		spoken.deliver("Still here")
	}
	all.Wait()
	again := alice.dial("after=0&session_id=" + id)
	if got := again.next(); got.Seq != 1 {
		t.Errorf("resumed: %+v", got)
	}
}
