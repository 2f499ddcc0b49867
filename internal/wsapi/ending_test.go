package wsapi_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/auth"
)

// goroutines counts those of the sockets that are open in this process and belong to
// a server.
func goroutines(s *server) int {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	count := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, fmt.Sprintf("wsapi.(*Sockets).Connect(%p", s.sockets)) {
			count++
		}
	}
	return count
}

// nothingStays waits for what has only to return.
func (s *server) nothingStays() {
	s.t.Helper()
	eventually(s.t, "no socket is served any more", func() bool { return goroutines(s) == 0 })
}

// A server that stops tells its sockets, closes them, and nothing of them stays.
func TestAServerThatStopsTellsItsSockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	links := []*link{alice.watch(id), alice.watch(id), alice.dial(""), o.visitor().dial("")}
	links[0].delivers("Hello")
	if open := goroutines(o.server); open != len(links) {
		t.Errorf("%d sockets are served", open)
	}
	var all sync.WaitGroup
	for i, l := range links {
		all.Go(func() {
			code, frames := l.ends()
			if code != websocket.StatusGoingAway || len(frames) == 0 || !frames[len(frames)-1].isStatus("closing") {
				t.Errorf("socket %d: closed with %d after %+v", i, code, frames)
			}
		})
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	o.sockets.Close(ctx)
	if ctx.Err() != nil || time.Since(began) > 4*time.Second {
		t.Errorf("it took %v, %v", time.Since(began), ctx.Err())
	}
	o.nothingStays()
	all.Wait()
	alice.connect("").refused(503, "unavailable")
	o.sockets.Close(ctx) // again is no matter
	alice.say(id, "REST goes on")
}

// A client that does not answer the close is not waited for beyond its time.
func TestAServerThatStopsDoesNotWaitForTheSilent(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	for range 3 {
		o.as("alice", auth.Chat).dial("") // and never reads again
	}
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	o.sockets.Close(brief)
	if brief.Err() == nil {
		t.Error("it did not wait at all")
	}
	o.sockets.Close(o.grace())
	o.nothingStays()
}

// Sockets that come while the server stops are told, or refused; none stays.
func TestSocketsThatComeWhileTheServerStopsDoNotStay(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			l, err := alice.tryDial("")
			if err != nil {
				return
			}
			if code, _ := l.ends(); code != websocket.StatusGoingAway {
				t.Errorf("closed with %d", code)
			}
		})
	}
	alice.dial("").conn.CloseNow()
	o.sockets.Close(o.grace())
	o.nothingStays()
	all.Wait()
}

// A reader that does not read delays nobody and is cut off; it misses nothing, for it
// can resume.
func TestASlowReaderIsCutOffAndDelaysNobody(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{buffer: 64 << 10}).organization()
	o.sockets.BePatient(time.Minute, time.Minute, 2*time.Second)
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	quick := alice.watch(id)
	slow := alice.dialSlowly(id)
	const sent = 80 // more than the buffers on the way hold, and than wait for a watcher
	long := strings.Repeat("x", 32768)
	for i := range sent {
		began := time.Now()
		alice.say(id, long)
		if got := quick.next(); got.Seq != int64(i+1) || time.Since(began) > 5*time.Second {
			t.Fatalf("the quick one waits %v for %d", time.Since(began), got.Seq)
		}
	}
	eventually(t, "only the quick one is served", func() bool { return goroutines(o.server) == 1 })
	last := int64(0)
	for {
		got, err := slow.read()
		if err != nil {
			break
		}
		if got.Seq != last+1 {
			t.Fatalf("seq %d after %d", got.Seq, last)
		}
		last = got.Seq
	}
	if last >= sent {
		t.Errorf("it has got %d of %d", last, sent)
	}
	resumed := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, last))
	if got, err := resumed.lines(sent, nil); err != nil || int64(len(got)) != sent-last {
		t.Errorf("resumed: %d, %v", len(got), err)
	}
}

// dialSlowly opens a socket for which little waits on the way.
func (c caller) dialSlowly(conversation string) *link {
	c.t.Helper()
	l, err := c.dialWith("session_id="+conversation, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Api-Key " + c.key}},
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				err = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			return conn, err
		}}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

// A reader that falls behind and reads on in time gets everything, though the last
// event of what it missed came long ago.
func TestAReaderThatFallsBehindCatchesUp(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{buffer: 64 << 10}).organization()
	o.sockets.BePatient(time.Minute, time.Minute, time.Minute)
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	slow := alice.dialSlowly(id)
	const sent = 120
	long := strings.Repeat("x", 32768)
	for range sent {
		alice.say(id, long)
	}
	if got, err := slow.lines(sent, nil); err != nil || !slices.Equal(got, o.stored(id)) {
		t.Errorf("%d messages, %v", len(got), err)
	}
}

// A client that answers no ping is closed.
func TestAClientThatAnswersNoPingIsClosed(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	o.sockets.BePatient(50*time.Millisecond, 300*time.Millisecond, time.Minute)
	alice := o.as("alice", auth.Chat)
	silent, err := o.visitor().dialWith("", &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	lively := alice.dial("")
	answered := make(chan frame)
	go func() {
		got, err := lively.read() // who reads answers pings
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	if code, _ := silent.ends(); code != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", code)
	}
	lively.say("Hello")
	if got := <-answered; !got.isStatus("delivered") {
		t.Errorf("%+v", got)
	}
}

// Pings hold nothing up: a client may send wrong frames while one is under way.
func TestFramesAndPingsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	o.sockets.BePatient(time.Millisecond, 5*time.Second, time.Minute)
	l := o.as("alice", auth.Chat).dial("")
	go func() {
		for range 300 {
			if err := l.write("{"); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 300 {
		l.refuses("invalid_request")
	}
}
