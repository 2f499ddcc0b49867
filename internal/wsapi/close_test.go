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

// socketGoroutines counts the goroutines that serve the sockets of a server.
func socketGoroutines(s *server) int {
	return len(stacksWith(fmt.Sprintf("wsapi.(*Server).serve(%p", s.sockets)))
}

// stacksWith returns the stacks of the goroutines that execute a function.
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

// waitForGoroutines waits until no goroutine serves a socket of the server.
func (s *server) waitForGoroutines() {
	s.t.Helper()
	eventually(s.t, "all goroutines of sockets have returned", func() bool { return socketGoroutines(s) == 0 })
}

// Close sends the status closing to all sockets, closes them, and leaks no goroutine.
func TestCloseNotifiesAndClosesSockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	sockets := []*wsClient{alice.watch(id), alice.watch(id), alice.dial(""), o.visitor().dial("")}
	sockets[0].deliver("Hello")
	if open := socketGoroutines(o.server); open != len(sockets) {
		t.Errorf("%d sockets are served, want %d", open, len(sockets))
	}
	var all sync.WaitGroup
	for i, ws := range sockets {
		all.Go(func() {
			code, frames := ws.readUntilClosed()
			if code != websocket.StatusGoingAway || len(frames) == 0 || !frames[len(frames)-1].isStatus("closing") {
				t.Errorf("socket %d: closed with %d after %+v", i, code, frames)
			}
		})
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	o.sockets.Close(ctx)
	if ctx.Err() != nil || time.Since(began) > 4*time.Second {
		t.Errorf("Close took %v: %v", time.Since(began), ctx.Err())
	}
	o.waitForGoroutines()
	all.Wait()
	alice.tryUpgrade("").expectProblem(503, "unavailable")
	o.sockets.Close(ctx) // closing twice has no effect
	alice.postMessage(id, "The REST API still works")
}

// Close notifies hundreds of sockets in time. Their clients can resume on another instance.
func TestCloseHandlesManySockets(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	const count = 500
	var all sync.WaitGroup
	for range count {
		ws := alice.watch(id)
		all.Go(func() {
			code, frames := ws.readUntilClosed()
			if code != websocket.StatusGoingAway || len(frames) == 0 || !frames[len(frames)-1].isStatus("closing") {
				t.Errorf("closed with %d after %+v", code, frames)
			}
		})
	}
	o.sockets.Close(o.shutdownContext())
	o.waitForGoroutines()
	all.Wait()
	alice.postMessage(id, "Meanwhile")
	other := alice
	other.server = serve(t, settings{database: o.database})
	if got := other.dial("after=0&session_id=" + id).next(); got.Seq != 1 || got.Content != "Meanwhile" {
		t.Errorf("resumed: %+v", got)
	}
}

// Close returns when its context is done, even if clients do not answer the close frame.
func TestCloseIsBoundedByContext(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	for range 3 {
		o.as("alice", auth.Chat).dial("") // never reads the close frame
	}
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	o.sockets.Close(brief)
	if brief.Err() == nil {
		t.Error("Close did not wait for the clients")
	}
	o.sockets.Close(o.shutdownContext())
	o.waitForGoroutines()
}

// A socket that is opened during Close is refused, or closed with the status closing.
func TestSocketsOpenedDuringCloseAreClosed(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ws, err := alice.tryDial("")
			if err != nil {
				return
			}
			if code, _ := ws.readUntilClosed(); code != websocket.StatusGoingAway {
				t.Errorf("closed with %d", code)
			}
		})
	}
	alice.dial("").conn.CloseNow()
	o.sockets.Close(o.shutdownContext())
	o.waitForGoroutines()
	all.Wait()
}

// A client that does not answer pings is disconnected.
func TestPongTimeoutClosesSocket(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	o.sockets.SetTimeouts(50*time.Millisecond, 300*time.Millisecond, time.Minute)
	alice := o.as("alice", auth.Chat)
	silent, err := o.visitor().dialWith("", &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	lively := alice.dial("")
	answered := make(chan frame)
	go func() {
		got, err := lively.read() // reading answers pings
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	if code, _ := silent.readUntilClosed(); code != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", code)
	}
	lively.sendMessage("Hello")
	if got := <-answered; !got.isStatus("delivered") {
		t.Errorf("%+v", got)
	}
}

// Pings and frames do not block each other, even if every frame is answered with an error.
func TestPingsDoNotBlockFrames(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	o.sockets.SetTimeouts(time.Millisecond, 5*time.Second, time.Minute)
	ws := o.as("alice", auth.Chat).dial("")
	go func() {
		for range 300 {
			if err := ws.write("{"); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 300 {
		ws.expectError("invalid_request")
	}
}
