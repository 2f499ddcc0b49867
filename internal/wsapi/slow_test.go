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

// Readers that do not read delay nobody, more of them than there are processors, and are closed in their time. When they
// read on they learn why, after whole frames; they miss nothing, for they can resume.
func TestSlowReadersAreClosedAndDelayNobody(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{buffer: 64 << 10}).organization()
	const bound = 2 * time.Second
	o.sockets.BePatient(time.Minute, time.Minute, bound)
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	quick := alice.watch(id)
	long := strings.Repeat("x", 32768)
	seq := int64(0)
	say := func() time.Duration {
		seq++
		began := time.Now()
		alice.say(id, long)
		if got := quick.next(); got.Seq != seq {
			t.Fatalf("seq %d comes as %d", seq, got.Seq)
		}
		return time.Since(began)
	}
	// given how long the quick one waits when it is alone
	alone := time.Duration(0)
	for range 20 {
		alone = max(alone, say())
	}
	first := seq

	// when others stop reading, and more is said than the buffers on the way hold
	slow := make([]*link, runtime.GOMAXPROCS(0)+2)
	for i := range slow {
		slow[i] = alice.dialSlowly(id)
	}
	for range 60 {
		if took := say(); took > 10*alone+bound/4 {
			t.Errorf("the quick one waits %v, alone it was %v", took, alone)
		}
	}
	began := time.Now()
	// Its close waits five seconds for the client's.
	eventually(t, "only the quick one is served", func() bool { return goroutines(o.server) == 1 })
	if took := time.Since(began); took > bound+8*time.Second {
		t.Errorf("the slow ones are served for another %v", took)
	}

	// then they find whole frames and the reason
	last := first
	for _, l := range slow {
		code, frames := l.ends()
		if code != websocket.StatusPolicyViolation || len(frames) == 0 || len(frames) >= 60 {
			t.Errorf("closed with %d after %d frames", code, len(frames))
		}
		last = first
		for _, got := range frames {
			if got.Seq != last+1 || got.Content != long {
				t.Fatalf("seq %d after %d", got.Seq, last)
			}
			last = got.Seq
		}
	}
	resumed := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, last))
	if got, err := resumed.lines(seq, nil); err != nil || int64(len(got)) != seq-last {
		t.Errorf("resumed: %d, %v", len(got), err)
	}
}

// dialSlowly opens a socket for which little waits on the way.
func (c caller) dialSlowly(conversation string) *link {
	c.t.Helper()
	l, _ := c.dialOver(conversation)
	return l
}

// dialOver is dialSlowly, and the connection below the socket: what is written there is
// as no library would write it.
func (c caller) dialOver(conversation string) (*link, *net.TCPConn) {
	c.t.Helper()
	var below *net.TCPConn
	l, err := c.dialWith("session_id="+conversation, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Api-Key " + c.key}},
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			below = conn.(*net.TCPConn)
			return conn, below.SetReadBuffer(64 << 10)
		}}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return l, below
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
