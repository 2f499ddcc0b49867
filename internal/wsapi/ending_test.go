package wsapi_test

import (
	"context"
	"fmt"
	"runtime"
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
	return len(stacksWith(fmt.Sprintf("wsapi.(*Sockets).run(%p", s.sockets)))
}

// stacksWith are the stacks of the goroutines that are in a function, or come from it.
func stacksWith(function string) []string {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, function) {
			found = append(found, stack)
		}
	}
	return found
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

// However many sockets there are, all of them are told in time, and all can be resumed with another server.
func TestAServerThatStopsTellsManySockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	const count = 500
	var all sync.WaitGroup
	for range count {
		l := alice.watch(id)
		all.Go(func() {
			code, frames := l.ends()
			if code != websocket.StatusGoingAway || len(frames) == 0 || !frames[len(frames)-1].isStatus("closing") {
				t.Errorf("closed with %d after %+v", code, frames)
			}
		})
	}
	o.sockets.Close(o.grace())
	o.nothingStays()
	all.Wait()
	alice.say(id, "Meanwhile")
	other := alice
	other.server = serve(t, settings{database: o.database})
	if got := other.dial("after=0&session_id=" + id).next(); got.Seq != 1 || got.Content != "Meanwhile" {
		t.Errorf("resumed: %+v", got)
	}
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
