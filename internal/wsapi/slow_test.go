package wsapi_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/auth"
)

// Clients that do not read, more of them than workers, are disconnected after the write timeout and do not delay other
// sockets. When they read again, they find whole frames and the reason. They can resume without missing a message.
func TestSlowReadersAreClosedWithoutDelayingOthers(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{buffer: 64 << 10}).organization()
	const bound = 2 * time.Second
	o.sockets.SetTimeouts(time.Minute, time.Minute, bound)
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	fast := alice.watch(id)
	long := strings.Repeat("x", 32768)
	seq := int64(0)
	send := func() time.Duration {
		seq++
		began := time.Now()
		alice.postMessage(id, long)
		if got := fast.next(); got.Seq != seq {
			t.Fatalf("want seq %d, got %d", seq, got.Seq)
		}
		return time.Since(began)
	}
	// given: the delay of a fast socket without slow ones
	alone := time.Duration(0)
	for range 20 {
		alone = max(alone, send())
	}
	first := seq

	// when: other clients stop reading, and the messages exceed all buffers
	slow := make([]*wsClient, runtime.GOMAXPROCS(0)+2)
	for i := range slow {
		slow[i] = alice.dialSlowReader(id)
	}
	for range 60 {
		if took := send(); took > 10*alone+bound/4 {
			t.Errorf("the fast socket waited %v; without slow readers %v", took, alone)
		}
	}
	began := time.Now()
	// Closing waits five seconds for the client's close frame.
	eventually(t, "only the fast socket is open", func() bool { return socketGoroutines(o.server) == 1 })
	if took := time.Since(began); took > bound+8*time.Second {
		t.Errorf("the slow sockets stayed open for another %v", took)
	}

	// then: they read whole frames and the close reason
	last := first
	for _, ws := range slow {
		last = expectWholeFrames(t, ws, first, long)
	}
	resumed := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, last))
	if got, err := resumed.readMessages(seq, nil); err != nil || int64(len(got)) != seq-last {
		t.Errorf("resumed: %d, %v", len(got), err)
	}
}

// expectWholeFrames reads a socket that was closed because its client was slow: some of 60 messages with the content,
// without a gap after the seq first. It returns the last seq.
func expectWholeFrames(t *testing.T, ws *wsClient, first int64, content string) (last int64) {
	t.Helper()
	code, frames := ws.readUntilClosed()
	if code != websocket.StatusPolicyViolation || len(frames) == 0 || len(frames) >= 60 {
		t.Errorf("closed with %d after %d frames", code, len(frames))
	}
	last = first
	for _, got := range frames {
		if got.Seq != last+1 || got.Content != content {
			t.Fatalf("seq %d after %d", got.Seq, last)
		}
		last = got.Seq
	}
	return last
}

// dialSlowReader opens a socket with a small receive buffer.
func (c caller) dialSlowReader(conversation string) *wsClient {
	c.t.Helper()
	ws, _ := c.dialTCP(conversation)
	return ws
}

// dialTCP is dialSlowReader and also returns the TCP connection, for frames that the library would not write.
func (c caller) dialTCP(conversation string) (*wsClient, *net.TCPConn) {
	c.t.Helper()
	var tcp *net.TCPConn
	ws, err := c.dialWith("session_id="+conversation, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Api-Key " + c.key}},
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			tcp = conn.(*net.TCPConn)
			return conn, tcp.SetReadBuffer(64 << 10)
		}}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return ws, tcp
}

// A client that reads too slowly for its event queue, but within the write timeout, receives every message.
func TestSlowReaderCatchesUp(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{buffer: 64 << 10}).organization()
	o.sockets.SetTimeouts(time.Minute, time.Minute, time.Minute)
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	slow := alice.dialSlowReader(id)
	const sent = 120
	long := strings.Repeat("x", 32768)
	for range sent {
		alice.postMessage(id, long)
	}
	if got, err := slow.readMessages(sent, nil); err != nil || !slices.Equal(got, o.storedMessages(id)) {
		t.Errorf("%d messages, %v", len(got), err)
	}
}
