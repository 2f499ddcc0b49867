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

// from opens a socket from another address.
func (c caller) from(address string) (*link, error) {
	header := http.Header{fromAddress: {address}}
	if c.key != "" {
		header.Set("Authorization", "Api-Key "+c.key)
	}
	return c.dialWith("", &websocket.DialOptions{HTTPHeader: header})
}

// A user has so many sockets, whichever keys and addresses they are opened with; who closes one can open another.
func TestAUserHasSoManySockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{PerUser: 3}}).organization()
	alice, other, bob := o.as("alice", auth.Chat), o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	first := alice.dial("")
	other.dial("")
	if _, err := alice.from("192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []caller{alice, other} {
		problem := c.connect("").refused(429, "rate_limited")
		if problem["retry_after"] == nil || !strings.Contains(problem["detail"].(string), "3 sockets") || !strings.Contains(problem["detail"].(string), "user") {
			t.Errorf("%v", problem)
		}
	}
	bob.dial("").delivers("Hi")
	o.visitor().dial("")
	first.delivers("I am still here")
	first.conn.CloseNow()
	eventually(t, "there is room for another one", func() bool {
		_, err := alice.tryDial("")
		return err == nil
	})
	alice.connect("").refused(429, "rate_limited")
}

// An address has so many sockets, whoever opens them. What is refused, for whichever reason, takes no place.
func TestAnAddressHasSoManySockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{PerAddress: 3, PerUser: 2}}).organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	for range 5 {
		alice.connect("session_id=x").refused(404, "not_found")
		alice.connect("", "Sec-WebSocket-Key", "short").refused(400, "invalid_request")
	}
	alice.dial("")
	alice.dial("")
	for range 5 {
		alice.connect("").refused(429, "rate_limited")
	}
	o.visitor().dial("")
	for _, c := range []caller{bob, o.visitor()} {
		got := c.connect("")
		problem := got.refused(429, "rate_limited")
		if got.header.Get("Retry-After") == "" || !strings.Contains(problem["detail"].(string), "3 sockets are open from your address") {
			t.Errorf("%v", problem)
		}
	}
	if _, err := bob.from("192.0.2.1"); err != nil {
		t.Error(err)
	}
}

// However many come at once, no more than may are let in.
func TestPlacesAreNotGivenTwice(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{PerUser: 7}}).organization()
	alice := o.as("alice", auth.Chat)
	var all sync.WaitGroup
	let := make(chan *link, 30)
	for range 30 {
		all.Go(func() {
			if l, err := alice.tryDial(""); err == nil {
				let <- l
			}
		})
	}
	all.Wait()
	if len(let) != 7 {
		t.Errorf("%d are let in", len(let))
	}
}

// The first frame tells what else there is to keep to.
func TestTheClientIsToldTheLimits(t *testing.T) {
	t.Parallel()
	usual := serve(t, settings{}).organization()
	strict := serve(t, settings{sockets: wsapi.Limits{
		PingInterval: 7 * time.Second, PingPatience: 1500 * time.Millisecond, WritePatience: 3 * time.Second, IdleTime: time.Hour,
	}}).organization()
	for _, test := range []struct {
		of   organization
		want map[string]int
	}{
		{usual, map[string]int{"frame_bytes": 65536, "ping_seconds": 25, "pong_seconds": 20, "write_seconds": 10}},
		{strict, map[string]int{"frame_bytes": 65536, "ping_seconds": 7, "pong_seconds": 2, "write_seconds": 3, "idle_seconds": 3600}},
	} {
		for _, c := range []caller{test.of.as("alice", auth.Chat), test.of.visitor()} {
			got := c.dial("").hi.Limits
			if len(got) != len(test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
			for name, value := range test.want {
				if got[name] != value {
					t.Errorf("%s is %d, want %d", name, got[name], value)
				}
			}
		}
	}
}

// A socket on which nothing is said is closed in its time, is told so, and can be resumed; pings and their answers say
// nothing.
func TestASilentSocketIsClosed(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{sockets: wsapi.Limits{IdleTime: 2 * time.Second, PingInterval: 20 * time.Millisecond}}).organization()
	alice := o.as("alice", auth.Chat)
	began := time.Now()
	id := alice.quiet()
	spoken := alice.watch(id)
	listening := alice.watch(id)
	silent := o.visitor().dial("")
	var all sync.WaitGroup
	all.Go(func() {
		if code, frames := silent.ends(); code != websocket.StatusNormalClosure || len(frames) != 1 || !frames[0].isStatus("idle") || time.Since(began) < 2*time.Second {
			t.Errorf("closed with %d after %v and %+v", code, time.Since(began), frames)
		}
	})
	all.Go(func() { // what is heard counts as what is said
		code, frames := listening.ends()
		if code != websocket.StatusNormalClosure || !frames[len(frames)-1].isStatus("idle") || time.Since(began) < 3*time.Second {
			t.Errorf("the listening one is closed with %d after %v", code, time.Since(began))
		}
	})
	for time.Since(began) < 3*time.Second {
		spoken.delivers("Still here")
	}
	all.Wait()
	again := alice.dial("after=0&session_id=" + id)
	if got := again.next(); got.Seq != 1 {
		t.Errorf("resumed: %+v", got)
	}
}
